//! Replays a script with the loader: opens artifacts, instantiates them in one store, and runs directives.
//!
//! A module without an instance (it is unsupported, say) leaves behind the reason, and every directive that depends on
//! it fails for that reason: silence would pass for success.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::thread::{Scope, ScopedJoinHandle};

use precast_loader::{
    Artifact, BindError, CallError, Extern, InstanceId, InstantiateError, Linker, Policy, Store, Trap, TrapCode, Val,
};

use super::compile::Compiled;
use super::script::{Action, Directive, Kind, ModuleIndex};
use super::{spectest, values};

/// What came of a directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Passed,
    Failed(String),
    /// It is nothing this runner can run.
    Skipped,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Passed => f.write_str("passed"),
            Outcome::Failed(message) => f.write_str(message),
            Outcome::Skipped => f.write_str("skipped"),
        }
    }
}

/// Why an action did not end with results.
#[derive(Debug)]
enum Stop {
    /// The guest trapped: why, and everything else we know.
    Trap { code: TrapCode, report: String },
    /// Imports were missing or of another type.
    Unlinkable(String),
    /// Anything else, which no assertion expects.
    Other(String),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stop::Trap { report, .. } => write!(f, "trap: {report}"),
            Stop::Unlinkable(message) => write!(f, "unlinkable: {message}"),
            Stop::Other(message) => f.write_str(message),
        }
    }
}

impl From<String> for Stop {
    fn from(message: String) -> Self {
        Stop::Other(message)
    }
}

impl From<Trap> for Stop {
    fn from(trap: Trap) -> Self {
        Stop::Trap { code: trap.code(), report: trap.to_string() }
    }
}

impl From<CallError> for Stop {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Trap(trap) => trap.into(),
            other => Stop::Other(other.to_string()),
        }
    }
}

impl From<BindError> for Stop {
    fn from(error: BindError) -> Self {
        match error {
            BindError::Missing { .. } | BindError::Type { .. } => Stop::Unlinkable(chain(&error)),
            other => Stop::Other(chain(&other)),
        }
    }
}

impl From<InstantiateError> for Stop {
    fn from(error: InstantiateError) -> Self {
        match error {
            InstantiateError::Start(error) => error.into(),
            InstantiateError::Import { .. } => Stop::Unlinkable(chain(&error)),
            // That there is no room for an instance says nothing about its imports.
            other => Stop::Other(chain(&other)),
        }
    }
}

/// An instance, or why there is none.
type Instance = Result<InstanceId, String>;

/// One pass over a script.
pub(super) struct Replay<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    modules: &'env [Compiled],
    host: &'env [PathBuf],
    store: Store<()>,
    linker: Linker<()>,
    registered: HashMap<&'env str, Vec<InstanceId>>,
    /// Kept open to the end, so that another replay opens the same files at other addresses.
    artifacts: HashMap<PathBuf, Artifact>,
    opened: Vec<PathBuf>,
    definitions: HashMap<&'env str, ModuleIndex>,
    last_definition: Option<ModuleIndex>,
    instances: HashMap<&'env str, Instance>,
    /// The last instance, which directives without a name mean.
    current: Instance,
    threads: HashMap<&'env str, ScopedJoinHandle<'scope, Vec<String>>>,
}

impl<'scope, 'env> Replay<'scope, 'env> {
    /// A replay that has run nothing yet, with `spectest` from the artifacts `host`.
    pub(super) fn new(scope: &'scope Scope<'scope, 'env>, modules: &'env [Compiled], host: &'env [PathBuf]) -> Self {
        let mut replay = Replay {
            scope,
            modules,
            host,
            store: Store::new(()),
            linker: Linker::new(),
            registered: HashMap::new(),
            artifacts: HashMap::new(),
            opened: Vec::new(),
            definitions: HashMap::new(),
            last_definition: None,
            instances: HashMap::new(),
            current: Err("there is no module yet".into()),
            threads: HashMap::new(),
        };
        match host.iter().map(|path| replay.instantiate_file(path)).collect() {
            Ok(instances) => replay.set_registered(spectest::NAME, instances),
            // Imports of it will be missing; until there is a module, this is why there is none.
            Err(stop) => replay.current = Err(format!("`{}` failed: {stop}", spectest::NAME)),
        }
        replay
    }

    /// Runs a directive.
    pub(super) fn step(&mut self, directive: &'env Directive<'env>) -> Outcome {
        let result = match &directive.kind {
            Kind::Component => return Outcome::Skipped,
            Kind::Module { name, module } => self.module(*name, *module),
            Kind::Definition { name, module } => self.define(*name, *module),
            Kind::Instance { name, definition } => self.instance(*name, *definition),
            Kind::Register { name, instance } => self.register(name, *instance),
            Kind::Run(action) => self.run(action).map(drop).map_err(|stop| stop.to_string()),
            Kind::Return(action, expected) => {
                self.run(action).map_err(|stop| stop.to_string()).and_then(|got| values::check(expected, &got))
            }
            Kind::Trap(action, message) => expect_trap(self.run(action), message),
            // The loader reports neither of these two: no module that could cause them is supported.
            Kind::Exception(action) => expect(self.run(action), "an uncaught exception"),
            Kind::Suspension(action, message) => expect(self.run(action), &format!("a suspension `{message}`")),
            Kind::Invalid(module) => self.invalid(*module),
            Kind::Unlinkable(module) => match self.instantiate(*module) {
                Err(Stop::Unlinkable(_)) => Ok(()),
                Ok(_) => Err("expected an error of linking, but it has an instance".into()),
                other => expect(other, "an error of linking"),
            },
            Kind::Thread { name, shared, directives } => {
                self.thread(name, *shared, directives);
                Ok(())
            }
            Kind::Wait { thread } => match self.threads.remove(thread) {
                Some(thread) => join(thread),
                None => Err(format!("there is no thread `${thread}`")),
            },
        };
        result.map_or_else(Outcome::Failed, |()| Outcome::Passed)
    }

    /// Waits for the threads that no directive waited for, and says what failed in them.
    pub(super) fn finish(&mut self) -> Vec<String> {
        self.threads.drain().filter_map(|(_, thread)| join(thread).err()).collect()
    }

    /// The files of all artifacts that are open.
    pub(super) fn opened(&self) -> &[PathBuf] {
        &self.opened
    }

    fn module(&mut self, name: Option<&'env str>, module: ModuleIndex) -> Result<(), String> {
        let instance = self.instantiate(module).map_err(|stop| stop.to_string());
        self.set_current(name, instance)
    }

    fn define(&mut self, name: Option<&'env str>, module: ModuleIndex) -> Result<(), String> {
        self.last_definition = Some(module);
        if let Some(name) = name {
            self.definitions.insert(name, module);
        }
        self.modules[module.0].artifact().map(drop)
    }

    fn instance(&mut self, name: Option<&'env str>, definition: Option<&'env str>) -> Result<(), String> {
        let module = match definition {
            Some(definition) => self.definitions.get(definition).copied(),
            None => self.last_definition,
        };
        let instance = module
            .ok_or_else(|| Stop::Other(format!("there is no definition `${}`", definition.unwrap_or(""))))
            .and_then(|module| self.instantiate(module))
            .map_err(|stop| stop.to_string());
        self.set_current(name, instance)
    }

    fn set_current(&mut self, name: Option<&'env str>, instance: Instance) -> Result<(), String> {
        if let Some(name) = name {
            self.instances.insert(name, instance.clone());
            self.link();
        }
        self.current = instance;
        self.current.clone().map(drop)
    }

    fn register(&mut self, name: &'env str, instance: Option<&str>) -> Result<(), String> {
        let instance = self.named(instance)?;
        self.set_registered(name, vec![instance]);
        Ok(())
    }

    /// Makes the exports of `instances`, and nothing else, importable under `name`.
    fn set_registered(&mut self, name: &'env str, instances: Vec<InstanceId>) {
        self.registered.insert(name, instances);
        self.link();
    }

    /// What can be imported from here on: everything registered, and under their own names the named instances, which
    /// some scripts rely on. Anew each time, since a linker forgets nothing.
    fn link(&mut self) {
        let named = self.instances.iter().filter(|(name, _)| !self.registered.contains_key(*name));
        let named = named.filter_map(|(name, instance)| Some((*name, std::slice::from_ref(instance.as_ref().ok()?))));
        let registered = self.registered.iter().map(|(name, instances)| (*name, instances.as_slice()));
        let mut linker = Linker::new();
        for (name, instances) in named.chain(registered) {
            for instance in instances {
                linker.define_instance(name, &self.store, *instance);
            }
        }
        self.linker = linker;
    }

    fn invalid(&self, module: ModuleIndex) -> Result<(), String> {
        match &self.modules[module.0] {
            Compiled::Invalid(_) => Ok(()),
            Compiled::Artifact(_) => Err("expected an invalid module, but it compiled".into()),
            other => expect(other.artifact(), "an invalid module"),
        }
    }

    fn run(&mut self, action: &Action<'_>) -> Result<Vec<Val>, Stop> {
        match action {
            Action::Instantiate(module) => self.instantiate(*module).map(|_| Vec::new()),
            Action::Get { instance, global } => match self.export(*instance, global)? {
                Extern::Global(export) => Ok(vec![export.get(&self.store)]),
                _ => Err(Stop::Other(format!("the export `{global}` is no global"))),
            },
            Action::Invoke { instance, function, args } => {
                let Extern::Func(export) = self.export(*instance, function)? else {
                    return Err(Stop::Other(format!("the export `{function}` is no function")));
                };
                let args = args.iter().map(values::argument).collect::<Result<Vec<_>, _>>()?;
                Ok(export.call(&mut self.store, &args)?)
            }
        }
    }

    fn export(&self, instance: Option<&str>, name: &str) -> Result<Extern, Stop> {
        let instance = self.named(instance)?;
        self.store.export(instance, name).ok_or_else(|| Stop::Other(format!("there is no export `{name}`")))
    }

    /// The instance of that name, or the last.
    fn named(&self, name: Option<&str>) -> Instance {
        match name {
            None => self.current.clone(),
            Some(name) => self.instances.get(name).cloned().unwrap_or_else(|| Err(format!("there is no `${name}`"))),
        }
    }

    fn instantiate(&mut self, module: ModuleIndex) -> Result<InstanceId, Stop> {
        // The modules live as long as the scope, so the path borrows nothing of `self`.
        let path = self.modules[module.0].artifact()?;
        self.instantiate_file(path)
    }

    fn instantiate_file(&mut self, path: &std::path::Path) -> Result<InstanceId, Stop> {
        let artifact = match self.artifacts.get(path) {
            Some(artifact) => artifact.clone(),
            None => {
                let artifact = Artifact::open(path, Policy::Verify)
                    .map_err(|error| Stop::Other(format!("cannot open the artifact: {}", chain(&error))))?;
                self.artifacts.insert(path.to_owned(), artifact.clone());
                self.opened.push(path.to_owned());
                artifact
            }
        };
        Ok(self.linker.bind(&artifact)?.instantiate_in(&mut self.store)?)
    }

    /// Runs directives in a thread of their own. It has a store of its own, since a store belongs to one thread at a
    /// time; so it cannot reach the shared instance, and what depends on that fails.
    fn thread(&mut self, name: &'env str, shared: Option<&'env str>, directives: &'env [Directive<'env>]) {
        let shared = shared.map(|shared| {
            let reason = self.named(Some(shared)).err();
            (shared, reason.unwrap_or_else(|| "unsupported: instances shared between threads".into()))
        });
        let (scope, modules, host) = (self.scope, self.modules, self.host);
        let thread = scope.spawn(move || {
            let mut replay = Replay::new(scope, modules, host);
            if let Some((shared, reason)) = shared {
                replay.instances.insert(shared, Err(reason));
            }
            let mut failures = Vec::new();
            for directive in directives {
                if let Outcome::Failed(message) = replay.step(directive) {
                    failures.push(format!("{}: {message}", directive.place));
                }
            }
            failures.extend(replay.finish());
            failures
        });
        self.threads.insert(name, thread);
    }
}

fn join(thread: ScopedJoinHandle<'_, Vec<String>>) -> Result<(), String> {
    match thread.join() {
        Ok(failures) if failures.is_empty() => Ok(()),
        Ok(failures) => Err(format!("in the thread:\n{}", failures.join("\n"))),
        Err(_) => Err("the thread panicked".into()),
    }
}

/// An error and its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Fails a directive that expects `wanted`, which is none of what can come of an action.
fn expect<T: fmt::Debug, E: fmt::Display>(result: Result<T, E>, wanted: &str) -> Result<(), String> {
    Err(match result {
        Ok(value) => format!("expected {wanted}, got {value:?}"),
        Err(stop) => format!("expected {wanted}, got {stop}"),
    })
}

/// Passes if the guest trapped with `message`.
fn expect_trap(result: Result<Vec<Val>, Stop>, message: &str) -> Result<(), String> {
    match result {
        Err(Stop::Trap { code, .. }) if says(code, message) => Ok(()),
        other => expect(other, &format!("a trap `{message}`")),
    }
}

/// Whether `message` is what scripts call this trap. Compared in both directions, since scripts append details
/// (`uninitialized element 2`) or leave them out.
fn says(code: TrapCode, message: &str) -> bool {
    let same = |name: &str| name.contains(message) || message.contains(name);
    // Scripts older than the specification's split of the two say of any table what it says of `call_indirect` only.
    same(code.message()) || code == TrapCode::TableOutOfBounds && same(TrapCode::UndefinedElement.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap_messages_are_compared_in_both_directions() {
        assert!(says(TrapCode::UninitializedElement, "uninitialized element 2"));
        assert!(says(TrapCode::MemoryOutOfBounds, "out of bounds"));
        assert!(says(TrapCode::TableOutOfBounds, "undefined element"));
        assert!(!says(TrapCode::UndefinedElement, "out of bounds table access"));
        assert!(!says(TrapCode::IntegerOverflow, "unreachable"));
        let trap = Stop::Trap { code: TrapCode::IntegerOverflow, report: "integer overflow\n  at f".into() };
        let message = expect_trap(Err(trap), "unreachable").unwrap_err();
        assert_eq!(message, "expected a trap `unreachable`, got trap: integer overflow\n  at f");
    }

    #[test]
    fn only_a_trap_is_a_trap() {
        let message = expect_trap(Ok(vec![Val::I32(1)]), "unreachable").unwrap_err();
        assert_eq!(message, "expected a trap `unreachable`, got [I32(1)]");
        assert!(expect_trap(Err(Stop::Unlinkable("unreachable".into())), "unreachable").is_err());
        assert!(expect_trap(Err(Stop::Other("unsupported: unreachable".into())), "unreachable").is_err());
    }
}
