;; Operands of a table's targets are passed on by one block for each target, however often the table names it.
;;! emit clif
(module (func $f (param i32) (result i32)
  (block (result i32)
    (block (result i32) (br_table 0 1 0 0 2 1 (i32.const 9) (local.get 0)))
    (i32.const 1) (i32.add))))
;;; output
;; f
;; function u0:0(i64, i32) -> i32 tail {
;;                                 block0(v0: i64, v1: i32):
;; @001d                               v2 = iconst.i32 9
;; @0021                               br_table v1, block2, [block1, block2, block1, block1, block3]
;;
;;                                 block1:
;; @0021                               jump block4(v2)  ; v2 = 9
;;
;;                                 block2:
;; @0021                               jump block5(v2)  ; v2 = 9
;;
;;                                 block3:
;; @0021                               jump block6(v2)  ; v2 = 9
;;
;;                                 block4(v3: i32):
;; @002a                               v6 = iconst.i32 1
;; @002c                               v7 = iadd v3, v6  ; v6 = 1
;; @002d                               jump block5(v7)
;;
;;                                 block5(v4: i32):
;; @002e                               jump block6(v4)
;;
;;                                 block6(v5: i32):
;; @002e                               return v5
;; }
