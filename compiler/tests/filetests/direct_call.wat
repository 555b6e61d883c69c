;;! emit asm
;;! only call
(module (func $f (param i32) (result i32) (local.get 0))
  (func $call (param i32) (result i32) (i32.add (i32.const 1) (call $f (local.get 0)))))
;;; output
;; call
;;   pushq %rbp
;;   unwind PushFrameRegs { offset_upward_to_caller_sp: 16 }
;;   movq %rsp, %rbp
;;   unwind DefineNewFrame { offset_upward_to_caller_sp: 16, offset_downward_to_clobbers: 0 }
;; block0:
;;   call    User(userextname0)
;;   leal 1(%rax), %eax
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
