;;! emit asm
;;! only sum
;; A pointer that a loop advances needs no zero-extension at its use.
(module (memory 1)
  (func $sum (param $at i32) (param $end i32) (result i32) (local $sum i32)
    (loop $next
      (local.set $sum (i32.add (local.get $sum) (i32.load (local.get $at))))
      (local.set $at (i32.add (local.get $at) (i32.const 4)))
      (br_if $next (i32.ne (local.get $at) (local.get $end))))
    (local.get $sum)))
;;; output
;; sum
;;   pushq %rbp
;;   unwind PushFrameRegs { offset_upward_to_caller_sp: 16 }
;;   movq %rsp, %rbp
;;   unwind DefineNewFrame { offset_upward_to_caller_sp: 16, offset_downward_to_clobbers: 0 }
;; block0:
;;   uninit  %rax
;;   xorl %eax, %eax
;;   movl %esi, %r8d
;;   jmp     label1
;; block1:
;;   movl (%rdi, %r8), %ecx
;;   leal 4(%r8), %r8d
;;   leal (%rax, %rcx), %eax
;;   cmpl %edx, %r8d
;;   jnz     label2; j label3
;; block2:
;;   jmp     label1
;; block3:
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
