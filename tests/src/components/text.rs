//! The component of a case in the text format.

use std::fmt::Write;

use super::generate::{Case, Def, Ty};

/// Something that allocates, and a memory to do so.
const LIBC: &str = r#"
    (core module $libc
        (memory (export "memory") 64)
        (global $next (mut i32) (i32.const 4096))
        (func (export "realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
            (local $at i32)
            (local.set $at (i32.and
                (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
                (i32.sub (i32.const 0) (local.get $align))))
            (global.set $next (i32.add (local.get $at) (local.get $size)))
            (memory.copy (local.get $at) (local.get $old)
                (select (local.get $old_size) (local.get $size) (i32.lt_u (local.get $old_size) (local.get $size))))
            (local.get $at)))
    (core instance $libc (instantiate $libc))
"#;

impl Case {
    /// The component: `echo` gives back what it is given, in memory; `flat` says which core values arrive.
    pub fn text(&self) -> String {
        let mut out = String::from("(component\n");
        for (at, encoding) in self.encodings.iter().enumerate() {
            self.component(&mut out, at, encoding);
        }
        for (at, def) in self.defs.iter().enumerate() {
            let _ = writeln!(out, "  (type $d{at} {}) (export $t{at} \"t{at}\" (type $d{at}))", self.def(def));
        }
        let types: String = (0..self.defs.len()).map(|at| format!(" (with \"t{at}\" (type $t{at}))")).collect();
        for at in 0..self.encodings.len() {
            let mut with = types.clone();
            if let Some(before) = at.checked_sub(1) {
                for name in self.functions() {
                    let _ = write!(with, " (with \"{name}\" (func $i{before} \"{name}\"))");
                }
            }
            let _ = writeln!(out, "  (instance $i{at} (instantiate $c{at}{with}))");
        }
        for name in self.functions() {
            let _ = writeln!(out, "  (export \"{name}\" (func $i{} \"{name}\"))", self.encodings.len() - 1);
        }
        out.push(')');
        out
    }

    fn functions(&self) -> impl Iterator<Item = &'static str> {
        ["echo"].into_iter().chain(self.has_flat().then_some("flat"))
    }

    fn component(&self, out: &mut String, at: usize, encoding: &str) {
        let _ = writeln!(out, "  (component $c{at}");
        for (at, def) in self.defs.iter().enumerate() {
            let _ = writeln!(out, "    (type $d{at} {}) (import \"t{at}\" (type $t{at} (eq $d{at})))", self.def(def));
        }
        let ty = self.ty(&self.ty);
        let beside = " u32".repeat(17);
        let echo = format!("(param \"x\" (tuple {ty}{beside})) (result (tuple {ty}{beside}))");
        let flat = format!("(param \"x\" {ty}) (result (list u64))");
        let signature = |name: &str| if name == "echo" { echo.clone() } else { flat.clone() };
        let options =
            format!("(memory $libc \"memory\") (realloc (func $libc \"realloc\")) string-encoding={encoding}");
        if at > 0 {
            for name in self.functions() {
                let _ = writeln!(out, "    (import \"{name}\" (func ${name} {}))", signature(name));
            }
        }
        out.push_str(LIBC);
        let params = self.core_types().join(" ");
        if at == 0 {
            let mut stores = String::new();
            for (at, ty) in self.core_types().iter().enumerate() {
                let value = format!("(local.get {at})");
                let bits = match ty.as_str() {
                    "i32" => format!("(i64.extend_i32_u {value})"),
                    "f32" => format!("(i64.extend_i32_u (i32.reinterpret_f32 {value}))"),
                    "f64" => format!("(i64.reinterpret_f64 {value})"),
                    _ => value,
                };
                let _ = writeln!(stores, "        (i64.store offset={} (i32.const 0) {bits})", 64 + 8 * at);
            }
            let count = self.core_types().len();
            let _ = writeln!(
                out,
                "    (core module $m (import \"libc\" \"memory\" (memory 1))
      (func (export \"echo\") (param i32) (result i32) (local.get 0))
      (func (export \"flat\") (param {params}) (result i32)
{stores}        (i32.store (i32.const 8) (i32.const 64)) (i32.store (i32.const 12) (i32.const {count}))
        (i32.const 8)))
    (core instance $m (instantiate $m (with \"libc\" (instance $libc))))"
            );
        } else {
            for name in self.functions() {
                let _ = writeln!(out, "    (core func $core-{name} (canon lower (func ${name}) {options}))");
            }
            let gets: String = (0..self.core_types().len()).map(|at| format!("(local.get {at})")).collect();
            let has_flat = self.has_flat();
            let import = if has_flat {
                format!("(import \"i\" \"flat\" (func $flat (param {params} i32)))")
            } else {
                String::new()
            };
            let func = if has_flat {
                format!(
                    "(func (export \"flat\") (param {params}) (result i32) (call $flat {gets} (i32.const 16)) (i32.const 16))"
                )
            } else {
                String::new()
            };
            let given = if has_flat { " (export \"flat\" (func $core-flat))" } else { "" };
            let _ = writeln!(
                out,
                "    (core module $m (import \"i\" \"echo\" (func $echo (param i32 i32))) {import}
      (func (export \"echo\") (param i32) (result i32) (call $echo (local.get 0) (i32.const 1024)) (i32.const 1024))
      {func})
    (core instance $m (instantiate $m (with \"i\" (instance (export \"echo\" (func $core-echo)){given}))))"
            );
        }
        for name in self.functions() {
            let _ = writeln!(
                out,
                "    (func (export \"{name}\") {} (canon lift (core func $m \"{name}\") {options}))",
                signature(name)
            );
        }
        out.push_str("  )\n");
    }

    /// The core values of the type as parameters; one pointer if they are too many.
    fn core_types(&self) -> Vec<String> {
        if !self.has_flat() {
            return vec!["i32".into()];
        }
        self.flatten(&self.ty).into_iter().map(String::from).collect()
    }

    fn flatten(&self, ty: &Ty) -> Vec<&'static str> {
        let cases = |payloads: Vec<&Ty>| {
            let mut joined: Vec<&'static str> = Vec::new();
            for payload in payloads {
                for (at, found) in self.flatten(payload).into_iter().enumerate() {
                    match joined.get_mut(at) {
                        None => joined.push(found),
                        Some(have) if *have == found => {}
                        Some(have) => {
                            let narrow = |ty: &str| matches!(ty, "i32" | "f32");
                            *have = if narrow(have) && narrow(found) { "i32" } else { "i64" };
                        }
                    }
                }
            }
            [vec!["i32"], joined].concat()
        };
        match ty {
            Ty::Primitive("s64" | "u64") => vec!["i64"],
            Ty::Primitive("f32") => vec!["f32"],
            Ty::Primitive("f64") => vec!["f64"],
            Ty::Primitive(_) => vec!["i32"],
            Ty::String | Ty::List(_) => vec!["i32", "i32"],
            Ty::Tuple(types) => types.iter().flat_map(|ty| self.flatten(ty)).collect(),
            Ty::Option(payload) => cases(vec![payload]),
            Ty::Result(ok, err) => cases(ok.iter().chain(err).map(|ty| &**ty).collect()),
            Ty::Named(def) => match &self.defs[*def] {
                Def::Record(types) => types.iter().flat_map(|ty| self.flatten(ty)).collect(),
                Def::Variant(payloads) => cases(payloads.iter().flatten().collect()),
                Def::Enum(_) | Def::Flags(_) => vec!["i32"],
            },
        }
    }

    fn def(&self, def: &Def) -> String {
        let names =
            |prefix: &str, count: usize| -> String { (0..count).map(|at| format!(" \"{prefix}{at}\"")).collect() };
        match def {
            Def::Record(types) => {
                let fields: String =
                    types.iter().enumerate().map(|(at, ty)| format!(" (field \"f{at}\" {})", self.ty(ty))).collect();
                format!("(record{fields})")
            }
            Def::Variant(cases) => {
                let case = |(at, ty): (usize, &Option<Ty>)| {
                    let ty = ty.as_ref().map(|ty| format!(" {}", self.ty(ty))).unwrap_or_default();
                    format!(" (case \"c{at}\"{ty})")
                };
                format!("(variant{})", cases.iter().enumerate().map(case).collect::<String>())
            }
            Def::Enum(cases) => format!("(enum{})", names("c", *cases)),
            Def::Flags(count) => format!("(flags{})", names("f", *count)),
        }
    }

    fn ty(&self, ty: &Ty) -> String {
        match ty {
            Ty::Primitive(name) => (*name).into(),
            Ty::String => "string".into(),
            Ty::List(element) => format!("(list {})", self.ty(element)),
            Ty::Tuple(types) => {
                format!("(tuple{})", types.iter().map(|ty| format!(" {}", self.ty(ty))).collect::<String>())
            }
            Ty::Option(payload) => format!("(option {})", self.ty(payload)),
            Ty::Result(ok, err) => {
                let ok = ok.as_ref().map(|ty| format!(" {}", self.ty(ty))).unwrap_or_default();
                let err = err.as_ref().map(|ty| format!(" (error {})", self.ty(ty))).unwrap_or_default();
                format!("(result{ok}{err})")
            }
            Ty::Named(def) => format!("$t{def}"),
        }
    }
}
