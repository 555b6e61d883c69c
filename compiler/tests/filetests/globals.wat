;;! emit clif
;;! only swap
(module (global $a (mut i32) (i32.const 1)) (global $b (mut i64) (i64.const 2))
  (func $swap (global.set $a (i32.wrap_i64 (global.get $b)))))
