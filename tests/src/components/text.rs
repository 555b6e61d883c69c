//! The component of a case in the text format.

use std::fmt::Write;

use super::generate::{Case, Deed, Def, HEAP, HOSTILE_PAGES, RESULT, Ty};

impl Case {
    /// The component: `echo` gives back what it is given, in memory, and `pass` as a core value; `flat` says which core
    /// values arrive.
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

    fn component(&self, out: &mut String, at: usize, encoding: &str) {
        let _ = writeln!(out, "  (component $c{at}");
        for (at, def) in self.defs.iter().enumerate() {
            let _ = writeln!(out, "    (type $d{at} {}) (import \"t{at}\" (type $t{at} (eq $d{at})))", self.def(def));
        }
        let options =
            format!("(memory $libc \"memory\") (realloc (func $libc \"realloc\")) string-encoding={encoding}");
        self.libc(out, at);
        let mut given = String::new();
        if at > 0 {
            for name in self.functions() {
                let signature = self.signature_text(name);
                let _ = writeln!(out, "    (import \"{name}\" (func ${name} {signature}))");
                let _ = writeln!(out, "    (core func $core-{name} (canon lower (func ${name}) {options}))");
                let _ = write!(given, " (export \"{name}\" (func $core-{name}))");
            }
        }
        let _ = writeln!(out, "    (core module $m (import \"libc\" \"memory\" (memory 1))");
        if at == 0 {
            self.functions().for_each(|name| self.giver(out, name));
        } else {
            self.functions().for_each(|name| self.imports(out, name));
            self.functions().for_each(|name| self.passer(out, at, name));
        }
        out.push_str("    )\n");
        let with = format!("(with \"libc\" (instance $libc)) (with \"i\" (instance{given}))");
        let _ = writeln!(out, "    (core instance $m (instantiate $m {with}))");
        for name in self.functions() {
            let (signature, lift) =
                (self.signature_text(name), format!("(canon lift (core func $m \"{name}\") {options})"));
            let _ = writeln!(out, "    (func (export \"{name}\") {signature} {lift})");
        }
        out.push_str("  )\n");
    }

    fn signature_text(&self, function: &str) -> String {
        let [param, result] = self.signature(function).map(|ty| self.ty(&ty));
        format!("(param \"x\" {param}) (result {result})")
    }

    /// Something that allocates, and a memory to do so.
    ///
    /// In an honest case each call gives another place. How often a string is reallocated is not the same everywhere if
    /// it comes from the host: so in a hostile case, where it might matter what is beside it, it stays where it is, in a
    /// page of its own.
    fn libc(&self, out: &mut String, component: usize) {
        let (pages, start, stay) = match self.mischief {
            None => (1024, "(local.get $align)", ""),
            Some(_) => (
                HOSTILE_PAGES,
                "(i32.const 4096)",
                "(if (local.get $old) (then
                (if (i32.le_u (local.get $size) (i32.const 4096)) (then (local.set $at (local.get $old))))))",
            ),
        };
        let wrong = match self.deed(component) {
            Some(Deed::Realloc { call, by }) => {
                let is_outermost = component + 1 == self.encodings.len();
                let counts = if is_outermost { "(i32.eqz (local.get $old))" } else { "(i32.const 1)" };
                format!(
                    "(if {counts} (then
                (if (i32.eq (global.get $calls) (i32.const {call}))
                    (then (local.set $at (i32.add (local.get $at) (i32.const {by})))))
                (global.set $calls (i32.add (global.get $calls) (i32.const 1)))))"
                )
            }
            _ => String::new(),
        };
        let _ = writeln!(
            out,
            "    (core module $libc
        (memory (export \"memory\") {pages})
        (global $next (mut i32) (i32.const {HEAP}))
        (global $calls (mut i32) (i32.const 0))
        (func (export \"realloc\") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
            (local $at i32)
            (local.set $at (i32.and
                (i32.add (global.get $next) (i32.sub {start} (i32.const 1)))
                (i32.sub (i32.const 0) {start})))
            {stay}
            {wrong}
            (if (i32.ne (local.get $at) (local.get $old))
                (then (global.set $next (i32.add (local.get $at) (local.get $size)))))
            (if (local.get $old) (then (memory.copy (local.get $at) (local.get $old)
                (select (local.get $old_size) (local.get $size) (i32.lt_u (local.get $old_size) (local.get $size))))))
            (local.get $at)))
    (core instance $libc (instantiate $libc))"
        );
    }

    /// A function of the component that hands values back.
    fn giver(&self, out: &mut String, name: &str) {
        let types = self.core_types();
        let params = types.join(" ");
        let (early, late) = (self.write(0, true), self.write(0, false));
        let _ = match name {
            "echo" => {
                let by = self.point(0, true).or(self.point(0, false)).unwrap_or_default();
                let result = format!("(i32.add (local.get 0) (i32.const {by}))");
                writeln!(out, "      (func (export \"echo\") (param i32) (result i32) {early} {late} {result})")
            }
            "pass" => {
                let values = self.values(0);
                writeln!(
                    out,
                    "      (func (export \"pass\") (param {params}) (result {params}) {early} {late} {values})"
                )
            }
            _ => {
                let _ = writeln!(out, "      (func (export \"flat\") (param {params}) (result i32)");
                for (at, ty) in types.iter().enumerate() {
                    let value = format!("(local.get {at})");
                    let bits = match ty.as_str() {
                        "i32" => format!("(i64.extend_i32_u {value})"),
                        "f32" => format!("(i64.extend_i32_u (i32.reinterpret_f32 {value}))"),
                        "f64" => format!("(i64.reinterpret_f64 {value})"),
                        _ => value,
                    };
                    let _ = writeln!(out, "        (i64.store offset={} (i32.const 0) {bits})", 64 + 8 * at);
                }
                let count = types.len();
                writeln!(
                    out,
                    "        (i32.store (i32.const 8) (i32.const 64)) (i32.store (i32.const 12) (i32.const {count}))
        (i32.const 8))"
                )
            }
        };
    }

    /// The function of the next component that [`Self::passer`] calls.
    fn imports(&self, out: &mut String, name: &str) {
        let params = self.core_types().join(" ");
        let signature = match name {
            "echo" => "(param i32 i32)".into(),
            "pass" => format!("(param {params}) (result {params})"),
            _ => format!("(param {params} i32)"),
        };
        let _ = writeln!(out, "      (import \"i\" \"{name}\" (func ${name} {signature}))");
    }

    /// A function of a component that passes values on.
    fn passer(&self, out: &mut String, at: usize, name: &str) {
        let params = self.core_types().join(" ");
        let (early, late) = (self.write(at, true), self.write(at, false));
        let _ = match name {
            "echo" => {
                let [given, result] = [true, false].map(|early| self.point(at, early).unwrap_or_default());
                let result = RESULT.wrapping_add(result);
                writeln!(
                    out,
                    "      (func (export \"echo\") (param i32) (result i32) {early}
        (call $echo (i32.add (local.get 0) (i32.const {given})) (i32.const {RESULT})) {late} (i32.const {result}))"
                )
            }
            "pass" => {
                let values = self.values(at);
                writeln!(
                    out,
                    "      (func (export \"pass\") (param {params}) (result {params}) {early} (call $pass {values}) {late})"
                )
            }
            _ => {
                let values = self.values(at);
                writeln!(
                    out,
                    "      (func (export \"flat\") (param {params}) (result i32) {early} (call $flat {values} (i32.const 16)) (i32.const 16))"
                )
            }
        };
    }

    /// What this component does wrong.
    fn deed(&self, component: usize) -> Option<&Deed> {
        self.mischief.as_ref().filter(|mischief| mischief.component == component).map(|mischief| &mischief.deed)
    }

    fn write(&self, component: usize, when: bool) -> String {
        match self.deed(component) {
            Some(Deed::Write { early, bytes, address, number }) if *early == when => {
                let store = ["i32.store8", "i32.store16", "i32.store"][bytes.trailing_zeros() as usize];
                format!("({store} (i32.const {address}) (i32.const {number}))")
            }
            _ => String::new(),
        }
    }

    fn point(&self, component: usize, when: bool) -> Option<u32> {
        match self.deed(component) {
            Some(Deed::Point { early, by }) if *early == when => Some(*by),
            _ => None,
        }
    }

    /// The core values that a component passes on.
    fn values(&self, component: usize) -> String {
        let value = |(at, ty): (usize, &String)| match self.deed(component) {
            Some(Deed::Replace { place, bits }) if *place == at => {
                let low = *bits as u32;
                match ty.as_str() {
                    "i32" => format!(" (i32.const {low})"),
                    "f32" => format!(" (f32.reinterpret_i32 (i32.const {low}))"),
                    "f64" => format!(" (f64.reinterpret_i64 (i64.const {bits}))"),
                    _ => format!(" (i64.const {bits})"),
                }
            }
            _ => format!(" (local.get {at})"),
        };
        self.core_types().iter().enumerate().map(value).collect()
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
            Ty::String | Ty::List(_) | Ty::Map(..) => vec!["i32", "i32"],
            Ty::FixedList(element, len) => self.flatten(element).repeat(*len),
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
            Ty::FixedList(element, len) => format!("(list {} {len})", self.ty(element)),
            Ty::Map(key, value) => format!("(map {} {})", self.ty(key), self.ty(value)),
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
