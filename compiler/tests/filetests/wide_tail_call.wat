;; A tail call hands on the function's own return area; ordinary calls share one in the frame.
;;! emit clif
;;! only tail
;;! only twice
(module
  (type $wide (func (param i64) (result i64 i64 i64 i64 i64 i64 i64)))
  (import "env" "f" (func $f (type $wide)))
  (func $tail (type $wide) (return_call $f (local.get 0)))
  (func $twice (result i64)
    (call $f (i64.const 1)) (drop) (drop) (drop) (drop) (drop) (drop)
    (call $f) (drop) (drop) (drop) (drop) (drop) (drop)))
;;; output
;; tail
;; function u0:0(i64, i64, i64) tail {
;;     sig0 = (i64, i64, i64) tail
;;
;;                                 block0(v0: i64, v1: i64, v2: i64):
;; @0031                               v3 = load.i64 notrap aligned readonly can_move little v0-64
;; @0031                               v4 = load.i64 notrap aligned readonly can_move little v0-56
;; @0031                               return_call_indirect sig0, v3(v4, v1, v2)
;; }
;;
;; twice
;; function u0:1(i64) -> i64 tail {
;;     ss0 = explicit_slot 56, align = 16
;;     region0 = 8 "cells of a call"
;;     sig0 = (i64, i64, i64) tail
;;
;;                                 block0(v0: i64):
;; @0036                               v1 = iconst.i64 1
;; @0038                               v2 = load.i64 notrap aligned readonly can_move little v0-64
;; @0038                               v3 = load.i64 notrap aligned readonly can_move little v0-56
;; @0038                               v4 = stack_addr.i64 ss0
;; @0038                               call_indirect sig0, v2(v3, v4, v1)  ; v1 = 1
;; @0038                               v5 = load.i64 notrap little region0 v4
;; @0038                               v6 = load.i64 notrap little region0 v4+8
;; @0038                               v7 = load.i64 notrap little region0 v4+16
;; @0038                               v8 = load.i64 notrap little region0 v4+24
;; @0038                               v9 = load.i64 notrap little region0 v4+32
;; @0038                               v10 = load.i64 notrap little region0 v4+40
;; @0038                               v11 = load.i64 notrap little region0 v4+48
;; @0040                               v12 = load.i64 notrap aligned readonly can_move little v0-64
;; @0040                               v13 = load.i64 notrap aligned readonly can_move little v0-56
;; @0040                               v14 = stack_addr.i64 ss0
;; @0040                               call_indirect sig0, v12(v13, v14, v5)
;; @0040                               v15 = load.i64 notrap little region0 v14
;; @0040                               v16 = load.i64 notrap little region0 v14+8
;; @0040                               v17 = load.i64 notrap little region0 v14+16
;; @0040                               v18 = load.i64 notrap little region0 v14+24
;; @0040                               v19 = load.i64 notrap little region0 v14+32
;; @0040                               v20 = load.i64 notrap little region0 v14+40
;; @0040                               v21 = load.i64 notrap little region0 v14+48
;; @0048                               return v15
;; }
