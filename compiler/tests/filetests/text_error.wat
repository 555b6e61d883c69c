;;! emit error
(module (func (i32.cosnt 1)))
