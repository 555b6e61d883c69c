;;! emit error
;; Not WebAssembly 3.0, but valid in a proposal beyond it.
(module (memory 1 (pagesize 1)))
;;; output
;; unsupported: custom page sizes (offset 0xb)
