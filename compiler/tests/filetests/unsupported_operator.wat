;; The first operator that is not compiled is named, with its function and offset.
;;! emit error
(module (memory 1) (func) (func (param v128) (result v128) (i32x4.relaxed_trunc_f32x4_s (local.get 0))))
;;; output
;; unsupported: relaxed SIMD (function 1 at offset 0x27)
