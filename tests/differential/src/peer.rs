//! Cases on wasmtime.

use std::sync::OnceLock;

use precast_loader::{ExternType, TrapCode, ValType};
use precast_tests::smith::environment::{self, Host, HostResult};
use precast_tests::smith::plan::{Plan, Step};
use precast_tests::smith::play::{self, FRAMES, Guest, HostCalls, Item, Stop, Trace};
use precast_tests::smith::value::{Value, hash, hash_bytes};
use precast_tests::smith::{Checked, Failure, MEMORY_LIMIT, TABLE_LIMIT};
use wasmtime::{
    AsContextMut, Config, Engine, Error, Extern, ExternRef, Func, HeapType, Instance, Module, Ref, Store, StoreLimits,
    StoreLimitsBuilder, Trap, Val, WasmBacktrace,
};

/// Plays the plan of a case.
///
/// # Errors
/// wasmtime refuses the case.
pub(crate) fn play(checked: &Checked) -> Result<Trace, Failure> {
    let engine = engine(checked.case.canonicalize_nans);
    let module = |bytes: &[u8]| Module::new(engine, bytes).map_err(|error| Failure(format!("wasmtime: {error:?}")));
    let provider = wat::parse_str(&checked.provider).map_err(|error| Failure(error.to_string()))?;
    let (main, provider) = (module(&checked.case.module)?, module(&provider)?);
    checked.plan.sessions.iter().map(|steps| session(checked, &main, &provider, steps)).collect()
}

fn engine(canonicalize_nans: bool) -> &'static Engine {
    static ENGINES: [OnceLock<Engine>; 2] = [OnceLock::new(), OnceLock::new()];
    ENGINES[usize::from(canonicalize_nans)].get_or_init(|| {
        let mut config = Config::new();
        config.cranelift_nan_canonicalization(canonicalize_nans).wasm_backtrace_max_frames(FRAMES.try_into().ok());
        Engine::new(&config).expect("the settings fit this machine")
    })
}

/// What host functions know.
struct Data {
    host: Host,
    /// The instance's exported functions, in the plan's order.
    functions: Vec<Func>,
    /// Those that the trace names.
    named: Vec<Option<Func>>,
    limits: StoreLimits,
}

fn session(checked: &Checked, main: &Module, provider: &Module, steps: &[Step]) -> Result<play::Session, Failure> {
    let limits = StoreLimitsBuilder::new().memory_size(MEMORY_LIMIT).table_elements(TABLE_LIMIT).build();
    let mut store =
        Store::new(main.engine(), Data { host: Host::default(), functions: Vec::new(), named: Vec::new(), limits });
    store.limiter(|data| &mut data.limits);

    let mut provided = Vec::new();
    for import in provider.imports() {
        let index = import.name().parse().map_err(|_| Failure("the provider's imports are numbered".into()))?;
        provided.push(host_function(&mut store, &checked.imports, index, &import.ty())?);
    }
    let provider = Instance::new(&mut store, provider, &provided);
    let provider = provider.map_err(|error| Failure(format!("wasmtime: provider: {error:?}")))?;
    let mut externs = Vec::new();
    for (index, import) in main.imports().enumerate() {
        externs.push(if environment::is_host_function(index, &checked.imports[index]) {
            host_function(&mut store, &checked.imports, index, &import.ty())?
        } else {
            let item = provider.get_export(&mut store, &index.to_string());
            item.ok_or_else(|| Failure(format!("the provider lacks {index}")))?
        });
    }
    let (instance, instantiated) = match Instance::new(&mut store, main, &externs) {
        Ok(instance) => (Some(instance), Ok(())),
        Err(error) => (None, Err(stop(&error))),
    };
    let mut guest = PeerGuest::new(store, instance, provider, &checked.plan);
    Ok(play::play(steps, instantiated, &mut guest))
}

/// The host function for import `index`, which is of type `ty`.
fn host_function(
    store: &mut Store<Data>,
    imports: &[ExternType],
    index: usize,
    ty: &wasmtime::ExternType,
) -> Result<Extern, Failure> {
    let (Some(ExternType::Func(types)), Some(ty)) = (imports.get(index), ty.func()) else {
        return Err(Failure(format!("import {index} is no function")));
    };
    let results: Vec<ValType> = types.results.clone();
    let function = Func::new(store, ty.clone(), move |mut caller, params, values| {
        let named = caller.data().named.clone();
        let given = params.iter().map(|param| to_value(&mut caller, param, &named)).collect();
        let action = caller.data_mut().host.call(index, given, &results);
        if let Some((number, params)) = action.call {
            let functions = caller.data().functions.clone();
            caller.data_mut().host.depth += 1;
            let outcome = call(&mut caller, number, &params, &functions, &named);
            caller.data_mut().host.depth -= 1;
            let results = outcome?;
            caller.data_mut().host.calls.push((None, results));
        }
        for (value, result) in values.iter_mut().zip(action.results.ok_or_else(|| Error::new(HostFails))?) {
            *value = match result {
                HostResult::Parameter(param) => params[param],
                HostResult::Value(value) => from_value(&mut caller, &value, &[])?,
            };
        }
        Ok(())
    });
    Ok(function.into())
}

/// Calls one of `functions`.
fn call(
    mut store: impl AsContextMut,
    function: usize,
    params: &[Value],
    functions: &[Func],
    named: &[Option<Func>],
) -> Result<Vec<Value>, Error> {
    let params: Result<Vec<_>, _> = params.iter().map(|param| from_value(&mut store, param, functions)).collect();
    let mut results = vec![Val::I32(0); functions[function].ty(&store).results().len()];
    functions[function].call(&mut store, &params?, &mut results)?;
    Ok(results.iter().map(|result| to_value(&mut store, result, named)).collect())
}

#[derive(Debug)]
struct HostFails;

impl std::fmt::Display for HostFails {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the host fails")
    }
}

impl std::error::Error for HostFails {}

/// An instance, or the provider of one that could not be instantiated.
struct PeerGuest {
    store: Store<Data>,
    instance: Option<Instance>,
    /// Everything exported.
    items: Vec<(String, Extern)>,
    /// The instance's exported functions, in the plan's order.
    functions: Vec<Func>,
    /// Those that the trace names.
    named: Vec<Option<Func>>,
}

impl PeerGuest {
    fn new(mut store: Store<Data>, instance: Option<Instance>, provider: Instance, plan: &Plan) -> Self {
        let provider = provider.exports(&mut store);
        let mut items: Vec<_> =
            provider.map(|export| (format!("provider {}", export.name()), export.into_extern())).collect();
        items.sort_by(|one, other| one.0.cmp(&other.0));
        let (mut functions, mut named) = (Vec::new(), Vec::new());
        if let Some(instance) = instance {
            let exports = instance.exports(&mut store);
            let mut exports: Vec<_> = exports.map(|export| (export.name().to_owned(), export.into_extern())).collect();
            exports.sort_by(|one, other| one.0.cmp(&other.0));
            items.append(&mut exports);
            for function in &plan.functions {
                if let Some(func) = instance.get_func(&mut store, &function.name) {
                    functions.push(func);
                    named.push(function.defined.then_some(func));
                    store.data_mut().host.exports.push(function.clone());
                }
            }
        }
        (store.data_mut().functions, store.data_mut().named) = (functions.clone(), named.clone());
        PeerGuest { store, instance, items, functions, named }
    }

    fn try_change(&mut self, step: &Step) -> Result<(), Error> {
        let missing = || Error::msg("no such export");
        let instance = self.instance.ok_or_else(missing)?;
        let store = &mut self.store;
        match step {
            Step::SetGlobal { name, value } => {
                let value = from_value(&mut *store, value, &self.functions)?;
                instance.get_global(&mut *store, name).ok_or_else(missing)?.set(store, value)
            }
            Step::WriteMemory { name, offset, bytes } => {
                let memory = instance.get_memory(&mut *store, name).ok_or_else(missing)?;
                Ok(memory.write(store, *offset as usize, bytes)?)
            }
            Step::GrowMemory { name, pages } => {
                let memory = instance.get_memory(&mut *store, name).ok_or_else(missing)?;
                memory.grow(store, *pages).map(drop)
            }
            Step::SetTable { name, index, value } => {
                let value = to_ref(from_value(&mut *store, value, &self.functions)?)?;
                instance.get_table(&mut *store, name).ok_or_else(missing)?.set(store, *index, value)
            }
            Step::GrowTable { name, delta, value } => {
                let value = to_ref(from_value(&mut *store, value, &self.functions)?)?;
                instance.get_table(&mut *store, name).ok_or_else(missing)?.grow(store, *delta, value).map(drop)
            }
            Step::Call { .. } => Err(missing()),
        }
    }
}

impl Guest for PeerGuest {
    fn call(&mut self, function: usize, params: &[Value]) -> Result<Vec<Value>, Stop> {
        call(&mut self.store, function, params, &self.functions, &self.named).map_err(|error| stop(&error))
    }

    fn change(&mut self, step: &Step) -> bool {
        self.try_change(step).is_ok()
    }

    fn state(&mut self) -> Vec<(String, Item)> {
        let (store, named) = (&mut self.store, &self.named);
        let mut state = Vec::new();
        for (name, item) in &self.items {
            let item = match item {
                Extern::Global(global) => {
                    let value = global.get(&mut *store);
                    Item::Global(to_value(&mut *store, &value, named))
                }
                Extern::Memory(memory) => {
                    let bytes = memory.data(&*store);
                    Item::Memory { size: bytes.len() as u64, hash: hash_bytes(bytes) }
                }
                Extern::Table(table) => {
                    let size = table.size(&*store);
                    let element = |index| {
                        let element = table.get(&mut *store, index).map(Val::from);
                        element.map(|element| to_value(&mut *store, &element, named))
                    };
                    Item::Table { size, hash: hash(&(0..size).map(element).collect::<Vec<_>>()) }
                }
                _ => continue,
            };
            state.push((name.clone(), item));
        }
        state
    }

    fn take_host_calls(&mut self) -> HostCalls {
        std::mem::take(&mut self.store.data_mut().host.calls)
    }
}

/// The value as the trace has it.
fn to_value(mut store: impl AsContextMut, value: &Val, named: &[Option<Func>]) -> Value {
    match value {
        Val::I32(value) => Value::I32(*value as u32),
        Val::I64(value) => Value::I64(*value as u64),
        Val::F32(bits) => Value::F32(*bits),
        Val::F64(bits) => Value::F64(*bits),
        Val::V128(bits) => Value::V128(bits.as_u128()),
        Val::FuncRef(func) => Value::Func(func.map(|func| {
            let func = func.to_raw(&mut store);
            named.iter().position(|other| other.is_some_and(|other| other.to_raw(&mut store) == func))
        })),
        Val::ExternRef(reference) => Value::Extern(reference.map(|reference| {
            let data = reference.data(&store).ok().flatten();
            data.and_then(|data| data.downcast_ref().copied()).unwrap_or(u32::MAX)
        })),
        other => unreachable!("{other:?} is of no type that precast compiles"),
    }
}

/// The inverse of [`to_value`].
fn from_value(store: impl AsContextMut, value: &Value, functions: &[Func]) -> Result<Val, Error> {
    Ok(match value {
        Value::I32(value) => Val::I32(*value as i32),
        Value::I64(value) => Val::I64(*value as i64),
        Value::F32(bits) => Val::F32(*bits),
        Value::F64(bits) => Val::F64(*bits),
        Value::V128(bits) => Val::V128((*bits).into()),
        Value::Func(func) => Val::FuncRef(func.flatten().map(|number| functions[number])),
        Value::Extern(Some(number)) => Val::ExternRef(Some(ExternRef::new(store, *number)?)),
        Value::Extern(None) => Val::null_ref(&HeapType::Extern),
    })
}

fn to_ref(value: Val) -> Result<Ref, Error> {
    value.ref_().ok_or_else(|| Error::msg("no reference"))
}

fn stop(error: &Error) -> Stop {
    if error.is::<HostFails>() {
        return Stop::Host;
    }
    let Some(trap) = error.downcast_ref::<Trap>() else { return Stop::Other(format!("{error:?}")) };
    let code = match trap {
        Trap::StackOverflow => return Stop::StackOverflow,
        Trap::UnreachableCodeReached => TrapCode::Unreachable,
        Trap::MemoryOutOfBounds => TrapCode::MemoryOutOfBounds,
        Trap::TableOutOfBounds => TrapCode::TableOutOfBounds,
        Trap::IndirectCallToNull => TrapCode::UninitializedElement,
        Trap::BadSignature => TrapCode::IndirectCallTypeMismatch,
        Trap::IntegerOverflow => TrapCode::IntegerOverflow,
        Trap::IntegerDivisionByZero => TrapCode::IntegerDivisionByZero,
        Trap::BadConversionToInteger => TrapCode::BadConversionToInteger,
        Trap::NullReference => TrapCode::NullReference,
        other => return Stop::Other(other.to_string()),
    };
    let frames = error.downcast_ref::<WasmBacktrace>().map_or(&[][..], WasmBacktrace::frames).iter();
    let frames = frames.map(|frame| (Some(frame.func_index()), frame.module_offset().map(|offset| offset as u32)));
    Stop::Trap { message: code.message().into(), frames: frames.collect() }
}
