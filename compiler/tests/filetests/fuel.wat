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
;;                                     v2 = load.i64 notrap aligned readonly can_move little v0-64
;;                                     v3 = load.i64 notrap little region0 v2+40
;; @0029                               v4 = iconst.i64 1
;; @0029                               v5 = uadd_overflow_trap v3, v4, user249  ; v4 = 1
;; @0029                               jump block1(v5, v1)
;;
;;                                 block1(v6: i64, v8: i32):
;; @0029                               v7 = load.i64 notrap aligned readonly can_move little v0-64
;; @0029                               store notrap little region0 v6, v7+40
;; @002d                               v9 = iconst.i64 2
;; @002d                               v10 = uadd_overflow_trap v6, v9, user249  ; v9 = 2
;; @002d                               v11 = load.i64 notrap aligned readonly can_move little v0-64
;; @002d                               store notrap little region0 v10, v11+40
;; @002d                               v12 = call fn0(v0, v8)
;; @002d                               v13 = load.i64 notrap aligned readonly can_move little v0-64
;; @002d                               v14 = load.i64 notrap little region0 v13+40
;; @002f                               v15 = iconst.i64 1
;; @002f                               v16 = uadd_overflow_trap v14, v15, user249  ; v15 = 1
;; @002f                               brif v12, block2, block3(v8, v16)
;;
;;                                 block2:
;; @0033                               v17 = iconst.i32 1
;; @0035                               v18 = isub.i32 v8, v17  ; v17 = 1
;; @0038                               v19 = iconst.i64 4
;; @0038                               v20 = uadd_overflow_trap.i64 v16, v19, user249  ; v19 = 4
;; @0038                               jump block3(v18, v20)
;;
;;                                 block3(v21: i32, v23: i64):
;; @003b                               v22 = iconst.i64 2
;; @003b                               v24 = uadd_overflow_trap v23, v22, user249  ; v22 = 2
;; @003b                               brif v21, block1(v24, v21), block4
;;
;;                                 block4:
;; @0040                               v25 = iconst.i64 1
;; @0040                               v26 = uadd_overflow_trap.i64 v24, v25, user249  ; v25 = 1
;; @0040                               v27 = load.i64 notrap aligned readonly can_move little v0-64
;; @0040                               store notrap little region0 v26, v27+40
;; @0040                               return v21
;; }
