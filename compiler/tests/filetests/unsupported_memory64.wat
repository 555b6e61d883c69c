;;! emit error
(module (memory i64 1))
;;; output
;; unsupported: memory64 (offset 0xb)
