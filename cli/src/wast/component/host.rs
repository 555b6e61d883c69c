//! What scripts import without defining it: two functions, and the instance `host`.

use precast_loader::component::{Linker, Resource};
use precast_loader::{Caller, HostError};

use super::linking::{Definition, Definitions, Identity};

/// What an instance's store holds: what became of `resource1`s.
#[derive(Debug, Default)]
pub(super) struct Host {
    drops: u32,
    last_drop: u32,
}

/// `resource1`, and `resource1-again`.
struct Resource1;
/// `resource2`.
struct Resource2;

/// `simple-module`, which the compiler is given where a component imports it.
const SIMPLE_MODULE: &str = r#"(module
    (global (export "g") i32 (i32.const 100))
    (func (export "f") (result i32) (i32.const 101)))"#;

const INSTANCE: &str = "host";

/// The functions and resources, to be called.
pub(super) fn linker() -> Linker<Host> {
    let mut linker = Linker::new();
    linker
        .func("", "host-echo-u32", |_: &mut Caller<'_, Host>, (value,): (u32,)| Ok(value))
        .func("", "host-return-two", |_: &mut Caller<'_, Host>, (): ()| Ok(2u32))
        .func(INSTANCE, "return-three", |_: &mut Caller<'_, Host>, (): ()| Ok(3u32))
        .func("host/nested", "return-four", |_: &mut Caller<'_, Host>, (): ()| Ok(4u32));
    let dropped = |caller: &mut Caller<'_, Host>, representation| {
        let host = caller.data_mut();
        host.drops += 1;
        host.last_drop = representation;
        Ok(())
    };
    linker
        .resource::<Resource1>(INSTANCE, "resource1", dropped)
        .resource::<Resource1>(INSTANCE, "resource1-again", dropped)
        .resource::<Resource2>(INSTANCE, "resource2", |_: &mut Caller<'_, Host>, _| Ok(()));
    linker
        .func(INSTANCE, "[constructor]resource1", |_: &mut Caller<'_, Host>, (representation,): (u32,)| {
            Ok(Resource::<Resource1>::new_own(representation))
        })
        .func(
            INSTANCE,
            "[static]resource1.assert",
            |_: &mut Caller<'_, Host>, (resource, representation): (Resource<Resource1>, u32)| {
                owned(&resource, true)?;
                same(&resource, representation)
            },
        )
        .func(INSTANCE, "[static]resource1.last-drop", |caller: &mut Caller<'_, Host>, (): ()| {
            Ok(caller.data().last_drop)
        })
        .func(INSTANCE, "[static]resource1.drops", |caller: &mut Caller<'_, Host>, (): ()| Ok(caller.data().drops))
        .func(
            INSTANCE,
            "[method]resource1.simple",
            |_: &mut Caller<'_, Host>, (resource, representation): (Resource<Resource1>, u32)| {
                owned(&resource, false)?;
                same(&resource, representation)
            },
        )
        .func(
            INSTANCE,
            "[method]resource1.take-borrow",
            |_: &mut Caller<'_, Host>, (resource, other): (Resource<Resource1>, Resource<Resource1>)| {
                owned(&resource, false)?;
                owned(&other, false)
            },
        )
        .func(
            INSTANCE,
            "[method]resource1.take-own",
            |_: &mut Caller<'_, Host>, (resource, other): (Resource<Resource1>, Resource<Resource1>)| {
                owned(&resource, false)?;
                owned(&other, true)
            },
        );
    linker
}

fn owned<X>(resource: &Resource<X>, wanted: bool) -> Result<(), HostError> {
    match resource.is_owned() == wanted {
        true => Ok(()),
        false => Err(format!("{resource:?} is of the wrong ownership").into()),
    }
}

fn same<X>(resource: &Resource<X>, representation: u32) -> Result<(), HostError> {
    match resource.rep() == representation {
        true => Ok(()),
        false => Err(format!("{resource:?} does not have the representation {representation}").into()),
    }
}

/// The same as the runner's check of imports knows it.
pub(super) fn definitions() -> Definitions {
    let functions =
        |names: &[&str]| -> Definitions { names.iter().map(|name| (name.to_string(), Definition::Func)).collect() };
    let mut host = functions(&[
        "return-three",
        "[constructor]resource1",
        "[static]resource1.assert",
        "[static]resource1.last-drop",
        "[static]resource1.drops",
        "[method]resource1.simple",
        "[method]resource1.take-borrow",
        "[method]resource1.take-own",
    ]);
    host.insert("nested".into(), Definition::Instance(functions(&["return-four"])));
    // A test compiles it.
    host.insert("simple-module".into(), Definition::Module(wat::parse_str(SIMPLE_MODULE).unwrap_or_default()));
    for (name, identity) in [("resource1", 1), ("resource2", 2), ("resource1-again", 1)] {
        host.insert(name.into(), Definition::Resource(Identity(identity)));
    }
    let mut root = functions(&["host-echo-u32", "host-return-two"]);
    root.insert(INSTANCE.into(), Definition::Instance(host));
    root
}

/// Identities up to this one are the host's.
pub(super) const LAST_IDENTITY: u64 = 2;

#[cfg(test)]
mod tests {
    #[test]
    fn the_module_is_one() {
        assert!(wat::parse_str(super::SIMPLE_MODULE).is_ok());
    }
}
