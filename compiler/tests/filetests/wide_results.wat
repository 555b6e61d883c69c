;;! emit asm
;;! only wide
;; Results that do not fit in registers go through a return area.
(module
  (func $many (result i64 i64 i64 i64 i64 i64 i64 i64) (unreachable))
  (func $wide (result i64) (call $many) (drop) (drop) (drop) (drop) (drop) (drop) (drop)))
