;;! emit names
;; All segments are constant, so that they are in the image and there is no initialiser.
(module
  (memory 1) (table 4 funcref) (global $g (mut i32) (i32.const 7))
  (data (i32.const 16) "data") (elem (i32.const 1) $f)
  (func $f (export "f")))
;;; output
;; f
;; precast.entry.1
