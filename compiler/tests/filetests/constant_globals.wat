;; Globals that cannot change are constants; those that an import decides are loaded, but can be hoisted.
;;! emit clif
;;! only constants
(module
  (import "env" "g" (global $g i32))
  (global $i i32 (i32.add (i32.const 40) (i32.const 2)))
  (global $f funcref (ref.func $constants))
  (global $v v128 (v128.const i64x2 1 2))
  (global $later i32 (global.get $g))
  (func $constants (result i32 funcref v128 i32)
    (global.get $i) (global.get $f) (global.get $v) (global.get $later)))
;;; output
;; constants
;; function u0:0(i64) -> i32, i64, i8x16, i32 tail {
;;     region0 = 3 "own globals"
;;     sig0 = (i64) -> i32, i64, i8x16, i32 tail
;;     fn0 = colocated u0:0 sig0
;;     fn1 = colocated u5:0 sig0
;;     const0 = 0x00000000000000020000000000000001
;;
;;                                 block0(v0: i64):
;; @0051                               v1 = iconst.i32 42
;; @0053                               v2 = func_addr.i64 fn0
;; @0053                               v3 = func_addr.i64 fn1
;; @0053                               v4 = isub v2, v3
;; @0053                               v5 = iconst.i64 32
;; @0053                               v6 = ishl v4, v5  ; v5 = 32
;; @0053                               v7 = iconst.i64 1
;; @0053                               v8 = bor v6, v7  ; v7 = 1
;; @0055                               v9 = vconst.i8x16 const0
;; @0057                               v10 = load.i32 notrap readonly can_move little region0 v0-40
;; @0059                               return v1, v8, v9, v10  ; v1 = 42, v9 = const0
;; }
