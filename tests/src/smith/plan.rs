//! What the host does with the instances of a module, decided before anything runs.

use precast_loader::{ExternType, FuncType, ValType};

use super::Case;
use super::value::Value;
use crate::Random;

const SESSIONS: usize = 4;
const STEPS: usize = 10;

/// What the host does with an instance.
#[derive(Clone, Debug)]
pub enum Step {
    /// Calls an exported function.
    Call {
        /// Its number among the module's exported functions.
        function: usize,
        /// Parameters.
        params: Vec<Value>,
    },
    /// Sets an exported global.
    SetGlobal {
        /// Name of the export.
        name: String,
        /// The value.
        value: Value,
    },
    /// Writes to an exported memory.
    WriteMemory {
        /// Name of the export.
        name: String,
        /// Where.
        offset: u64,
        /// What.
        bytes: Vec<u8>,
    },
    /// Grows an exported memory.
    GrowMemory {
        /// Name of the export.
        name: String,
        /// By how many pages.
        pages: u64,
    },
    /// Sets an element of an exported table.
    SetTable {
        /// Name of the export.
        name: String,
        /// Which.
        index: u64,
        /// The value.
        value: Value,
    },
    /// Grows an exported table.
    GrowTable {
        /// Name of the export.
        name: String,
        /// By how many elements.
        delta: u64,
        /// Their value.
        value: Value,
    },
}

/// An exported function.
#[derive(Clone, Debug)]
pub struct Function {
    /// Name of the export.
    pub name: String,
    /// Its type.
    pub ty: FuncType,
    /// Whether the module defines it; otherwise it imports it.
    pub defined: bool,
}

/// What the host does with the instances of a module.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The exported functions.
    pub functions: Vec<Function>,
    /// The steps for each instance.
    pub sessions: Vec<Vec<Step>>,
}

impl Plan {
    /// A random plan for the case, whose module has these exports.
    pub fn new(case: &Case, exports: &[(String, ExternType)]) -> Plan {
        let defined = case.defined_exports();
        let mut random = Random(case.seed.rotate_left(32));
        let mut functions = Vec::new();
        let mut items = Vec::new();
        for (name, ty) in exports {
            match ty {
                ExternType::Func(ty) => {
                    let defined = defined.contains(name.as_str());
                    functions.push(Function { name: name.clone(), ty: ty.clone(), defined });
                }
                ExternType::Global(ty) if !ty.mutable => {}
                ty => items.push((name.as_str(), ty)),
            }
        }
        let mut step = || {
            if items.is_empty() || (!functions.is_empty() && random.below(5) != 0) {
                let function = random.below(functions.len());
                let types = &functions[function].ty.params;
                let params = types.iter().map(|ty| Value::random(*ty, functions.len(), &mut random)).collect();
                return Step::Call { function, params };
            }
            let (name, ty) = *random.pick(&items);
            change(name.into(), ty, functions.len(), &mut random)
        };
        let steps = if functions.is_empty() && items.is_empty() { 0 } else { STEPS };
        let sessions = (0..SESSIONS).map(|_| (0..steps).map(|_| step()).collect()).collect();
        Plan { functions, sessions }
    }
}

fn change(name: String, ty: &ExternType, functions: usize, random: &mut Random) -> Step {
    let value = |ty: ValType, random: &mut Random| Value::random(ty, functions, random);
    match ty {
        ExternType::Func(_) => unreachable!("functions are called"),
        ExternType::Global(ty) => Step::SetGlobal { name, value: value(ty.ty, random) },
        ExternType::Memory(_) if random.below(3) == 0 => Step::GrowMemory { name, pages: random.below(4) as u64 },
        ExternType::Memory(_) => {
            let offset = random.below(3 << 16) as u64;
            let bytes = (0..random.below(64)).map(|_| random.next() as u8).collect();
            Step::WriteMemory { name, offset, bytes }
        }
        ExternType::Table(ty) if random.below(3) == 0 => {
            let delta = random.below(20) as u64;
            Step::GrowTable { name, delta, value: value(ty.element, random) }
        }
        ExternType::Table(ty) => {
            let index = random.below(12) as u64;
            Step::SetTable { name, index, value: value(ty.element, random) }
        }
    }
}
