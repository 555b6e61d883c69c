//! Which export is called, and with what: the meeting of the command line and an artifact's types.

use std::ffi::OsStr;

use precast_loader::{Artifact, ExternType, FuncType, Val};

use crate::error::Error;
use crate::output::printable;
use crate::values;

/// The function that WASI commands export.
pub(crate) const COMMAND: &str = "_start";
/// The function that WASI reactors export, to be called before any other.
const REACTOR: &str = "_initialize";

/// An exported function and its arguments.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// Name of the export.
    pub(crate) export: String,
    /// Arguments, of the parameters' types.
    pub(crate) params: Vec<Val>,
}

impl Call {
    /// A call of `export` with `args` parsed by the types of its parameters.
    ///
    /// # Errors
    /// Usage, if there is no such function or the arguments are not its own.
    pub(crate) fn new(artifact: &Artifact, export: &str, args: &[impl AsRef<OsStr>]) -> Result<Self, Error> {
        let ty = function(artifact, export).ok_or_else(|| no_function(artifact, export))?;
        if args.len() != ty.params.len() {
            let types: Vec<_> = ty.params.iter().map(|ty| ty.name()).collect();
            return Err(Error::Usage(format!(
                "`{export}` takes {} arguments ({}), {} given",
                ty.params.len(),
                types.join(", "),
                args.len()
            )));
        }
        let parse = |(index, (arg, ty)): (usize, (&OsStr, _))| {
            let parsed = arg.to_str().ok_or_else(|| "not UTF-8".into()).and_then(|text| values::parse(ty, text));
            parsed.map_err(|error| Error::Usage(format!("argument {} of `{export}`: {error}", index + 1)))
        };
        let pairs = args.iter().map(AsRef::as_ref).zip(ty.params.iter().copied());
        let params = pairs.enumerate().map(parse).collect::<Result<_, _>>()?;
        Ok(Call { export: export.to_owned(), params })
    }

    /// A call of `export`, which takes nothing, if there is such a function.
    pub(crate) fn without_params(artifact: &Artifact, export: &str) -> Option<Self> {
        let ty = function(artifact, export)?;
        ty.params.is_empty().then(|| Call { export: export.to_owned(), params: Vec::new() })
    }

    /// The call that has to come before this one: of a reactor's initialiser.
    pub(crate) fn initializer(&self, artifact: &Artifact) -> Option<Call> {
        let needed = self.export != COMMAND && self.export != REACTOR;
        if needed { Call::without_params(artifact, REACTOR) } else { None }
    }
}

/// The type of the exported function `name`, if there is one.
fn function(artifact: &Artifact, name: &str) -> Option<FuncType> {
    artifact.exports().find(|export| export.name == name).and_then(|export| match export.ty {
        ExternType::Func(ty) => Some(ty),
        _ => None,
    })
}

/// The error that names what could have been called instead.
pub(crate) fn no_function(artifact: &Artifact, wanted: &str) -> Error {
    const SHOWN: usize = 24;
    let functions = artifact.exports().filter(|export| matches!(export.ty, ExternType::Func(_)));
    let names: Vec<_> = functions.map(|export| format!("`{}`", printable(export.name))).collect();
    let shown = names[..names.len().min(SHOWN)].join(", ");
    Error::Usage(match names.len() {
        0 => format!("no function `{wanted}` is exported, nor any other"),
        1..=SHOWN => format!("no function `{wanted}` is exported; there are {shown}"),
        count => format!("no function `{wanted}` is exported; there are {shown} and {} more", count - SHOWN),
    })
}
