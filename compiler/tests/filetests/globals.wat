;;! emit clif
;;! only swap
(module (global $a (mut i32) (i32.const 1)) (global $b (mut i64) (i64.const 2))
  (func $swap (global.set $a (i32.wrap_i64 (global.get $b)))))
;;; output
;; swap
;; function u0:0(i64) tail {
;;     region0 = 3 "own globals"
;;
;;                                 block0(v0: i64):
;; @0024                               v1 = load.i64 notrap little region0 v0-16
;; @0026                               v2 = ireduce.i32 v1
;; @0027                               store notrap little region0 v2, v0-8
;; @0029                               return
;; }
