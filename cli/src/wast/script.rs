//! Parses a script: in goes its text, out come its modules as bytes and its directives, which name modules by index.
//!
//! Splitting the two is what lets every module be compiled before anything runs.

use std::collections::HashSet;

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

/// A module of a script.
#[derive(Debug)]
pub(super) struct Module {
    pub(super) place: Place,
    /// The binary, or why the module's text has none.
    pub(super) binary: Result<Vec<u8>, String>,
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
    /// Must be refused by the compiler.
    Invalid(ModuleIndex),
    /// Must not find its imports.
    Unlinkable(ModuleIndex),
    /// Run directives in a thread that sees one of our instances.
    Thread { name: &'a str, shared: Option<&'a str>, directives: Vec<Directive<'a>> },
    /// Wait for a thread.
    Wait { thread: &'a str },
    /// Something of the component model, which this runner cannot run.
    Component,
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
        // `None` stands for anything of the component model.
        Directive { place, kind: self.kind(directive).unwrap_or(Kind::Component) }
    }

    fn kind(&mut self, directive: WastDirective<'a>) -> Option<Kind<'a>> {
        Some(match directive {
            WastDirective::Module(wat) => {
                let name = name(wat.name());
                let module = self.module(wat);
                self.defines(Name::Instance(name), module.is_none());
                Kind::Module { name, module: module? }
            }
            WastDirective::ModuleDefinition(wat) => {
                let name = name(wat.name());
                let module = self.module(wat);
                self.defines(Name::Definition(name), module.is_none());
                Kind::Definition { name, module: module? }
            }
            WastDirective::ModuleInstance { instance, module, .. } => {
                let (name, definition) = (name(instance), name(module));
                let core = self.core(Name::Definition(definition));
                self.defines(Name::Instance(name), core.is_none());
                core?;
                Kind::Instance { name, definition }
            }
            WastDirective::Register { name: export, module, .. } => {
                let instance = name(module);
                self.core(Name::Instance(instance))?;
                Kind::Register { name: export, instance }
            }
            WastDirective::Invoke(invoke) => Kind::Run(self.invoke(invoke)?),
            WastDirective::AssertReturn { exec, results, .. } => {
                let results = results.into_iter().map(core_result).collect::<Option<_>>()?;
                Kind::Return(self.action(exec)?, results)
            }
            WastDirective::AssertTrap { exec, message, .. } => Kind::Trap(self.action(exec)?, message),
            WastDirective::AssertExhaustion { call, message, .. } => Kind::Trap(self.invoke(call)?, message),
            WastDirective::AssertException { exec, .. } => Kind::Exception(self.action(exec)?),
            WastDirective::AssertSuspension { exec, message, .. } => Kind::Suspension(self.action(exec)?, message),
            WastDirective::AssertMalformed { module, .. }
            | WastDirective::AssertInvalid { module, .. }
            | WastDirective::AssertMalformedCustom { module, .. }
            | WastDirective::AssertInvalidCustom { module, .. } => Kind::Invalid(self.module(module)?),
            WastDirective::AssertUnlinkable { module, .. } => Kind::Unlinkable(self.module(QuoteWat::Wat(module))?),
            WastDirective::Thread(thread) => Kind::Thread {
                name: thread.name.name(),
                shared: name(thread.shared_module),
                directives: thread.directives.into_iter().map(|directive| self.directive(directive)).collect(),
            },
            WastDirective::Wait { thread, .. } => Kind::Wait { thread: thread.name() },
        })
    }

    fn action(&mut self, execute: WastExecute<'a>) -> Option<Action<'a>> {
        Some(match execute {
            WastExecute::Invoke(invoke) => self.invoke(invoke)?,
            WastExecute::Get { module, global, .. } => {
                let instance = name(module);
                self.core(Name::Instance(instance))?;
                Action::Get { instance, global }
            }
            WastExecute::Wat(wat) => Action::Instantiate(self.module(QuoteWat::Wat(wat))?),
        })
    }

    fn invoke(&mut self, invoke: WastInvoke<'a>) -> Option<Action<'a>> {
        let instance = name(invoke.module);
        self.core(Name::Instance(instance))?;
        let args = invoke.args.into_iter().map(core_argument).collect::<Option<_>>()?;
        Some(Action::Invoke { instance, function: invoke.name, args })
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

    /// `None` if `name` is a component.
    fn core(&self, name: Name<'a>) -> Option<()> {
        (!self.components.contains(&name)).then_some(())
    }

    /// Adds a module; `None` if it is a component.
    fn module(&mut self, mut wat: QuoteWat<'_>) -> Option<ModuleIndex> {
        if matches!(wat, QuoteWat::Wat(Wat::Component(_)) | QuoteWat::QuoteComponent(..)) {
            return None;
        }
        let place = self.lines.place(wat.span());
        self.modules.push(Module { place, binary: encode(&mut wat) });
        Some(ModuleIndex(self.modules.len() - 1))
    }
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
        for index in [0, 2, 3] {
            assert_eq!(script.modules[index].binary, Ok(b"\0asm\x01\0\0\0".to_vec()));
        }
        let [module, invalid, trap, component, thread] = &script.directives[..] else { panic!("{script:?}") };
        assert!(matches!(module.kind, Kind::Module { name: Some("a"), module: ModuleIndex(0) }));
        assert!(matches!(invalid.kind, Kind::Invalid(ModuleIndex(1))));
        assert!(matches!(trap.kind, Kind::Trap(Action::Instantiate(ModuleIndex(2)), "y")));
        assert!(matches!(component.kind, Kind::Component));
        let Kind::Thread { name: "t", shared: Some("a"), directives } = &thread.kind else { panic!("{thread:?}") };
        assert!(matches!(directives[0].kind, Kind::Module { name: None, module: ModuleIndex(3) }));
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
        let skipped = script.directives.iter().map(|directive| matches!(directive.kind, Kind::Component));
        let expected = [0, 1, 1, 1, 0, 1, 1, 0, 0, 1, 1, 1, 0, 0, 0].map(|skipped| skipped == 1);
        assert!(skipped.eq(expected), "{script:?}");
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
