;;! emit asm
;;! cpu x86-64-v3
;;! only add
;; The level v3 gives AVX code.
(module (func $add (param v128 v128) (result v128) (f32x4.add (local.get 0) (local.get 1))))
;;; output
;; add
;;   pushq %rbp
;;   unwind PushFrameRegs { offset_upward_to_caller_sp: 16 }
;;   movq %rsp, %rbp
;;   unwind DefineNewFrame { offset_upward_to_caller_sp: 16, offset_downward_to_clobbers: 0 }
;; block0:
;;   vaddps %xmm1, %xmm0, %xmm0
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
