;;! emit asm
;;! only last
;; A pointer that is loaded is zero-extended by the load.
(module (memory 1)
  (func $last (param $node i32) (result i32) (local $next i32)
    (loop $follow
      (local.set $next (i32.load (local.get $node)))
      (if (local.get $next) (then (local.set $node (local.get $next)) (br $follow))))
    (i32.load offset=4 (local.get $node))))
;;; output
;; last
;;   pushq %rbp
;;   unwind PushFrameRegs { offset_upward_to_caller_sp: 16 }
;;   movq %rsp, %rbp
;;   unwind DefineNewFrame { offset_upward_to_caller_sp: 16, offset_downward_to_clobbers: 0 }
;; block0:
;;   movl %esi, %esi
;;   jmp     label1
;; block1:
;;   movl (%rdi, %rsi), %r8d
;;   testl %r8d, %r8d
;;   jnz     label3; j label2
;; block2:
;;   movl 4(%rdi, %rsi), %eax
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
;; block3:
;;   movl %r8d, %esi
;;   jmp     label1
