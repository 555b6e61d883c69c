//! Components: composing, inspecting, running and measuring them.

use crate::common::Folder;
use serde_json::Value;

/// Functions over values of many types.
const VALUES: &str = r#"(component
    (core module $m
        (memory (export "memory") 1)
        (global $free (mut i32) (i32.const 1024))
        (func (export "realloc") (param i32 i32 i32 i32) (result i32)
            (local $at i32)
            (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
            (global.set $free (i32.add (local.get $at) (local.get 3)))
            (local.get $at))
        (func (export "pair") (param i32 i32) (result i32)
            (i32.store (i32.const 16) (local.get 0))
            (i32.store (i32.const 20) (local.get 1))
            (i32.const 16))
        (func (export "point") (param i32 i32 i32 i32) (result i32)
            (i32.store (i32.const 32) (local.get 0))
            (i32.store (i32.const 36) (local.get 1))
            (i32.store8 (i32.const 40) (local.get 2))
            (i32.store8 (i32.const 41) (local.get 3))
            (i32.const 32))
        (func (export "result") (param i32 i32 i32) (result i32)
            (i32.store8 (i32.const 48) (local.get 0))
            (i32.store (i32.const 52) (local.get 1))
            (i32.store (i32.const 56) (local.get 2))
            (i32.const 48))
        (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
        (func (export "same") (param i32) (result i32) (local.get 0))
        (func (export "trap") unreachable))
    (core instance $i (instantiate $m))
    (alias core export $i "memory" (core memory $memory))
    (alias core export $i "realloc" (core func $realloc))
    (func (export "text") (param "text" string) (result string)
        (canon lift (core func $i "pair") (memory $memory) (realloc $realloc)))
    (func (export "add") (param "a" s32) (param "b" s32) (result s32) (canon lift (core func $i "add")))
    (type $point' (record (field "x" s32) (field "label" u32) (field "none" (option u8))))
    (export $point "point" (type $point'))
    (func (export "show-point") (param "p" $point) (result $point)
        (canon lift (core func $i "point") (memory $memory) (realloc $realloc)))
    (func (export "check") (param "r" (result string (error u32))) (result (result string (error u32)))
        (canon lift (core func $i "result") (memory $memory) (realloc $realloc)))
    (type $access' (flags "read" "write"))
    (export $access "access" (type $access'))
    (func (export "grant") (param "a" $access) (result $access) (canon lift (core func $i "same")))
    (func (export "char") (param "c" char) (result char) (canon lift (core func $i "same")))
    (func $list (param "l" (list u16)) (result (list u16))
        (canon lift (core func $i "pair") (memory $memory) (realloc $realloc)))
    (instance $lists (export "add" (func $list)) (export "only" (func $list)))
    (export "test:lists/all@1.2.0" (instance $lists))
    (func (export "trap") (canon lift (core func $i "trap"))))"#;

/// Exports a function that gives twice what the one it imports gives.
const TWICE: &str = r#"(component
    (import "test:numbers/get@0.2.1" (instance $get (export "number" (func (result u32)))))
    (core func $number (canon lower (func $get "number")))
    (core module $m
        (import "" "number" (func $number (result i32)))
        (func (export "twice") (result i32) (i32.mul (call $number) (i32.const 2))))
    (core instance $i (instantiate $m (with "" (instance (export "number" (func $number))))))
    (func (export "twice") (result u32) (canon lift (core func $i "twice"))))"#;

/// Exports the function that the above imports, in an interface of this name.
fn number(interface: &str, value: u32) -> String {
    format!(
        r#"(component
            (core module $m (func (export "number") (result i32) (i32.const {value})))
            (core instance $i (instantiate $m))
            (func $number (result u32) (canon lift (core func $i "number")))
            (instance $get (export "number" (func $number)))
            (export "{interface}" (instance $get)))"#
    )
}

/// A command whose result is that of a function of this body.
fn command(body: &str) -> String {
    format!(
        r#"(component
            (import "wasi:cli/exit@0.2.3" (instance $exit (export "exit" (func (param "status" (result))))))
            (core func $exit (canon lower (func $exit "exit")))
            (core module $m
                (import "" "exit" (func $exit (param i32)))
                (func (export "run") (result i32) {body}))
            (core instance $i (instantiate $m (with "" (instance (export "exit" (func $exit))))))
            (func $run (result (result)) (canon lift (core func $i "run")))
            (instance $command (export "run" (func $run)))
            (export "wasi:cli/run@0.2.3" (instance $command)))"#
    )
}

#[test]
fn values_are_read_and_printed_as_wave() {
    let folder = Folder::with("values.wat", VALUES);
    for (export, args, printed) in [
        ("add", &["2", "-3"][..], "-1"),
        ("text", &["plain \"text\""], r#""plain \"text\"""#),
        ("text", &[r#""\u{48}i\n""#], r#""Hi\n""#),
        ("show-point", &["{label: 7, x: -1}"], "{x: -1, label: 7, %none: none}"),
        ("show-point", &["{x: 1, label: 2, none: 3}"], "{x: 1, label: 2, %none: some(3)}"),
        ("check", &["ok(\"fine\")"], "ok(\"fine\")"),
        ("check", &["err(404)"], "err(404)"),
        ("grant", &["{write, read}"], "{read, write}"),
        ("char", &["'ß'"], "'ß'"),
        ("only", &["[1, 2, 65535]"], "[1, 2, 65535]"),
        ("test:lists/all#add", &["[]"], "[]"),
        ("test:lists/all@1.2.0#add", &["[3,]"], "[3]"),
    ] {
        let mut command = folder.command();
        command.args(["run", "--invoke", export, "values.wat"]).args(args);
        let outcome = crate::common::run(&mut command, b"").succeeds();
        assert_eq!(outcome.text(), format!("{printed}\n"), "{export} {args:?}");
    }
    assert_eq!(folder.cache_entries().len(), 1);
}

#[test]
fn arguments_that_are_no_values_are_told() {
    let folder = Folder::with("values.wat", VALUES);
    for (call, told) in [
        ("add values.wat 1", "takes 2 arguments (a: s32, b: s32), 1 given"),
        ("add values.wat 1 x", "argument `b` of `add`: expected a s32 at `x`, character 1"),
        ("add values.wat 1 4294967296", "expected a s32"),
        ("show-point values.wat {x:1}", "the field `label` is missing"),
        ("show-point values.wat {x:1,y:2}", "`y` is none of x, label, none"),
        ("grant values.wat {exec}", "`exec` is none of read, write"),
        ("only values.wat [1,65536]", "expected a u16"),
        ("only values.wat [1", "expected `]` at the end"),
        ("char values.wat 'ab'", "expected `'` at `b`"),
        ("number values.wat", "no function `number` is exported; there are `add`"),
        ("test:lists/all#number values.wat", "no function `test:lists/all#number` is exported"),
    ] {
        folder.precast(&format!("run --invoke {call}")).fails(2, &[told]);
    }
    folder.precast("run values.wat").fails(2, &["the component exports no `wasi:cli/run`", "--invoke"]);
    folder.precast("run --invoke trap values.wat").fails(134, &["precast: trap: unreachable"]);
}

#[test]
fn the_result_of_a_command_is_the_status() {
    let folder = Folder::new();
    for (body, status) in [
        ("(i32.const 0)", 0),
        ("(i32.const 1)", 1),
        ("(call $exit (i32.const 0)) unreachable", 0),
        ("(call $exit (i32.const 1)) unreachable", 1),
        ("unreachable", 134),
    ] {
        folder.write("command.wat", command(body));
        let outcome = folder.precast("run command.wat");
        assert_eq!((outcome.status, outcome.text()), (status, ""), "{body}: {outcome:?}");
    }
}

#[test]
fn a_denial_that_cannot_be_answered_stops_the_guest() {
    let clock = r#"(component
        (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock (export "now" (func (result u64)))))
        (core func $now (canon lower (func $clock "now")))
        (core module $m
            (import "" "now" (func $now (result i64)))
            (func (export "run") (result i32) (i64.eqz (i64.add (call $now) (i64.const 1)))))
        (core instance $i (instantiate $m (with "" (instance (export "now" (func $now))))))
        (func $run (result (result)) (canon lift (core func $i "run")))
        (instance $command (export "run" (func $run)))
        (export "wasi:cli/run@0.2.0" (instance $command)))"#;
    let folder = Folder::with("clock.wat", clock);
    folder.precast("run clock.wat").fails(134, &["grant it with --allow=clocks", "cannot go on without it"]);
    folder.precast("run --allow=clocks clock.wat").succeeds();
}

#[test]
fn what_is_plugged_in_is_compiled_with_it() {
    let folder = Folder::with("twice.wat", TWICE);
    folder.write("number.wat", number("test:numbers/get@0.2.9", 21));
    folder.precast("run --invoke twice twice.wat").fails(125, &["cannot bind the imports", "test:numbers/get@0.2.1"]);
    folder.precast("compile twice.wat --plug number.wat -o whole.so").succeeds();
    assert_eq!(folder.precast("run --invoke twice whole.so").succeeds().text(), "42\n");
    let told = folder.precast("inspect whole.so").succeeds();
    assert!(!told.text().contains("test:numbers"), "{told:?}");
    assert!(told.text().contains("export twice: func() -> u32;"), "{told:?}");
}

#[test]
fn plugs_that_do_not_fit_are_told() {
    let folder = Folder::with("twice.wat", TWICE);
    folder.write("other.wat", number("test:numbers/get@0.3.0", 1));
    folder.write("module.wat", "(module)");
    let nothing = "nothing of `other.wat` fits: it exports `test:numbers/get@0.3.0`; what is imported is";
    folder.precast("compile twice.wat --plug other.wat").fails(1, &[nothing]);
    folder.precast("compile twice.wat --plug module.wat").fails(1, &["`module.wat`: it is a module, not a component"]);
    folder.precast("compile module.wat --plug other.wat").fails(1, &["`module.wat`: it is a module, not a component"]);
    folder.precast("compile twice.wat --plug missing.wat").fails(1, &["cannot read `missing.wat`"]);
}

#[test]
fn imported_modules_are_bound_to_files() {
    let component = r#"(component
        (import "lib" (core module $lib (export "f" (func (result i32)))))
        (core instance $i (instantiate $lib))
        (func (export "f") (result u32) (canon lift (core func $i "f"))))"#;
    let folder = Folder::with("component.wat", component);
    folder.write("lib.wat", r#"(module (func (export "f") (result i32) (i32.const 7)))"#);
    folder.write("wrong.wat", r#"(module (func (export "g")))"#);
    folder.precast("compile component.wat").fails(1, &["imports the core module `lib`", "--link lib=FILE"]);
    folder.precast("compile component.wat --link lib").fails(2, &["expected NAME=FILE"]);
    folder
        .precast("compile component.wat --link lib=wrong.wat")
        .fails(1, &["what is linked does not fit: the module's export `f`"]);
    folder.precast("compile component.wat --link lib=lib.wat").succeeds();
    assert_eq!(folder.precast("run --invoke f component.so").succeeds().text(), "7\n");
}

#[test]
fn plugs_and_links_are_part_of_the_cache_key() {
    let folder = Folder::with("twice.wat", TWICE);
    folder.write("a.wat", number("test:numbers/get@0.2.1", 1));
    folder.write("b.wat", number("test:numbers/get@0.2.1", 2));
    for (plug, twice) in [("a", "2\n"), ("b", "4\n"), ("a", "2\n")] {
        folder.precast(&format!("compile twice.wat --cache --plug {plug}.wat")).succeeds();
        assert_eq!(folder.precast("run --invoke twice twice.so").succeeds().text(), twice);
    }
    assert_eq!(folder.cache_entries().len(), 2);
}

#[test]
fn inspect_tells_what_a_component_is() {
    let folder = Folder::with("twice.wat", TWICE);
    let told = folder.precast("inspect twice.wat").succeeds();
    for part in [
        "Component: 1 component instance, 1 memory group",
        "test:numbers/get@0.2.1  1 function",
        "import test:numbers/get@0.2.1;",
        "export twice: func() -> u32;",
        "number: func() -> u32;",
    ] {
        assert!(told.text().contains(part), "`{part}` is not in: {}", told.text());
    }
    folder.precast("compile twice.wat --target aarch64 -o arm.so").succeeds();
    let json: Value = serde_json::from_slice(&folder.precast("inspect --json arm.so").succeeds().stdout).unwrap();
    let component = &json["component"];
    assert!(component["wit"].as_str().unwrap().contains("world root"));
    assert_eq!(component["imports"][0]["interface"], "test:numbers/get@0.2.1");
    assert_eq!(component["imports"][0]["name"], "number");
    assert_eq!(component["imports"][0]["type"], "func() -> u32");
    assert_eq!(component["exports"][0]["name"], "twice");
    assert_eq!(component["instances"], 1);
}

#[test]
fn components_are_measured() {
    let folder = Folder::with("values.wat", VALUES);
    folder.write("command.wat", command("(i32.const 0)"));
    for call in ["command.wat", "--invoke add values.wat 1 2", "--invoke text values.wat x"] {
        let outcome = folder.precast(&format!("bench --json --iterations 5 {call}")).succeeds();
        let json: Value = serde_json::from_slice(&outcome.stdout).unwrap();
        for quantity in ["open_ns", "first_cycle_ns", "cycle_ns", "call_ns"] {
            assert!(json[quantity]["p50"].as_u64().unwrap() > 0, "{quantity}: {json}");
        }
    }
    folder.precast("bench --invoke trap values.wat").fails(1, &["the guest trapped: unreachable"]);
}
