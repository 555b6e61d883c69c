//! Modules from seeds.
//!
//! What a module may have is drawn first ("swarm testing": a module with few kinds of instructions gets deeper into
//! each than one with all), then `wasm-smith` draws the module from random bytes. Functions count down a global at
//! each call and loop, and trap at its end.

use std::collections::HashSet;

use arbitrary::Unstructured;
use wasm_encoder::reencode::{Error, Reencode};
use wasm_encoder::{ImportSection, Module as Encoded};
use wasm_smith::{Config, InstructionKind, InstructionKinds, Module};
use wasmparser::{Export, ExternalKind, ImportSectionReader, Parser, Payload, TypeRef};

use super::{MEMORY_LIMIT, TABLE_LIMIT};
use crate::Random;

/// First name of all imports; the second is the import's number.
pub const IMPORTS: &str = "import";

/// Calls and loops that one instance may make. Few, since what is left after the first endless loop is nothing.
const FUEL: u32 = 1000;
/// The same for the few cases that are to exhaust the guest's stack.
const MUCH_FUEL: u32 = 300_000;

/// A random module.
#[derive(Clone, Debug)]
pub struct Case {
    /// The seed.
    pub seed: u64,
    /// The module.
    pub module: Vec<u8>,
    /// Whether it is to be compiled with canonical NaNs. Otherwise the module itself makes them canonical.
    pub canonicalize_nans: bool,
}

impl Case {
    /// The case with this seed. `None`: there is no such module, which happens now and then.
    pub fn new(seed: u64) -> Option<Case> {
        let mut random = Random(seed);
        let len = 64 << random.below(8);
        let bytes: Vec<u8> = std::iter::repeat_with(|| random.next() as u8).take(len).collect();
        Case::from_bytes(seed, &bytes)
    }

    /// The case that is drawn from `bytes`, with features and sizes from `seed`.
    pub fn from_bytes(seed: u64, bytes: &[u8]) -> Option<Case> {
        let mut random = Random(!seed);
        let canonicalize_nans = random.below(2) == 0;
        let fuel = if random.below(16) == 0 { MUCH_FUEL } else { FUEL };
        let mut module = Module::new(config(&mut random, !canonicalize_nans), &mut Unstructured::new(bytes)).ok()?;
        module.ensure_termination(fuel).ok()?;
        Some(Case { seed, module: number_imports(&module.to_bytes()), canonicalize_nans })
    }

    /// The module in the text format, with the offsets of its instructions as comments.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut config = wasmprinter::Config::new();
        match config.print_offsets(true).print(&self.module, &mut wasmprinter::PrintFmtWrite(&mut text)) {
            Ok(()) => text,
            Err(error) => format!(";; cannot be printed: {error}\n"),
        }
    }

    /// Names of what the module exports, without functions that it imports.
    pub fn defined_exports(&self) -> HashSet<&str> {
        let mut imported = 0;
        let mut names = HashSet::new();
        for payload in Parser::new(0).parse_all(&self.module).map_while(Result::ok) {
            match payload {
                Payload::ImportSection(imports) => {
                    let imports = imports.into_imports().map_while(Result::ok);
                    imported = imports.filter(|import| matches!(import.ty, TypeRef::Func(_))).count();
                }
                Payload::ExportSection(exports) => {
                    let exports = exports.into_iter().map_while(Result::ok);
                    let defined =
                        |export: &Export<'_>| export.kind != ExternalKind::Func || export.index as usize >= imported;
                    names.extend(exports.filter(defined).map(|export| export.name));
                }
                _ => {}
            }
        }
        names
    }
}

/// The module with import `k` renamed to [`IMPORTS`] `"k"`: a random one may want different things under one name.
fn number_imports(module: &[u8]) -> Vec<u8> {
    struct Numbered;
    impl Reencode for Numbered {
        type Error = std::convert::Infallible;

        fn parse_import_section(
            &mut self,
            imports: &mut ImportSection,
            section: ImportSectionReader<'_>,
        ) -> Result<(), Error<Self::Error>> {
            for import in section.into_imports() {
                let name = imports.len().to_string();
                imports.import(IMPORTS, &name, self.entity_type(import?.ty)?);
            }
            Ok(())
        }
    }
    let mut encoded = Encoded::new();
    let parsed = Numbered.parse_core_module(&mut encoded, Parser::new(0), module);
    parsed.expect("wasm-smith makes well-formed modules");
    encoded.finish()
}

fn config(random: &mut Random, canonicalize_nans: bool) -> Config {
    use InstructionKind::{Control, Memory, Numeric, Parametric, Reference, Table, Variable, Vector};
    let kinds = [Control, Memory, Numeric, Parametric, Reference, Table, Variable, Vector];
    let allowed: Vec<_> = kinds.into_iter().filter(|_| random.below(3) != 0).collect();
    let mut one_in = |bound| random.below(bound) == 0;
    Config {
        // What precast does not compile.
        exceptions_enabled: false,
        gc_enabled: false,
        memory64_enabled: false,
        relaxed_simd_enabled: false,
        threads_enabled: false,
        max_memories: 1,
        max_tags: 0,
        // What is in the module.
        allow_floats: !one_in(8),
        allowed_instructions: if one_in(2) { InstructionKinds::all() } else { InstructionKinds::new(&allowed) },
        allow_start_export: one_in(4),
        bulk_memory_enabled: !one_in(8),
        canonicalize_nans,
        disallow_traps: one_in(3),
        extended_const_enabled: !one_in(8),
        export_everything: true,
        multi_value_enabled: !one_in(8),
        reference_types_enabled: !one_in(4),
        saturating_float_to_int_enabled: !one_in(8),
        sign_extension_ops_enabled: !one_in(8),
        simd_enabled: !one_in(3),
        tail_call_enabled: !one_in(3),
        // How much of it.
        max_imports: if one_in(2) { 0 } else { 8 },
        min_funcs: 1,
        min_types: 2,
        min_memories: u32::from(!one_in(4)),
        min_tables: u32::from(!one_in(3)),
        max_funcs: if one_in(4) { 30 } else { 8 },
        max_globals: 10,
        max_data_segments: 5,
        max_element_segments: 5,
        max_instructions: if one_in(4) { 1000 } else { 150 },
        max_tables: if one_in(2) { 1 } else { 4 },
        max_types: 12,
        max_memory32_bytes: (MEMORY_LIMIT / 2) as u64,
        max_table_elements: (TABLE_LIMIT / 4) as u64,
        memory_max_size_required: one_in(2),
        table_max_size_required: one_in(2),
        ..Config::default()
    }
}
