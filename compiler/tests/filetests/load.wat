;;! emit asm
;;! only load
;; A load from the first memory is one instruction on the base: no bounds check.
(module (memory 1) (func $load (param i32) (result i32) (i32.load offset=16 (local.get 0))))
