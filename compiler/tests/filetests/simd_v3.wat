;;! emit asm
;;! cpu x86-64-v3
;;! only add
;; The level v3 gives AVX code.
(module (func $add (param v128 v128) (result v128) (f32x4.add (local.get 0) (local.get 1))))
