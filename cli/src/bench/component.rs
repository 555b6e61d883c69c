//! A component that is measured. The guest is called as `run` calls it, so that it may wait.

use precast_loader::Artifact;
use precast_loader::component::{Bound, Instance, Lift, Linker, LowerParams, Val};
use precast_wasi::preview2::{Ctx, Template};

use super::{Calls, Repeat, Subject, completed, failed, no_context, sink};
use crate::args::BenchArgs;
use crate::component::call::Call;
use crate::component::guest::{self, Driver};
use crate::error::Error;
use crate::output;

/// What to call, and in what.
pub(super) struct Component {
    main: Option<Call>,
    linker: Linker<Ctx>,
    /// What contexts are made of, as part of each cycle.
    template: Template,
    driver: Driver,
}

impl Component {
    pub(super) fn new(args: &BenchArgs, artifact: &Artifact) -> Result<Self, Error> {
        let mut linker = guest::wasi_linker();
        linker.trap_missing();
        let main = match &args.invoke {
            Some(export) => Some(Call::new(artifact, export, &args.args)?),
            None if !args.args.is_empty() => return Err(super::arguments_without_function()),
            None => Call::command(artifact),
        };
        if main.is_none() {
            output::tell("precast: no `wasi:cli/run` is exported and no --invoke given: cycles are without a call");
        }
        Ok(Component { main, linker, template: sink().template().map_err(no_context)?, driver: Driver::new()? })
    }
}

impl Component {
    /// The typed call, without the price of values whose types are known at run time only, if its type is a common one.
    fn any_result<P>(&self, instance: &Instance<Ctx>, call: &Call, params: P) -> Option<Repeat<'_, Instance<Ctx>>>
    where
        P: LowerParams + Copy + 'static,
    {
        self.typed::<P, ()>(instance, call, params)
            .or_else(|| self.typed::<P, u32>(instance, call, params))
            .or_else(|| self.typed::<P, i32>(instance, call, params))
            .or_else(|| self.typed::<P, u64>(instance, call, params))
            .or_else(|| self.typed::<P, String>(instance, call, params))
    }

    fn typed<P, R>(&self, instance: &Instance<Ctx>, call: &Call, params: P) -> Option<Repeat<'_, Instance<Ctx>>>
    where
        P: LowerParams + Copy + 'static,
        R: Lift + 'static,
    {
        let func = instance.func::<P, R>(&call.interface, &call.name).ok()?;
        Some(Box::new(move |instance, count| {
            self.driver.complete(async {
                for _ in 0..count {
                    completed(func.call_async(instance, params).await.map_err(Into::into))?;
                }
                Ok(())
            })
        }))
    }
}

impl Subject for Component {
    type Bound = Bound<Ctx>;
    type Instance = Instance<Ctx>;

    fn bind(&self, artifact: &Artifact) -> Result<Bound<Ctx>, Error> {
        guest::bind(&self.linker, artifact)
    }

    fn instantiate(&self, bound: &Bound<Ctx>) -> Result<Instance<Ctx>, Error> {
        let made = self.driver.complete(bound.instantiate_async(self.template.context()));
        made.map_err(|error| failed(error.into()))
    }

    fn call(&self, instance: &mut Instance<Ctx>) -> Result<(), Error> {
        match &self.main {
            Some(call) => completed(self.driver.complete(guest::call(instance, call))),
            None => Ok(()),
        }
    }

    fn calls(&self) -> Calls {
        match &self.main {
            None => Calls::None,
            Some(call) if call.is_command() => Calls::Once,
            Some(_) => Calls::Often,
        }
    }

    fn repeat(&self, instance: &Instance<Ctx>) -> Result<Repeat<'_, Instance<Ctx>>, Error> {
        let Some(call) = &self.main else { return Ok(Box::new(|_, _| Ok(()))) };
        let typed = match call.params[..] {
            [] => self.any_result(instance, call, ()),
            [Val::U32(a)] => self.any_result(instance, call, (a,)),
            [Val::S32(a)] => self.any_result(instance, call, (a,)),
            [Val::U64(a)] => self.any_result(instance, call, (a,)),
            [Val::U32(a), Val::U32(b)] => self.any_result(instance, call, (a, b)),
            [Val::S32(a), Val::S32(b)] => self.any_result(instance, call, (a, b)),
            _ => None,
        };
        if let Some(typed) = typed {
            return Ok(typed);
        }
        let func = guest::function(instance, call)?;
        Ok(Box::new(move |instance, count| {
            self.driver.complete(async {
                for _ in 0..count {
                    completed(func.call_async(instance, &call.params).await.map_err(Into::into))?;
                }
                Ok(())
            })
        }))
    }
}
