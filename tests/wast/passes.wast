;; Everything here passes: a sample of each directive.
(module $m
  (global (export "g") i32 (i32.const 7))
  (memory (export "memory") 1)
  (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
  (func (export "nan") (result f32) (f32.div (f32.const 0) (f32.const 0)))
  (func (export "div") (param i32) (result i32) (i32.div_s (i32.const 1) (local.get 0)))
  (func $again (export "recurse") (call $again))
  (func (export "swap") (param i64 externref) (result externref i64) (local.get 1) (local.get 0)))
(assert_return (invoke "add" (i32.const 1) (i32.const -3)) (i32.const -2))
(assert_return (invoke "nan") (f32.const nan:arithmetic))
(assert_return (invoke "swap" (i64.const 1) (ref.extern 5)) (ref.extern 5) (i64.const 1))
(assert_return (invoke "add" (i32.const 1) (i32.const 1)) (either (i32.const 1) (i32.const 2)))
(assert_return (get "g") (i32.const 7))
(assert_trap (invoke "div" (i32.const 0)) "integer divide by zero")
(assert_exhaustion (invoke "recurse") "call stack exhausted")
(invoke "add" (i32.const 1) (i32.const 2))
(register "m" $m)

(assert_unlinkable (module (import "m" "nothing" (func))) "unknown import")
(assert_unlinkable (module (import "m" "add" (func))) "incompatible import type")
(assert_invalid (module (func (result i32))) "type mismatch")
(assert_malformed (module quote "(func (unknown))") "unknown operator")
(assert_malformed (module binary "") "unexpected end")

;; A trap in instantiation keeps the effects of earlier segments.
(assert_trap
  (module (import "m" "memory" (memory 1))
    (data (i32.const 0) "a")
    (data (i32.const 0x10000) "b"))
  "out of bounds memory access")
(module
  (import "m" "memory" (memory 1))
  (import "spectest" "print_i32" (func (param i32)))
  (func (export "first") (result i32) (i32.load8_u (i32.const 0))))
(assert_return (invoke "first") (i32.const 97))
(assert_return (invoke $m "add" (i32.const 2) (i32.const 2)) (i32.const 4))

(module definition $counter
  (global $count (mut i32) (i32.const 0))
  (func (export "next") (result i32)
    (global.set $count (i32.add (global.get $count) (i32.const 1)))
    (global.get $count)))
(module instance $one $counter)
(module instance $two $counter)
(assert_return (invoke $one "next") (i32.const 1))
(assert_return (invoke $one "next") (i32.const 2))
(assert_return (invoke $two "next") (i32.const 1))
