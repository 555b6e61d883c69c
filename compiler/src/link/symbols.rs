//! What `.symtab` and `.dynsym` list: all functions for debuggers and profilers, the exports for `dlsym`.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use object::elf;
use precast_abi::meta::ExternKind;
use precast_abi::symbol::EXPORT_PREFIX;

use super::names::TextFunction;
use crate::Error;
use crate::program::{FuncPlace, Program, Symbol};
use crate::text::Text;

/// A symbol in the text. The name is what ELF allows: without NUL.
pub(super) struct TextSymbol {
    /// Its name.
    pub(super) name: String,
    /// Where it is.
    pub(super) range: Range<u32>,
}

/// The symbols of an artifact.
pub(super) struct Symbols {
    /// The library's own name.
    pub(super) soname: String,
    /// Every function, by offset. Names may repeat.
    pub(super) locals: Vec<TextSymbol>,
    /// The exports that are functions of the program, by name. Names are unique.
    pub(super) exports: Vec<TextSymbol>,
}

impl Symbols {
    /// Collects them.
    ///
    /// # Errors
    /// [`Error::Internal`] if an exported function was not compiled.
    pub(super) fn new(program: &Program<'_>, functions: &[TextFunction], text: &Text) -> Result<Symbols, Error> {
        let locals = functions.iter().map(|function| TextSymbol {
            name: without_nul(&function.name).into_owned(),
            range: function.range.clone(),
        });
        let root = program.instances.values().next().and_then(|instance| instance.module.name);
        let root = root.filter(|_| program.component.is_none());
        let soname = root.filter(|name| !name.is_empty()).unwrap_or("precast-artifact");
        Ok(Symbols {
            soname: without_nul(soname).into_owned(),
            locals: locals.collect(),
            exports: exports(program, functions, text)?,
        })
    }
}

fn exports(program: &Program<'_>, functions: &[TextFunction], text: &Text) -> Result<Vec<TextSymbol>, Error> {
    let mut names = BTreeSet::new();
    let mut symbols = Vec::new();
    for export in program.exports.iter().filter(|export| export.kind == ExternKind::Func) {
        let Some(instance) = program.instances.values().next() else { continue };
        let (FuncPlace::Defined(func), _) = instance.env.funcs[export.index as usize] else { continue };
        let name = format!("{EXPORT_PREFIX}{}", without_nul(&export.name));
        // Of two names that differ only in a NUL, the first wins: nobody can ask `dlsym` for either.
        if !names.insert(name.clone()) {
            continue;
        }
        let range = text
            .offset(Symbol::Function(func))
            .and_then(|start| functions.binary_search_by_key(&start, |function| function.range.start).ok())
            .map(|position| functions[position].range.clone())
            .ok_or_else(|| Error::internal("link", format_args!("exported function {func:?} was not compiled")))?;
        symbols.push(TextSymbol { name, range });
    }
    Ok(symbols)
}

fn without_nul(name: &str) -> Cow<'_, str> {
    if name.contains('\0') { name.replace('\0', "\u{fffd}").into() } else { name.into() }
}

/// Geometry of the two hash tables over `.dynsym`.
#[derive(Clone, Copy)]
pub(super) struct HashGeometry {
    /// Number of symbols, without the null symbol.
    pub(super) symbols: u32,
    /// Buckets of each table.
    pub(super) buckets: u32,
    /// Words of the GNU table's Bloom filter, a power of two.
    pub(super) bloom_words: u32,
}

impl HashGeometry {
    /// The shift for the Bloom filter's second bit.
    pub(super) const BLOOM_SHIFT: u32 = 26;

    /// Two symbols in a bucket and at least eight bits of filter for each.
    pub(super) fn new(symbols: usize) -> Self {
        let count = u32::try_from(symbols).expect("a module has fewer exports");
        HashGeometry {
            symbols: count,
            buckets: count.div_ceil(2).max(1),
            bloom_words: count.div_ceil(8).next_power_of_two(),
        }
    }

    /// What `.dynsym` is sorted by, since the GNU table has no chains of its own.
    pub(super) fn order(self, name: &[u8]) -> (u32, &[u8]) {
        (elf::gnu_hash(name) % self.buckets, name)
    }
}
