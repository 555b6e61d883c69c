;;! emit clif
;;! only load
;; An offset beyond what the guard covers is checked.
(module (memory 1) (func $load (param i32) (result i32) (i32.load offset=0xfffffff0 (local.get 0))))
