;; Memories and globals of other instances: their addresses are host words, which never change.
;;! emit asm
(module
  (import "env" "m" (memory 1))
  (import "env" "a" (global $a (mut i32)))
  (import "env" "b" (global $b i64))
  (import "env" "c" (global $c (mut funcref)))
  (func $load (param i32) (result i32) (i32.load offset=8 (local.get 0)))
  (func $count (result i64) (global.set $a (i32.add (i32.const 1) (global.get $a))) (global.get $b))
  (func $funcref (global.set $c (global.get $c))))
;;; output
;; load
;;   pushq %rbp
;;   unwind PushFrameRegs { offset_upward_to_caller_sp: 16 }
;;   movq %rsp, %rbp
;;   unwind DefineNewFrame { offset_upward_to_caller_sp: 16, offset_downward_to_clobbers: 0 }
;; block0:
;;   movq %rsi, %r8
;;   movq -0x40(%rdi), %rsi
;;   movq %r8, %rdi
;;   movl %edi, %edi
;;   movl 8(%rsi, %rdi), %eax
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
;;
;; count
;;   pushq %rbp
;;   unwind PushFrameRegs { offset_upward_to_caller_sp: 16 }
;;   movq %rsp, %rbp
;;   unwind DefineNewFrame { offset_upward_to_caller_sp: 16, offset_downward_to_clobbers: 0 }
;; block0:
;;   movq -0x30(%rdi), %rsi
;;   addl $0x1, (%rsi)
;;   movq -0x20(%rdi), %rsi
;;   movq (%rsi), %rax
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
;;
;; funcref
;;   pushq %rbp
;;   unwind PushFrameRegs { offset_upward_to_caller_sp: 16 }
;;   movq %rsp, %rbp
;;   unwind DefineNewFrame { offset_upward_to_caller_sp: 16, offset_downward_to_clobbers: 32 }
;;   subq $0x20, %rsp
;;   movq %r12, (%rsp)
;;   unwind SaveReg { clobber_offset: 0, reg: p12i }
;;   movq %r13, 8(%rsp)
;;   unwind SaveReg { clobber_offset: 8, reg: p13i }
;;   movq %r14, 0x10(%rsp)
;;   unwind SaveReg { clobber_offset: 16, reg: p14i }
;; block0:
;;   leaq -0x80(%rdi), %r14
;;   movq -0x78(%rdi), %r12
;;   movq 0x70(%r12), %r8
;;   movl $0x2, %r13d
;;   movq %r13, %rsi
;;   movq %r14, %rdi
;;   call    *%r8
;;   movq 0x78(%r12), %r8
;;   movq %rax, %rdx
;;   movq %r13, %rsi
;;   movq %r14, %rdi
;;   call    *%r8
;;   movq (%rsp), %r12
;;   movq 8(%rsp), %r13
;;   movq 0x10(%rsp), %r14
;;   addq $0x20, %rsp
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
