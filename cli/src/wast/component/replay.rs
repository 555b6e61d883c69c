//! The components of a replay: each instance has a store of its own, and what later components may import of it are its
//! resources, as in the engine that scripts were written for.

use std::collections::HashMap;

use precast_loader::component::{Instance, Linker, Val};

use super::host::{self, Host};
use super::linking::{self, Definition, Definitions, Resources};
use super::shape::Shape;
use super::values;
use crate::wast::artifacts::Artifacts;
use crate::wast::compile::Compiled;
use crate::wast::script::{ComponentAction, ComponentKind, ModuleIndex};
use crate::wast::stop::{Stop, chain, expect, expect_trap};

/// An instance, by its place in [`Components::instances`], or why there is none.
type Place = Result<usize, String>;

/// The components of one pass over a script.
pub(in crate::wast) struct Components<'env> {
    modules: &'env [Compiled],
    shapes: &'env [Option<Shape>],
    linker: Linker<Host>,
    /// What can be imported: what the host has, and named instances.
    there: Definitions,
    last_identity: u64,
    definitions: HashMap<&'env str, ModuleIndex>,
    last_definition: Option<ModuleIndex>,
    instances: Vec<Instance<Host>>,
    named: HashMap<&'env str, Place>,
    /// The last instance, which directives without a name mean.
    current: Place,
}

impl<'env> Components<'env> {
    /// Nothing has run yet.
    pub(in crate::wast) fn new(modules: &'env [Compiled], shapes: &'env [Option<Shape>]) -> Self {
        Components {
            modules,
            shapes,
            linker: host::linker(),
            there: host::definitions(),
            last_identity: host::LAST_IDENTITY,
            definitions: HashMap::new(),
            last_definition: None,
            instances: Vec::new(),
            named: HashMap::new(),
            current: Err("there is no component yet".into()),
        }
    }

    /// Runs a directive.
    ///
    /// # Errors
    /// Why it failed.
    pub(in crate::wast) fn step(
        &mut self,
        kind: &'env ComponentKind<'env>,
        artifacts: &mut Artifacts,
    ) -> Result<(), String> {
        match kind {
            ComponentKind::Module { name, module } => self.module(*name, *module, artifacts),
            ComponentKind::Definition { name, module } => {
                self.last_definition = Some(*module);
                self.definitions.extend(name.map(|name| (name, *module)));
                match &self.modules[module.0] {
                    // What it imports has to be there for an instance only.
                    Compiled::Open(_) => Ok(()),
                    compiled => compiled.artifact().map(drop),
                }
            }
            ComponentKind::Instance { name, definition } => {
                let module = match definition {
                    Some(definition) => self.definitions.get(definition).copied(),
                    None => self.last_definition,
                };
                match module {
                    Some(module) => self.module(*name, module, artifacts),
                    None => Err(format!("there is no definition `${}`", definition.unwrap_or(""))),
                }
            }
            ComponentKind::Run(action) => self.run(action, artifacts).map(drop).map_err(|stop| stop.to_string()),
            ComponentKind::Return(action, expected) => match self.run(action, artifacts) {
                Ok(got) => values::check(expected, got.as_ref()),
                Err(stop) => Err(stop.to_string()),
            },
            ComponentKind::Trap(action, message) => expect_trap(self.run(action, artifacts), message),
            ComponentKind::Unlinkable(module) => match self.instantiate(*module, artifacts) {
                Err(Stop::Unlinkable(_)) => Ok(()),
                Ok(_) => Err("expected an error of linking, but it has an instance".into()),
                Err(other) => expect(Err::<(), _>(other), "an error of linking"),
            },
            ComponentKind::Unsupported => Err("only modules have that".into()),
        }
    }

    fn module(
        &mut self,
        name: Option<&'env str>,
        module: ModuleIndex,
        artifacts: &mut Artifacts,
    ) -> Result<(), String> {
        let made = self.instantiate(module, artifacts).map_err(|stop| stop.to_string());
        let place = made.map(|(instance, exports)| {
            // Also what it was before: the name stands for this one from here on.
            self.there.extend(name.map(|name| (name.to_owned(), Definition::Instance(exports))));
            self.instances.push(instance);
            self.instances.len() - 1
        });
        self.named.extend(name.map(|name| (name, place.clone())));
        self.current = place;
        self.current.clone().map(drop)
    }

    /// Instantiates, and tells what the instance gives to later components.
    fn instantiate(
        &mut self,
        module: ModuleIndex,
        artifacts: &mut Artifacts,
    ) -> Result<(Instance<Host>, Definitions), Stop> {
        let shape = self.shapes[module.0].as_ref();
        // First of all: a component whose imports are missing may not even compile.
        let mut resources = match shape {
            Some(shape) => linking::check(shape, &self.there).map_err(Stop::Unlinkable)?,
            None => Resources::new(),
        };
        let artifact = artifacts.get(self.modules[module.0].artifact()?)?;
        let instance = self.linker.bind(&artifact)?.instantiate(Host::default())?;
        let exports = shape.map(|shape| linking::exports(shape, &mut resources, &mut self.last_identity));
        Ok((instance, exports.unwrap_or_default()))
    }

    fn run(&mut self, action: &ComponentAction<'_>, artifacts: &mut Artifacts) -> Result<Option<Val>, Stop> {
        match action {
            ComponentAction::Instantiate(module) => self.instantiate(*module, artifacts).map(|_| None),
            ComponentAction::Invoke { instance, function, args } => {
                let place = match instance {
                    None => self.current.clone(),
                    Some(name) => {
                        self.named.get(name).cloned().unwrap_or_else(|| Err(format!("there is no `${name}`")))
                    }
                };
                let instance = &mut self.instances[place?];
                let func = instance.func_dynamic("", function).map_err(|error| Stop::Other(chain(&error)))?;
                let args: Vec<_> = args.iter().map(values::argument).collect();
                Ok(func.call(instance, &args)?)
            }
        }
    }
}
