;;! emit asm
;;! target aarch64
;;! only load
(module (memory 1) (func $load (param i32) (result i32) (i32.load (local.get 0))))
;;; output
;; load
;;   stp fp, lr, [sp, #-16]!
;;   unwind PushFrameRegs { offset_upward_to_caller_sp: 16 }
;;   mov fp, sp
;;   unwind DefineNewFrame { offset_upward_to_caller_sp: 16, offset_downward_to_clobbers: 0 }
;; block0:
;;   ldr w2, [x2, w3, UXTW]
;;   ldp fp, lr, [sp], #16
;;   ret
