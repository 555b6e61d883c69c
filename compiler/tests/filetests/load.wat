;;! emit asm
;;! only load
;; A load from the first memory is one instruction on the base: no bounds check.
(module (memory 1) (func $load (param i32) (result i32) (i32.load offset=16 (local.get 0))))
;;; output
;; load
;;   pushq %rbp
;;   unwind PushFrameRegs { offset_upward_to_caller_sp: 16 }
;;   movq %rsp, %rbp
;;   unwind DefineNewFrame { offset_upward_to_caller_sp: 16, offset_downward_to_clobbers: 0 }
;; block0:
;;   movl %esi, %esi
;;   movl 0x10(%rdi, %rsi), %eax
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
