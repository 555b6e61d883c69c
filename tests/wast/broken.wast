(module)
(assert_nothing)
