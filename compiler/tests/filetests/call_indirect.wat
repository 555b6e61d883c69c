;;! emit asm
;;! only call
;; A closed program: bounds compare, one load, type compare, call; the table cannot grow, so its bound is a constant.
(module
  (type $t (func (param i32) (result i32)))
  (table 4 funcref) (elem (i32.const 0) $f $f)
  (func $f (param i32) (result i32) (local.get 0))
  (func $call (param i32) (result i32) (i32.add (i32.const 1) (call_indirect (type $t) (local.get 0) (local.get 0)))))
