//! How often a call from component to component enters the host, which the test counts: to check or transcode text, and
//! to grow a memory; else never.
//!
//! The components import nothing, so that builtins are the only way from compiled code to the host.

use precast_abi::host::HostWords;
use precast_builtins::Builtin;

use crate::artifact::Artifact;
use crate::builtins::counted;
use crate::component::Linker;

/// Calls the export `run`. Which builtins that called, and how often.
fn count(component: &str) -> Vec<(Builtin, u32)> {
    let bytes = precast_compiler::compile(component.as_bytes(), &precast_compiler::Options::default());
    let artifact = Artifact::open_bytes(&bytes.unwrap_or_else(|error| panic!("{error}\n{component}"))).unwrap();
    assert_eq!(artifact.imports().count(), 0, "host functions are not counted");
    let mut instance = Linker::<()>::new().bind(&artifact).unwrap().instantiate(()).unwrap();
    let run = instance.func::<(), ()>("", "run").unwrap();
    // SAFETY: the instance is alive and not running, and a table of the same layout takes the place of the other.
    unsafe {
        let words = (*instance.record()).slot.words();
        words.add(HostWords::BUILTINS as usize).cast::<usize>().write(counted::table().expose_provenance());
    }
    counted::take();
    run.call(&mut instance, ()).unwrap_or_else(|error| panic!("{error}\n{component}"));
    counted::take()
}

/// A value that one component passes to another, which gives it back if it is to.
struct Value<'a> {
    /// Types that are called `$t0` and so on; the last is the value's.
    types: &'a [&'a str],
    /// Core types of the value, and the value.
    flat: (&'a str, &'a str),
    /// The value in memory at 16, and what it points to, at 64 and at 128.
    memory: [Vec<u8>; 3],
    /// How the caller and the callee encode strings.
    encodings: [&'a str; 2],
    is_returned: bool,
    /// By how many pages a call of `realloc` grows the memory.
    pages: u32,
}

impl<'a> Value<'a> {
    fn new(types: &'a [&'a str], flat: (&'a str, &'a str), memory: [Vec<u8>; 3]) -> Self {
        Value { types, flat, memory, encodings: ["utf8"; 2], is_returned: true, pages: 0 }
    }

    /// A component whose `run` has the value passed.
    fn component(&self) -> String {
        let each = |text: &dyn Fn(usize, &str) -> String| -> String {
            self.types.iter().enumerate().map(|(at, ty)| text(at, ty)).collect()
        };
        let exports = each(&|at, ty| format!("(type $d{at} {ty}) (export $t{at} \"t{at}\" (type $d{at}))"));
        let imports = each(&|at, ty| format!("(type $d{at} {ty}) (import \"t{at}\" (type $t{at} (eq $d{at})))"));
        let types = each(&|at, _| format!("(with \"t{at}\" (type $t{at}))"));

        let (params, value) = self.flat;
        let is_one = !params.contains(' ');
        let (callee_core, caller_core, call) = match (self.is_returned, is_one) {
            (false, _) => (format!("(param {params})"), format!("(param {params})"), format!("(call $take {value})")),
            (true, true) => (
                format!("(param {params}) (result {params}) (local.get 0)"),
                format!("(param {params}) (result {params})"),
                format!("(drop (call $take {value}))"),
            ),
            (true, false) => (
                format!("(param {params}) (result i32) (i32.const 16)"),
                format!("(param {params} i32)"),
                format!("(call $take {value} (i32.const 2048))"),
            ),
        };
        let ty = format!("$t{}", self.types.len() - 1);
        let result = if self.is_returned { format!("(result {ty})") } else { String::new() };
        let signature = format!("(param \"x\" {ty}) {result}");
        let [caller, callee] = self.encodings.map(|encoding| {
            format!("string-encoding={encoding} (memory $libc \"memory\") (realloc (func $libc \"realloc\"))")
        });
        let libc = self.libc();
        format!(
            r#"(component {exports}
  (component $callee {imports} {libc}
    (core module $m (func (export "take") {callee_core}))
    (core instance $m (instantiate $m))
    (func (export "take") {signature} (canon lift (core func $m "take") {callee})))
  (instance $callee (instantiate $callee {types}))
  (component $caller {imports} (import "take" (func $take {signature})) {libc}
    (core func $take (canon lower (func $take) {caller}))
    (core module $m (import "" "take" (func $take {caller_core})) (func (export "run") {call}))
    (core instance $m (instantiate $m (with "" (instance (export "take" (func $take))))))
    (func (export "run") (canon lift (core func $m "run"))))
  (instance $caller (instantiate $caller {types} (with "take" (func $callee "take"))))
  (export "run" (func $caller "run")))"#
        )
    }

    fn libc(&self) -> String {
        let escape = |bytes: &Vec<u8>| -> String { bytes.iter().map(|byte| format!("\\{byte:02x}")).collect() };
        let [value, elements, text] = self.memory.each_ref().map(escape);
        let grow = match self.pages {
            0 => String::new(),
            pages => format!("(drop (memory.grow (i32.const {pages})))"),
        };
        format!(
            r#"
    (core module $libc
      (memory (export "memory") 1)
      (data (i32.const 16) "{value}") (data (i32.const 64) "{elements}") (data (i32.const 128) "{text}")
      (global $next (mut i32) (i32.const 4096))
      (func (export "realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
        {grow}
        (memory.copy (global.get $next) (local.get $old) (local.get $old_size))
        (global.get $next)
        (global.set $next (i32.and (i32.add (i32.add (global.get $next) (local.get $size)) (i32.const 7)) (i32.const -8)))))
    (core instance $libc (instantiate $libc))"#
        )
    }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// One value of each kind.
fn values() -> Vec<Value<'static>> {
    let nothing = || [vec![], vec![], vec![]];
    let pair = ("i32 i32", "(i32.const 64) (i32.const 2)");
    let list = |elements: Vec<u8>| [words(&[64, 2]), elements, b"some text".into()];
    vec![
        Value::new(&["s32"], ("i32", "(i32.const -7)"), nothing()),
        Value::new(&["f64"], ("f64", "(f64.const 7.5)"), nothing()),
        Value::new(&["char"], ("i32", "(i32.const 0x1f600)"), nothing()),
        Value::new(&[r#"(flags "a" "b" "c" "d" "e" "f" "g" "h" "i")"#], ("i32", "(i32.const 0x155)"), nothing()),
        Value::new(
            &[r#"(record (field "a" u8) (field "b" u64) (field "c" bool))"#],
            ("i32 i64 i32", "(i32.const 1) (i64.const 2) (i32.const 1)"),
            [words(&[1, 0, 2, 0, 1, 0]), vec![], vec![]],
        ),
        Value::new(
            &[r#"(variant (case "a" u64) (case "b" string) (case "c" (list f32)))"#],
            ("i32 i64 i32", "(i32.const 1) (i64.const 128) (i32.const 9)"),
            [words(&[1, 0, 128, 9]), vec![], b"some text".into()],
        ),
        Value::new(
            &["(result (list u16) (error string))"],
            ("i32 i32 i32", "(i32.const 0) (i32.const 64) (i32.const 2)"),
            [words(&[0, 64, 2]), words(&[3]), vec![]],
        ),
        Value::new(&["(option u8)"], ("i32 i32", "(i32.const 1) (i32.const 5)"), [words(&[0x501]), vec![], vec![]]),
        Value::new(
            &["string"],
            ("i32 i32", "(i32.const 128) (i32.const 9)"),
            [words(&[128, 9]), vec![], b"some text".into()],
        ),
        Value::new(
            &["(list u8)"],
            ("i32 i32", "(i32.const 64) (i32.const 3000)"),
            [words(&[64, 3000]), vec![], vec![]],
        ),
        Value::new(&[r#"(record (field "a" u8) (field "b" u64))"#, "(list $t0)"], pair, list(words(&[1; 8]))),
        Value::new(&["(list string)"], pair, list(words(&[128, 9, 128, 4]))),
        Value::new(&["(map string bool)"], pair, list(words(&[128, 9, 1, 128, 4, 0]))),
        Value::new(&["(list (list s16))"], pair, list(words(&[128, 0, 128, 1]))),
    ]
}

#[test]
fn values_pass_without_the_host() {
    for value in values() {
        assert_eq!(count(&value.component()), [], "{:?}", value.types);
    }
}

#[test]
fn growing_a_memory_is_for_the_host() {
    let mut grown = 0;
    for mut value in values() {
        let reallocs = match value.types.last() {
            Some(&"(list string)" | &"(map string bool)" | &"(list (list s16))") => 3,
            Some(ty) if ty.contains("list") || ty.contains("string") => 1,
            _ => 0,
        };
        value.pages = 1;
        // There and back.
        let expected: &[_] = if reallocs > 0 { &[(Builtin::memory_grow, 2 * reallocs)] } else { &[] };
        assert_eq!(count(&value.component()), expected, "{:?}", value.types);
        grown += reallocs;
    }
    assert_eq!(grown, 14);
}

/// What is called for ASCII, for other Latin-1, and for other text.
#[rustfmt::skip]
const TEXTS: [(&str, &str, [&[Builtin]; 3]); 9] = {
    use Builtin::*;
    [
        ("utf8", "utf8", [&[], &[utf8_check], &[utf8_check]]),
        ("utf8", "utf16", [&[utf8_to_utf16], &[utf8_to_utf16], &[utf8_to_utf16]]),
        ("utf8", "latin1+utf16", [&[utf8_to_latin1], &[utf8_to_latin1], &[utf8_to_utf16, utf8_to_latin1]]),
        ("utf16", "utf8", [&[utf16_to_ascii], &[utf16_to_ascii, utf16_to_utf8], &[utf16_to_ascii, utf16_to_utf8]]),
        ("utf16", "utf16", [&[utf16_copy], &[utf16_copy], &[utf16_copy]]),
        ("utf16", "latin1+utf16", [&[utf16_to_latin1], &[utf16_to_latin1], &[utf16_copy, utf16_to_latin1]]),
        ("latin1+utf16", "utf8", [&[], &[latin1_to_utf8], &[utf16_to_ascii, utf16_to_utf8]]),
        ("latin1+utf16", "utf16", [&[latin1_to_utf16], &[latin1_to_utf16], &[utf16_copy]]),
        ("latin1+utf16", "latin1+utf16", [&[], &[], &[utf16_copy]]),
    ]
};

#[test]
fn the_host_checks_and_transcodes_text() {
    for (from, to, expected) in TEXTS {
        for (text, expected) in ["plain text", "größer", "≥ größer"].into_iter().zip(expected) {
            let utf16: Vec<u16> = text.encode_utf16().collect();
            let is_latin1 = utf16.iter().all(|unit| *unit < 256);
            let (bytes, len): (Vec<u8>, usize) = match from {
                "utf8" => (text.into(), text.len()),
                "latin1+utf16" if is_latin1 => (utf16.iter().map(|unit| *unit as u8).collect(), utf16.len()),
                _ => (utf16.iter().flat_map(|unit| unit.to_le_bytes()).collect(), utf16.len()),
            };
            let tag = if from == "latin1+utf16" && !is_latin1 { 1 << 31 } else { 0 };
            let flat = format!("(i32.const 128) (i32.const {})", len as u32 | tag);
            let mut value = Value::new(&["string"], ("i32 i32", &flat), [vec![], vec![], bytes]);
            (value.encodings, value.is_returned) = ([from, to], false);
            let expected: Vec<_> = expected.iter().map(|builtin| (*builtin, 1)).collect();
            assert_eq!(count(&value.component()), expected, "{text} from {from} to {to}");
        }
    }
}

/// `$maker` defines a resource, `$user` is lent handles and given one.
const HANDLES: &str = r#"
(component
  (component $maker
    (core module $m
      (func (export "destroy") (param i32) (if (i32.ne (local.get 0) (i32.const 5)) (then unreachable))))
    (core instance $m (instantiate $m))
    (type $r' (resource (rep i32) (dtor (func $m "destroy"))))
    (export $r "r" (type $r'))
    (core func $new (canon resource.new $r'))
    (core func $rep (canon resource.rep $r'))
    (core func $drop (canon resource.drop $r'))
    (core module $n
      (import "" "new" (func $new (param i32) (result i32)))
      (import "" "rep" (func $rep (param i32) (result i32)))
      (import "" "drop" (func $drop (param i32)))
      (func (export "make") (result i32) (call $new (i32.const 5)))
      (func (export "lend") (param i32) (if (i32.ne (local.get 0) (i32.const 5)) (then unreachable)))
      (func (export "give") (param i32)
        (if (i32.ne (call $rep (local.get 0)) (i32.const 5)) (then unreachable))
        (call $drop (local.get 0))))
    (core instance $n (instantiate $n (with "" (instance
      (export "new" (func $new)) (export "rep" (func $rep)) (export "drop" (func $drop))))))
    (func (export "make") (result (own $r)) (canon lift (core func $n "make")))
    (func (export "lend") (param "r" (borrow $r)) (canon lift (core func $n "lend")))
    (func (export "give") (param "r" (own $r)) (canon lift (core func $n "give"))))
  (instance $maker (instantiate $maker))

  (component $user
    (import "r" (type $r (sub resource)))
    (core func $drop (canon resource.drop $r))
    (core module $libc
      (memory (export "memory") 1)
      (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
    (core instance $libc (instantiate $libc))
    (core module $m
      (import "" "drop" (func $drop (param i32)))
      (import "" "memory" (memory 1))
      (func (export "take") (param i32) (call $drop (local.get 0)))
      (func (export "take-all") (param $at i32) (param $len i32)
        (call $drop (i32.load (local.get $at)))
        (call $drop (i32.load offset=4 (local.get $at)))))
    (core instance $m (instantiate $m (with "" (instance
      (export "drop" (func $drop)) (export "memory" (memory $libc "memory"))))))
    (func (export "lend") (param "r" (borrow $r)) (canon lift (core func $m "take")))
    (func (export "lend-all") (param "r" (list (borrow $r)))
      (canon lift (core func $m "take-all") (memory $libc "memory") (realloc (func $libc "realloc"))))
    (func (export "give") (param "r" (own $r)) (canon lift (core func $m "take"))))
  (instance $user (instantiate $user (with "r" (type $maker "r"))))

  (component $caller
    (import "r" (type $r (sub resource)))
    (import "make" (func $make (result (own $r))))
    (import "lend" (func $lend (param "r" (borrow $r))))
    (import "give" (func $give (param "r" (own $r))))
    (import "user-lend" (func $user-lend (param "r" (borrow $r))))
    (import "user-lend-all" (func $user-lend-all (param "r" (list (borrow $r)))))
    (import "user-give" (func $user-give (param "r" (own $r))))
    (core module $libc (memory (export "memory") 1))
    (core instance $libc (instantiate $libc))
    (core func $make (canon lower (func $make)))
    (core func $lend (canon lower (func $lend)))
    (core func $give (canon lower (func $give)))
    (core func $user-lend (canon lower (func $user-lend)))
    (core func $user-lend-all (canon lower (func $user-lend-all) (memory $libc "memory")))
    (core func $user-give (canon lower (func $user-give)))
    (core func $drop (canon resource.drop $r))
    (core module $m
      (import "" "memory" (memory 1))
      (import "" "make" (func $make (result i32)))
      (import "" "lend" (func $lend (param i32)))
      (import "" "give" (func $give (param i32)))
      (import "" "user-lend" (func $user-lend (param i32)))
      (import "" "user-lend-all" (func $user-lend-all (param i32 i32)))
      (import "" "user-give" (func $user-give (param i32)))
      (import "" "drop" (func $drop (param i32)))
      (func (export "run") (local $r i32)
        (local.set $r (call $make))
        (call $lend (local.get $r))
        (call $user-lend (local.get $r))
        (i32.store (i32.const 16) (local.get $r))
        (i32.store (i32.const 20) (local.get $r))
        (call $user-lend-all (i32.const 16) (i32.const 2))
        (call $user-give (local.get $r))
        (call $give (call $make))
        (call $drop (call $make))))
    (core instance $m (instantiate $m (with "" (instance
      (export "memory" (memory $libc "memory")) (export "make" (func $make)) (export "lend" (func $lend))
      (export "give" (func $give)) (export "user-lend" (func $user-lend))
      (export "user-lend-all" (func $user-lend-all)) (export "user-give" (func $user-give))
      (export "drop" (func $drop))))))
    (func (export "run") (canon lift (core func $m "run"))))
  (instance $caller (instantiate $caller
    (with "r" (type $maker "r"))
    (with "make" (func $maker "make")) (with "lend" (func $maker "lend")) (with "give" (func $maker "give"))
    (with "user-lend" (func $user "lend")) (with "user-lend-all" (func $user "lend-all"))
    (with "user-give" (func $user "give"))))
  (export "run" (func $caller "run")))
"#;

#[test]
fn handles_pass_without_the_host() {
    assert_eq!(count(HANDLES), []);
}
