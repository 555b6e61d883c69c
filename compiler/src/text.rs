//! Compiled functions in, all code at its final offset out.
//!
//! Cranelift's text builder places functions, resolves calls between them and inserts veneers where a branch does not
//! reach. It leaves alone what is no call: addresses of symbols, which AArch64 makes of two instructions. Those are
//! written here, and nothing else is accepted, because the artifact has no relocations left for a linker to resolve.
//!
//! One-way door: once there is a [`Text`], offsets are final, and function references in the image may be encoded.

use std::collections::HashMap;
use std::ops::Range;

use cranelift_codegen::binemit::Reloc;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::isa::TargetIsa;

use crate::error::{Error, Place};
use crate::lower::{CompiledFunction, Relocation};
use crate::program::Symbol;

/// Bytes of text that a 32-bit PC-relative field spans: that of a call on x86-64, of a veneer on AArch64, and of
/// `.eh_frame` on both.
pub(crate) const TEXT_LIMIT: u64 = i32::MAX as u64;

/// What fills the space between functions on x86-64: `int3`. On AArch64 zeros are `udf` already.
pub(crate) const X86_64_FILL: u8 = 0xcc;

/// All code at its final offset.
pub(crate) struct Text {
    /// The code.
    pub(crate) bytes: Vec<u8>,
    /// Where each function is, in the order it was placed: ascending and without overlap.
    ranges: Vec<Range<u32>>,
    /// Position in `ranges`.
    positions: HashMap<Symbol, usize>,
}

impl Text {
    /// Places functions in the order given and resolves the relocations between them.
    ///
    /// # Errors
    /// [`Error::Limit`] for more than 2 GiB of code; [`Error::Internal`], naming the function, for a relocation that is
    /// neither a call nor an address within the text.
    pub(crate) fn place(isa: &dyn TargetIsa, functions: &[CompiledFunction]) -> Result<Text, Error> {
        check_size(functions.iter().map(|function| function.code.len() as u64 + u64::from(function.align)).sum())?;
        let positions: HashMap<_, _> = functions.iter().map(|function| function.symbol).zip(0..).collect();

        let mut builder = isa.text_section_builder(functions.len());
        let mut control_plane = ControlPlane::default();
        let mut ranges = Vec::with_capacity(functions.len());
        let mut addresses = Vec::new();
        for function in functions {
            let start = builder.append(true, &function.code, function.align, &mut control_plane);
            for relocation in &function.relocations {
                let field = start + u64::from(relocation.offset);
                let label = position(&positions, function, relocation.target)?;
                if !builder.resolve_reloc(field, relocation.kind, relocation.addend, label) {
                    addresses.push((field as usize, function, relocation, label));
                }
            }
            ranges.push(start as u32..start as u32 + function.code.len() as u32);
        }
        let mut bytes = builder.finish(&mut control_plane);
        check_size(bytes.len() as u64)?;

        for (field, function, relocation, label) in addresses {
            let target = i64::from(ranges[label].start) + relocation.addend;
            write_address(&mut bytes, field, relocation.kind, target)
                .ok_or_else(|| relocation_error(function, relocation))?;
        }
        if isa.name() == "x64" {
            fill_gaps(&mut bytes, &ranges);
        }
        Ok(Text { bytes, ranges, positions })
    }

    /// Offset of the first byte of `symbol`, if it was placed.
    pub(crate) fn offset(&self, symbol: Symbol) -> Option<u32> {
        match symbol {
            Symbol::TextStart => Some(0),
            _ => self.positions.get(&symbol).map(|position| self.ranges[*position].start),
        }
    }

    /// Where the function is that was placed as number `position`; constants and jump tables included.
    pub(crate) fn range(&self, position: usize) -> Range<u32> {
        self.ranges[position].clone()
    }
}

fn check_size(size: u64) -> Result<(), Error> {
    if size > TEXT_LIMIT {
        return Err(Error::Limit {
            what: "size of all machine code",
            found: size,
            limit: TEXT_LIMIT,
            place: Place::default(),
        });
    }
    Ok(())
}

/// The position of `target`. The text starts with the first function, whatever its alignment.
fn position(positions: &HashMap<Symbol, usize>, function: &CompiledFunction, target: Symbol) -> Result<usize, Error> {
    match target {
        Symbol::TextStart => Ok(0),
        _ => positions.get(&target).copied().ok_or_else(|| {
            Error::internal(format_args!("{:?}", function.symbol), format_args!("{target:?} is not compiled"))
        }),
    }
}

/// Writes the address `target` into the instruction at `field`; both are offsets in the text, which starts at a multiple
/// of AArch64's 4 KiB relocation page. `None` if that kind of field holds no address, or not this one.
fn write_address(text: &mut [u8], field: usize, kind: Reloc, target: i64) -> Option<()> {
    let bytes = text.get_mut(field..)?.first_chunk_mut::<4>()?;
    let instruction = u32::from_le_bytes(*bytes);
    let patched = match kind {
        // S + A - P
        Reloc::X86CallPCRel4 => i32::try_from(target - field as i64).ok()? as u32,
        // R_AARCH64_ADR_PREL_PG_HI21: Page(S + A) - Page(P) in immhi:immlo of `adrp`
        Reloc::Aarch64AdrPrelPgHi21 => {
            let pages = (target >> 12) - (field as i64 >> 12);
            if !(-(1 << 20)..1 << 20).contains(&pages) {
                return None;
            }
            let immediate = pages as u32;
            instruction & !(0b11 << 29 | 0x7_ffff << 5) | (immediate & 0b11) << 29 | (immediate >> 2 & 0x7_ffff) << 5
        }
        // R_AARCH64_ADD_ABS_LO12_NC: the low bits of S + A in imm12 of `add`
        Reloc::Aarch64AddAbsLo12Nc => instruction & !(0xfff << 10) | (target as u32 & 0xfff) << 10,
        _ => return None,
    };
    *bytes = patched.to_le_bytes();
    Some(())
}

fn relocation_error(function: &CompiledFunction, relocation: &Relocation) -> Error {
    let Relocation { offset, kind, target, addend } = relocation;
    let message = format_args!("relocation {kind:?} against {target:?} + {addend} at {offset:#x}");
    Error::internal(format_args!("{:?}", function.symbol), message)
}

/// Makes a jump between functions a trap. Only for targets without veneers, which lie there.
fn fill_gaps(bytes: &mut [u8], ranges: &[Range<u32>]) {
    for pair in ranges.windows(2) {
        bytes[pair[0].end as usize..pair[1].start as usize].fill(X86_64_FILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;
    use crate::lower::target_isa;
    use crate::program::DefinedFunc;
    use cranelift_codegen::isa::OwnedTargetIsa;
    use precast_targets::Arch;

    fn isa(arch: Arch) -> OwnedTargetIsa {
        target_isa(&Options { arch, features: 0, ..Options::default() }).unwrap()
    }

    fn symbol(index: u32) -> Symbol {
        Symbol::Function(DefinedFunc::from_u32(index))
    }

    fn function(index: u32, code: Vec<u8>, relocations: &[(u32, Reloc, Symbol, i64)]) -> CompiledFunction {
        let relocations = relocations
            .iter()
            .map(|&(offset, kind, target, addend)| Relocation { offset, kind, target, addend })
            .collect();
        CompiledFunction { symbol: symbol(index), code, align: 32, relocations, sites: vec![], unwind: None, asm: None }
    }

    fn word(text: &Text, at: usize) -> u32 {
        u32::from_le_bytes(*text.bytes[at..].first_chunk().unwrap())
    }

    #[test]
    fn x86_64_calls_and_addresses() {
        let call = Reloc::X86CallPCRel4;
        let functions = [
            // call function 1; ret
            function(0, vec![0xe8, 0, 0, 0, 0, 0xc3], &[(1, call, symbol(1), -4)]),
            // lea rax, [text start]; lea rax, [function 0 + 5]; ret
            function(
                1,
                vec![0x48, 0x8d, 5, 0, 0, 0, 0, 0x48, 0x8d, 5, 0, 0, 0, 0, 0xc3],
                &[(3, call, Symbol::TextStart, -4), (10, call, symbol(0), 1)],
            ),
        ];
        let text = Text::place(&*isa(Arch::X86_64), &functions).unwrap();
        assert_eq!((text.range(0), text.range(1)), (0..6, 32..47));
        assert_eq!(text.offset(symbol(1)), Some(32));
        assert_eq!(text.offset(symbol(2)), None);
        assert_eq!(text.offset(Symbol::TextStart), Some(0));
        assert_eq!(word(&text, 1) as i32, 32 - 5);
        assert_eq!(word(&text, 32 + 3) as i32, -(32 + 7));
        assert_eq!(word(&text, 32 + 10) as i32, 5 - (32 + 14));
        assert_eq!(text.bytes[6..32], [X86_64_FILL; 26]);
    }

    #[test]
    fn aarch64_calls_and_addresses() {
        const BL: u32 = 0x9400_0000;
        const ADRP_X0: u32 = 0x9000_0000;
        const ADD_X0: u32 = 0x9100_0000;
        let (page, low) = (Reloc::Aarch64AdrPrelPgHi21, Reloc::Aarch64AddAbsLo12Nc);
        let code = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
        let functions = [
            function(
                0,
                code(&[BL, ADRP_X0, ADD_X0]),
                &[(0, Reloc::Arm64Call, symbol(2), 0), (4, page, symbol(2), 0), (8, low, symbol(2), 0)],
            ),
            function(1, vec![0; 0x5004], &[]),
            function(2, code(&[ADRP_X0, ADD_X0]), &[(0, page, Symbol::TextStart, 0), (4, low, Symbol::TextStart, 0)]),
        ];
        let text = Text::place(&*isa(Arch::Aarch64), &functions).unwrap();
        assert_eq!(text.offset(symbol(2)), Some(0x5040));
        assert_eq!(word(&text, 0), BL | (0x5040 / 4));
        assert_eq!(word(&text, 4), ADRP_X0 | (5 & 3) << 29 | (5 >> 2) << 5);
        assert_eq!(word(&text, 8), ADD_X0 | 0x40 << 10);
        // Five pages back.
        assert_eq!(word(&text, 0x5040), ADRP_X0 | (-5i32 as u32 & 3) << 29 | (-5i32 as u32 >> 2 & 0x7_ffff) << 5);
        assert_eq!(word(&text, 0x5044), ADD_X0);
    }

    #[test]
    fn aarch64_calls_beyond_a_branchs_reach_go_through_a_veneer() {
        let bl = 0x9400_0000u32.to_le_bytes().to_vec();
        let functions = [
            function(0, bl, &[(0, Reloc::Arm64Call, symbol(3), 0)]),
            function(1, vec![0; 100 << 20], &[]),
            function(2, vec![0; 100 << 20], &[]),
            function(3, vec![0; 4], &[]),
        ];
        let text = Text::place(&*isa(Arch::Aarch64), &functions).unwrap();
        let veneer = (word(&text, 0) & 0x3ff_ffff) as usize * 4;
        assert!((0..4).all(|position| !text.range(position).contains(&(veneer as u32))));
        // ldrsw x16, #16; adr x17, #12; add x16, x16, x17; br x16; distance from itself to the target
        let [load, address, sum, jump, distance] = [0, 4, 8, 12, 16].map(|offset| word(&text, veneer + offset));
        assert_eq!([load, address, sum, jump], [0x9800_0090, 0x1000_0071, 0x8b11_0210, 0xd61f_0200]);
        assert_eq!(text.offset(symbol(3)), Some(veneer as u32 + 16 + distance));
    }

    #[test]
    fn other_relocations_are_our_bug_and_name_the_function() {
        let isa = isa(Arch::X86_64);
        for (kind, target) in
            [(Reloc::Abs8, symbol(0)), (Reloc::X86CallPCRel4, symbol(9)), (Reloc::X86GOTPCRel4, symbol(0))]
        {
            let functions = [function(0, vec![0; 16], &[(1, kind, target, -4)])];
            match Text::place(&*isa, &functions) {
                Err(Error::Internal { context, .. }) => assert_eq!(context, "Function(function0)"),
                _ => panic!("{kind:?}"),
            }
        }
    }

    #[test]
    fn no_functions_are_no_text() {
        for arch in Arch::ALL {
            assert!(Text::place(&*isa(arch), &[]).unwrap().bytes.is_empty());
        }
    }
}
