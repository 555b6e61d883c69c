;; A type of another proposal inside a function, in code that cannot be reached.
;;! emit error
(module (func unreachable (block (result anyref) unreachable) drop))
;;; output
;; unsupported: garbage collection (function 0 at offset 0x18)
