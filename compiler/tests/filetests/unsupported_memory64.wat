;;! emit error
(module (memory i64 1))
