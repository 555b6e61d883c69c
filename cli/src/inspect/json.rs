//! The report for programs. Keys are stable: add, never rename.

use serde_json::{Value, json};

use super::component::{Component, ComponentFunc};
use super::report::Report;

/// The report as one object. Sizes and offsets are in bytes, limits of memories in pages, absent maxima null.
pub(crate) fn to_json(report: &Report) -> Value {
    let imports = report.imports.iter();
    let exports = report.exports.iter();
    let mut json = json!({
        "file": report.file,
        "bytes": report.bytes,
        "target": report.target,
        "cpu": report.cpu,
        "features": report.features,
        "producer": report.producer,
        "digest": report.digest,
        "digest_matches": report.digest_matches,
        "abi_version": report.abi_version,
        "metered": report.metered,
        "source": report.source,
        "profile": report.profile.as_ref().map(|profile| json!({
            "digest": profile.digest,
            "same_source": profile.same_source,
            "functions": profile.functions,
            "functions_found": profile.functions_found,
            "pages": profile.pages,
            "pages_found": profile.pages_found,
            "text_bytes": profile.text_bytes,
        })),
        "init": report.init,
        "imports": imports
            .map(|row| json!({ "module": row.module, "name": row.name, "kind": row.kind, "type": row.ty }))
            .collect::<Vec<_>>(),
        "exports": exports
            .map(|row| json!({ "name": row.name, "kind": row.kind, "type": row.ty }))
            .collect::<Vec<_>>(),
        "memories": report.memories.iter().map(|memory| json!({
            "imported": memory.imported,
            "min": memory.min,
            "max": memory.max,
            "page_size": memory.page_size,
            "model": memory.model,
            "reservation": memory.reservation,
        })).collect::<Vec<_>>(),
        "tables": report.tables.iter().map(|table| json!({
            "imported": table.imported,
            "element": table.element,
            "min": table.min,
            "max": table.max,
            "limit": table.limit,
        })).collect::<Vec<_>>(),
        "slot": {
            "bytes": report.slot_size,
            "regions": report.slot.iter().map(|region| json!({
                "name": region.name,
                "offset": region.offset,
                "bytes": region.bytes,
            })).collect::<Vec<_>>(),
        },
        "image": { "bytes": report.image_bytes, "runs": report.image_runs },
        "parts": report.parts.iter().map(|part| json!({
            "name": part.name,
            "bytes": part.bytes,
            "mapped": part.loaded,
        })).collect::<Vec<_>>(),
        "functions": {
            "count": report.functions,
            "thunks": report.thunks,
            "biggest": report.biggest.iter().map(|function| json!({
                "name": function.name,
                "kind": function.kind,
                "index": function.index,
                "bytes": function.bytes,
            })).collect::<Vec<_>>(),
        },
    });
    if let Some(component) = &report.component {
        json["component"] = component_json(component);
    }
    json
}

fn component_json(component: &Component) -> Value {
    let funcs = |funcs: &[ComponentFunc]| -> Vec<Value> {
        let json = |func: &ComponentFunc| json!({ "interface": func.interface, "name": func.name, "type": func.ty });
        funcs.iter().map(json).collect()
    };
    let names = |pairs: &[(String, String)]| -> Vec<Value> {
        pairs.iter().map(|(interface, name)| json!({ "interface": interface, "name": name })).collect()
    };
    json!({
        "wit": component.wit,
        "imports": funcs(&component.imports),
        "exports": funcs(&component.exports),
        "resources": names(&component.resources),
        "obtained": names(&component.obtained),
        "instances": component.instances,
        "groups": component.groups,
    })
}
