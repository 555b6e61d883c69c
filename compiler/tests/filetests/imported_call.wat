;;! emit clif
(module (import "env" "f" (func $f (param i32) (result i32)))
  (func $call (param i32) (result i32) (return_call $f (local.get 0))))
;;; output
;; call
;; function u0:0(i64, i32) -> i32 tail {
;;     sig0 = (i64, i32) -> i32 tail
;;
;;                                 block0(v0: i64, v1: i32):
;; @0026                               v2 = load.i64 notrap aligned readonly can_move little v0-64
;; @0026                               v3 = load.i64 notrap aligned readonly can_move little v0-56
;; @0026                               return_call_indirect sig0, v2(v3, v1)
;; }
;;
;; precast.import.env.f
;; function u1:0(i64, i32) -> i32 tail {
;;     sig0 = (i64, i32) -> i32 tail
;;
;; block0(v0: i64, v1: i32):
;;     v2 = load.i64 notrap aligned readonly can_move little v0-64
;;     v3 = load.i64 notrap aligned readonly can_move little v0-56
;;     return_call_indirect sig0, v2(v3, v1)
;; }
;;
;; precast.host.env.f
;; function u2:0(i64, i32) -> i32 tail {
;;     ss0 = explicit_slot 8, align = 16
;;     region0 = 8 "cells of a call"
;;     sig0 = (i64, i64, i64) system_v
;;
;; block0(v0: i64, v1: i32):
;;     v2 = stack_addr.i64 ss0
;;     store notrap little region0 v1, v2
;;     v3 = iconst.i64 -128
;;     v4 = iadd v0, v3  ; v3 = -128
;;     v5 = load.i64 notrap aligned readonly can_move little v4+8
;;     v6 = load.i64 notrap aligned readonly can_move little v5-8
;;     v7 = iconst.i64 -64
;;     v8 = iadd v0, v7  ; v7 = -64
;;     call_indirect sig0, v6(v4, v8, v2)
;;     v9 = load.i32 notrap little region0 v2
;;     return v9
;; }
