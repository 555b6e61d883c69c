//! CLIF in, machine code out, through Cranelift. Translating and lowering are one parallel loop, so that the CLIF of a
//! function lives only as long as it takes to compile it.

use std::sync::atomic::{AtomicUsize, Ordering};

use cranelift_codegen::binemit::Reloc;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{ExternalName, Function};
use cranelift_codegen::isa::unwind::UnwindInfo;
use cranelift_codegen::isa::{OwnedTargetIsa, TargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_codegen::{CodegenError, Context, FinalizedRelocTarget};
use precast_abi::sites::{CALL, Site};
use precast_targets::Arch;
use rayon::prelude::*;

use crate::error::Place;
use crate::inline;
use crate::program::{FuncBody, Program, Symbol};
use crate::translate::{self, ResourceFunc, Scratch};
use crate::{Emit, Error, OptLevel, Options};

/// A reference from code to a symbol.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Relocation {
    /// Offset in bytes of the field in the function.
    pub offset: u32,
    /// What to write there.
    pub kind: Reloc,
    /// What it refers to.
    pub target: Symbol,
    /// Added to the target's address.
    pub addend: i64,
}

/// The machine code of a function.
pub(crate) struct CompiledFunction {
    /// Which function.
    pub symbol: Symbol,
    /// Code, then constants and jump tables.
    pub code: Vec<u8>,
    /// Alignment in bytes.
    pub align: u32,
    /// References to other functions.
    pub relocations: Vec<Relocation>,
    /// Where it may trap and where calls return to, sorted by offset.
    pub sites: Vec<Site>,
    /// How to unwind it.
    pub unwind: Option<UnwindInfo>,
    /// Assembly, when asked for.
    pub asm: Option<String>,
}

/// Cranelift's description of the target with our settings.
///
/// # Errors
/// [`Error::Internal`] if Cranelift does not know a setting.
pub(crate) fn target_isa(options: &Options<'_>) -> Result<OwnedTargetIsa, Error> {
    let failed = |error: &dyn std::fmt::Display| Error::internal("target settings", error);
    let mut flags = settings::builder();
    let opt_level = match options.opt_level {
        OptLevel::None => "none",
        OptLevel::Speed => "speed",
        OptLevel::SpeedAndSize => "speed_and_size",
    };
    let bool = |value: bool| if value { "true" } else { "false" };
    for (name, value) in [
        ("opt_level", opt_level),
        ("is_pic", "false"),
        ("unwind_info", "true"),
        ("preserve_frame_pointers", "true"),
        ("enable_probestack", "true"),
        ("probestack_strategy", "inline"),
        ("use_colocated_libcalls", "true"),
        ("enable_nan_canonicalization", bool(options.canonicalize_nans)),
        ("enable_verifier", bool(options.verify)),
    ] {
        flags.set(name, value).map_err(|error| failed(&error))?;
    }
    let mut builder = cranelift_codegen::isa::lookup_by_name(options.arch.triple()).map_err(|error| failed(&error))?;
    for feature in options.arch.features() {
        if options.features >> feature.bit & 1 == 1 {
            builder.enable(feature.setting).map_err(|error| failed(&error))?;
        }
    }
    builder.finish(settings::Flags::new(flags)).map_err(|error| failed(&error))
}

/// Compiles every function and thunk of the program, in the order of [`Program::symbols`].
///
/// # Errors
/// Of all functions' errors, the first that says the module is invalid, else the first.
pub(crate) fn compile_functions(
    program: &Program<'_>,
    isa: &dyn TargetIsa,
    options: &Options<'_>,
) -> Result<Vec<CompiledFunction>, Error> {
    let symbols = program.symbols();
    let done = AtomicUsize::new(0);
    let new_worker = || (Scratch::default(), Context::new());
    let results: Vec<Result<CompiledFunction, Error>> = symbols
        .par_iter()
        .map_init(new_worker, |(scratch, context), symbol| {
            let function = translate_symbol(program, isa, *symbol, scratch)?;
            let function = inline::inline(program, isa, context, *symbol, function, scratch)?;
            let compiled = lower(isa, context, *symbol, function, options, program.place(*symbol));
            if let Some(progress) = options.progress {
                progress.functions(done.fetch_add(1, Ordering::Relaxed) + 1, symbols.len());
            }
            compiled
        })
        .collect();
    all_or_first_error(results)
}

/// The CLIF of a function or thunk.
///
/// # Errors
/// Those of validating and translating it.
pub(crate) fn translate_symbol(
    program: &Program<'_>,
    isa: &dyn TargetIsa,
    symbol: Symbol,
    scratch: &mut Scratch,
) -> Result<Function, Error> {
    match symbol {
        Symbol::Function(func) => match program.funcs[func].body {
            FuncBody::Wasm(instance, index) => translate::function(program, isa, func, (instance, index), scratch),
            FuncBody::Forward(to) => translate::forward(program, isa, func, to, scratch),
            FuncBody::Adapter(adapter) => translate::adapter(program, isa, func, adapter, scratch),
            FuncBody::ResourceNew(resource, instance) => {
                translate::resource(program, isa, func, (ResourceFunc::New, resource, instance), scratch)
            }
            FuncBody::ResourceRep(resource, instance) => {
                translate::resource(program, isa, func, (ResourceFunc::Rep, resource, instance), scratch)
            }
            FuncBody::ResourceDrop(resource, instance) => {
                translate::resource(program, isa, func, (ResourceFunc::Drop, resource, instance), scratch)
            }
        },
        Symbol::ImportStub(import) => translate::import_stub(program, isa, import, scratch),
        Symbol::HostThunk(import) => translate::host_thunk(program, isa, import, scratch),
        Symbol::EntryThunk(ty) => translate::entry_thunk(program, isa, ty, scratch),
        Symbol::Init => translate::init(program, isa, scratch),
        Symbol::Helper(helper, group) => translate::helper(program, isa, helper, group, scratch),
        Symbol::Glue(helper) => translate::glue(program, isa, helper, scratch),
        Symbol::TextStart => Err(Error::internal("translate", "the start of the text is no function")),
    }
}

/// All values, or the most telling error: an invalid function makes the module invalid, whatever else is unsupported.
pub(crate) fn all_or_first_error<T>(results: Vec<Result<T, Error>>) -> Result<Vec<T>, Error> {
    let mut values = Vec::with_capacity(results.len());
    let mut first = None;
    for result in results {
        match result {
            Ok(value) => values.push(value),
            Err(error @ Error::Invalid { .. }) => return Err(error),
            Err(error) => first = first.or(Some(error)),
        }
    }
    first.map_or(Ok(values), Err)
}

/// Compiles `function`. `context` is scratch space, to be reused. `name` is for error messages.
///
/// # Errors
/// [`Error::Limit`] for code larger than Cranelift handles; [`Error::Internal`] for everything else it refuses.
fn lower(
    isa: &dyn TargetIsa,
    context: &mut Context,
    symbol: Symbol,
    function: Function,
    options: &Options<'_>,
    place: Place,
) -> Result<CompiledFunction, Error> {
    let internal = |message: &dyn std::fmt::Display| Error::internal(format_args!("{symbol:?} ({place})"), message);
    context.clear();
    context.func = function;
    context.set_disasm(options.emit == Emit::Asm);
    context.compile(isa, &mut ControlPlane::default()).map_err(|error| match error.inner {
        CodegenError::CodeTooLarge => {
            Error::Limit { what: "machine code of the function", found: 1 << 31, limit: (1 << 31) - 1, place }
        }
        CodegenError::ImplLimitExceeded => {
            Error::Limit { what: "number of values in the function", found: 1 << 24, limit: (1 << 24) - 1, place }
        }
        CodegenError::Verifier(errors) => internal(&errors),
        other => internal(&other),
    })?;
    let code = context.compiled_code().ok_or_else(|| internal(&"no code"))?;
    let buffer = &code.buffer;

    let mut relocations = Vec::with_capacity(buffer.relocs().len());
    for relocation in buffer.relocs() {
        let target = match &relocation.target {
            FinalizedRelocTarget::ExternalName(ExternalName::User(name)) => {
                Symbol::from_external_name(&context.func.params.user_named_funcs()[*name])
            }
            other => return Err(internal(&format_args!("relocation against {other:?}"))),
        };
        relocations.push(Relocation {
            offset: relocation.offset,
            kind: relocation.kind,
            target,
            addend: relocation.addend,
        });
    }

    let unwind = code
        .create_unwind_info_of_kind(isa, cranelift_codegen::isa::unwind::UnwindInfoKind::SystemV)
        .map_err(|error| internal(&error))?;
    let sites = sites(buffer);
    let mut code_bytes = buffer.data().to_vec();
    if options.arch == Arch::X86_64 {
        make_traps_cheap(&mut code_bytes, &sites);
    }
    Ok(CompiledFunction {
        symbol,
        code: code_bytes,
        align: buffer.alignment.max(isa.function_alignment().preferred),
        relocations,
        sites,
        unwind,
        asm: code.vcode.clone(),
    })
}

/// Traps and return addresses with the offsets of their operators, sorted by offset in the text.
fn sites(buffer: &cranelift_codegen::MachBufferFinalized<cranelift_codegen::Final>) -> Vec<Site> {
    let source_locations = buffer.get_srclocs_sorted();
    // The location of the instruction that contains the byte before `end`.
    let wasm_offset = |at: u32| {
        let after = source_locations.partition_point(|location| location.start <= at);
        let location = after.checked_sub(1).map(|index| &source_locations[index]).filter(|location| at < location.end);
        location.map_or(u32::MAX, |location| location.loc.bits())
    };
    let mut sites: Vec<Site> = buffer
        .traps()
        .iter()
        .map(|trap| Site {
            text_offset: trap.offset,
            code: trap.code.as_raw().get(),
            wasm_offset: wasm_offset(trap.offset),
        })
        .collect();
    sites.extend(buffer.call_sites().map(|call| Site {
        text_offset: call.ret_addr,
        code: CALL,
        wasm_offset: wasm_offset(call.ret_addr - 1),
    }));
    sites.sort_unstable_by_key(|site| (site.text_offset, site.code));
    sites
}

/// On x86-64, makes the instructions that only trap (`ud2`) privileged ones of the same length (`hlt`, and a byte that
/// is never reached). Hypervisors intercept undefined instructions, in case they are to be emulated: in a virtual
/// machine a trap by `ud2` takes three times as long as one by any other fault.
fn make_traps_cheap(code: &mut [u8], sites: &[Site]) {
    const UD2: [u8; 2] = [0x0f, 0x0b];
    const HLT_INT3: [u8; 2] = [0xf4, 0xcc];
    for site in sites.iter().filter(|site| site.code != CALL) {
        let start = site.text_offset as usize;
        if let Some(instruction) = code.get_mut(start..start + 2).filter(|instruction| **instruction == UD2) {
            instruction.copy_from_slice(&HLT_INT3);
        }
    }
}
