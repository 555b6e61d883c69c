//! A module that is measured.

use precast_loader::{Artifact, Bound, Instance, Linker};

use super::repeat::repeat;
use super::{Calls, Repeat, Subject, completed, failed};
use crate::args::BenchArgs;
use crate::call::{COMMAND, Call};
use crate::error::Error;
use crate::guest::{self, Stop};
use crate::output;

/// What to call, and in what. `T` is what the instances' stores hold.
pub(super) struct Module<T> {
    /// First, in each instance of a reactor.
    initializer: Option<Call>,
    /// What is measured.
    main: Option<Call>,
    linker: Linker<T>,
    /// Makes a store's data, as part of each cycle.
    data: fn() -> Result<T, Error>,
}

impl<T: 'static> Module<T> {
    pub(super) fn new(
        args: &BenchArgs,
        artifact: &Artifact,
        mut linker: Linker<T>,
        data: fn() -> Result<T, Error>,
    ) -> Result<Self, Error> {
        linker.trap_missing_functions();
        let main = match &args.invoke {
            Some(export) => Some(Call::new(artifact, export, &args.args)?),
            None if !args.args.is_empty() => return Err(super::arguments_without_function()),
            None => Call::without_params(artifact, COMMAND),
        };
        if main.is_none() {
            output::tell(format_args!(
                "precast: no `{COMMAND}` is exported and no --invoke given: cycles are without a call"
            ));
        }
        let initializer = main.as_ref().and_then(|call| call.initializer(artifact));
        Ok(Module { initializer, main, linker, data })
    }
}

impl<T: 'static> Subject for Module<T> {
    type Bound = Bound<T>;
    type Instance = Instance<T>;

    fn bind(&self, artifact: &Artifact) -> Result<Bound<T>, Error> {
        guest::bind(&self.linker, artifact)
    }

    fn instantiate(&self, bound: &Bound<T>) -> Result<Instance<T>, Error> {
        let mut instance = bound.instantiate((self.data)()?).map_err(|error| failed(error.into()))?;
        if let Some(initializer) = &self.initializer {
            completed(guest::call(&mut instance, initializer))?;
        }
        Ok(instance)
    }

    fn call(&self, instance: &mut Instance<T>) -> Result<(), Error> {
        self.main.as_ref().map_or(Ok(()), |call| completed(guest::call(instance, call)))
    }

    fn calls(&self) -> Calls {
        match &self.main {
            None => Calls::None,
            Some(call) if call.export == COMMAND => Calls::Once,
            Some(_) => Calls::Often,
        }
    }

    fn repeat(&self, instance: &Instance<T>) -> Result<Repeat<'_, Instance<T>>, Error> {
        let Some(call) = &self.main else { return Ok(Box::new(|_, _| Ok(()))) };
        let repeat = repeat(instance, guest::function(instance, call)?, &call.params);
        Ok(Box::new(move |instance, count| {
            (0..count).try_for_each(|_| completed(repeat(instance).map_err(Stop::from)))
        }))
    }
}
