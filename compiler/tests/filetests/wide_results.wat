;;! emit asm
;;! only wide
;; Results that do not fit in registers go through a return area.
(module
  (func $many (result i64 i64 i64 i64 i64 i64 i64 i64) (unreachable))
  (func $wide (result i64) (call $many) (drop) (drop) (drop) (drop) (drop) (drop) (drop)))
;;; output
;; wide
;;   pushq %rbp
;;   unwind PushFrameRegs { offset_upward_to_caller_sp: 16 }
;;   movq %rsp, %rbp
;;   unwind DefineNewFrame { offset_upward_to_caller_sp: 16, offset_downward_to_clobbers: 0 }
;;   subq $0x40, %rsp
;; block0:
;;   leaq <offset:1>+(%rsp), %rsi
;;   call    User(userextname0)
;;   movq <offset:1>+(%rsp), %rax
;;   movq <offset:1>+8(%rsp), %r11
;;   movq <offset:1>+0x10(%rsp), %r11
;;   movq <offset:1>+0x18(%rsp), %r11
;;   movq <offset:1>+0x20(%rsp), %r11
;;   movq <offset:1>+0x28(%rsp), %r11
;;   movq <offset:1>+0x30(%rsp), %r11
;;   movq <offset:1>+0x38(%rsp), %r11
;;   addq $0x40, %rsp
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
