;;! emit names
;; The second data segment depends on an import: it and the start function are left to the initialiser.
(module
  (import "env" "base" (global $base i32))
  (memory 1)
  (data (i32.const 16) "constant") (data (global.get $base) "dependent")
  (func $f) (start $f))
;;; output
;; f
;; precast.init
