;;! emit error
(module (func (i32.cosnt 1)))
;;; output
;; unknown operator or unexpected token
;;      --> <anon>:2:16
;;       |
;;     2 | (module (func (i32.cosnt 1)))
;;       |                ^
