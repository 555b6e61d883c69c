//! The report for people: aligned columns, one section for each question.

use std::fmt::{self, Display, Formatter};

use super::report::{Report, limits};
use crate::size::display_size;

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        identity(f, self)?;
        let imports = self.imports.iter();
        section(
            f,
            "Imports",
            imports.map(|row| vec![format!("{}.{}", row.module, row.name), row.kind.clone(), row.ty.clone()]),
        )?;
        let exports = self.exports.iter();
        section(f, "Exports", exports.map(|row| vec![row.name.clone(), row.kind.clone(), row.ty.clone()]))?;
        section(
            f,
            "Memories",
            self.memories.iter().enumerate().map(|(index, memory)| {
                let pages = format!("{} pages of {}", limits(memory.min, memory.max), display_size(memory.page_size));
                let place = if memory.imported {
                    "imported".into()
                } else {
                    format!("{} reserved", display_size(memory.reservation))
                };
                vec![index.to_string(), pages, memory.model.into(), place]
            }),
        )?;
        section(
            f,
            "Tables",
            self.tables.iter().enumerate().map(|(index, table)| {
                let elements = format!("{} {}", limits(table.min, table.max), table.element);
                let place = if table.imported { "imported".into() } else { format!("room for {}", table.limit) };
                vec![index.to_string(), elements, place]
            }),
        )?;
        section(
            f,
            &format!("Slot: {} of addresses", display_size(self.slot_size)),
            self.slot
                .iter()
                .map(|region| vec![region.name.clone(), format!("{:#x}", region.offset), display_size(region.bytes)]),
        )?;
        let image = format!("{} in {} runs", display_size(self.image_bytes), self.image_runs);
        section(
            f,
            &format!("File: {}, image {image}", display_size(self.bytes)),
            self.parts.iter().map(|part| {
                let loaded = if part.loaded { "mapped" } else { "" };
                vec![part.name.clone(), display_size(part.bytes), loaded.into()]
            }),
        )?;
        let functions = format!("Functions: {}, and {} thunks; the biggest", self.functions, self.thunks);
        section(
            f,
            &functions,
            self.biggest.iter().map(|function| {
                let index = format!("{} {}", function.kind, function.index);
                vec![display_size(function.bytes.into()), index, function.name.clone()]
            }),
        )
    }
}

fn identity(f: &mut Formatter<'_>, report: &Report) -> fmt::Result {
    let features = report.features.join(" ");
    let cpu = match report.cpu {
        Some(level) if features.is_empty() => level.to_owned(),
        Some(level) => format!("{level} ({features})"),
        None => features,
    };
    let digest = if report.digest_matches { "matches" } else { "DOES NOT MATCH: the file is damaged" };
    writeln!(f, "{}", report.file)?;
    let rows = [
        ("target", report.target.clone()),
        ("CPU", cpu),
        ("producer", report.producer.clone()),
        ("digest", format!("{} ({digest})", report.digest)),
        ("ABI version", report.abi_version.to_string()),
        ("initialiser", if report.init { "runs at instantiation" } else { "none" }.to_owned()),
    ];
    columns(f, rows.map(|(name, value)| vec![name.to_owned(), value]).into())
}

/// A headline and a table below it; nothing at all without rows.
fn section(f: &mut Formatter<'_>, title: &str, rows: impl Iterator<Item = Vec<String>>) -> fmt::Result {
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(f, "\n{title}")?;
    columns(f, rows)
}

/// Rows with columns as wide as their widest cell.
fn columns(f: &mut Formatter<'_>, rows: Vec<Vec<String>>) -> fmt::Result {
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<_> = (0..).map_while(width).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
        writeln!(f, "  {}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}
