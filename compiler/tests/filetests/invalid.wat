;;! emit error
(module (func (result i32) (nop)))
;;; output
;; invalid WebAssembly: type mismatch: expected i32 but nothing on stack (function 0 at offset 0x19)
