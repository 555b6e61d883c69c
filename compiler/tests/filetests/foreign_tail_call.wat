;;! emit clif
;;! only precast.import.env.f
;; Only results would have to be translated after a call, so this one is a tail call wherever it goes.
(module (import "env" "f" (func $f (param funcref))) (func (export "call") (return_call $f (ref.null func))))
;;; output
;; precast.import.env.f
;; function u1:0(i64, i64) tail {
;;     sig0 = (i64, i64, i64) -> i64 system_v
;;     sig1 = (i64, i64) tail
;;
;; block0(v0: i64, v1: i64):
;;     v2 = load.i64 notrap aligned readonly can_move little v0-64
;;     v3 = load.i64 notrap aligned readonly can_move little v0-56
;;     v4 = icmp eq v3, v0
;;     brif v4, block1, block2
;;
;; block2:
;;     v5 = iconst.i64 -128
;;     v6 = iadd.i64 v0, v5  ; v5 = -128
;;     v7 = load.i64 notrap aligned readonly can_move little v6+8
;;     v8 = load.i64 notrap aligned readonly can_move little v7+104
;;     v9 = call_indirect sig0, v8(v6, v3, v1)
;;     return_call_indirect.i64 sig1, v2(v3, v9)
;;
;; block1:
;;     return_call_indirect.i64 sig1, v2(v0, v1)
;; }
