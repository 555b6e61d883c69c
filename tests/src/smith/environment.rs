//! What a module imports: the same on every runtime.
//!
//! Import `k` of a module is the host's function `k`, or export `k` of another module, the provider: all memories,
//! tables and globals, and every other function, which there calls the host's, at times with a tail call.

use std::fmt::Write;

use precast_loader::{ExternType, FuncType, ValType};

use super::plan::Function;
use super::value::{Value, hash};
use crate::Random;

/// Calls of host functions that one instance may make.
const MAX_HOST_CALLS: usize = 1000;

/// Calls of host functions that may be under way at once, each of which calls the instance again.
const MAX_DEPTH: usize = 3;

/// What the host knows of an instance.
#[derive(Debug, Default)]
pub struct Host {
    /// The calls of host functions since the trace last asked: which function, with which parameters. `None`: what
    /// came of a host function's own call.
    pub calls: Vec<(Option<usize>, Vec<Value>)>,
    /// The instance's exported functions, once it is made: host functions call them at times. Not those that are
    /// imported: what a backtrace shows of host functions that the host calls is up to the runtime.
    pub exports: Vec<Function>,
    /// How many such calls are under way.
    pub depth: usize,
    total: usize,
}

/// What a host function does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// First it calls the exported function with this number and these parameters, and fails if that fails.
    pub call: Option<(usize, Vec<Value>)>,
    /// Then it returns these, or fails.
    pub results: Option<Vec<HostResult>>,
}

/// A result of a host function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostResult {
    /// This value.
    Value(Value),
    /// The parameter with this number, which is a reference.
    Parameter(usize),
}

impl Host {
    /// Host function `index` is called.
    pub fn call(&mut self, index: usize, params: Vec<Value>, results: &[ValType]) -> Action {
        let seed = hash(&(index, &params));
        let mut random = Random(seed);
        let same_kind = |param: &Value, ty: ValType| match param {
            Value::Func(_) => ty == ValType::FuncRef,
            Value::Extern(_) => ty == ValType::ExternRef,
            _ => false,
        };
        let result = |ty: &ValType| match params.iter().position(|param| same_kind(param, *ty)) {
            Some(param) => HostResult::Parameter(param),
            None => HostResult::Value(Value::random(*ty, 0, &mut random)),
        };
        let results = results.iter().map(result).collect();
        self.total += 1;
        let call = (self.depth < MAX_DEPTH && !self.exports.is_empty() && random.below(4) == 0).then(|| {
            let number = random.below(self.exports.len());
            let types = &self.exports[number].ty.params;
            (number, types.iter().map(|ty| Value::random(*ty, self.exports.len(), &mut random)).collect())
        });
        let call = call.filter(|(number, _)| self.exports[*number].defined);
        self.calls.push((Some(index), params));
        Action { call, results: (random.below(32) != 0 && self.total <= MAX_HOST_CALLS).then_some(results) }
    }
}

/// Whether import `index` is a function of the host, not of the provider.
pub fn is_host_function(index: usize, ty: &ExternType) -> bool {
    matches!(ty, ExternType::Func(_)) && index.is_multiple_of(2)
}

/// The provider of these imports, in the text format. It imports host function `k` as `"host" "k"`.
pub fn provider(imports: &[ExternType]) -> String {
    let mut text = String::from("(module\n");
    let provided = || imports.iter().enumerate().filter(|(index, ty)| !is_host_function(*index, ty));
    for (index, ty) in provided() {
        if let ExternType::Func(ty) = ty {
            line(&mut text, format_args!("(import \"host\" \"{index}\" (func $host{index} {}))", signature(ty)));
        }
    }
    let functions: Vec<_> =
        provided().filter(|(_, ty)| matches!(ty, ExternType::Func(_))).map(|(index, _)| index).collect();
    for (index, ty) in provided() {
        let name = format_args!("${index} (export \"{index}\")");
        match ty {
            ExternType::Func(ty) => {
                let call = if index % 4 == 1 { "return_call" } else { "call" };
                let params =
                    (0..ty.params.len()).fold(String::new(), |text, param| format!("{text}(local.get {param})"));
                line(&mut text, format_args!("(func {name} {} {params} ({call} $host{index}))", signature(ty)));
            }
            ExternType::Memory(ty) => line(&mut text, format_args!("(memory {name} {})", limits(ty.min, ty.max))),
            ExternType::Table(ty) => {
                line(&mut text, format_args!("(table {name} {} {})", limits(ty.min, ty.max), ty.element.name()));
                if ty.element == ValType::FuncRef && !functions.is_empty() {
                    let len = (ty.min as usize).min(functions.len());
                    let items = functions[..len].iter().fold(String::new(), |text, func| format!("{text} ${func}"));
                    line(&mut text, format_args!("(elem (table ${index}) (i32.const 0) func{items})"));
                }
            }
            ExternType::Global(ty) => {
                let value_type = ty.ty.name();
                let ty_text = if ty.mutable { format!("(mut {value_type})") } else { value_type.into() };
                let value = match ty.ty {
                    ValType::V128 => "(v128.const i64x2 8 9)".into(),
                    ValType::FuncRef => match functions.first() {
                        Some(function) => format!("(ref.func ${function})"),
                        None => "(ref.null func)".into(),
                    },
                    ValType::ExternRef => "(ref.null extern)".into(),
                    _ => format!("({value_type}.const 8)"),
                };
                line(&mut text, format_args!("(global {name} {ty_text} {value})"));
            }
        }
    }
    text + ")\n"
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "  {line}").expect("a string can be written");
}

fn signature(ty: &FuncType) -> String {
    let list = |keyword: &str, types: &[ValType]| {
        let names: String = types.iter().map(|ty| format!(" {}", ty.name())).collect();
        format!("({keyword}{names})")
    };
    format!("{} {}", list("param", &ty.params), list("result", &ty.results))
}

fn limits(min: u64, max: Option<u64>) -> String {
    max.map_or(min.to_string(), |max| format!("{min} {max}"))
}
