;;! emit asm
;;! only call
(module (func $f (param i32) (result i32) (local.get 0))
  (func $call (param i32) (result i32) (i32.add (i32.const 1) (call $f (local.get 0)))))
