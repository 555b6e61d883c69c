;; An import whose type has function references is called through its stub, which translates them if the function is
;; another instance's. The tail call of a host's function stays one.
;;! emit clif
;;! only call
;;! only precast.import.env.f
(module
  (import "env" "f" (func $f (param funcref i32) (result funcref)))
  (func $call (param i32) (result funcref) (return_call $f (ref.null func) (local.get 0))))
;;; output
;; call
;; function u0:0(i64, i32) -> i64 tail {
;;     sig0 = (i64, i64, i32) -> i64 tail
;;     fn0 = colocated u1:0 sig0
;;
;;                                 block0(v0: i64, v1: i32):
;; @002a                               v2 = iconst.i64 0
;; @002e                               return_call fn0(v0, v2, v1)  ; v2 = 0
;; }
;;
;; precast.import.env.f
;; function u1:0(i64, i64, i32) -> i64 tail {
;;     sig0 = (i64, i64, i64) -> i64 system_v
;;     sig1 = (i64, i64, i32) -> i64 tail
;;     sig2 = (i64, i64, i64) -> i64 system_v
;;
;; block0(v0: i64, v1: i64, v2: i32):
;;     v3 = load.i64 notrap aligned readonly can_move little v0-64
;;     v4 = load.i64 notrap aligned readonly can_move little v0-56
;;     v5 = icmp eq v4, v0
;;     brif v5, block1, block2
;;
;; block2:
;;     v6 = iconst.i64 -128
;;     v7 = iadd.i64 v0, v6  ; v6 = -128
;;     v8 = load.i64 notrap aligned readonly can_move little v7+8
;;     v9 = load.i64 notrap aligned readonly can_move little v8+104
;;     v10 = call_indirect sig0, v9(v7, v4, v1)
;;     v11 = call_indirect.i64 sig1, v3(v4, v10, v2)
;;     v12 = iconst.i64 -128
;;     v13 = iadd.i64 v0, v12  ; v12 = -128
;;     v14 = load.i64 notrap aligned readonly can_move little v13+8
;;     v15 = load.i64 notrap aligned readonly can_move little v14+96
;;     v16 = call_indirect sig2, v15(v13, v4, v11)
;;     return v16
;;
;; block1:
;;     return_call_indirect.i64 sig1, v3(v0, v1, v2)
;; }
