//! Replays a script with the loader: opens artifacts, instantiates them in one store, and runs directives.
//!
//! A module without an instance (it is unsupported, say) leaves behind the reason, and every directive that depends on
//! it fails for that reason: silence would pass for success.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::thread::{Scope, ScopedJoinHandle};

use precast_loader::{Extern, InstanceId, Linker, Store, Val};

use super::artifacts::Artifacts;
use super::compile::{Built, Compiled};
use super::component::Components;
use super::script::{Action, ComponentKind, Directive, Kind, ModuleIndex};
use super::stop::{Outcome, Stop, expect, expect_trap};
use super::{spectest, values};

/// An instance, or why there is none.
type Instance = Result<InstanceId, String>;

/// One pass over a script.
pub(super) struct Replay<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    built: &'env Built,
    host: &'env [PathBuf],
    store: Store<()>,
    linker: Linker<()>,
    registered: HashMap<&'env str, Vec<InstanceId>>,
    artifacts: Artifacts,
    components: Components<'env>,
    definitions: HashMap<&'env str, ModuleIndex>,
    last_definition: Option<ModuleIndex>,
    instances: HashMap<&'env str, Instance>,
    /// The last instance, which directives without a name mean.
    current: Instance,
    threads: HashMap<&'env str, ScopedJoinHandle<'scope, Vec<String>>>,
}

impl<'scope, 'env> Replay<'scope, 'env> {
    /// A replay that has run nothing yet, with `spectest` from the artifacts `host`.
    pub(super) fn new(scope: &'scope Scope<'scope, 'env>, built: &'env Built, host: &'env [PathBuf]) -> Self {
        let mut replay = Replay {
            scope,
            built,
            host,
            store: Store::new(()),
            linker: Linker::new(),
            registered: HashMap::new(),
            artifacts: Artifacts::default(),
            components: Components::new(&built.modules, &built.shapes),
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
            Kind::Component(ComponentKind::Unsupported) => return Outcome::Skipped,
            Kind::Component(kind) => self.components.step(kind, &mut self.artifacts),
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
        self.artifacts.opened()
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
        self.built.modules[module.0].artifact().map(drop)
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
        match &self.built.modules[module.0] {
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
        let path = self.built.modules[module.0].artifact()?;
        self.instantiate_file(path)
    }

    fn instantiate_file(&mut self, path: &Path) -> Result<InstanceId, Stop> {
        let artifact = self.artifacts.get(path)?;
        Ok(self.linker.bind(&artifact)?.instantiate_in(&mut self.store)?)
    }

    /// Runs directives in a thread of their own. It has a store of its own, since a store belongs to one thread at a
    /// time; so it cannot reach the shared instance, and what depends on that fails.
    fn thread(&mut self, name: &'env str, shared: Option<&'env str>, directives: &'env [Directive<'env>]) {
        let shared = shared.map(|shared| {
            let reason = self.named(Some(shared)).err();
            (shared, reason.unwrap_or_else(|| "unsupported: instances shared between threads".into()))
        });
        let (scope, built, host) = (self.scope, self.built, self.host);
        let thread = scope.spawn(move || {
            let mut replay = Replay::new(scope, built, host);
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
