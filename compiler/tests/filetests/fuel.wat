;;! fuel
;;! only walk
(module
    (func $leaf (param i32) (result i32) (local.get 0))
    (func $walk (param i32) (result i32)
        (loop $again
            (if (call $leaf (local.get 0)) (then (local.set 0 (i32.sub (local.get 0) (i32.const 1)))))
            (br_if $again (local.get 0)))
        (local.get 0))
    (export "walk" (func $walk)))
;;; output
;; walk
;; function u0:1(i64, i32) -> i32 tail {
;;     region0 = 10 "context"
;;     sig0 = (i64, i32) -> i32 tail
;;     fn0 = colocated u0:0 sig0
;;
;;                                 block0(v0: i64, v1: i32):
;;                                     v2 = load.i64 notrap aligned readonly can_move little v0-0x0011_2000
;;                                     v3 = load.i64 notrap little region0 v2+40
;; @0029                               v4 = iconst.i64 -1
;; @0029                               v5 = iadd v3, v4  ; v4 = -1
;; @0029                               jump block1(v5, v1)
;;
;;                                 block1(v6: i64, v10: i32):
;; @0029                               v7 = load.i64 notrap aligned readonly can_move little v0-0x0011_2000
;; @0029                               store notrap little region0 v6, v7+40
;; @0029                               v8 = iconst.i64 0
;; @0029                               v9 = icmp slt v6, v8  ; v8 = 0
;; @0029                               trapnz v9, user249
;; @002d                               v11 = iconst.i64 -2
;; @002d                               v12 = iadd v6, v11  ; v11 = -2
;; @002d                               v13 = load.i64 notrap aligned readonly can_move little v0-0x0011_2000
;; @002d                               store notrap little region0 v12, v13+40
;; @002d                               v14 = iconst.i64 0
;; @002d                               v15 = icmp slt v12, v14  ; v14 = 0
;; @002d                               trapnz v15, user249
;; @002d                               v16 = call fn0(v0, v10)
;; @002d                               v17 = load.i64 notrap aligned readonly can_move little v0-0x0011_2000
;; @002d                               v18 = load.i64 notrap little region0 v17+40
;; @002f                               v19 = iconst.i64 -1
;; @002f                               v20 = iadd v18, v19  ; v19 = -1
;; @002f                               brif v16, block2, block3(v10, v20)
;;
;;                                 block2:
;; @0033                               v21 = iconst.i32 1
;; @0035                               v22 = isub.i32 v10, v21  ; v21 = 1
;; @0038                               v23 = iconst.i64 -4
;; @0038                               v24 = iadd.i64 v20, v23  ; v23 = -4
;; @0038                               jump block3(v22, v24)
;;
;;                                 block3(v25: i32, v26: i64):
;; @003b                               v27 = iconst.i64 -2
;; @003b                               v28 = iadd v26, v27  ; v27 = -2
;; @003b                               brif v25, block1(v28, v25), block4
;;
;;                                 block4:
;; @0040                               v29 = iconst.i64 -1
;; @0040                               v30 = iadd.i64 v28, v29  ; v29 = -1
;; @0040                               v31 = load.i64 notrap aligned readonly can_move little v0-0x0011_2000
;; @0040                               store notrap little region0 v30, v31+40
;; @0040                               return v25
;; }
