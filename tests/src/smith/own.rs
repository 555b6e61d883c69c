//! Cases on precast: compiled in several ways, which must agree.

use precast_compiler::{Error, OptLevel, Options, compile};
use precast_loader::{
    Artifact, BindError, CallError, Extern, ExternRef, ExternType, Func, HostError, InstanceId, InstantiateError,
    Limits, Linker, Store, TrapCode, Val,
};
use precast_targets::Arch;

use super::case::IMPORTS;
use super::environment::{self, Host, HostResult, is_host_function};
use super::plan::Step;
use super::play::{self, FRAMES, Guest, HostCalls, Item, Stop, Trace};
use super::value::{Value, hash, hash_bytes};
use super::{Case, Failure, MEMORY_LIMIT, Plan, TABLE_LIMIT};

/// A case that precast agrees with itself about.
#[derive(Debug)]
pub struct Checked {
    /// The case.
    pub case: Case,
    /// What its module imports: import `k` is as [`environment`] says.
    pub imports: Vec<ExternType>,
    /// The module that provides for it, in the text format.
    pub provider: String,
    /// What the host does.
    pub plan: Plan,
    /// What came of it.
    pub trace: Trace,
}

/// Checks the case with this seed; `None` if there is none. It compiles, to the same bytes each time, for every
/// architecture; a used slot is like a new one; and what an instance does depends neither on where the artifact is
/// mapped, nor on options.
///
/// # Errors
/// What is not so.
pub fn check(seed: u64) -> Result<Option<Checked>, Failure> {
    Case::new(seed).map(check_case).transpose()
}

/// As [`check`], with a given case.
///
/// # Errors
/// See there.
pub fn check_case(case: Case) -> Result<Checked, Failure> {
    let options = Options { canonicalize_nans: case.canonicalize_nans, verify: true, ..Options::default() };
    let bytes = compile_as("as always", &case.module, &options)?;
    for arch in Arch::ALL.into_iter().filter(|arch| Some(*arch) != Arch::HOST) {
        let features = arch.levels()[0].features;
        compile_as(arch.triple(), &case.module, &Options { arch, features, ..options.clone() })?;
    }
    if compile_as("again", &case.module, &options)? != bytes {
        return Err(Failure("compiled twice, the bytes differ".into()));
    }

    let artifact = open(&bytes)?;
    let imports: Vec<_> = artifact.imports().map(|import| import.ty).collect();
    let provider = environment::provider(&imports);
    let provider_artifact = open(&compile_as("provider", provider.as_bytes(), &options)?)?;
    let exports: Vec<_> = artifact.exports().map(|export| (export.name.to_owned(), export.ty)).collect();
    let plan = Plan::new(&case, &exports);
    let run = |artifact: &Artifact| {
        let run = Run { artifact, provider: &provider_artifact, imports: &imports, plan: &plan };
        run.play().map(|played| played.trace)
    };
    let agree = |what: &str, one: &Trace, other: &Trace| match play::difference(&plan, one, other) {
        Some(difference) => Err(Failure(format!("{what}: {difference}"))),
        None => Ok(()),
    };

    let trace = run(&artifact)?;
    agree("in used slots", &trace, &run(&artifact)?)?;
    for artifact in [&artifact, &provider_artifact] {
        let (fresh, used) = artifact.slot_hashes().map_err(|error| Failure(error.to_string()))?;
        if used.iter().any(|used| *used != fresh) {
            return Err(Failure("a used slot is not like a new one".into()));
        }
    }
    agree("at another address", &trace, &run(&open(&bytes)?)?)?;
    let metered = |opt_level| {
        let options = Options { fuel: true, opt_level, ..options.clone() };
        let artifact = open(&compile_as("metered", &case.module, &options)?)?;
        let provider = open(&compile_as("metered provider", provider.as_bytes(), &options)?)?;
        Run { artifact: &artifact, provider: &provider, imports: &imports, plan: &plan }.play()
    };
    if case.seed.is_multiple_of(4) {
        let (one, other) = (metered(OptLevel::Speed)?, metered(OptLevel::None)?);
        agree("metered", &play::without_trap_offsets(&trace), &play::without_trap_offsets(&one.trace))?;
        let (traces, same) = ((&one.trace, &other.trace), one.fuel == other.fuel);
        agree("metered, not optimised", &play::without_trap_offsets(traces.0), &play::without_trap_offsets(traces.1))?;
        if !same && !has_overflown(traces.0) && !has_overflown(traces.1) {
            return Err(Failure(format!("fuel left: {:?}, without optimisation: {:?}", one.fuel, other.fuel)));
        }
    }
    let (name, options) = variant(case.seed, options)?;
    let other = run(&open(&compile_as(name, &case.module, &options)?)?)?;
    agree(name, &play::without_trap_offsets(&trace), &play::without_trap_offsets(&other))?;
    Ok(Checked { case, imports, provider, plan, trace })
}

/// Whether a stack was exhausted: where depends on how large frames are.
fn has_overflown(trace: &Trace) -> bool {
    trace.iter().flatten().any(|event| event.outcome == Err(Stop::StackOverflow))
}

/// One of the other ways to compile a case.
fn variant(seed: u64, options: Options<'static>) -> Result<(&'static str, Options<'static>), Failure> {
    let mut native = options.clone();
    native.set_target(None, Some("native")).map_err(|error| Failure(error.to_string()))?;
    Ok(match seed % 4 {
        0 => ("without optimisation", Options { opt_level: OptLevel::None, ..options }),
        1 => ("for size", Options { opt_level: OptLevel::SpeedAndSize, ..options }),
        2 => ("for this CPU", native),
        _ => ("for this CPU, without optimisation", Options { opt_level: OptLevel::None, ..native }),
    })
}

fn compile_as(name: &str, module: &[u8], options: &Options<'_>) -> Result<Vec<u8>, Failure> {
    compile(module, options).map_err(|error| match error {
        Error::Internal { context, message } => {
            Failure(format!("compiling {name}: internal error in {context}: {message}"))
        }
        error => Failure(format!("compiling {name}: {error}")),
    })
}

fn open(bytes: &[u8]) -> Result<Artifact, Failure> {
    Artifact::open_bytes(bytes).map_err(|error| Failure(format!("opening: {error}")))
}

/// All that is needed to play a plan.
struct Run<'a> {
    artifact: &'a Artifact,
    provider: &'a Artifact,
    imports: &'a [ExternType],
    plan: &'a Plan,
}

/// What came of a plan.
#[derive(Default)]
struct Played {
    trace: Trace,
    /// What each session left.
    fuel: Vec<Option<u64>>,
}

impl Run<'_> {
    fn play(&self) -> Result<Played, Failure> {
        let mut played = Played::default();
        for steps in &self.plan.sessions {
            let (session, fuel) = self.session(steps)?;
            played.trace.push(session);
            played.fuel.push(fuel);
        }
        Ok(played)
    }

    fn session(&self, steps: &[Step]) -> Result<(play::Session, Option<u64>), Failure> {
        let limits = Limits {
            memory_bytes: Some(MEMORY_LIMIT as u64),
            table_elements: Some(TABLE_LIMIT as u64),
            ..Limits::default()
        };
        let unbound = |error: BindError| Failure(format!("binding: {error}"));
        let mut store = Store::new(Data::default());
        let mut linker = Linker::new();
        for (index, ty) in self.imports.iter().enumerate() {
            define_host(&mut linker, "host", index, ty);
        }
        let provider = linker.bind(self.provider).map_err(unbound)?.limits(limits);
        let provider = provider.instantiate_in(&mut store).map_err(|error| Failure(format!("provider: {error}")))?;
        linker.define_instance(IMPORTS, &store, provider);
        for (index, ty) in self.imports.iter().enumerate().filter(|(index, ty)| is_host_function(*index, ty)) {
            define_host(&mut linker, IMPORTS, index, ty);
        }
        let bound = linker.bind(self.artifact).map_err(unbound)?.limits(limits);
        let (instance, instantiated) = match bound.instantiate_in(&mut store) {
            Ok(instance) => (Some(instance), Ok(())),
            Err(InstantiateError::Start(error)) => (None, Err(stop(error))),
            Err(error) => return Err(Failure(format!("instantiating: {error}"))),
        };
        let mut guest = OwnGuest::new(store, instance, provider, self.plan);
        let session = play::play(steps, instantiated, &mut guest);
        Ok((session, guest.store.fuel()))
    }
}

/// Defines the host function `index`, if `ty` is one's type.
fn define_host(linker: &mut Linker<Data>, module: &str, index: usize, ty: &ExternType) {
    let ExternType::Func(ty) = ty else { return };
    let results = ty.results.clone();
    linker.func_dynamic(module, &index.to_string(), ty.clone(), move |caller, params, values| {
        let data = caller.data_mut();
        let named = params.iter().map(|param| to_value(param, &data.named)).collect();
        let action = data.host.call(index, named, &results);
        if let Some((number, params)) = action.call {
            let function = data.functions[number];
            let params: Vec<_> = params.iter().map(|param| from_value(param, &data.functions)).collect();
            data.host.depth += 1;
            let outcome = function.call(caller, &params);
            let data = caller.data_mut();
            data.host.depth -= 1;
            let results = outcome?.iter().map(|result| to_value(result, &data.named)).collect();
            data.host.calls.push((None, results));
        }
        for (value, result) in values.iter_mut().zip(action.results.ok_or("the host fails")?) {
            *value = match result {
                HostResult::Parameter(param) => params[param].clone(),
                HostResult::Value(value) => from_value(&value, &[]),
            };
        }
        Ok::<(), HostError>(())
    });
}

/// What host functions know.
#[derive(Default)]
struct Data {
    host: Host,
    /// The instance's exported functions, in the plan's order.
    functions: Vec<Func>,
    /// Those that the trace names.
    named: Vec<Option<Func>>,
}

/// An instance, or the provider of one that could not be instantiated.
struct OwnGuest {
    store: Store<Data>,
    instance: Option<InstanceId>,
    /// Everything exported.
    items: Vec<(String, Extern)>,
}

impl OwnGuest {
    fn new(mut store: Store<Data>, instance: Option<InstanceId>, provider: InstanceId, plan: &Plan) -> Self {
        let mut items: Vec<_> =
            store.exports(provider).map(|(name, item)| (format!("provider {name}"), item)).collect();
        items.sort_by(|one, other| one.0.cmp(&other.0));
        if let Some(instance) = instance {
            items.extend(store.exports(instance).map(|(name, item)| (name.to_owned(), item)));
            for function in &plan.functions {
                if let Some(Extern::Func(func)) = store.export(instance, &function.name) {
                    let data = store.data_mut();
                    data.host.exports.push(function.clone());
                    data.functions.push(func);
                    data.named.push(function.defined.then_some(func));
                }
            }
        }
        OwnGuest { store, instance, items }
    }

    /// The value as the trace has it.
    fn value(&self, value: &Val) -> Value {
        to_value(value, &self.store.data().named)
    }
}

impl Guest for OwnGuest {
    fn call(&mut self, function: usize, params: &[Value]) -> Result<Vec<Value>, Stop> {
        let functions = &self.store.data().functions;
        let params: Vec<_> = params.iter().map(|param| from_value(param, functions)).collect();
        let function = functions[function];
        let results = function.call(&mut self.store, &params).map_err(stop)?;
        Ok(results.iter().map(|result| self.value(result)).collect())
    }

    fn change(&mut self, step: &Step) -> bool {
        let (functions, store) = (self.store.data().functions.clone(), &mut self.store);
        let value = |value: &Value| from_value(value, &functions);
        let export = |name: &str| self.instance.and_then(|instance| store.export(instance, name));
        match step {
            Step::SetGlobal { name, value: new } => match export(name) {
                Some(Extern::Global(global)) => global.set(store, value(new)).is_ok(),
                _ => false,
            },
            Step::WriteMemory { name, offset, bytes } => match export(name) {
                Some(Extern::Memory(memory)) => memory.write(store, *offset, bytes).is_ok(),
                _ => false,
            },
            Step::GrowMemory { name, pages } => match export(name) {
                Some(Extern::Memory(memory)) => memory.grow(store, *pages).is_ok(),
                _ => false,
            },
            Step::SetTable { name, index, value: new } => match export(name) {
                Some(Extern::Table(table)) => table.set(store, *index, value(new)).is_ok(),
                _ => false,
            },
            Step::GrowTable { name, delta, value: new } => match export(name) {
                Some(Extern::Table(table)) => table.grow(store, *delta, value(new)).is_ok(),
                _ => false,
            },
            Step::Call { .. } => false,
        }
    }

    fn state(&mut self) -> Vec<(String, Item)> {
        let mut state = Vec::new();
        for (name, item) in &self.items {
            let item = match item {
                Extern::Func(_) => continue,
                Extern::Global(global) => Item::Global(self.value(&global.get(&self.store))),
                Extern::Memory(memory) => {
                    let size = memory.size_bytes(&self.store);
                    let bytes = memory.read_vec(&self.store, 0, size).expect("all of a memory is inside it");
                    Item::Memory { size, hash: hash_bytes(&bytes) }
                }
                Extern::Table(table) => {
                    let size = table.size(&self.store);
                    let element = |index| table.get(&self.store, index).map(|value| self.value(&value));
                    Item::Table { size, hash: hash(&(0..size).map(element).collect::<Vec<_>>()) }
                }
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
fn to_value(value: &Val, named: &[Option<Func>]) -> Value {
    match value {
        Val::I32(value) => Value::I32(*value as u32),
        Val::I64(value) => Value::I64(*value as u64),
        Val::F32(bits) => Value::F32(*bits),
        Val::F64(bits) => Value::F64(*bits),
        Val::V128(bits) => Value::V128(*bits),
        Val::FuncRef(func) => Value::Func(func.map(|func| named.iter().position(|other| *other == Some(func)))),
        Val::ExternRef(reference) => {
            Value::Extern(reference.as_ref().map(|reference| *reference.downcast_ref().unwrap_or(&u32::MAX)))
        }
    }
}

/// The inverse of [`to_value`].
fn from_value(value: &Value, functions: &[Func]) -> Val {
    match value {
        Value::I32(value) => Val::I32(*value as i32),
        Value::I64(value) => Val::I64(*value as i64),
        Value::F32(bits) => Val::F32(*bits),
        Value::F64(bits) => Val::F64(*bits),
        Value::V128(bits) => Val::V128(*bits),
        Value::Func(func) => Val::FuncRef(func.flatten().map(|number| functions[number])),
        Value::Extern(number) => Val::ExternRef(number.map(ExternRef::new)),
    }
}

fn stop(error: CallError) -> Stop {
    match error {
        CallError::Trap(trap) if trap.code() == TrapCode::StackOverflow => Stop::StackOverflow,
        CallError::Trap(trap) => {
            // The specification has one text for both, which differ in what is accessed.
            let code = trap.code();
            let code = if code == TrapCode::UndefinedElement { TrapCode::TableOutOfBounds } else { code };
            let frames = trap.frames().iter().take(FRAMES).map(|frame| (frame.function_index, frame.wasm_offset));
            Stop::Trap { message: code.message().into(), frames: frames.collect() }
        }
        CallError::Host(_) => Stop::Host,
        error => Stop::Other(error.to_string()),
    }
}
