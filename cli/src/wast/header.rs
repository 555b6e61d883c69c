//! The `;;!` lines at the beginning of a script, which say how it wants to be run: `;;! key = true`.
//!
//! Most keys name a WebAssembly proposal that the script needs. We compile with everything on, so they are ignored. To
//! narrow validation to the proposals that a script names (which a few scripts of invalid modules rely on), add them to
//! [`Header`] and let `compile.rs` refuse what they leave out.

/// What a script wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    /// Whether every NaN that a float operation makes is to be the canonical one.
    pub(super) canonicalize_nans: bool,
}

impl Header {
    /// Reads the header of a script.
    pub(super) fn parse(script: &str) -> Self {
        let lines = script.lines().map_while(|line| line.strip_prefix(";;!"));
        let wants = |wanted: &str| {
            lines.clone().filter_map(|line| line.split_once('=')).any(|(key, value)| {
                let value = value.split_once(';').map_or(value, |(value, _)| value);
                key.trim() == wanted && value.trim() == "true"
            })
        };
        Header { canonicalize_nans: wants("nan_canonicalization") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_end_where_the_script_begins() {
        let canonical = Header { canonicalize_nans: true };
        assert_eq!(Header::parse(";;! simd = true\n;;! nan_canonicalization = true\n(module)"), canonical);
        assert_eq!(Header::parse(";;! nan_canonicalization = false\n"), Header::default());
        assert_eq!(Header::parse("(module)\n;;! nan_canonicalization = true\n"), Header::default());
        assert_eq!(Header::parse(""), Header::default());
    }
}
