;;! emit error
(module (func) (func (param i32) (result i32) (ref.test (ref i31) (ref.i31 (local.get 0)))))
;;; output
;; unsupported: garbage collection (function 1 at offset 0x22)
