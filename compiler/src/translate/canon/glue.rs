//! Code that glue shares: the handle tables, the stack of what is lent, and copies between memories.
//!
//! All have the `tail` convention, with the program's base first. Addresses are native ones that the caller has made
//! sure of; handles are the guest's.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{AbiParam, InstBuilder, Signature, Type, Value};
use cranelift_codegen::isa::CallConv;
use precast_abi::component::{Handle, InstanceState};
use precast_abi::trap::TrapCode;

use super::super::translator::{FuncTranslator, Region, trap_code};
use super::handle::is_owned;
use crate::Error;
use crate::component::program::{ComponentProgram, LENDS};

/// Code that glue shares.
///
/// Where parameters are named, `state` and `handles` are the addresses of a component instance's
/// [`InstanceState`] and of its handle table, and `tag` is the row of a resource plus one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
pub(crate) enum GlueHelper {
    /// `(state, handles, capacity, tag, representation, lends) -> handle`: puts a new entry into a table.
    HandleNew,
    /// `(state, handles, tag, handle) -> address`: the entry of a handle.
    HandleGet,
    /// `(state, handles, tag, handle) -> representation`: removes an owned handle that is not lent.
    HandleTake,
    /// `(state, handles, tag, handle) -> representation and, in bit 32, whether it was owned`: removes a handle that is
    /// not lent.
    HandleDrop,
    /// `(entry)`: lends an owned handle until the stack of lends is taken down again.
    Lend,
    /// `(top)`: gives back all that was lent since the stack of lends had that height.
    EndLends,
    /// `(to, from, bytes)`: copies between ranges that do not overlap.
    Copy,
    /// `(to, from, bytes) -> i32`: copies, and returns other than zero if any byte is above 127.
    CopyAscii,
}

impl GlueHelper {
    /// Every one.
    pub(crate) const ALL: [GlueHelper; 8] = [
        GlueHelper::HandleNew,
        GlueHelper::HandleGet,
        GlueHelper::HandleTake,
        GlueHelper::HandleDrop,
        GlueHelper::Lend,
        GlueHelper::EndLends,
        GlueHelper::Copy,
        GlueHelper::CopyAscii,
    ];

    /// What tools call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            GlueHelper::HandleNew => "handle_new",
            GlueHelper::HandleGet => "handle_get",
            GlueHelper::HandleTake => "handle_take",
            GlueHelper::HandleDrop => "handle_drop",
            GlueHelper::Lend => "lend",
            GlueHelper::EndLends => "end_lends",
            GlueHelper::Copy => "copy",
            GlueHelper::CopyAscii => "copy_ascii",
        }
    }

    /// How it is called.
    pub(in super::super) fn signature(self) -> Signature {
        let (params, result): (&[Type], Option<Type>) = match self {
            GlueHelper::HandleNew => (&[I64, I64, I32, I32, I32, I32], Some(I32)),
            GlueHelper::HandleGet | GlueHelper::HandleDrop => (&[I64, I64, I32, I32], Some(I64)),
            GlueHelper::HandleTake => (&[I64, I64, I32, I32], Some(I32)),
            GlueHelper::Lend | GlueHelper::EndLends => (&[I64], None),
            GlueHelper::Copy => (&[I64, I64, I64], None),
            GlueHelper::CopyAscii => (&[I64, I64, I64], Some(I32)),
        };
        let mut signature = Signature::new(CallConv::Tail);
        signature.params.push(AbiParam::new(I64));
        signature.params.extend(params.iter().copied().map(AbiParam::new));
        signature.returns.extend(result.map(AbiParam::new));
        signature
    }
}

/// The code of a helper.
pub(super) fn emit(
    t: &mut FuncTranslator<'_>,
    component: &ComponentProgram,
    helper: GlueHelper,
    arguments: &[Value],
) -> Result<(), Error> {
    match (helper, arguments) {
        (GlueHelper::HandleNew, &[state, handles, capacity, tag, representation, lends]) => {
            let handle = t.take_free_handle(state, handles, capacity);
            let entry = t.handle_entry(handles, handle);
            t.set_state_word(representation, entry, Handle::REPRESENTATION);
            t.set_state_word(tag, entry, Handle::RESOURCE);
            t.set_state_word(lends, entry, Handle::STATE);
            t.ins().return_(&[handle]);
        }
        (GlueHelper::HandleGet, &[state, handles, tag, handle]) => {
            let entry = t.find_handle(state, handles, tag, handle);
            t.ins().return_(&[entry]);
        }
        (GlueHelper::HandleTake, &[state, handles, tag, handle]) => {
            let entry = t.find_handle(state, handles, tag, handle);
            let lends = t.state_word(entry, Handle::STATE);
            let borrowed = t.ins().icmp_imm_s(IntCC::SignedLessThan, lends, 0);
            t.trap_with_detail(borrowed, TrapCode::NotOwned, handle);
            t.trap_with_detail(lends, TrapCode::ResourceLent, handle);
            let representation = t.state_word(entry, Handle::REPRESENTATION);
            t.free_handle(state, entry, handle);
            t.ins().return_(&[representation]);
        }
        (GlueHelper::HandleDrop, &[state, handles, tag, handle]) => {
            let entry = t.find_handle(state, handles, tag, handle);
            let lends = t.state_word(entry, Handle::STATE);
            let count = t.ins().band_imm_u(lends, i64::from(!Handle::BORROWED));
            t.trap_with_detail(count, TrapCode::ResourceLent, handle);
            let representation = t.state_word(entry, Handle::REPRESENTATION);
            let owned = is_owned(t, lends);
            t.free_handle(state, entry, handle);
            let (representation, owned) = (t.ins().uextend(I64, representation), t.ins().uextend(I64, owned));
            let owned = t.ins().ishl_imm_u(owned, 32);
            let result = t.ins().bor(representation, owned);
            t.ins().return_(&[result]);
        }
        (GlueHelper::Lend, &[entry]) => t.lend(component, entry),
        (GlueHelper::EndLends, &[top]) => t.end_lends(component, top),
        (GlueHelper::Copy, &[to, from, bytes]) => t.copy(to, from, bytes, false),
        (GlueHelper::CopyAscii, &[to, from, bytes]) => t.copy(to, from, bytes, true),
        (_, other) => return Err(Error::internal(format_args!("{helper:?}"), format_args!("arguments {other:?}"))),
    }
    Ok(())
}

impl FuncTranslator<'_> {
    /// A handle whose entry is free.
    fn take_free_handle(&mut self, state: Value, handles: Value, capacity: Value) -> Value {
        let free = self.state_word(state, InstanceState::FREE_HANDLE);
        let (again, fresh, join) =
            (self.builder.create_block(), self.builder.create_block(), self.builder.create_block());
        let handle = self.builder.append_block_param(join, I32);
        self.ins().brif(free, again, &[], fresh, &[]);

        self.enter(again);
        let entry = self.handle_entry(handles, free);
        let next = self.state_word(entry, Handle::STATE);
        self.set_state_word(next, state, InstanceState::FREE_HANDLE);
        self.jump_to(join, &[free]);

        self.enter(fresh);
        let used = self.state_word(state, InstanceState::HANDLES_USED);
        let new = self.ins().iadd_imm_u(used, 1);
        let is_full = self.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, new, capacity);
        self.ins().trapnz(is_full, trap_code(TrapCode::HandleTableFull));
        self.set_state_word(new, state, InstanceState::HANDLES_USED);
        self.jump_to(join, &[new]);

        self.enter(join);
        handle
    }

    /// The address of a handle's entry.
    fn handle_entry(&mut self, handles: Value, handle: Value) -> Value {
        let handle = self.ins().uextend(I64, handle);
        let offset = self.ins().ishl_imm_u(handle, i64::from(Handle::SIZE.trailing_zeros()));
        self.ins().iadd(handles, offset)
    }

    /// The address of the entry of a handle that the guest says it has.
    fn find_handle(&mut self, state: Value, handles: Value, tag: Value, handle: Value) -> Value {
        let used = self.state_word(state, InstanceState::HANDLES_USED);
        let position = self.ins().iadd_imm_s(handle, -1);
        let never = self.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, position, used);
        self.trap_with_detail(never, TrapCode::UnknownHandle, handle);
        let entry = self.handle_entry(handles, handle);
        let found = self.state_word(entry, Handle::RESOURCE);
        let matches = self.ins().icmp(IntCC::Equal, found, tag);
        let (other, next) = (self.builder.create_block(), self.builder.create_block());
        self.builder.set_cold_block(other);
        self.ins().brif(matches, next, &[], other, &[]);
        self.enter(other);
        self.set_detail(handle);
        self.ins().trapz(found, trap_code(TrapCode::UnknownHandle));
        self.ins().trap(trap_code(TrapCode::WrongHandleType));
        self.enter(next);
        entry
    }

    /// Makes an entry the first free one.
    fn free_handle(&mut self, state: Value, entry: Value, handle: Value) {
        let next = self.state_word(state, InstanceState::FREE_HANDLE);
        let none = self.i32(0);
        self.set_state_word(none, entry, Handle::RESOURCE);
        self.set_state_word(next, entry, Handle::STATE);
        self.set_state_word(handle, state, InstanceState::FREE_HANDLE);
    }

    fn lend(&mut self, component: &ComponentProgram, entry: Value) {
        let state = self.state_word(entry, Handle::STATE);
        let (owned, done) = (self.builder.create_block(), self.builder.create_block());
        let borrowed = self.ins().icmp_imm_s(IntCC::SignedLessThan, state, 0);
        self.ins().brif(borrowed, done, &[], owned, &[]);

        self.enter(owned);
        let raised = self.ins().iadd_imm_u(state, 1);
        self.set_state_word(raised, entry, Handle::STATE);
        let stack = self.in_program(component.lends);
        let flags = self.flags(Region::Glue);
        let top = self.ins().load(I64, flags, stack, 0);
        let is_full = self.ins().icmp_imm_u(IntCC::UnsignedGreaterThanOrEqual, top, LENDS.cast_signed());
        self.ins().trapnz(is_full, trap_code(TrapCode::HandleTableFull));
        let top = self.ins().iadd_imm_u(top, 1);
        self.ins().store(flags, top, stack, 0);
        let offset = self.ins().ishl_imm_u(top, 3);
        let place = self.ins().iadd(stack, offset);
        self.ins().store(flags, entry, place, 0);
        self.jump_to(done, &[]);

        self.enter(done);
        self.ins().return_(&[]);
    }

    fn end_lends(&mut self, component: &ComponentProgram, until: Value) {
        let stack = self.in_program(component.lends);
        let flags = self.flags(Region::Glue);
        let top = self.ins().load(I64, flags, stack, 0);
        let (head, body, done) =
            (self.builder.create_block(), self.builder.create_block(), self.builder.create_block());
        let now = self.builder.append_block_param(head, I64);
        self.jump_to(head, &[top]);

        self.builder.switch_to_block(head);
        let more = self.ins().icmp(IntCC::UnsignedGreaterThan, now, until);
        self.ins().brif(more, body, &[], done, &[]);

        self.enter(body);
        let offset = self.ins().ishl_imm_u(now, 3);
        let place = self.ins().iadd(stack, offset);
        let entry = self.ins().load(I64, flags, place, 0);
        let state = self.state_word(entry, Handle::STATE);
        let lowered = self.ins().iadd_imm_s(state, -1);
        self.set_state_word(lowered, entry, Handle::STATE);
        let next = self.ins().iadd_imm_s(now, -1);
        self.jump_to(head, &[next]);
        self.builder.seal_block(head);

        self.enter(done);
        self.ins().store(flags, until, stack, 0);
        self.ins().return_(&[]);
    }
}
