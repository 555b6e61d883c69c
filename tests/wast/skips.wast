;; What a component exports cannot be registered: skipped, which is not passed.
(module)
(component)
(register "x")
