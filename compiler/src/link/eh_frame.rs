//! Unwind information: how debuggers, profilers and panics walk through compiled functions.
//!
//! Addresses in it are relative to their own place and 32 bits wide, so that there is nothing to relocate when the
//! artifact is loaded. It is encoded before anything has an address, as if section and text both began at zero, and
//! moved once their distance is known.

use std::ops::Range;

use cranelift_codegen::isa::TargetIsa;
use cranelift_codegen::isa::unwind::UnwindInfo;
use gimli::constants::{DW_EH_PE_datarel, DW_EH_PE_pcrel, DW_EH_PE_sdata4, DW_EH_PE_udata4};
use gimli::write::{Address, EhFrame as Section, EndianVec, FrameTable};

use crate::error::{Error, Place};
use crate::lower::CompiledFunction;
use crate::text::{TEXT_LIMIT, Text};

/// Offset of the function's address in its frame description entry, after length and CIE pointer.
const ADDRESS: usize = 8;

/// Ends the section, for unwinders that search without the header.
const TERMINATOR: [u8; 4] = [0; 4];

/// `.eh_frame`.
pub(super) struct EhFrame {
    /// The section.
    bytes: Vec<u8>,
    /// A frame description entry for each function, by text offset.
    entries: Vec<Entry>,
}

struct Entry {
    /// Where in the section it starts.
    at: usize,
    /// Text offset of the function.
    function: u32,
}

impl EhFrame {
    /// Describes all functions that have unwind information.
    ///
    /// # Errors
    /// [`Error::Internal`] if gimli or Cranelift refuse it.
    pub(super) fn new(isa: &dyn TargetIsa, functions: &[CompiledFunction], text: &Text) -> Result<EhFrame, Error> {
        let internal = |message: &dyn std::fmt::Display| Error::internal("unwind information", message);
        let mut table = FrameTable::default();
        let mut cie = isa.create_systemv_cie().ok_or_else(|| internal(&"the target has none"))?;
        cie.fde_address_encoding = DW_EH_PE_pcrel | DW_EH_PE_sdata4;
        let cie = table.add_cie(cie);
        let mut starts = Vec::with_capacity(functions.len());
        for (position, function) in functions.iter().enumerate() {
            if let Some(UnwindInfo::SystemV(unwind)) = &function.unwind {
                let start = text.range(position).start;
                table.add_fde(cie, unwind.to_fde(Address::Constant(start.into())));
                starts.push(start);
            }
        }
        let mut section = Section(EndianVec::new(gimli::LittleEndian));
        table.write_eh_frame(&mut section).map_err(|error| internal(&error))?;
        let mut bytes = section.0.into_vec();

        let offsets = entry_offsets(&bytes).ok_or_else(|| internal(&"malformed"))?;
        if offsets.len() != starts.len() {
            return Err(internal(&format_args!("{} entries for {} functions", offsets.len(), starts.len())));
        }
        bytes.extend_from_slice(&TERMINATOR);
        let entries = offsets.into_iter().zip(starts).map(|(at, function)| Entry { at, function }).collect();
        Ok(EhFrame { bytes, entries })
    }

    /// Length of the section in bytes.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The section. Addresses are as if it and the text both began at zero, until [`Self::relocate`].
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The section without its end, for a linker that puts others after it.
    pub(super) fn bytes_to_continue(&self) -> &[u8] {
        &self.bytes[..self.bytes.len() - TERMINATOR.len()]
    }

    /// The 32-bit fields that hold the distance from themselves to a place in the text: offset of the field in the
    /// section, and of the place in the text.
    pub(super) fn references(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        self.entries.iter().map(|entry| ((entry.at + ADDRESS) as u64, entry.function))
    }

    /// Makes the section right for its own address and that of the text.
    ///
    /// # Errors
    /// [`Error::Limit`] if they are too far apart.
    pub(super) fn relocate(&mut self, own_address: u64, text: Range<u64>) -> Result<(), Error> {
        if text.end.wrapping_sub(own_address) > TEXT_LIMIT {
            return Err(too_far(text.end.wrapping_sub(own_address)));
        }
        let distance = (text.start - own_address) as u32;
        for entry in &self.entries {
            let field = self.bytes[entry.at + ADDRESS..].first_chunk_mut::<4>();
            let field = field.ok_or_else(|| Error::internal("unwind information", "malformed"))?;
            *field = u32::from_le_bytes(*field).wrapping_add(distance).to_le_bytes();
        }
        Ok(())
    }

    /// Length of [`Self::header`] in bytes.
    pub(super) fn header_len(&self) -> usize {
        HEADER + 8 * self.entries.len()
    }

    /// `.eh_frame_hdr` (Linux Standard Base, "Exception Frame Header"): a table for binary search. All arguments are
    /// addresses.
    ///
    /// # Errors
    /// [`Error::Limit`] if they are too far apart.
    pub(super) fn header(&self, own_address: u64, eh_frame: u64, text: u64) -> Result<Vec<u8>, Error> {
        let distance = |to: u64, from: u64| {
            let distance = to.wrapping_sub(from) as i64;
            i32::try_from(distance).map(i32::to_le_bytes).map_err(|_| too_far(distance.unsigned_abs()))
        };
        let mut out = Vec::with_capacity(self.header_len());
        out.push(1);
        out.extend(
            [DW_EH_PE_pcrel | DW_EH_PE_sdata4, DW_EH_PE_udata4, DW_EH_PE_datarel | DW_EH_PE_sdata4].map(|pe| pe.0),
        );
        out.extend(distance(eh_frame, own_address + 4)?);
        out.extend((self.entries.len() as u32).to_le_bytes());
        for entry in &self.entries {
            out.extend(distance(text + u64::from(entry.function), own_address)?);
            out.extend(distance(eh_frame + entry.at as u64, own_address)?);
        }
        Ok(out)
    }
}

/// Version and encodings, pointer, count.
const HEADER: usize = 4 + 4 + 4;

fn too_far(found: u64) -> Error {
    Error::Limit {
        what: "distance of code from its unwind information",
        found,
        limit: TEXT_LIMIT,
        place: Place::default(),
    }
}

/// Where the frame description entries start. Each entry is its length (of what follows), then zero in a CIE and the
/// distance back to its CIE in a description.
fn entry_offsets(section: &[u8]) -> Option<Vec<usize>> {
    let mut offsets = Vec::new();
    let mut at = 0;
    while at < section.len() {
        let (len, rest) = section[at..].split_first_chunk::<4>()?;
        if *rest.first_chunk::<4>()? != [0; 4] {
            offsets.push(at);
        }
        at += 4 + u32::from_le_bytes(*len) as usize;
    }
    (at == section.len()).then_some(offsets)
}
