;; Tables of other instances hold references in their encoding: all access is the loader's, but for the size.
;;! emit clif
(module
  (import "env" "t" (table 1 funcref))
  (type $t (func (result i32)))
  (func $call (param i32) (result i32) (call_indirect (type $t) (local.get 0)))
  (func $size (result i32) (table.size 0))
  (func $move (table.set (i32.const 0) (table.get (i32.const 1)))))
;;; output
;; call
;; function u0:0(i64, i32) -> i32 tail {
;;     sig0 = (i64, i32, i64, i32) -> i64, i64 system_v
;;     sig1 = (i64) -> i32 tail
;;
;;                                 block0(v0: i64, v1: i32):
;; @0031                               v2 = iconst.i32 0
;; @0031                               v3 = uextend.i64 v1
;; @0031                               v4 = iconst.i32 1
;; @0031                               v5 = iconst.i64 -128
;; @0031                               v6 = iadd v0, v5  ; v5 = -128
;; @0031                               v7 = load.i64 notrap aligned readonly can_move little v6+8
;; @0031                               v8 = load.i64 notrap aligned readonly can_move little v7+80
;; @0031                               v9, v10 = call_indirect sig0, v8(v6, v2, v3, v4)  ; v2 = 0, v4 = 1
;; @0031                               brif v9, block2, block1
;;
;;                                 block1 cold:
;; @0031                               v11 = iconst.i64 2
;; @0031                               v12 = icmp.i64 eq v10, v11  ; v11 = 2
;; @0031                               trapnz v12, user2
;; @0031                               v13 = iconst.i64 3
;; @0031                               v14 = icmp.i64 eq v10, v13  ; v13 = 3
;; @0031                               trapnz v14, user3
;; @0031                               trap user4
;;
;;                                 block2:
;; @0031                               v15 = call_indirect.i64 sig1, v9(v10)
;; @0034                               return v15
;; }
;;
;; size
;; function u0:1(i64) -> i32 tail {
;;     region0 = 7 "imported sizes"
;;
;;                                 block0(v0: i64):
;; @0037                               v1 = load.i64 notrap aligned readonly can_move little v0-56
;; @0037                               v2 = load.i32 notrap little region0 v1
;; @003a                               return v2
;; }
;;
;; move
;; function u0:2(i64) tail {
;;     sig0 = (i64, i32, i64) -> i64, i64 system_v
;;     sig1 = (i64, i32, i64, i64) -> i32 system_v
;;
;;                                 block0(v0: i64):
;; @003d                               v1 = iconst.i32 0
;; @003f                               v2 = iconst.i32 1
;; @0041                               v3 = iconst.i32 0
;; @0041                               v4 = uextend.i64 v2  ; v2 = 1
;; @0041                               v5 = iconst.i64 -128
;; @0041                               v6 = iadd v0, v5  ; v5 = -128
;; @0041                               v7 = load.i64 notrap aligned readonly can_move little v6+8
;; @0041                               v8 = load.i64 notrap aligned readonly can_move little v7+64
;; @0041                               v9, v10 = call_indirect sig0, v8(v6, v3, v4)  ; v3 = 0
;; @0041                               trapnz v10, user5
;; @0043                               v11 = iconst.i32 0
;; @0043                               v12 = uextend.i64 v1  ; v1 = 0
;; @0043                               v13 = iconst.i64 -128
;; @0043                               v14 = iadd v0, v13  ; v13 = -128
;; @0043                               v15 = load.i64 notrap aligned readonly can_move little v14+8
;; @0043                               v16 = load.i64 notrap aligned readonly can_move little v15+72
;; @0043                               v17 = call_indirect sig1, v16(v14, v11, v12, v9)  ; v11 = 0
;; @0043                               trapnz v17, user5
;; @0045                               return
;; }
