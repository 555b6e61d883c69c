//! Values and resources through a compiled component: from the host to the guest, back to a function of the host, and
//! the whole way again.
//!
//! The guest is generated from the WIT: an exported function calls the imported one of the same name with the same core
//! values. What it is lowered to is so what the other side lifts.

use std::fmt::Write;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use precast_loader::component::{Bound, Instance, Linker, Resource, ResourceTable};
use precast_loader::{Artifact, CallError, HostError};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{Resolve, WorldItem};

precast_bindgen::bindgen!({
    path: "tests/wit/echo",
    with: { "test:echo/files/file": crate::File },
    async: ["test:echo/echo#slow"],
});

use exports::test::echo::echo as guest;
use test::echo::{echo, files};

/// What is behind a `file`.
pub struct File(String);

#[derive(Default)]
struct State {
    table: ResourceTable,
    pauses: u32,
}

macro_rules! echoes {
    ($($name:ident: $ty:ty;)*) => { $(
        fn $name(&mut self, v: $ty) -> Result<$ty, HostError> {
            Ok(v)
        }
    )* };
}

impl echo::Host for State {
    echoes! {
        same_point: echo::Point;
        same_mixed: echo::Mixed;
        same_texts: echo::Texts;
        same_wide: echo::Wide;
        same_color: echo::Color;
        same_style: echo::Style;
        same_shape: echo::Shape;
        outcome: Result<Option<echo::Shape>, String>;
    }

    fn numbers(&mut self, a: i8, b: u16, c: i32, d: i64, e: f32, f: f64, g: bool, h: char) -> Result<f64, HostError> {
        assert_eq!((a, b, c, d, e, f, g, h), (-1, 65535, i32::MIN, i64::MIN, 0.5, -0.25, true, '\u{10ffff}'));
        Ok(f64::from(e) + f)
    }

    fn nothing(&mut self) -> Result<(), HostError> {
        Ok(())
    }

    fn tuples(
        &mut self,
        a: Vec<(u8, String)>,
        b: Option<String>,
    ) -> Result<(Vec<(u8, String)>, Option<String>), HostError> {
        Ok((a, b))
    }

    fn lend(&mut self, file: Resource<File>, len: u32) -> Result<Vec<u8>, HostError> {
        assert!(!file.is_owned());
        files::HostFile::read(self, file, len)
    }

    fn give(&mut self, file: Resource<File>) -> Result<Result<Resource<File>, echo::Color>, HostError> {
        assert!(file.is_owned());
        if self.table.get(&file)?.0 == "bad" {
            self.table.delete(file)?;
            return Ok(Err(echo::Color::Green));
        }
        Ok(Ok(file))
    }

    async fn slow(&mut self, v: String) -> Result<String, HostError> {
        for _ in 0..self.pauses {
            Pause(false).await;
        }
        Ok(v)
    }
}

/// Not ready when it is polled first.
struct Pause(bool);

impl Future for Pause {
    type Output = ();
    fn poll(mut self: std::pin::Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl files::Host for State {}

impl files::HostFile for State {
    fn new(&mut self, name: String) -> Result<Resource<File>, HostError> {
        Ok(self.table.push(File(name))?)
    }
    fn read(&mut self, self_: Resource<File>, len: u32) -> Result<Vec<u8>, HostError> {
        let mut bytes = self.table.get(&self_)?.0.clone().into_bytes();
        bytes.truncate(len as usize);
        Ok(bytes)
    }
    fn drop(&mut self, rep: Resource<File>) -> Result<(), HostError> {
        self.table.delete(rep)?;
        Ok(())
    }
}

impl GuestImports for State {
    fn plus(&mut self, a: u32, b: u32) -> Result<u32, HostError> {
        a.checked_add(b).ok_or_else(|| "the sum is too large".into())
    }
}

/// The guest, bound to a host.
fn bound() -> Bound<State> {
    let component = component();
    let artifact = precast_compiler::compile(&component, &precast_compiler::Options::default()).unwrap();
    let artifact = Artifact::open_bytes(&artifact).unwrap();
    let mut linker: Linker<State> = Linker::new();
    Guest::add_to_linker(&mut linker, |state: &mut State| state);
    linker.bind(&artifact).unwrap()
}

fn instance() -> (Guest, Instance<State>) {
    let instance = bound().instantiate(State::default()).unwrap();
    (Guest::new(&instance).unwrap(), instance)
}

#[test]
fn values() {
    let (world, mut instance) = instance();
    let (echo, instance) = (world.test_echo_echo(), &mut instance);
    echo.call_nothing(instance).unwrap();
    let sum = echo.call_numbers(instance, -1, 65535, i32::MIN, i64::MIN, 0.5, -0.25, true, '\u{10ffff}');
    assert_eq!(sum.unwrap(), 0.25);
    let point = guest::Point { x: -3, y: i32::MAX };
    assert_eq!(echo.call_same_point(instance, point).unwrap(), point);
    let mixed = guest::Mixed { a: 255, b: u64::MAX, c: 7, d: -0.5, e: true, f: '\u{e4}' };
    assert_eq!(echo.call_same_mixed(instance, mixed).unwrap(), mixed);
    let texts = guest::Texts {
        name: "Gr\u{fc}\u{df}e \u{1f980}".into(),
        words: vec!["one".into(), String::new(), "x".repeat(100_000)],
        points: vec![point; 1000],
    };
    assert_eq!(echo.call_same_texts(instance, &texts).unwrap(), texts);
    #[rustfmt::skip]
    let wide = guest::Wide {
        a: 1, b: 2, c: 3, d: 4, e: 5, f: 6, g: 7, h: 8, i: 9, j: 10, k: 11, l: 12, m: 13, n: 14, o: 15, p: 16,
        q: "in memory".into(),
    };
    assert_eq!(echo.call_same_wide(instance, &wide).unwrap(), wide);
    for color in [guest::Color::Red, guest::Color::Green, guest::Color::Blue] {
        assert_eq!(echo.call_same_color(instance, color).unwrap(), color);
    }
    for style in [guest::Style::empty(), guest::Style::all(), guest::Style::F | guest::Style::THIN] {
        assert_eq!(echo.call_same_style(instance, style).unwrap(), style);
    }
    let shapes = [
        guest::Shape::None,
        guest::Shape::Circle(1.5),
        guest::Shape::Square(u64::MAX),
        guest::Shape::Named("name".into()),
        guest::Shape::At(point),
        guest::Shape::Like(guest::Color::Blue),
    ];
    for shape in shapes {
        assert_eq!(echo.call_same_shape(instance, &shape).unwrap(), shape);
        let given = Ok(Some(&shape));
        assert_eq!(echo.call_outcome(instance, given).unwrap(), Ok(Some(shape.clone())));
    }
    assert_eq!(echo.call_outcome(instance, Ok(None)).unwrap(), Ok(None));
    assert_eq!(echo.call_outcome(instance, Err("no")).unwrap(), Err("no".into()));
    let pairs = vec![(1, "one".to_owned()), (2, "two".to_owned())];
    let both = echo.call_tuples(instance, &pairs, Some("some")).unwrap();
    assert_eq!(both, (pairs, Some("some".to_owned())));
    assert_eq!(echo.call_tuples(instance, &[], None).unwrap(), (vec![], None));
    assert_eq!(world.call_sum(instance, 2, 3).unwrap(), 5);
}

#[test]
fn resources_of_the_host() {
    let (world, mut instance) = instance();
    let echo = world.test_echo_echo();
    let file = instance.data_mut().table.push(File("content".into())).unwrap();
    let lent = Resource::new_borrow(file.rep());
    assert_eq!(echo.call_lend(&mut instance, lent, 4).unwrap(), b"cont");
    let file = echo.call_give(&mut instance, file).unwrap().unwrap();
    assert_eq!(instance.data().table.get(&file).unwrap().0, "content");
    let bad = instance.data_mut().table.push(File("bad".into())).unwrap();
    assert_eq!(echo.call_give(&mut instance, bad).unwrap().unwrap_err(), guest::Color::Green);
    assert_eq!(instance.data().table.len(), 1);
}

#[test]
fn resources_of_the_guest() {
    let (world, mut instance) = instance();
    let (counters, instance) = (world.test_echo_counters(), &mut instance);
    let one = counters.counter().call_new(instance, 5).unwrap();
    let two = counters.counter().call_new(instance, 50).unwrap();
    assert_eq!(counters.counter().call_next(instance, one).unwrap(), 6);
    assert_eq!(counters.counter().call_next(instance, one).unwrap(), 7);
    assert_eq!(counters.counter().call_next(instance, two).unwrap(), 51);
    one.drop(instance).unwrap();
    assert_eq!(counters.call_dropped(instance).unwrap(), 1);
    assert!(matches!(counters.counter().call_next(instance, one), Err(CallError::Mismatch(_))));
    assert_eq!(counters.counter().call_next(instance, two).unwrap(), 52);
}

#[test]
fn asynchronous_functions() {
    let (world, mut instance) = instance();
    let echo = world.test_echo_echo();
    // Ready at once: the guest may be called in either way.
    assert_eq!(echo.call_slow(&mut instance, "now").unwrap(), "now");
    instance.data_mut().pauses = 3;
    let mut call = pin!(echo.call_slow_async(&mut instance, "later"));
    let mut polls = 0;
    let result = loop {
        polls += 1;
        if let Poll::Ready(result) = call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            break result;
        }
    };
    assert_eq!((result.unwrap(), polls), ("later".to_owned(), 4));
}

#[test]
fn errors_of_the_host_end_the_call() {
    let (world, mut instance) = instance();
    let Err(CallError::Host(error)) = world.call_sum(&mut instance, u32::MAX, 1) else { panic!() };
    assert_eq!(error.to_string(), "the sum is too large");
    assert!(matches!(world.call_sum(&mut instance, 1, 1), Err(CallError::Trap(_))));
}

/// The component: the text of its core module, and what the world says of it.
fn component() -> Vec<u8> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wit/echo")).unwrap();
    let world = resolve.select_world(&[package], Some("guest")).unwrap();
    let mut module = wat::parse_str(module(&resolve, world)).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().validate(true).module(&module).unwrap().encode().unwrap()
}

fn module(resolve: &Resolve, world: wit_parser::WorldId) -> String {
    let (mut imports, mut funcs) = (String::new(), String::new());
    let world = &resolve.worlds[world];
    for (key, item) in &world.exports {
        let name = resolve.name_world_key(key);
        match item {
            WorldItem::Function(func) => {
                forward(resolve, func, ("$root", "plus"), "sum", &mut imports, &mut funcs);
            }
            WorldItem::Interface { id, .. } if name.ends_with("/echo") => {
                for func in resolve.interfaces[*id].functions.values() {
                    let export = format!("{name}#{}", func.name);
                    forward(resolve, func, (&name, &func.name), &export, &mut imports, &mut funcs);
                }
            }
            _ => {}
        }
    }
    format!(
        r#"(module
            {imports}
            (import "[export]test:echo/counters" "[resource-new]counter" (func $new (param i32) (result i32)))
            (memory (export "memory") 1)
            (global $top (mut i32) (i32.const 1024))
            (global $dropped (mut i32) (i32.const 0))
            (func $realloc (export "cabi_realloc") (param $old i32) (param $size i32) (param $align i32) (param $new i32)
                (result i32)
                (local $at i32)
                ;; Aligned for anything, and never freed.
                (local.set $at (i32.and (i32.add (global.get $top) (i32.const 15)) (i32.const -16)))
                (global.set $top (i32.add (local.get $at) (local.get $new)))
                (drop (memory.grow (i32.sub
                    (i32.add (i32.shr_u (global.get $top) (i32.const 16)) (i32.const 1))
                    (memory.size))))
                (local.get $at))
            {funcs}
            (func (export "test:echo/counters#[constructor]counter") (param i32) (result i32)
                (local $at i32)
                (local.set $at (call $realloc (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 4)))
                (i32.store (local.get $at) (local.get 0))
                (call $new (local.get $at)))
            (func (export "test:echo/counters#[method]counter.next") (param i32) (result i32)
                (i32.store (local.get 0) (i32.add (i32.load (local.get 0)) (i32.const 1)))
                (i32.load (local.get 0)))
            (func (export "test:echo/counters#[dtor]counter") (param i32)
                (global.set $dropped (i32.add (global.get $dropped) (i32.const 1))))
            (func (export "test:echo/counters#dropped") (result i32) (global.get $dropped)))"#
    )
}

/// A function that calls another of the same type.
fn forward(
    resolve: &Resolve,
    func: &wit_parser::Function,
    import: (&str, &str),
    export: &str,
    imports: &mut String,
    funcs: &mut String,
) {
    let inner = resolve.wasm_signature(AbiVariant::GuestImport, func);
    let outer = resolve.wasm_signature(AbiVariant::GuestExport, func);
    let types = |types: &[WasmType]| types.iter().map(|ty| core_type(*ty)).collect::<Vec<_>>().join(" ");
    let (module, name) = import;
    let (params, results) = (types(&inner.params), types(&inner.results));
    writeln!(imports, r#"(import "{module}" "{name}" (func $"{name}" (param {params}) (result {results})))"#).unwrap();
    let (params, results) = (types(&outer.params), types(&outer.results));
    let mut body: String = (0..outer.params.len()).map(|at| format!("(local.get {at}) ")).collect();
    if inner.retptr {
        // What the import writes its result to is what the export returns.
        let area = outer.params.len();
        body = format!(
            "(local i32) (local.set {area} (call $realloc (i32.const 0) (i32.const 0) (i32.const 8) (i32.const 512)))
             (call $\"{name}\" {body} (local.get {area})) (local.get {area})"
        );
    } else {
        body = format!("(call $\"{name}\" {body})");
    }
    // A borrowed handle is given back.
    if func.name == "lend" {
        writeln!(imports, r#"(import "test:echo/files" "[resource-drop]file" (func $drop (param i32)))"#).unwrap();
        body.push_str(" (call $drop (local.get 0))");
    }
    writeln!(funcs, r#"(func (export "{export}") (param {params}) (result {results}) {body})"#).unwrap();
}

fn core_type(ty: WasmType) -> &'static str {
    match ty {
        WasmType::I64 | WasmType::PointerOrI64 => "i64",
        WasmType::F32 => "f32",
        WasmType::F64 => "f64",
        WasmType::I32 | WasmType::Pointer | WasmType::Length => "i32",
    }
}
