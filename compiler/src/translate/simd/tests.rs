//! Compiles every operator for every level of every target, on operands of each kind that Cranelift treats differently.
//! What the operators compute is checked by the specification's own tests.

use std::fmt::Write;

use precast_targets::Arch;

use crate::{Error, OptLevel, Options};

/// An operator as wasmparser lists it.
struct Listed {
    proposal: &'static str,
    /// `visit_i8x16_extract_lane_s`
    visit: &'static str,
    /// Names of the immediates.
    immediates: &'static [&'static str],
    /// `(arity 2 -> 1)`
    arity: &'static str,
}

macro_rules! list {
    ($( @$proposal:ident $op:ident $({ $($arg:ident: $ty:ty),* })? => $visit:ident $arity:tt )*) => {
        &[$( Listed {
            proposal: stringify!($proposal),
            visit: stringify!($visit),
            immediates: &[$( $( stringify!($arg) ),* )?],
            arity: stringify!($arity),
        } ),*]
    };
}
const LISTED: &[Listed] = wasmparser::for_each_visit_simd_operator!(list);

/// How a function makes the vectors it applies an operator to.
const OPERANDS: &[&str] = &[
    "(local.get $v)",
    "(v128.load offset=16 (local.get $i))",
    "(v128.const i64x2 0 0)",
    "(v128.const i64x2 0x0123456789abcdef -2)",
    "(i8x16.splat (local.get $i))",
    "(i16x8.splat (local.get $i))",
    "(i32x4.splat (local.get $i))",
    "(i64x2.splat (local.get $l))",
    "(f32x4.splat (local.get $f))",
    "(f64x2.splat (local.get $d))",
    "(i8x16.eq (local.get $v) (local.get $w))",
    "(f32x4.ne (local.get $v) (local.get $w))",
    "(f64x2.lt (local.get $v) (local.get $w))",
];

impl Listed {
    /// The operator in the text format, without immediates.
    fn name(&self) -> String {
        self.visit.strip_prefix("visit_").expect("a visitor's method").replacen('_', ".", 1)
    }

    /// The operator applied to vectors that are all `operand`.
    fn expression(&self, operand: &str) -> String {
        let name = self.name();
        let lane = |scalar: &str| match scalar {
            "i64x2" => "(local.get $l)",
            "f32x4" => "(local.get $f)",
            "f64x2" => "(local.get $d)",
            _ => "(local.get $i)",
        };
        let (lanes, operation) = name.split_once('.').expect("lanes and operation");
        let immediates: Vec<&str> = self
            .immediates
            .iter()
            .map(|immediate| match *immediate {
                "memarg" => "offset=8",
                "lane" => "1",
                "lanes" => "0 17 2 19 4 21 6 23 8 25 10 27 12 29 14 31",
                "value" => "f64x2 1 -0x1p-9",
                other => panic!("immediate `{other}` of {name}"),
            })
            .collect();
        let count = self.arity.chars().find_map(|c| c.to_digit(10)).expect("an arity");
        let mut operands = vec![operand; count as usize];
        match operation {
            "splat" => operands[0] = lane(lanes),
            "replace_lane" => operands[1] = lane(lanes),
            "shl" | "shr_s" | "shr_u" => operands[1] = "(local.get $i)",
            _ if self.immediates.contains(&"memarg") => operands[0] = "(local.get $i)",
            _ => {}
        }
        format!("({name} {} {})", immediates.join(" "), operands.join(" "))
    }

    /// The type of the result.
    fn result(&self) -> &'static str {
        let name = self.name();
        match name.split_once('.').expect("lanes and operation") {
            ("i64x2", "extract_lane") => "i64",
            ("f32x4", "extract_lane") => "f32",
            ("f64x2", "extract_lane") => "f64",
            (_, "all_true" | "any_true" | "bitmask" | "extract_lane" | "extract_lane_s" | "extract_lane_u") => "i32",
            (_, operation) if operation.starts_with("store") => "",
            _ => "v128",
        }
    }
}

/// A module with functions for each operator and each kind of operand.
fn module() -> String {
    let mut text = String::from("(module (memory 1)\n");
    for listed in LISTED.iter().filter(|listed| listed.proposal == "simd") {
        let result = listed.result();
        for operand in OPERANDS {
            let expression = listed.expression(operand);
            // What uses the result decides on patterns, too.
            let mut uses = vec![expression.clone()];
            if result == "v128" {
                uses.push(format!("(v128.bitselect (local.get $v) {operand} {expression})"));
                uses.push(format!("(i8x16.splat (v128.any_true {expression}))"));
                uses.push(format!("(i8x16.splat (i64x2.all_true {expression}))"));
            }
            for expression in uses {
                let result = if result.is_empty() { String::new() } else { format!("(result {result})") };
                writeln!(
                    text,
                    "(func (param $v v128) (param $w v128) (param $i i32) (param $l i64) (param $f f32) (param $d f64) \
                     {result} {expression})"
                )
                .expect("writing to a string");
            }
        }
    }
    text + ")"
}

#[test]
fn every_operator_compiles_for_every_level() {
    assert_eq!(LISTED.iter().filter(|listed| listed.proposal == "simd").count(), 236);
    let module = module();
    for arch in Arch::ALL {
        let optimised = arch.levels().iter().map(|level| (level, OptLevel::Speed));
        for (level, opt_level) in optimised.chain([(&arch.levels()[0], OptLevel::None)]) {
            let canonicalize_nans = opt_level == OptLevel::None;
            let features = level.features;
            let options = Options { arch, features, opt_level, canonicalize_nans, verify: true, ..Options::default() };
            if let Err(error) = crate::compile(module.as_bytes(), &options) {
                panic!("{}, {opt_level:?}: {error}", level.name);
            }
        }
    }
}

#[test]
fn relaxed_simd_is_refused_by_name() {
    let text = "(module (func (param v128 v128) (result v128) (i8x16.relaxed_swizzle (local.get 0) (local.get 1))))";
    let error = crate::compile(text.as_bytes(), &Options::default()).expect_err("not supported");
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
}
