;;! emit error
;; Invalid is said before unsupported, wherever each is.
(module (memory i64 1) (func (result i32) (nop)))
;;; output
;; invalid WebAssembly: type mismatch: expected i32 but nothing on stack (function 0 at offset 0x1e)
