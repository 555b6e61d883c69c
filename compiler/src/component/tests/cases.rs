//! Components, and what executing their definitions gives.

use super::{check, check_linked};

/// A lifted function called through a nested component, with memory, realloc and post-return of each side.
#[test]
fn adapters_name_both_sides() {
    check(
        r#"(component
          (import "host" (func $host (param "s" string)))
          (component $A
            (core module $m
              (memory (export "memory") 1)
              (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable)
              (func (export "f") (param i32 i32) (result i32) unreachable)
              (func (export "post") (param i32)))
            (core instance $i (instantiate $m))
            (func (export "f") (param "s" string) (result (list u8))
              (canon lift (core func $i "f") string-encoding=utf16 (memory $i "memory") (realloc (func $i "realloc"))
                (post-return (func $i "post")))))
          (instance $a (instantiate $A))
          (core module $libc
            (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable))
          (core instance $libc (instantiate $libc))
          (core func $f (canon lower (func $a "f") (memory $libc "memory") (realloc (func $libc "realloc"))))
          (core func $h (canon lower (func $host) string-encoding=latin1+utf16 (memory $libc "memory")))
          (core module $m (import "" "f" (func (param i32 i32 i32))) (import "" "h" (func (param i32 i32))))
          (core instance (instantiate $m (with "" (instance (export "f" (func $f)) (export "h" (func $h)))))))"#,
        r#"component 0: root
           component 1: in 0
           core 0: module 0 ()
           core 1: module 1 ()
           core 2: module 2 (canon 0, canon 1)
           canon 0: lower lifted 0.1 [1 Utf16 memory 0.0 realloc 0.0 post-return 0.2 [I32]] of [I32, I32] -> [I32] (s: string) -> list<u8> [0 memory 1.0 realloc 1.0] as [I32, I32, I32] -> []
           canon 1: lower host "" "host" (s: string) [0 Latin1OrUtf16 memory 1.0] as [I32, I32] -> []"#,
    );
}

/// Each instantiation has core instances of its own; an export of an import is what was imported.
#[test]
fn a_module_twice_and_items_passed_through() {
    check(
        r#"(component
          (core module $m
            (import "env" "memory" (memory 1))
            (import "env" "g" (global i32))
            (func (export "f") (result i32) (i32.const 1))
            (export "memory" (memory 0)))
          (core module $env (memory (export "memory") 1) (global (export "g") i32 (i32.const 1)))
          (core instance $env (instantiate $env))
          (core instance $a (instantiate $m (with "env" (instance $env))))
          (core instance $bag (export "memory" (memory $a "memory")) (export "g" (global $env "g")))
          (core instance $b (instantiate $m (with "env" (instance $bag))))
          (func (export "a") (result u8) (canon lift (core func $a "f")))
          (func (export "b") (result u8) (canon lift (core func $b "f"))))"#,
        r#"core 0: module 0 ()
           core 1: module 1 (0.0, 0.0)
           core 2: module 1 (0.0, 0.0)
           export "" "a": lifted 1.0 [0] of [] -> [I32] () -> u8
           export "" "b": lifted 2.0 [0] of [] -> [I32] () -> u8"#,
    );
}

/// Components capture modules and components of those around them, through those between.
#[test]
fn outer_aliases() {
    check(
        r#"(component $root
          (core module $unused (func))
          (core module $m (func (export "f")))
          (component $leaf
            (alias outer $root $m (core module $n))
            (core instance $i (instantiate $n))
            (func (export "f") (canon lift (core func $i "f"))))
          (component $middle
            (component $inner
              (alias outer $root $leaf (component $c))
              (instance $i (instantiate $c))
              (alias outer $root $m (core module $n))
              (core instance $own (instantiate $n))
              (export "i" (instance $i)))
            (component $again (alias outer $middle $inner (component $c)) (instance $i (instantiate $c))
              (export "j" (instance $i "i")))
            (instance $a (instantiate $inner))
            (instance $b (instantiate $again))
            (export "a" (instance $a "i"))
            (export "b" (instance $b "j")))
          (instance $i (instantiate $middle))
          (export "z" (instance $i))
          (export "y" (func $i "a" "f")))"#,
        r#"component 0: root
           component 1: in 0
           component 2: in 1
           component 3: in 2
           component 4: in 1
           component 5: in 4
           component 6: in 5
           core 0: module 0 ()
           core 1: module 0 ()
           core 2: module 0 ()
           core 3: module 0 ()
           export "" "y": lifted 0.0 [3] of [] -> [] ()
           export "z/a" "f": lifted 0.0 [3] of [] -> [] ()
           export "z/b" "f": lifted 2.0 [6] of [] -> [] ()"#,
    );
}

/// A resource is a new one for each instantiation of the component that defines it, and the same one wherever it goes.
#[test]
fn resources_through_nesting() {
    check(
        r#"(component
          (component $R
            (core module $m (func (export "drop") (param i32)) (func (export "f") (param i32)))
            (core instance $i (instantiate $m))
            (type $r (resource (rep i32) (dtor (func $i "drop"))))
            (core func (canon resource.new $r))
            (export $e "r" (type $r))
            (func (export "f") (param "x" (borrow $e)) (canon lift (core func $i "f")))
            (core func (canon resource.rep $r))
            (core func (canon resource.drop $e)))
          (component $User
            (import "i" (instance $i
              (export "r" (type (sub resource)))
              (export "f" (func (param "x" (borrow 0))))))
            (alias export $i "r" (type $r))
            (core func (canon resource.drop $r))
            (core func (canon lower (func $i "f")))
            (export $again "again" (type $r))
            (core func (canon resource.drop $again))
            (export "f" (func $i "f") (func (param "x" (borrow $again)))))
          (instance $r1 (instantiate $R))
          (instance $r2 (instantiate $R))
          (instance $bag (export "r" (type $r2 "r")) (export "f" (func $r2 "f")))
          (instance $u1 (instantiate $User (with "i" (instance $r1))))
          (instance $u2 (instantiate $User (with "i" (instance $bag))))
          (alias export $u2 "again" (type $again))
          (core func (canon resource.drop $again))
          (core func (canon lower (func $u1 "f")))
          (export "api" (instance $r1))
          (export "u" (instance $u2)))"#,
        r#"component 0: root
           component 1: in 0
           component 2: in 0
           component 3: in 0
           component 4: in 0
           core 0: module 0 ()
           core 1: module 0 ()
           canon 0: new r0 by 1
           canon 1: rep r0 by 1
           canon 2: drop r0 by 1
           canon 3: new r1 by 2
           canon 4: rep r1 by 2
           canon 5: drop r1 by 2
           canon 6: drop r0 by 3
           canon 7: lower lifted 0.1 [1] of [I32] -> [] (x: borrow<r0>) [3] as [I32] -> []
           canon 8: drop r0 by 3
           canon 9: drop r1 by 4
           canon 10: lower lifted 1.1 [2] of [I32] -> [] (x: borrow<r1>) [4] as [I32] -> []
           canon 11: drop r1 by 4
           canon 12: drop r1 by 0
           canon 13: lower lifted 0.1 [1] of [I32] -> [] (x: borrow<r0>) [0] as [I32] -> []
           resource r0: of 1, destructor 0.0, exported Some(("api", "r"))
           resource r1: of 2, destructor 1.0, exported Some(("u", "again"))
           export "api" "f": lifted 0.1 [1] of [I32] -> [] (x: borrow<r0>)
           export "u" "f": lifted 1.1 [2] of [I32] -> [] (x: borrow<r1>)"#,
    );
}

/// Imported resources are one if the types say so; an import that is exported again is still the host's.
#[test]
fn host_resources() {
    check(
        r#"(component
          (import "a:b/poll@0.2.1" (instance $poll
            (export "pollable" (type (sub resource)))))
          (alias export $poll "pollable" (type $pollable))
          (import "a:b/streams@0.2.3" (instance $streams
            (alias outer 1 $pollable (type $p))
            (export "pollable" (type (eq $p)))
            (export "stream" (type $s (sub resource)))
            (export "[method]stream.poll" (func (param "self" (borrow $s)) (result (own 0))))))
          (type $twin (instance (export "r" (type (sub resource))) (export "f" (func (result (own 0))))))
          (import "x" (instance $x (type $twin)))
          (import "y" (instance $y (type $twin)))
          (import "z" (type $z (sub resource)))
          (core func (canon resource.drop $z))
          (core func (canon lower (func $x "f")))
          (core func (canon lower (func $y "f")))
          (export "again" (instance $streams)))"#,
        r#"canon 0: drop r4 by 0
           canon 1: lower host "x" "f" () -> own<r2> [0] as [] -> [I32]
           canon 2: lower host "y" "f" () -> own<r3> [0] as [] -> [I32]
           resource r0: host "a:b/poll@0.2.1" "pollable"
           resource r1: host "a:b/streams@0.2.3" "stream"
           resource r2: host "x" "r"
           resource r3: host "y" "r"
           resource r4: host "" "z"
           export "again" "[method]stream.poll": host "a:b/streams@0.2.3" "[method]stream.poll" (self: borrow<r1>) -> own<r0>"#,
    );
}

/// Functions of the host in instances that are exported again, through another component.
#[test]
fn imports_exported_again() {
    check(
        r#"(component
          (import "a:b/c" (instance $i (export "f" (func (result string)))))
          (component $through
            (import "i" (instance $i (export "f" (func (result string)))))
            (export "j" (instance $i)))
          (instance $t (instantiate $through (with "i" (instance $i))))
          (export "d:e/f" (instance $t "j")))"#,
        r#"component 0: root
           component 1: in 0
           export "d:e/f" "f": host "a:b/c" "f" () -> string"#,
    );
}

/// Nested instances of imports and exports have paths.
#[test]
fn nested_instances() {
    check(
        r#"(component
          (import "out" (instance $o (export "in" (instance (export "f" (func (param "x" u32)))))))
          (instance $b (export "g" (func $o "in" "f")))
          (instance $c (export "b" (instance $b)) (export "h" (func $o "in" "f")))
          (export "c" (instance $c)))"#,
        r#"export "c" "h": host "out/in" "f" (x: u32)
           export "c/b" "g": host "out/in" "f" (x: u32)"#,
    );
}

/// All kinds of types, and what is passed in memory.
#[test]
fn types() {
    check(
        r#"(component
          (type $rec' (record (field "a" u8) (field "b" f64)))
          (import "rec" (type $rec (eq $rec')))
          (type $var' (variant (case "x" $rec) (case "y")))
          (import "var" (type $var (eq $var')))
          (type $flags' (flags "p" "q"))
          (import "flags" (type $flags (eq $flags')))
          (type $enum' (enum "m" "n"))
          (import "enum" (type $enum (eq $enum')))
          (import "f" (func $f (param "v" $var) (param "g" $flags) (param "e" $enum) (param "l" (list $rec))
            (result (result (option char) (error (tuple string bool))))))
          (import "g" (func $g (param "l" (list s64 17)) (param "m" (map string u16))))
          (core module $libc (memory (export "m") 1)
            (func (export "r") (param i32 i32 i32 i32) (result i32) unreachable))
          (core instance $libc (instantiate $libc))
          (core func (canon lower (func $f) (memory $libc "m") (realloc (func $libc "r"))))
          (core func (canon lower (func $g) (memory $libc "m"))))"#,
        r#"core 0: module 0 ()
           canon 0: lower host "" "f" (v: variant {x(record {a: u8, b: f64}), y(_)}, g: flags {p, q}, e: enum {m, n}, l: list<record {a: u8, b: f64}>) -> result<option<char>, tuple<string, bool>> [0 memory 0.0 realloc 0.0] as [I32, I32, F64, I32, I32, I32, I32, I32] -> []
           canon 1: lower host "" "g" (l: list<s64, 17>, m: map<string, u16>) [0 memory 0.0] as [I32] -> []"#,
    );
}

/// Modules and components as arguments.
#[test]
fn modules_and_components_as_arguments() {
    check(
        r#"(component
          (component $user
            (import "m" (core module $m (export "f" (func))))
            (import "c" (component $c (import "m" (core module (export "f" (func)))) (export "g" (func))))
            (instance $i (instantiate $c (with "m" (core module $m))))
            (export "g" (func $i "g")))
          (component $c
            (import "m" (core module $m (export "f" (func))))
            (core instance $i (instantiate $m))
            (func (export "g") (canon lift (core func $i "f"))))
          (core module $m (func (export "f")) (func (export "more")))
          (instance $i (instantiate $user (with "m" (core module $m)) (with "c" (component $c))))
          (export "g" (func $i "g")))"#,
        r#"component 0: root
           component 1: in 0
           component 2: in 1
           core 0: module 0 ()
           export "" "g": lifted 0.0 [2] of [] -> [] ()"#,
    );
}

/// Root imports of modules and components, from files.
#[test]
fn links() {
    let root = r#"(component
      (import "host" (instance $host
        (export "m" (core module (import "a" "x" (func)) (import "a" "unused" (func)) (export "f" (func))))))
      (import "c" (component $c
        (import "in" (instance (export "r" (type (sub resource))) (export "f" (func (param "r" (own 0))))))
        (import "unused" (func))
        (export "out" (type (sub resource)))
        (export "make" (func (result (own 2))))))
      (import "in" (instance $in (export "r" (type (sub resource))) (export "f" (func (param "r" (own 0))))))
      (import "unused" (func $unused))
      (core module $a (func (export "x")) (func (export "unused")))
      (core instance $a (instantiate $a))
      (core instance $m (instantiate (module $host "m") (with "a" (instance $a))))
      (func (export "f") (canon lift (core func $m "f")))
      (instance $i (instantiate $c (with "in" (instance $in)) (with "unused" (func $unused))))
      (core func (canon lower (func $i "make")))
      (export "i" (instance $i)))"#;
    let module = r#"(module (import "a" "x" (func)) (func (export "f")) (func (export "more")))"#;
    let component = |param: &str| {
        format!(
            r#"(component
              (import "in" (instance $in (export "r" (type (sub resource))) (export "f" (func (param "r" ({param} 0))))))
              (core func $f (canon lower (func $in "f")))
              (core module $m (func (export "make") (result i32) unreachable))
              (core instance $m (instantiate $m))
              (type $out (resource (rep i32)))
              (export $e "out" (type $out))
              (func (export "make") (result (own $e)) (canon lift (core func $m "make"))))"#
        )
    };
    let fitting = component("own");
    check_linked(
        root,
        &[("host/m", module), ("c", &fitting)],
        r#"component 0: root
           component 1: in 0
           core 0: module 0 ()
           core 1: module 1 (0.0)
           core 2: module 2 ()
           canon 0: lower host "in" "f" (r: own<r0>) [1] as [I32] -> []
           canon 1: lower lifted 2.0 [1] of [] -> [I32] () -> own<r1> [0] as [] -> [I32]
           resource r0: host "in" "r"
           resource r1: of 1, destructor none, exported Some(("i", "out"))
           export "" "f": lifted 1.1 [0] of [] -> [] ()
           export "i" "make": lifted 2.0 [1] of [] -> [I32] () -> own<r1>"#,
    );

    let error = |links: &[(&str, &str)]| super::try_link(root, links).expect_err("does not fit").to_string();
    assert!(error(&[]).contains("the component imports the core module `host/m`"), "{}", error(&[]));
    let links = [("host/m", module)];
    assert!(error(&links).contains("the component imports the component `c`"), "{}", error(&links));
    let links = [("host/m", module), ("c", &fitting), ("d", module)];
    assert!(error(&links).contains("imports no core module or component `d`"), "{}", error(&links));
    let unfitting = component("borrow");
    let links = [("host/m", module), ("c", &unfitting)];
    assert!(error(&links).contains("a function has another type"), "{}", error(&links));
    let links = [("host/m", r#"(module (func (export "f") (param i32)))"#), ("c", &fitting)];
    assert!(error(&links).contains("export `f` is missing or of another type"), "{}", error(&links));
    let links = [("host/m", r#"(module (import "b" "x" (func)) (func (export "f")))"#), ("c", &fitting)];
    assert!(error(&links).contains("import `b` `x` is missing or of another type"), "{}", error(&links));
    let links = [("host/m", module), ("c", "(component)")];
    assert!(error(&links).contains("no export `out`"), "{}", error(&links));
    let links = [("host/m", "(component)"), ("c", fitting.as_str())];
    assert!(error(&links).contains("a component stands where something else should"), "{}", error(&links));
}
