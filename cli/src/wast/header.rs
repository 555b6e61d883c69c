//! The `;;!` lines at the beginning of a script, which say how it wants to be run: `;;! key = true`.
//!
//! Most keys name a WebAssembly proposal that the script needs. We compile with everything on, so they are ignored. Those
//! that turn a proposal of the component model off count where a component is asserted to be invalid: see
//! `component/limits.rs`. To have another of them known, add it to [`PROPOSALS`].

use wasmparser::WasmFeatures;

/// Keys, and the proposals they stand for.
const PROPOSALS: [(&str, WasmFeatures); 7] = [
    ("component_model_async", WasmFeatures::CM_ASYNC),
    ("component_model_async_stackful", WasmFeatures::CM_ASYNC_STACKFUL),
    ("component_model_error_context", WasmFeatures::CM_ERROR_CONTEXT),
    ("component_model_fixed_length_lists", WasmFeatures::CM_FIXED_LENGTH_LISTS),
    ("component_model_gc", WasmFeatures::CM_GC),
    ("component_model_implements", WasmFeatures::CM_IMPLEMENTS),
    ("component_model_map", WasmFeatures::CM_MAP),
];

/// What a script wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Whether every NaN that a float operation makes is to be the canonical one.
    pub(super) canonicalize_nans: bool,
    disabled: WasmFeatures,
}

impl Header {
    /// Reads the header of a script.
    pub(super) fn parse(script: &str) -> Self {
        let lines = script.lines().map_while(|line| line.strip_prefix(";;!"));
        let says = |wanted: &str, what: &str| {
            lines.clone().filter_map(|line| line.split_once('=')).any(|(key, value)| {
                let value = value.split_once(';').map_or(value, |(value, _)| value);
                key.trim() == wanted && value.trim() == what
            })
        };
        let disabled = PROPOSALS.iter().filter(|(key, _)| says(key, "false")).map(|(_, proposal)| *proposal);
        let disabled = disabled.fold(WasmFeatures::empty(), |all, proposal| all | proposal);
        Header { canonicalize_nans: says("nan_canonicalization", "true"), disabled }
    }

    /// The proposals that are turned off.
    pub(super) fn disabled(&self) -> WasmFeatures {
        self.disabled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_end_where_the_script_begins() {
        let none = Header { canonicalize_nans: false, disabled: WasmFeatures::empty() };
        let canonical = Header { canonicalize_nans: true, ..none };
        assert_eq!(Header::parse(";;! simd = true\n;;! nan_canonicalization = true\n(module)"), canonical);
        assert_eq!(Header::parse(";;! nan_canonicalization = false\n"), none);
        assert_eq!(Header::parse("(module)\n;;! nan_canonicalization = true\n"), none);
        assert_eq!(Header::parse(""), none);
        let map = Header { disabled: WasmFeatures::CM_MAP, ..none };
        assert_eq!(Header::parse(";;! component_model_map = false\n;;! component_model_async = true"), map);
    }
}
