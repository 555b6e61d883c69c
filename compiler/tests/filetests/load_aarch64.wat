;;! emit asm
;;! target aarch64
;;! only load
(module (memory 1) (func $load (param i32) (result i32) (i32.load (local.get 0))))
