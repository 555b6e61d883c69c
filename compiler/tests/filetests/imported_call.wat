;;! emit clif
(module (import "env" "f" (func $f (param i32) (result i32)))
  (func $call (param i32) (result i32) (return_call $f (local.get 0))))
