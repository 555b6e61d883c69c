//! The report for people: aligned columns, one section for each question.

use std::fmt::{self, Display, Formatter};

use super::component::{Component, ComponentFunc};
use super::report::{Export, Function, Import, Memory, Profile, Region, Report, Table, limits};
use crate::inspect::elf::Part;
use crate::output::printable;
use crate::size::display_size;

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let slot = format!("Slot: {} of addresses", display_size(self.slot_size));
        let image = format!("image {} in {} runs", display_size(self.image_bytes), self.image_runs);
        let file = format!("File: {}, {image}", display_size(self.bytes));
        let functions = format!("Functions: {}, and {} thunks; the biggest", self.functions, self.thunks);

        identity(f, self)?;
        match &self.component {
            Some(of) => component(f, of)?,
            None => {
                section(f, "Imports", self.imports.iter().map(import).collect())?;
                section(f, "Exports", self.exports.iter().map(export).collect())?;
            }
        }
        section(f, "Memories", self.memories.iter().enumerate().map(memory).collect())?;
        section(f, "Tables", self.tables.iter().enumerate().map(table).collect())?;
        section(f, &slot, self.slot.iter().map(region).collect())?;
        section(f, &file, self.parts.iter().map(part).collect())?;
        section(f, &functions, self.biggest.iter().map(function).collect())
    }
}

/// The WIT says what functions there are, and their types; so only where there is none they are listed.
fn component(f: &mut Formatter<'_>, component: &Component) -> fmt::Result {
    let Component { wit, imports, exports, obtained, instances, groups, .. } = component;
    let plural = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    let groups = plural(*groups, "memory group");
    writeln!(f, "\nComponent: {}, {groups}", plural(*instances, "component instance"))?;
    let given = obtained.iter().map(|(interface, name)| vec![full_name(interface, name)]);
    section(f, "Starts with a handle of each", given.collect())?;
    match wit {
        Some(wit) => {
            section(f, "Imports", interfaces(imports))?;
            section(f, "Exports", interfaces(exports))?;
            writeln!(f, "\nWIT")?;
            wit.lines().try_for_each(|line| writeln!(f, "{}", format!("  {}", printable(line)).trim_end()))
        }
        None => {
            section(f, "Imports", imports.iter().map(component_func).collect())?;
            section(f, "Exports", exports.iter().map(component_func).collect())
        }
    }
}

fn component_func(func: &ComponentFunc) -> Vec<String> {
    vec![full_name(&func.interface, &func.name), func.ty.clone()]
}

fn full_name(interface: &str, name: &str) -> String {
    let dot = if interface.is_empty() { "" } else { "#" };
    format!("{interface}{dot}{name}")
}

/// Interfaces, each with the number of its functions; and the functions of none.
fn interfaces(funcs: &[ComponentFunc]) -> Vec<Vec<String>> {
    let mut rows: Vec<(&str, String, usize)> = Vec::new();
    for func in funcs {
        match rows.iter_mut().find(|row| !func.interface.is_empty() && row.0 == func.interface) {
            Some(row) => row.2 += 1,
            None if func.interface.is_empty() => rows.push((&func.name, func.ty.clone(), 0)),
            None => rows.push((&func.interface, String::new(), 1)),
        }
    }
    let row = |(name, ty, count): (&str, String, usize)| match count {
        0 => vec![name.to_owned(), ty],
        1 => vec![name.to_owned(), "1 function".into()],
        count => vec![name.to_owned(), format!("{count} functions")],
    };
    rows.into_iter().map(row).collect()
}

fn import(import: &Import) -> Vec<String> {
    vec![format!("{}.{}", import.module, import.name), import.kind.clone(), import.ty.clone()]
}

fn export(export: &Export) -> Vec<String> {
    vec![export.name.clone(), export.kind.clone(), export.ty.clone()]
}

fn memory((index, memory): (usize, &Memory)) -> Vec<String> {
    let pages = format!("{} pages of {}", limits(memory.min, memory.max), display_size(memory.page_size));
    let place = match memory.imported {
        true => "imported".into(),
        false => format!("{} reserved", display_size(memory.reservation)),
    };
    vec![index.to_string(), pages, memory.model.into(), place]
}

fn table((index, table): (usize, &Table)) -> Vec<String> {
    let elements = format!("{} {}", limits(table.min, table.max), table.element);
    let place = if table.imported { "imported".into() } else { format!("room for {}", table.limit) };
    vec![index.to_string(), elements, place]
}

fn region(region: &Region) -> Vec<String> {
    vec![region.name.clone(), format!("{:#x}", region.offset), display_size(region.bytes)]
}

fn part(part: &Part) -> Vec<String> {
    vec![part.name.clone(), display_size(part.bytes), if part.loaded { "mapped" } else { "" }.into()]
}

fn function(function: &Function) -> Vec<String> {
    let index = format!("{} {}", function.kind, function.index);
    vec![display_size(function.bytes.into()), index, function.name.clone()]
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
        ("source", report.source.clone()),
        ("profile", report.profile.as_ref().map_or_else(|| "none".into(), profile)),
        ("ABI version", report.abi_version.to_string()),
        ("fuel", if report.metered { "is counted" } else { "is not counted" }.to_owned()),
        ("initialiser", if report.init { "runs at instantiation" } else { "none" }.to_owned()),
    ];
    columns(f, rows.map(|(name, value)| vec![name.to_owned(), value]).into())
}

fn profile(of: &Profile) -> String {
    let (functions, pages) = (of.functions_found, of.pages_found);
    let text = display_size(of.text_bytes.into());
    let source = if of.same_source { "" } else { ", recorded with another version" };
    let found = format!("{functions} of {} functions ({text}), {pages} of {} pages", of.functions, of.pages);
    format!("{} ({found}{source})", of.digest)
}

/// A headline and a table below it; nothing at all without rows.
fn section(f: &mut Formatter<'_>, title: &str, rows: Vec<Vec<String>>) -> fmt::Result {
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(f, "\n{title}")?;
    columns(f, rows)
}

/// Rows with columns as wide as their widest cell. Names are whatever the module's author chose.
fn columns(f: &mut Formatter<'_>, mut rows: Vec<Vec<String>>) -> fmt::Result {
    rows.iter_mut().flatten().for_each(|cell| *cell = printable(cell));
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<_> = (0..).map_while(width).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
        writeln!(f, "  {}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}
