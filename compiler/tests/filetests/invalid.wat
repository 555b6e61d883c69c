;;! emit error
(module (func (result i32) (nop)))
