//! Parses a script: in goes its text, out come its modules and components as bytes and its directives, which name them
//! by index.
//!
//! Splitting the two is what lets everything be compiled before anything runs.

use std::collections::HashSet;

use wast::component::WastVal;
use wast::core::{WastArgCore, WastRetCore};
use wast::lexer::Lexer;
use wast::parser::{self, ParseBuffer};
use wast::token::{Id, Span};
use wast::{QuoteWat, QuoteWatTest, Wast, WastArg, WastDirective, WastExecute, WastInvoke, WastRet, Wat};

use super::report::Place;

/// A parsed script.
#[derive(Debug)]
pub(super) struct Script<'a> {
    pub(super) modules: Vec<Module>,
    pub(super) directives: Vec<Directive<'a>>,
}

/// Index into [`Script::modules`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ModuleIndex(pub(super) usize);

/// A module or component of a script.
#[derive(Debug)]
pub(super) struct Module {
    pub(super) place: Place,
    /// The name of the instance that is made of it at once.
    pub(super) name: Option<String>,
    /// Whether it is a component.
    pub(super) component: bool,
    /// The binary, or why the text has none.
    pub(super) binary: Result<Vec<u8>, String>,
    /// Why it must be refused, if it must.
    pub(super) refused: Option<String>,
}

/// A directive and where it stands.
#[derive(Debug)]
pub(super) struct Directive<'a> {
    pub(super) place: Place,
    pub(super) kind: Kind<'a>,
}

/// What a directive asks for.
#[derive(Debug)]
pub(super) enum Kind<'a> {
    /// What concerns a component.
    Component(ComponentKind<'a>),
    /// Compile and instantiate.
    Module { name: Option<&'a str>, module: ModuleIndex },
    /// Compile.
    Definition { name: Option<&'a str>, module: ModuleIndex },
    /// Instantiate a definition: the one of that name, or the last.
    Instance { name: Option<&'a str>, definition: Option<&'a str> },
    /// Make an instance's exports importable under `name`.
    Register { name: &'a str, instance: Option<&'a str> },
    /// Must not fail.
    Run(Action<'a>),
    /// Must give these results.
    Return(Action<'a>, Vec<WastRetCore<'a>>),
    /// Must trap with this message.
    Trap(Action<'a>, &'a str),
    /// Must throw an exception that nothing catches.
    Exception(Action<'a>),
    /// Must suspend with this message.
    Suspension(Action<'a>, &'a str),
    /// Must be refused by the compiler, be it a module or a component.
    Invalid(ModuleIndex),
    /// Must not find its imports.
    Unlinkable(ModuleIndex),
    /// Run directives in a thread that sees one of our instances.
    Thread { name: &'a str, shared: Option<&'a str>, directives: Vec<Directive<'a>> },
    /// Wait for a thread.
    Wait { thread: &'a str },
}

/// What a directive asks for of a component: see [`Kind`].
#[derive(Debug)]
#[allow(missing_docs, reason = "as in `Kind`")]
pub(super) enum ComponentKind<'a> {
    Module {
        name: Option<&'a str>,
        module: ModuleIndex,
    },
    Definition {
        name: Option<&'a str>,
        module: ModuleIndex,
    },
    Instance {
        name: Option<&'a str>,
        definition: Option<&'a str>,
    },
    Run(ComponentAction<'a>),
    Return(ComponentAction<'a>, Vec<WastVal<'a>>),
    Trap(ComponentAction<'a>, &'a str),
    Unlinkable(ModuleIndex),
    /// Something that there is for modules only.
    Unsupported,
}

/// What a directive executes of a component.
#[derive(Debug)]
pub(super) enum ComponentAction<'a> {
    Invoke { instance: Option<&'a str>, function: &'a str, args: Vec<WastVal<'a>> },
    Instantiate(ModuleIndex),
}

/// What a directive executes.
#[derive(Debug)]
pub(super) enum Action<'a> {
    Invoke { instance: Option<&'a str>, function: &'a str, args: Vec<WastArgCore<'a>> },
    Get { instance: Option<&'a str>, global: &'a str },
    Instantiate(ModuleIndex),
}

/// Splits a script into tokens, which [`parse`] borrows.
///
/// # Errors
/// Where the script stops being one, and why.
pub(super) fn lex(text: &str) -> Result<ParseBuffer<'_>, (Place, String)> {
    let mut lexer = Lexer::new(text);
    // `names.wast` has right-to-left marks and the like in names.
    lexer.allow_confusing_unicode(true);
    ParseBuffer::new_with_lexer(lexer).map_err(|error| locate(text, &error))
}

/// Parses the tokens of `text`.
///
/// # Errors
/// As for [`lex`].
pub(super) fn parse<'a>(text: &str, tokens: &'a ParseBuffer<'a>) -> Result<Script<'a>, (Place, String)> {
    let script = parser::parse::<Wast<'a>>(tokens).map_err(|error| locate(text, &error))?;
    let mut splitter = Splitter { lines: Lines::new(text), modules: Vec::new(), components: HashSet::new() };
    let directives = script.directives.into_iter().map(|directive| splitter.directive(directive)).collect();
    Ok(Script { modules: splitter.modules, directives })
}

fn locate(text: &str, error: &wast::Error) -> (Place, String) {
    (Lines::new(text).place(error.span()), format!("not a script: {}", error.message()))
}

/// Takes the modules out of directives.
struct Splitter<'a> {
    lines: Lines,
    modules: Vec<Module>,
    /// The names that stand for components at this point of the script, since nothing else tells an action on a
    /// component from one on a module.
    components: HashSet<Name<'a>>,
}

/// What a directive can refer to. Without an identifier, it means the last.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Name<'a> {
    Instance(Option<&'a str>),
    Definition(Option<&'a str>),
}

impl<'a> Splitter<'a> {
    fn directive(&mut self, directive: WastDirective<'a>) -> Directive<'a> {
        let place = self.lines.place(directive.span());
        Directive { place, kind: self.kind(directive) }
    }

    fn kind(&mut self, directive: WastDirective<'a>) -> Kind<'a> {
        match directive {
            WastDirective::Module(wat) => {
                let name = name(wat.name());
                let (module, component) = self.module(wat, None);
                self.modules[module.0].name = name.map(str::to_owned);
                self.defines(Name::Instance(name), component);
                either(component, ComponentKind::Module { name, module }, Kind::Module { name, module })
            }
            WastDirective::ModuleDefinition(wat) => {
                let name = name(wat.name());
                let (module, component) = self.module(wat, None);
                self.defines(Name::Definition(name), component);
                either(component, ComponentKind::Definition { name, module }, Kind::Definition { name, module })
            }
            WastDirective::ModuleInstance { instance, module, .. } => {
                let (name, definition) = (name(instance), name(module));
                let component = self.is_component(Name::Definition(definition));
                self.defines(Name::Instance(name), component);
                either(component, ComponentKind::Instance { name, definition }, Kind::Instance { name, definition })
            }
            WastDirective::Register { name: export, module, .. } => {
                let instance = name(module);
                let component = self.is_component(Name::Instance(instance));
                either(component, ComponentKind::Unsupported, Kind::Register { name: export, instance })
            }
            WastDirective::Invoke(invoke) => match self.invoke(invoke) {
                Either::Core(action) => Kind::Run(action),
                Either::Component(action) => Kind::Component(ComponentKind::Run(action)),
                Either::Neither(kind) => kind,
            },
            WastDirective::AssertReturn { exec, results, .. } => self.returns(exec, results),
            WastDirective::AssertTrap { exec, message, .. } => match self.action(exec) {
                Either::Core(action) => Kind::Trap(action, message),
                Either::Component(action) => Kind::Component(ComponentKind::Trap(action, message)),
                Either::Neither(kind) => kind,
            },
            WastDirective::AssertExhaustion { call, message, .. } => match self.invoke(call) {
                Either::Core(action) => Kind::Trap(action, message),
                Either::Component(action) => Kind::Component(ComponentKind::Trap(action, message)),
                Either::Neither(kind) => kind,
            },
            WastDirective::AssertException { exec, .. } => match self.action(exec) {
                Either::Core(action) => Kind::Exception(action),
                Either::Component(_) => Kind::Component(ComponentKind::Unsupported),
                Either::Neither(kind) => kind,
            },
            WastDirective::AssertSuspension { exec, message, .. } => match self.action(exec) {
                Either::Core(action) => Kind::Suspension(action, message),
                Either::Component(_) => Kind::Component(ComponentKind::Unsupported),
                Either::Neither(kind) => kind,
            },
            WastDirective::AssertMalformed { module, message, .. }
            | WastDirective::AssertInvalid { module, message, .. }
            | WastDirective::AssertMalformedCustom { module, message, .. }
            | WastDirective::AssertInvalidCustom { module, message, .. } => {
                Kind::Invalid(self.module(module, Some(message)).0)
            }
            WastDirective::AssertUnlinkable { module, .. } => {
                let (module, component) = self.module(QuoteWat::Wat(module), None);
                either(component, ComponentKind::Unlinkable(module), Kind::Unlinkable(module))
            }
            WastDirective::Thread(thread) => Kind::Thread {
                name: thread.name.name(),
                shared: name(thread.shared_module),
                directives: thread.directives.into_iter().map(|directive| self.directive(directive)).collect(),
            },
            WastDirective::Wait { thread, .. } => Kind::Wait { thread: thread.name() },
        }
    }

    fn returns(&mut self, exec: WastExecute<'a>, results: Vec<WastRet<'a>>) -> Kind<'a> {
        match self.action(exec) {
            Either::Core(action) => match results.into_iter().map(core_result).collect() {
                Some(results) => Kind::Return(action, results),
                None => MIXED,
            },
            Either::Component(action) => match results.into_iter().map(component_result).collect() {
                Some(results) => Kind::Component(ComponentKind::Return(action, results)),
                None => MIXED,
            },
            Either::Neither(kind) => kind,
        }
    }

    fn action(&mut self, execute: WastExecute<'a>) -> Either<'a> {
        match execute {
            WastExecute::Invoke(invoke) => self.invoke(invoke),
            WastExecute::Get { module, global, .. } => {
                let instance = name(module);
                match self.is_component(Name::Instance(instance)) {
                    true => Either::Neither(Kind::Component(ComponentKind::Unsupported)),
                    false => Either::Core(Action::Get { instance, global }),
                }
            }
            WastExecute::Wat(wat) => match self.module(QuoteWat::Wat(wat), None) {
                (module, true) => Either::Component(ComponentAction::Instantiate(module)),
                (module, false) => Either::Core(Action::Instantiate(module)),
            },
        }
    }

    fn invoke(&mut self, invoke: WastInvoke<'a>) -> Either<'a> {
        let (instance, function) = (name(invoke.module), invoke.name);
        let args = invoke.args.into_iter();
        if self.is_component(Name::Instance(instance)) {
            match args.map(component_argument).collect() {
                Some(args) => Either::Component(ComponentAction::Invoke { instance, function, args }),
                None => Either::Neither(MIXED),
            }
        } else {
            match args.map(core_argument).collect() {
                Some(args) => Either::Core(Action::Invoke { instance, function, args }),
                None => Either::Neither(MIXED),
            }
        }
    }

    /// From here on, `name` and the last of its kind are components, or are modules.
    fn defines(&mut self, name: Name<'a>, component: bool) {
        let last = match name {
            Name::Instance(_) => Name::Instance(None),
            Name::Definition(_) => Name::Definition(None),
        };
        for name in [name, last] {
            if component {
                self.components.insert(name);
            } else {
                self.components.remove(&name);
            }
        }
    }

    fn is_component(&self, name: Name<'a>) -> bool {
        self.components.contains(&name)
    }

    /// Adds a module, and tells whether it is a component.
    fn module(&mut self, mut wat: QuoteWat<'_>, refused: Option<&str>) -> (ModuleIndex, bool) {
        let component = matches!(wat, QuoteWat::Wat(Wat::Component(_)) | QuoteWat::QuoteComponent(..));
        let place = self.lines.place(wat.span());
        let refused = refused.map(str::to_owned);
        self.modules.push(Module { place, name: None, component, binary: encode(&mut wat), refused });
        (ModuleIndex(self.modules.len() - 1), component)
    }
}

/// An action, or the directive that it makes impossible.
enum Either<'a> {
    Core(Action<'a>),
    Component(ComponentAction<'a>),
    Neither(Kind<'a>),
}

/// Values of modules where those of a component are due, or the other way round.
const MIXED: Kind<'_> = Kind::Component(ComponentKind::Unsupported);

fn either<'a>(component: bool, of_component: ComponentKind<'a>, of_module: Kind<'a>) -> Kind<'a> {
    if component { Kind::Component(of_component) } else { of_module }
}

/// The binary of a module.
fn encode(wat: &mut QuoteWat<'_>) -> Result<Vec<u8>, String> {
    let text = match wat.to_test().map_err(|error| error.message())? {
        QuoteWatTest::Binary(binary) => return Ok(binary),
        QuoteWatTest::Text(text) => String::from_utf8(text).map_err(|_| "malformed UTF-8 encoding".to_owned())?,
    };
    let mut lexer = Lexer::new(&text);
    lexer.allow_confusing_unicode(true);
    let tokens = ParseBuffer::new_with_lexer(lexer).map_err(|error| error.message())?;
    parser::parse::<Wat<'_>>(&tokens).and_then(|mut wat| wat.encode()).map_err(|error| error.message())
}

fn name(id: Option<Id<'_>>) -> Option<&str> {
    id.map(|id| id.name())
}

fn core_argument(argument: WastArg<'_>) -> Option<WastArgCore<'_>> {
    match argument {
        WastArg::Core(argument) => Some(argument),
        _ => None,
    }
}

fn core_result(result: WastRet<'_>) -> Option<WastRetCore<'_>> {
    match result {
        WastRet::Core(result) => Some(result),
        _ => None,
    }
}

fn component_argument(argument: WastArg<'_>) -> Option<WastVal<'_>> {
    match argument {
        WastArg::Component(argument) => Some(argument),
        _ => None,
    }
}

fn component_result(result: WastRet<'_>) -> Option<WastVal<'_>> {
    match result {
        WastRet::Component(result) => Some(result),
        _ => None,
    }
}

/// Where the lines of a text begin. `Span::linecol_in` searches from the start of the text each time, which takes
/// longer than all else on scripts of a megabyte.
struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    fn new(text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Lines { starts: std::iter::once(0).chain(ends).collect() }
    }

    fn place(&self, span: Span) -> Place {
        let line = self.starts.partition_point(|start| *start <= span.offset());
        Place { line, column: span.offset() - self.starts[line - 1] + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_start_at_one() {
        let lines = Lines::new("ab\n\nc");
        let place = |offset| lines.place(Span::from_offset(offset)).to_string();
        assert_eq!([0, 2, 3, 4, 5].map(place), ["1:1", "1:3", "2:1", "3:1", "3:2"]);
    }

    #[test]
    fn modules_are_taken_out_in_order() {
        let text = r#"
            (module $a binary "\00asm\01\00\00\00")
            (assert_malformed (module quote "(func") "x")
            (assert_trap (module binary "\00asm\01\00\00\00") "y")
            (component)
            (thread $t (shared (module $a)) (module) (invoke "f" (i32.const 1)))
        "#;
        let tokens = lex(text).unwrap();
        let script = parse(text, &tokens).unwrap();
        assert!(script.modules[1].binary.is_err());
        for index in [0, 2, 4] {
            assert_eq!(script.modules[index].binary, Ok(b"\0asm\x01\0\0\0".to_vec()));
        }
        assert_eq!(script.modules[1].refused.as_deref(), Some("x"));
        assert!(script.modules[3].component && !script.modules[4].component);
        let [module, invalid, trap, component, thread] = &script.directives[..] else { panic!("{script:?}") };
        assert!(matches!(module.kind, Kind::Module { name: Some("a"), module: ModuleIndex(0) }));
        assert!(matches!(invalid.kind, Kind::Invalid(ModuleIndex(1))));
        assert!(matches!(trap.kind, Kind::Trap(Action::Instantiate(ModuleIndex(2)), "y")));
        let made = ComponentKind::Module { name: None, module: ModuleIndex(3) };
        assert!(matches!(&component.kind, Kind::Component(kind) if format!("{kind:?}") == format!("{made:?}")));
        let Kind::Thread { name: "t", shared: Some("a"), directives } = &thread.kind else { panic!("{thread:?}") };
        assert!(matches!(directives[0].kind, Kind::Module { name: None, module: ModuleIndex(4) }));
        assert!(matches!(&directives[1].kind, Kind::Run(Action::Invoke { function: "f", .. })));
    }

    #[test]
    fn what_refers_to_a_component_is_told_apart() {
        let text = r#"
            (module $m) (component $c)
            (invoke "f") (invoke $c "f") (invoke $m "f") (register "x" $c) (assert_return (invoke $c "f" (u32.const 1)))
            (module) (invoke "f")
            (component definition $d) (component instance $i $d) (invoke $i "f")
            (module definition $d) (module instance $i $d) (invoke $i "f")
        "#;
        let tokens = lex(text).unwrap();
        let script = parse(text, &tokens).unwrap();
        let found = script.directives.iter().map(|directive| match directive.kind {
            Kind::Component(ComponentKind::Unsupported) => 2,
            Kind::Component(_) => 1,
            _ => 0,
        });
        assert!(found.eq([0, 1, 1, 1, 0, 2, 1, 0, 0, 1, 1, 1, 0, 0, 0]), "{script:?}");
    }

    #[test]
    fn a_file_that_is_no_script_names_the_place() {
        let text = "(module)\n(assert_retur)";
        let tokens = lex(text).unwrap();
        let (place, message) = parse(text, &tokens).unwrap_err();
        assert_eq!(place.to_string(), "2:2");
        assert!(message.starts_with("not a script: "), "{message}");
    }
}
