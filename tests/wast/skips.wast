;; Components are beyond this runner for now: skipped, which is not passed.
(component)
(module)
