;; Never ends by itself.
(module (func (export "forever") (loop (br 0))))
(invoke "forever")
(invoke "forever")
