;; Copies and fills go through a helper of the artifact, which asks the loader for long ones only.
;;! emit clif
(module (memory 1)
  (func $copy (param i32 i32 i32) (memory.copy (local.get 0) (local.get 1) (local.get 2)))
  (func $fill (param i32 i32 i32) (memory.fill (local.get 0) (local.get 1) (local.get 2))))
;;; output
;; copy
;; function u0:0(i64, i32, i32, i32) tail {
;;     sig0 = (i64, i32, i32, i32) -> i32 tail
;;     fn0 = colocated u6:0 sig0
;;
;;                                 block0(v0: i64, v1: i32, v2: i32, v3: i32):
;; @0026                               v4 = call fn0(v0, v1, v2, v3)
;; @0026                               trapnz v4, heap_oob
;; @002a                               return
;; }
;;
;; fill
;; function u0:1(i64, i32, i32, i32) tail {
;;     sig0 = (i64, i32, i32, i32) -> i32 tail
;;     fn0 = colocated u6:1 sig0
;;
;;                                 block0(v0: i64, v1: i32, v2: i32, v3: i32):
;; @0033                               v4 = call fn0(v0, v1, v2, v3)
;; @0033                               trapnz v4, heap_oob
;; @0036                               return
;; }
;;
;; precast.memory_copy
;; function u6:0(i64, i32, i32, i32) -> i32 tail {
;;     region0 = 6 "own sizes"
;;     region1 = 1 "own memory"
;;     sig0 = (i64, i32, i32, i64, i64, i64) -> i32 system_v
;;
;; block0(v0: i64, v1: i32, v2: i32, v3: i32):
;;     v4 = uextend.i64 v1
;;     v5 = uextend.i64 v2
;;     v6 = icmp ugt v4, v5
;;     v7 = select v6, v4, v5
;;     v8 = uextend.i64 v3
;;     v9 = iadd v7, v8
;;     v10 = load.i64 notrap little region0 v0-8
;;     v11 = icmp ule v9, v10
;;     v12 = iconst.i32 128
;;     v13 = icmp ule v3, v12  ; v12 = 128
;;     v14 = band v11, v13
;;     brif v14, block1, block2
;;
;; block2:
;;     v15 = iconst.i32 0
;;     v16 = iconst.i32 0
;;     v17 = uextend.i64 v1
;;     v18 = uextend.i64 v2
;;     v19 = uextend.i64 v3
;;     v20 = iconst.i64 -128
;;     v21 = iadd.i64 v0, v20  ; v20 = -128
;;     v22 = load.i64 notrap aligned readonly can_move little v21+8
;;     v23 = load.i64 notrap aligned readonly can_move little v22+8
;;     v24 = call_indirect sig0, v23(v21, v15, v16, v17, v18, v19)  ; v15 = 0, v16 = 0
;;     return v24
;;
;; block1:
;;     v25 = iadd.i64 v0, v4
;;     v26 = uextend.i64 v3
;;     v27 = iadd v25, v26
;;     v28 = iadd.i64 v0, v5
;;     v29 = uextend.i64 v3
;;     v30 = iadd v28, v29
;;     v31 = iconst.i32 16
;;     v32 = icmp.i32 ugt v3, v31  ; v31 = 16
;;     brif v32, block3, block4
;;
;; block3:
;;     v33 = iconst.i32 64
;;     v34 = icmp.i32 uge v3, v33  ; v33 = 64
;;     brif v34, block5, block6
;;
;; block5:
;;     v35 = load.i8x16 little region1 v28
;;     v36 = load.i8x16 little region1 v28+16
;;     v37 = load.i8x16 little region1 v28+32
;;     v38 = load.i8x16 little region1 v28+48
;;     v39 = load.i8x16 little region1 v30-16
;;     v40 = load.i8x16 little region1 v30-32
;;     v41 = load.i8x16 little region1 v30-48
;;     v42 = load.i8x16 little region1 v30-64
;;     store little region1 v35, v25
;;     store little region1 v36, v25+16
;;     store little region1 v37, v25+32
;;     store little region1 v38, v25+48
;;     store little region1 v39, v27-16
;;     store little region1 v40, v27-32
;;     store little region1 v41, v27-48
;;     store little region1 v42, v27-64
;;     v43 = iconst.i32 0
;;     return v43  ; v43 = 0
;;
;; block6:
;;     v44 = iconst.i32 32
;;     v45 = icmp.i32 uge v3, v44  ; v44 = 32
;;     brif v45, block7, block8
;;
;; block7:
;;     v46 = load.i8x16 little region1 v28
;;     v47 = load.i8x16 little region1 v28+16
;;     v48 = load.i8x16 little region1 v30-16
;;     v49 = load.i8x16 little region1 v30-32
;;     store little region1 v46, v25
;;     store little region1 v47, v25+16
;;     store little region1 v48, v27-16
;;     store little region1 v49, v27-32
;;     v50 = iconst.i32 0
;;     return v50  ; v50 = 0
;;
;; block8:
;;     v51 = iconst.i32 16
;;     v52 = icmp.i32 uge v3, v51  ; v51 = 16
;;     brif v52, block9, block10
;;
;; block9:
;;     v53 = load.i8x16 little region1 v28
;;     v54 = load.i8x16 little region1 v30-16
;;     store little region1 v53, v25
;;     store little region1 v54, v27-16
;;     v55 = iconst.i32 0
;;     return v55  ; v55 = 0
;;
;; block10:
;;     v56 = iconst.i32 0
;;     return v56  ; v56 = 0
;;
;; block4:
;;     v57 = iconst.i32 8
;;     v58 = icmp.i32 uge v3, v57  ; v57 = 8
;;     brif v58, block11, block12
;;
;; block11:
;;     v59 = load.i64 little region1 v28
;;     v60 = load.i64 little region1 v30-8
;;     store little region1 v59, v25
;;     store little region1 v60, v27-8
;;     v61 = iconst.i32 0
;;     return v61  ; v61 = 0
;;
;; block12:
;;     v62 = iconst.i32 4
;;     v63 = icmp.i32 uge v3, v62  ; v62 = 4
;;     brif v63, block13, block14
;;
;; block13:
;;     v64 = load.i32 little region1 v28
;;     v65 = load.i32 little region1 v30-4
;;     store little region1 v64, v25
;;     store little region1 v65, v27-4
;;     v66 = iconst.i32 0
;;     return v66  ; v66 = 0
;;
;; block14:
;;     v67 = iconst.i32 2
;;     v68 = icmp.i32 uge v3, v67  ; v67 = 2
;;     brif v68, block15, block16
;;
;; block15:
;;     v69 = load.i16 little region1 v28
;;     v70 = load.i16 little region1 v30-2
;;     store little region1 v69, v25
;;     store little region1 v70, v27-2
;;     v71 = iconst.i32 0
;;     return v71  ; v71 = 0
;;
;; block16:
;;     v72 = iconst.i32 1
;;     v73 = icmp.i32 uge v3, v72  ; v72 = 1
;;     brif v73, block17, block18
;;
;; block17:
;;     v74 = load.i8 little region1 v28
;;     v75 = load.i8 little region1 v30-1
;;     store little region1 v74, v25
;;     store little region1 v75, v27-1
;;     v76 = iconst.i32 0
;;     return v76  ; v76 = 0
;;
;; block18:
;;     v77 = iconst.i32 0
;;     return v77  ; v77 = 0
;; }
;;
;; precast.memory_fill
;; function u6:1(i64, i32, i32, i32) -> i32 tail {
;;     region0 = 6 "own sizes"
;;     region1 = 1 "own memory"
;;     sig0 = (i64, i32, i64, i32, i64) -> i32 system_v
;;
;; block0(v0: i64, v1: i32, v2: i32, v3: i32):
;;     v4 = uextend.i64 v1
;;     v5 = uextend.i64 v3
;;     v6 = iadd v4, v5
;;     v7 = load.i64 notrap little region0 v0-8
;;     v8 = icmp ule v6, v7
;;     v9 = iconst.i32 128
;;     v10 = icmp ule v3, v9  ; v9 = 128
;;     v11 = band v8, v10
;;     brif v11, block1, block2
;;
;; block2:
;;     v12 = iconst.i32 0
;;     v13 = uextend.i64 v1
;;     v14 = uextend.i64 v3
;;     v15 = iconst.i64 -128
;;     v16 = iadd.i64 v0, v15  ; v15 = -128
;;     v17 = load.i64 notrap aligned readonly can_move little v16+8
;;     v18 = load.i64 notrap aligned readonly can_move little v17+16
;;     v19 = call_indirect sig0, v18(v16, v12, v13, v2, v14)  ; v12 = 0
;;     return v19
;;
;; block1:
;;     v20 = iadd.i64 v0, v4
;;     v21 = uextend.i64 v3
;;     v22 = iadd v20, v21
;;     v23 = ireduce.i8 v2
;;     v24 = iconst.i32 16
;;     v25 = icmp.i32 ugt v3, v24  ; v24 = 16
;;     brif v25, block3, block4
;;
;; block3:
;;     v26 = iconst.i32 64
;;     v27 = icmp.i32 uge v3, v26  ; v26 = 64
;;     brif v27, block5, block6
;;
;; block5:
;;     v28 = splat.i8x16 v23
;;     store little region1 v28, v20
;;     store little region1 v28, v20+16
;;     store little region1 v28, v20+32
;;     store little region1 v28, v20+48
;;     store little region1 v28, v22-16
;;     store little region1 v28, v22-32
;;     store little region1 v28, v22-48
;;     store little region1 v28, v22-64
;;     v29 = iconst.i32 0
;;     return v29  ; v29 = 0
;;
;; block6:
;;     v30 = iconst.i32 32
;;     v31 = icmp.i32 uge v3, v30  ; v30 = 32
;;     brif v31, block7, block8
;;
;; block7:
;;     v32 = splat.i8x16 v23
;;     store little region1 v32, v20
;;     store little region1 v32, v20+16
;;     store little region1 v32, v22-16
;;     store little region1 v32, v22-32
;;     v33 = iconst.i32 0
;;     return v33  ; v33 = 0
;;
;; block8:
;;     v34 = iconst.i32 16
;;     v35 = icmp.i32 uge v3, v34  ; v34 = 16
;;     brif v35, block9, block10
;;
;; block9:
;;     v36 = splat.i8x16 v23
;;     store little region1 v36, v20
;;     store little region1 v36, v22-16
;;     v37 = iconst.i32 0
;;     return v37  ; v37 = 0
;;
;; block10:
;;     v38 = iconst.i32 0
;;     return v38  ; v38 = 0
;;
;; block4:
;;     v39 = iconst.i32 8
;;     v40 = icmp.i32 uge v3, v39  ; v39 = 8
;;     brif v40, block11, block12
;;
;; block11:
;;     v41 = uextend.i64 v23
;;     v42 = iconst.i64 0x0101_0101_0101_0101
;;     v43 = imul v41, v42  ; v42 = 0x0101_0101_0101_0101
;;     store little region1 v43, v20
;;     store little region1 v43, v22-8
;;     v44 = iconst.i32 0
;;     return v44  ; v44 = 0
;;
;; block12:
;;     v45 = iconst.i32 4
;;     v46 = icmp.i32 uge v3, v45  ; v45 = 4
;;     brif v46, block13, block14
;;
;; block13:
;;     v47 = uextend.i32 v23
;;     v48 = iconst.i32 0x0101_0101
;;     v49 = imul v47, v48  ; v48 = 0x0101_0101
;;     store little region1 v49, v20
;;     store little region1 v49, v22-4
;;     v50 = iconst.i32 0
;;     return v50  ; v50 = 0
;;
;; block14:
;;     v51 = iconst.i32 2
;;     v52 = icmp.i32 uge v3, v51  ; v51 = 2
;;     brif v52, block15, block16
;;
;; block15:
;;     v53 = uextend.i16 v23
;;     v54 = iconst.i16 257
;;     v55 = imul v53, v54  ; v54 = 257
;;     store little region1 v55, v20
;;     store little region1 v55, v22-2
;;     v56 = iconst.i32 0
;;     return v56  ; v56 = 0
;;
;; block16:
;;     v57 = iconst.i32 1
;;     v58 = icmp.i32 uge v3, v57  ; v57 = 1
;;     brif v58, block17, block18
;;
;; block17:
;;     store.i8 little region1 v23, v20
;;     store.i8 little region1 v23, v22-1
;;     v59 = iconst.i32 0
;;     return v59  ; v59 = 0
;;
;; block18:
;;     v60 = iconst.i32 0
;;     return v60  ; v60 = 0
;; }
