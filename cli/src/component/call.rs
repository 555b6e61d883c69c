//! Which export of a component is called, and with what: the meeting of the command line and an artifact's types.

use std::ffi::OsStr;

use precast_loader::Artifact;
use precast_loader::component::{FuncType, Val};

use super::parse;
use crate::error::Error;
use crate::output::printable;

/// The interface that commands export, in some version 0.2, and the function in it.
const COMMAND: (&str, &str) = ("wasi:cli/run@0.2.", "run");

/// An exported function and its arguments.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// The interface, or empty.
    pub(crate) interface: String,
    /// Name of the function.
    pub(crate) name: String,
    /// Arguments, of the parameters' types.
    pub(crate) params: Vec<Val>,
}

impl Call {
    /// A call of `export` with `args` parsed by the types of its parameters. `export` is a function's name, alone if no
    /// other interface has one of that name, or `interface#name`; the interface's version may be left out.
    ///
    /// # Errors
    /// Usage, if there is no such function, or several, or the arguments are not its own.
    pub(crate) fn new(artifact: &Artifact, export: &str, args: &[impl AsRef<OsStr>]) -> Result<Self, Error> {
        let exports = artifact.component_exports();
        let (interface, name, ty) = find(&exports, export)?;
        let params = ty.params();
        if args.len() != params.len() {
            let types: Vec<_> = params.iter().map(|(name, ty)| format!("{name}: {}", Shown(ty))).collect();
            let (wanted, given) = (params.len(), args.len());
            return Err(Error::Usage(format!(
                "`{export}` takes {wanted} arguments ({}), {given} given",
                types.join(", ")
            )));
        }
        let value = |((name, ty), arg): ((&str, _), &OsStr)| {
            let text = arg.to_str().ok_or_else(|| "not UTF-8".to_owned());
            let parsed = text.and_then(|text| match ty {
                Some(ty) => parse(ty, text),
                None => Err("it has no type".into()),
            });
            parsed.map_err(|error| Error::Usage(format!("argument `{}` of `{export}`: {error}", printable(name))))
        };
        let params = params.iter().zip(args.iter().map(AsRef::as_ref)).map(value).collect::<Result<_, _>>()?;
        Ok(Call { interface: interface.clone(), name: name.clone(), params })
    }

    /// The call that runs a command, if the component is one.
    pub(crate) fn command(artifact: &Artifact) -> Option<Self> {
        let exports = artifact.component_exports().into_iter();
        let (interface, name, _) = exports
            .filter(|(interface, name, _)| interface.starts_with(COMMAND.0) && name == COMMAND.1)
            .find(|(_, _, ty)| ty.params().is_empty())?;
        Some(Call { interface, name, params: Vec::new() })
    }

    /// Whether it runs a command, which is done once in an instance's life.
    pub(crate) fn is_command(&self) -> bool {
        self.interface.starts_with(COMMAND.0)
    }
}

/// The error where the component is no command.
pub(crate) fn no_command(artifact: &Artifact) -> Error {
    let exports = artifact.component_exports();
    let exported = listed(&exports);
    Error::Usage(format!("the component exports no `wasi:cli/run`{exported} (--invoke calls another function)"))
}

struct Shown<'a>(Option<precast_loader::component::Type<'a>>);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.map_or(Ok(()), |ty| ty.fmt(f))
    }
}

type Export = (String, String, FuncType);

fn find<'a>(exports: &'a [Export], wanted: &str) -> Result<&'a Export, Error> {
    let (interface, name) = wanted.rsplit_once('#').unwrap_or(("", wanted));
    let has = |export: &&Export, matches: &dyn Fn(&str) -> bool| export.1 == name && matches(&export.0);
    if let Some(exact) = exports.iter().find(|export| has(export, &|of| of == interface)) {
        return Ok(exact);
    }
    let unversioned = |of: &str| of.split('@').next() == Some(interface);
    let found: Vec<_> = match interface {
        "" => exports.iter().filter(|export| has(export, &|_| true)).collect(),
        _ => exports.iter().filter(|export| has(export, &unversioned)).collect(),
    };
    match found[..] {
        [one] => Ok(one),
        [] => Err(Error::Usage(format!("no function `{wanted}` is exported{}", listed(exports)))),
        [..] => {
            let found: Vec<_> = found.iter().map(|export| full_name(export)).collect();
            Err(Error::Usage(format!("`{wanted}` may be {}: name one of them", found.join(" or "))))
        }
    }
}

fn full_name((interface, name, _): &Export) -> String {
    let sign = if interface.is_empty() { "" } else { "#" };
    format!("`{}{sign}{}`", printable(interface), printable(name))
}

fn listed(exports: &[Export]) -> String {
    const SHOWN: usize = 24;
    let names: Vec<_> = exports.iter().take(SHOWN).map(full_name).collect();
    match exports.len() {
        0 => ", nor any function".into(),
        1..=SHOWN => format!("; there are {}", names.join(", ")),
        count => format!("; there are {} and {} more", names.join(", "), count - SHOWN),
    }
}
