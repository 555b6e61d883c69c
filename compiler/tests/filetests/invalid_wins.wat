;;! emit error
;; Invalid is said before unsupported, wherever each is.
(module (memory i64 1) (func (result i32) (nop)))
