;;! emit clif
;;! only load
;; An offset beyond what the guard covers is checked.
(module (memory 1) (func $load (param i32) (result i32) (i32.load offset=0xfffffff0 (local.get 0))))
;;; output
;; load
;; function u0:0(i64, i32) -> i32 tail {
;;     region0 = 6 "own sizes"
;;     region1 = 1 "own memory"
;;
;;                                 block0(v0: i64, v1: i32):
;;                                     v2 = uextend.i64 v1
;; @0020                               v3 = iconst.i64 0xffff_fff4
;; @0020                               v4 = iadd v2, v3  ; v3 = 0xffff_fff4
;; @0020                               v5 = load.i64 notrap little region0 v0-8
;; @0020                               v6 = icmp ugt v4, v5
;; @0020                               trapnz v6, heap_oob
;; @0020                               v7 = iadd v0, v2
;; @0020                               v8 = iconst.i64 0xffff_fff0
;; @0020                               v9 = iadd v7, v8  ; v8 = 0xffff_fff0
;; @0020                               v10 = load.i32 little region1 v9
;; @0027                               return v10
;; }
