//! `FORMAT.md` draws what the code defines: every field of every record, at its offset.

use precast_abi::bytes::{Field, Span};
use precast_abi::component::{
    CanonRow, ComponentExportRow, ComponentFuncRow, ComponentImportRow, ComponentInstanceRow, ComponentTypeRow,
    HostFuncRow, MemberRow, ObtainedRow, ResourceRow,
};
use precast_abi::meta::{
    DataRow, ElementRow, ExportRow, FunctionRow, GlobalRow, GroupRow, Header, HotRow, ImportRow, MemoryRow, NumberRow,
    ProfileRow, RunRow, TableRow, TypeRow,
};
use precast_abi::profile::Profile;
use precast_abi::{ABI_VERSION, meta};

const FORMAT: &str = include_str!("../FORMAT.md");

/// The size in a heading like `### types (44 bytes)`, and the fields of the table below it: offset, type, name.
fn drawn(heading: &str) -> (usize, Vec<(usize, &'static str, &'static str)>) {
    let start = FORMAT.find(&format!("\n### {heading} (")).unwrap_or_else(|| panic!("no section {heading}"));
    let section = &FORMAT[start + 1..];
    let section = section.find("\n### ").map_or(section, |end| &section[..end]);
    let size = section.split_once('(').and_then(|(_, rest)| rest.split_once(" bytes")).unwrap().0.parse().unwrap();
    let field = |line: &'static str| {
        let mut columns = line.split('|').map(str::trim).skip(1);
        Some((columns.next()?.parse().ok()?, columns.next()?, columns.next()?))
    };
    (size, section.lines().filter_map(field).collect())
}

fn size_of_type(name: &str) -> usize {
    match name {
        "u32" | "i32" => 4,
        "u64" | "i64" => 8,
        "span" => Span::SIZE,
        "[u8; 8]" => 8,
        "[u8; 32]" => 32,
        other => panic!("unknown type {other}"),
    }
}

/// The names of a struct's fields, from how `Debug` prints it.
fn field_names(debug: &str) -> Vec<String> {
    let (mut names, mut outer) = (Vec::new(), String::new());
    for line in debug.lines() {
        let indent = line.len() - line.trim_start().len();
        let Some((name, value)) = line.trim().split_once(": ") else { continue };
        match indent {
            4 if value.starts_with("SlotLayout") => outer = format!("{name}."),
            4 => names.push(name.to_string()),
            8 if !outer.is_empty() && name.starts_with(char::is_alphabetic) && line.ends_with(',') => {
                names.push(format!("{outer}{name}"));
            }
            _ => {}
        }
        if indent == 4 && !value.starts_with("SlotLayout") {
            outer.clear();
        }
    }
    names
}

fn check<R: Field + std::fmt::Debug>(heading: &str) {
    let (size, fields) = drawn(heading);
    assert_eq!(size, R::SIZE, "{heading}");
    let mut offset = 0;
    for (at, ty, name) in &fields {
        assert_eq!(*at, offset, "{heading}.{name}");
        offset += size_of_type(ty);
    }
    assert_eq!(offset, R::SIZE, "{heading}");
    let names: Vec<_> = fields.iter().map(|field| field.2).collect();
    assert_eq!(names, field_names(&format!("{:#?}", R::decode(&vec![0; R::SIZE]))), "{heading}");
}

#[test]
fn records_are_as_drawn() {
    check::<Header>("Header");
    check::<TypeRow>("types");
    check::<FunctionRow>("functions");
    check::<ImportRow>("imports");
    check::<ExportRow>("exports");
    check::<MemoryRow>("memories");
    check::<TableRow>("tables");
    check::<GlobalRow>("globals");
    check::<DataRow>("data");
    check::<ElementRow>("elements");
    check::<RunRow>("runs");
    check::<GroupRow>("groups");
    check::<ComponentTypeRow>("component types");
    check::<MemberRow>("member");
    check::<ComponentFuncRow>("component funcs");
    check::<ResourceRow>("resources");
    check::<ComponentInstanceRow>("component instances");
    check::<CanonRow>("canons");
    check::<ComponentImportRow>("component imports");
    check::<HostFuncRow>("host funcs");
    check::<ComponentExportRow>("component exports");
    check::<ObtainedRow>("obtained");
    check::<ProfileRow>("profile");
    check::<HotRow>("hot pages");
    check::<NumberRow>("function numbers");
}

#[test]
fn places_and_version_are_as_drawn() {
    assert!(FORMAT.starts_with(&format!("# The artifact format, version {ABI_VERSION}\n")));
    assert!(FORMAT.contains(&format!(" 0     header          {} bytes", Header::SIZE)));
    assert!(FORMAT.contains(&format!(" {}   directory       24 spans", Header::SIZE)));
    assert!(FORMAT.contains(&format!("| {} | [u8; 32] | digest |", meta::DIGEST_OFFSET)));
    let header = Header::decode(&[0; Header::SIZE]);
    let empty = meta::MetaBuilder::new(header).encode();
    assert!(FORMAT.contains(&format!(" {}   tables ", empty.len())));
    // A directory of one more table would begin with the first empty table's place somewhere else.
    let directory = &empty[Header::SIZE..];
    let spans: Vec<Span> = directory.chunks_exact(Span::SIZE).map(Span::decode).collect();
    assert_eq!(spans.len(), 24);
    assert!(spans.iter().all(|span| span.offset as usize == empty.len() && span.len == 0));
}

#[test]
fn the_profile_that_is_drawn_is_one() {
    let section = FORMAT.split_once("## Profiles").unwrap().1;
    let text = section.split("```").nth(1).unwrap().trim_start();
    let profile = Profile::parse(text).unwrap();
    assert_eq!(profile.to_string(), text);
    assert_eq!((profile.functions.len(), profile.pages.len()), (3, 3));
}
