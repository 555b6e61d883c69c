;;! emit asm
;;! only call
;; A closed program: bounds compare, one load, type compare, call; the table cannot grow, so its bound is a constant.
(module
  (type $t (func (param i32) (result i32)))
  (table 4 funcref) (elem (i32.const 0) $f $f)
  (func $f (param i32) (result i32) (local.get 0))
  (func $call (param i32) (result i32) (i32.add (i32.const 1) (call_indirect (type $t) (local.get 0) (local.get 0)))))
;;; output
;; call
;;   pushq %rbp
;;   unwind PushFrameRegs { offset_upward_to_caller_sp: 16 }
;;   movq %rsp, %rbp
;;   unwind DefineNewFrame { offset_upward_to_caller_sp: 16, offset_downward_to_clobbers: 0 }
;; block0:
;;   cmpl $0x4, %esi
;;   jnb #trap=user2
;;   movl %esi, %r11d
;;   movq -0xa0(%rdi, %r11, 8), %r9
;;   cmpl $0x1, %r9d
;;   jz      label2; j label1
;; block2:
;;   load_ext_name userextname0+0, %rax
;;   shrq $0x20, %r9
;;   leaq (%rax, %r9), %rax
;;   call    *%rax
;;   leal 1(%rax), %eax
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
;; block1:
;;   testl %r9d, %r9d
;;   jz #trap=user3
;;   ud2
