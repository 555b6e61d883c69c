;; What follows a block is a CLIF block of its own only if something branches there; operands are block parameters; an
;; `if` without `else` joins where its condition was false; the end and branches out of the function share a return.
;;! emit clif
(module
  (func $never_branched_to (param i32) (result i32)
    (block (result i32) (block (result i32) (local.get 0)) (i32.const 1) (i32.add)))
  (func $loop_with_operand (param i32) (result i32)
    (local.get 0)
    (loop (param i32) (result i32)
      (i32.sub (i32.const 1)) (local.tee 0) (local.get 0) (br_if 0)))
  (func $if_without_else (param i32) (if (local.get 0) (then (local.set 0 (i32.const 7)))))
  (func $if_with_operand (param i32) (result i32)
    (i32.const 5) (if (param i32) (result i32) (local.get 0) (then (i32.const 1) (i32.add)) (else (br_if 1 (local.get 0)))))
  (func $dead_code (param i32) (result i32)
    (block (result i32) (br 0 (i32.const 1)) (block (loop (br 0))) (if (then) (else)) (i32.add))))
;;; output
;; never_branched_to
;; function u0:0(i64, i32) -> i32 tail {
;;                                 block0(v0: i64, v1: i32):
;; @0028                               v2 = iconst.i32 1
;; @002a                               v3 = iadd v1, v2  ; v2 = 1
;; @002c                               return v3
;; }
;;
;; loop_with_operand
;; function u0:1(i64, i32) -> i32 tail {
;;                                 block0(v0: i64, v1: i32):
;; @0031                               jump block1(v1)
;;
;;                                 block1(v2: i32):
;; @0033                               v3 = iconst.i32 1
;; @0035                               v4 = isub v2, v3  ; v3 = 1
;; @003a                               brif v4, block1(v4), block2
;;
;;                                 block2:
;; @003d                               return v4
;; }
;;
;; if_without_else
;; function u0:2(i64, i32) tail {
;;                                 block0(v0: i64, v1: i32):
;; @0042                               brif v1, block1, block2
;;
;;                                 block1:
;; @0044                               v2 = iconst.i32 7
;; @0048                               jump block2
;;
;;                                 block2:
;; @0049                               return
;; }
;;
;; if_with_operand
;; function u0:3(i64, i32) -> i32 tail {
;;                                 block0(v0: i64, v1: i32):
;; @004c                               v2 = iconst.i32 5
;; @0050                               brif v1, block1, block2
;;
;;                                 block1:
;; @0052                               v3 = iconst.i32 1
;; @0054                               v4 = iadd.i32 v2, v3  ; v2 = 5, v3 = 1
;; @0055                               jump block3(v4)
;;
;;                                 block2:
;; @0058                               brif.i32 v1, block4(v2), block5  ; v2 = 5
;;
;;                                 block5:
;; @005a                               jump block3(v2)  ; v2 = 5
;;
;;                                 block3(v5: i32):
;; @005b                               jump block4(v5)
;;
;;                                 block4(v6: i32):
;; @005b                               return v6
;; }
;;
;; dead_code
;; function u0:4(i64, i32) -> i32 tail {
;;                                 block0(v0: i64, v1: i32):
;; @0060                               v2 = iconst.i32 1
;; @0062                               jump block1(v2)  ; v2 = 1
;;
;;                                 block1(v3: i32):
;; @0072                               return v3
;; }
