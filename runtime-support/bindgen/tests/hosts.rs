//! Hosts of generated traits: resources, asynchronous functions, interfaces and packages that are used again.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use precast_loader::component::{ComponentType, Instance, Linker, Resource, ResourceTable};
use precast_loader::{CallError, HostError};

/// What is behind a `file`.
pub struct File {
    name: String,
}

mod host {
    precast_bindgen::bindgen!({
        path: "tests/wit/host",
        world: "everything",
        with: { "test:host/files/file": crate::File },
        async: ["test:host/jobs#wait", "test:host/files@1.2.0#[method]file.read", "move-by"],
    });
}

/// The smaller world, with what the larger one has already.
mod again {
    precast_bindgen::bindgen!({
        path: "tests/wit/host",
        world: "test:host/only-files@1.2.0",
        with: { "test:host/files": crate::host::test::host::files, "test:log": crate::host::test::log },
    });
}

mod several {
    precast_bindgen::bindgen!({ path: "tests/wit/several", world: "several:two/twos", async: true });
}

mod inline {
    precast_bindgen::bindgen!({
        inline: "
            package test:inline;
            world twos { import several:two/two; import here: interface { go: func(); } }
        ",
        path: "tests/wit/several",
        with: { "several:one/one": crate::several::several::one::one },
    });
}

use host::test::host::files::{self, Problem};
use host::test::host::types::Point;
use host::test::host::{jobs, types};
use host::test::log::log::{self, Level};
use host::{Everything, EverythingImports, local};

#[derive(Default)]
struct State {
    table: ResourceTable,
    messages: Vec<String>,
}

impl log::Host for State {
    fn log(&mut self, level: Level, message: String) -> Result<(), HostError> {
        self.messages.push(format!("{level:?}: {message}"));
        Ok(())
    }
}

impl files::Host for State {
    fn copy(&mut self, from: Resource<File>, to: Resource<File>, at: Level) -> Result<u64, HostError> {
        let name = self.table.get(&from)?.name.clone();
        log::Host::log(self, at, name.clone())?;
        self.table.get_mut(&to)?.name = name.clone();
        Ok(name.len() as u64)
    }
}

impl files::HostFile for State {
    fn new(&mut self, name: String) -> Result<Resource<File>, HostError> {
        Ok(self.table.push(File { name })?)
    }

    async fn read(&mut self, self_: Resource<File>, len: u32) -> Result<Result<Vec<u8>, Problem>, HostError> {
        std::future::ready(()).await;
        let mut bytes = self.table.get(&self_)?.name.clone().into_bytes();
        if bytes.is_empty() {
            return Ok(Err(Problem::Missing));
        }
        bytes.truncate(len as usize);
        Ok(Ok(bytes))
    }

    fn new_(&mut self, self_: Resource<File>) -> Result<Resource<File>, HostError> {
        let name = self.table.get(&self_)?.name.clone();
        Ok(self.table.push(File { name })?)
    }

    fn drop_(&mut self, self_: Resource<File>, force: bool) -> Result<(), HostError> {
        if force { Err("forced".into()) } else { self.table.get(&self_).map(drop).map_err(HostError::from) }
    }

    fn open(&mut self, name: String) -> Result<Result<Resource<File>, Problem>, HostError> {
        let file = files::HostFile::new(self, name)?;
        Ok(if self.table.get(&file)?.name == "locked" { Err(Problem::Locked(file)) } else { Ok(file) })
    }

    fn drop(&mut self, rep: Resource<File>) -> Result<(), HostError> {
        self.table.delete(rep)?;
        Ok(())
    }
}

impl jobs::Host for State {
    async fn wait(&mut self, ms: u32) -> Result<u32, HostError> {
        Ok(ms + 1)
    }

    fn run(&mut self, self_: String, on: Resource<jobs::Input>) -> Result<Vec<Resource<File>>, HostError> {
        self.messages.push(self_);
        Ok(vec![on])
    }
}

impl local::Host for State {
    fn greet(&mut self, who: types::Name) -> Result<String, HostError> {
        Ok(format!("hello {who}"))
    }
}

impl EverythingImports for State {
    async fn move_by(&mut self, at: Point, by: i32) -> Result<host::Point, HostError> {
        Ok(Point { x: at.x + by, ..at })
    }
}

struct Data {
    state: State,
}

#[test]
fn everything_is_added() {
    let mut linker: Linker<Data> = Linker::new();
    Everything::add_to_linker(&mut linker, |data: &mut Data| &mut data.state);
    let mut linker: Linker<State> = Linker::new();
    files::add_to_linker(&mut linker, |state| state);
    // Everything of it was used from elsewhere.
    again::OnlyFiles::add_to_linker(&mut linker, |state: &mut State| state);
}

#[test]
fn hosts_are_called() {
    let mut state = State::default();
    let file = files::HostFile::new(&mut state, "name".into()).unwrap();
    let borrowed = || Resource::new_borrow(file.rep());
    let read = now(files::HostFile::read(&mut state, borrowed(), 2)).unwrap().unwrap();
    assert_eq!(read, b"na");
    let Ok(Err(Problem::Locked(other))) = files::HostFile::open(&mut state, "locked".into()) else { panic!() };
    assert_eq!(files::Host::copy(&mut state, borrowed(), other, Level::High).unwrap(), 4);
    assert_eq!(state.messages, ["High: name"]);
    assert_eq!(now(jobs::Host::wait(&mut state, 1)).unwrap(), 2);
    assert_eq!(now(EverythingImports::move_by(&mut state, Point { x: 1, y: 2 }, 3)).unwrap(), Point { x: 4, y: 2 });
    files::HostFile::drop(&mut state, file).unwrap();
    assert_eq!(state.table.len(), 1);
}

/// The value of a future that needs to wait for nothing.
fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the future waits"),
    }
}

/// Types of interfaces that are used again are the same types.
#[test]
fn reused_types() {
    let pair: inline::several::two::two::Pair = several::several::one::one::Pair { a: 1, b: 2 };
    assert_eq!((pair.b, inline::several::two::two::Pair::SIZE), (2, 8));
}

struct Both;

impl several::several::one::one::Host for Both {
    async fn swap(
        &mut self,
        pair: several::several::one::one::Pair,
    ) -> Result<several::several::one::one::Pair, HostError> {
        Ok(pair)
    }
}

impl several::several::two::two::Host for Both {
    async fn first(
        &mut self,
        of: Vec<several::several::two::two::Pair>,
    ) -> Result<Option<several::several::one::one::Pair>, HostError> {
        Ok(of.first().copied())
    }
}

impl inline::several::two::two::Host for Both {
    fn first(
        &mut self,
        of: Vec<several::several::two::two::Pair>,
    ) -> Result<Option<several::several::one::one::Pair>, HostError> {
        Ok(of.first().copied())
    }
}

impl inline::here::Host for Both {
    fn go(&mut self) -> Result<(), HostError> {
        Ok(())
    }
}

#[test]
fn packages_of_a_folder() {
    let mut linker: Linker<Both> = Linker::new();
    several::Twos::add_to_linker(&mut linker, |both: &mut Both| both);
    inline::Twos::add_to_linker(&mut linker, |both: &mut Both| both);
}

/// Parameters that own memory are borrowed; results are owned.
#[allow(dead_code, reason = "it is compiled")]
fn exports(everything: &Everything, instance: &mut Instance<State>, text: String) -> Result<(), CallError> {
    use host::exports::test::host::calc::Labelled;
    let calc = everything.test_host_calc();
    let at = calc.call_origin(instance)?;
    let labelled = Labelled { label: text.clone(), at };
    let one: String =
        calc.call_label(instance, &labelled, std::slice::from_ref(&text), Some(&text), (&text, &[1, 2]))?;
    let sum = calc.sum().call_new(instance)?;
    calc.sum().call_add(instance, sum, at)?;
    let sum = calc.sum().call_join(instance, &[sum])?;
    let _: bool = calc.call_is_less(instance, sum, sum)?;
    let file = Resource::new_own(1);
    let handled: Result<u64, String> = everything.handler().call_handle(instance, file)?;
    let _ = (one, handled, everything.call_greet(instance, "name")?, everything.call_double(instance, at)?);
    Ok(())
}

#[allow(dead_code, reason = "it is compiled")]
fn sendable<'a>(
    everything: &'a Everything,
    instance: &'a mut Instance<State>,
    name: &'a str,
) -> impl Future<Output = Result<String, CallError>> + Send + 'a {
    everything.call_greet_async(instance, name)
}
