;; When references of other instances can come in, the cold block that the type compare fails into asks the loader for
;; their code and base. References among the arguments are translated if the base is another.
;;! emit clif
;;! only call
;;! only call_with_reference
(module
  (type $plain (func (param i32) (result i32)))
  (type $reference (func (param funcref) (result funcref)))
  (table (export "t") 4 10 funcref)
  (func $call (param i32) (result i32) (call_indirect (type $plain) (i32.const 1) (local.get 0)))
  (func $call_with_reference (param i32) (result funcref)
    (return_call_indirect (type $reference) (ref.null func) (local.get 0))))
;;; output
;; call
;; function u0:0(i64, i32) -> i32 tail {
;;     region0 = 6 "own sizes"
;;     region1 = 5 "own tables"
;;     sig0 = (i64, i32, i32) -> i64, i64 system_v
;;     sig1 = (i64, i32) -> i32 tail
;;     fn0 = colocated u5:0 sig1
;;
;;                                 block0(v0: i64, v1: i32):
;; @0032                               v2 = iconst.i32 1
;; @0036                               v3 = load.i32 notrap little region0 v0-8
;; @0036                               v4 = icmp uge v1, v3
;; @0036                               trapnz v4, user2
;; @0036                               v5 = uextend.i64 v1
;; @0036                               v6 = iconst.i64 3
;; @0036                               v7 = ishl v5, v6  ; v6 = 3
;; @0036                               v8 = iadd v0, v7
;; @0036                               v9 = load.i64 notrap little region1 v8-208
;; @0036                               v10 = ireduce.i32 v9
;; @0036                               v11 = iconst.i32 1
;; @0036                               v12 = icmp eq v10, v11  ; v11 = 1
;; @0036                               brif v12, block1, block2
;;
;;                                 block2 cold:
;; @0036                               trapz.i32 v10, user3
;; @0036                               v13 = iconst.i32 -1
;; @0036                               v14 = icmp.i32 eq v10, v13  ; v13 = -1
;; @0036                               trapz v14, user4
;; @0036                               v15 = iconst.i64 32
;; @0036                               v16 = ushr.i64 v9, v15  ; v15 = 32
;; @0036                               v17 = ireduce.i32 v16
;; @0036                               v18 = iconst.i32 1
;; @0036                               v19 = iconst.i64 -128
;; @0036                               v20 = iadd.i64 v0, v19  ; v19 = -128
;; @0036                               v21 = load.i64 notrap aligned readonly can_move little v20+8
;; @0036                               v22 = load.i64 notrap aligned readonly can_move little v21+88
;; @0036                               v23, v24 = call_indirect sig0, v22(v20, v17, v18)  ; v18 = 1
;; @0036                               trapz v23, user4
;; @0036                               v25 = call_indirect sig1, v23(v24, v2)  ; v2 = 1
;; @0036                               jump block3(v25)
;;
;;                                 block1:
;; @0036                               v27 = func_addr.i64 fn0
;; @0036                               v28 = iconst.i64 32
;; @0036                               v29 = ushr.i64 v9, v28  ; v28 = 32
;; @0036                               v30 = iadd v27, v29
;; @0036                               v31 = call_indirect sig1, v30(v0, v2)  ; v2 = 1
;; @0036                               jump block3(v31)
;;
;;                                 block3(v26: i32):
;; @0039                               return v26
;; }
;;
;; call_with_reference
;; function u0:1(i64, i32) -> i64 tail {
;;     region0 = 6 "own sizes"
;;     region1 = 5 "own tables"
;;     sig0 = (i64, i32, i32) -> i64, i64 system_v
;;     sig1 = (i64, i64, i64) -> i64 system_v
;;     sig2 = (i64, i64) -> i64 tail
;;     sig3 = (i64, i64, i64) -> i64 system_v
;;     sig4 = (i64, i32) -> i64 tail
;;     fn0 = colocated u5:0 sig4
;;
;;                                 block0(v0: i64, v1: i32):
;; @003c                               v2 = iconst.i64 0
;; @0040                               v3 = load.i32 notrap little region0 v0-8
;; @0040                               v4 = icmp uge v1, v3
;; @0040                               trapnz v4, user2
;; @0040                               v5 = uextend.i64 v1
;; @0040                               v6 = iconst.i64 3
;; @0040                               v7 = ishl v5, v6  ; v6 = 3
;; @0040                               v8 = iadd v0, v7
;; @0040                               v9 = load.i64 notrap little region1 v8-208
;; @0040                               v10 = ireduce.i32 v9
;; @0040                               v11 = iconst.i32 2
;; @0040                               v12 = icmp eq v10, v11  ; v11 = 2
;; @0040                               brif v12, block1, block2
;;
;;                                 block2 cold:
;; @0040                               trapz.i32 v10, user3
;; @0040                               v13 = iconst.i32 -1
;; @0040                               v14 = icmp.i32 eq v10, v13  ; v13 = -1
;; @0040                               trapz v14, user4
;; @0040                               v15 = iconst.i64 32
;; @0040                               v16 = ushr.i64 v9, v15  ; v15 = 32
;; @0040                               v17 = ireduce.i32 v16
;; @0040                               v18 = iconst.i32 2
;; @0040                               v19 = iconst.i64 -128
;; @0040                               v20 = iadd.i64 v0, v19  ; v19 = -128
;; @0040                               v21 = load.i64 notrap aligned readonly can_move little v20+8
;; @0040                               v22 = load.i64 notrap aligned readonly can_move little v21+88
;; @0040                               v23, v24 = call_indirect sig0, v22(v20, v17, v18)  ; v18 = 2
;; @0040                               trapz v23, user4
;; @0040                               v25 = icmp eq v24, v0
;; @0040                               brif v25, block3, block4
;;
;;                                 block4:
;; @0040                               v26 = iconst.i64 -128
;; @0040                               v27 = iadd.i64 v0, v26  ; v26 = -128
;; @0040                               v28 = load.i64 notrap aligned readonly can_move little v27+8
;; @0040                               v29 = load.i64 notrap aligned readonly can_move little v28+104
;; @0040                               v30 = call_indirect sig1, v29(v27, v24, v2)  ; v2 = 0
;; @0040                               v31 = call_indirect.i64 sig2, v23(v24, v30)
;; @0040                               v32 = iconst.i64 -128
;; @0040                               v33 = iadd.i64 v0, v32  ; v32 = -128
;; @0040                               v34 = load.i64 notrap aligned readonly can_move little v33+8
;; @0040                               v35 = load.i64 notrap aligned readonly can_move little v34+96
;; @0040                               v36 = call_indirect sig3, v35(v33, v24, v31)
;; @0040                               return v36
;;
;;                                 block3:
;; @0040                               return_call_indirect.i64 sig2, v23(v0, v2)  ; v2 = 0
;;
;;                                 block1:
;; @0040                               v37 = func_addr.i64 fn0
;; @0040                               v38 = iconst.i64 32
;; @0040                               v39 = ushr.i64 v9, v38  ; v38 = 32
;; @0040                               v40 = iadd v37, v39
;; @0040                               return_call_indirect sig2, v40(v0, v2)  ; v2 = 0
;; }
