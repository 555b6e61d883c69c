//! `wasi:cli`: arguments, environment, exit, standard streams and terminals.

mod stdio;

use std::io::IsTerminal;

use precast_loader::HostError;
use precast_loader::component::Resource;

use super::Ctx;
use super::bindings::wasi::cli::{
    environment, exit, stderr, stdin, stdout, terminal_input, terminal_output, terminal_stderr, terminal_stdin,
    terminal_stdout,
};
use super::io::{Input, Output};
use crate::Exit;
use crate::stdio::{Stdin, Stdout};

/// Standard input is a terminal.
#[derive(Clone, Copy, Debug)]
pub struct TerminalInput(());

/// Standard output or error is a terminal.
#[derive(Clone, Copy, Debug)]
pub struct TerminalOutput(());

impl environment::Host for Ctx {
    fn get_environment(&mut self) -> Result<Vec<(String, String)>, HostError> {
        if !self.shared.environment.is_empty() {
            self.shared.reads.report(|| "the environment");
        }
        Ok(self.shared.environment.clone())
    }

    fn get_arguments(&mut self) -> Result<Vec<String>, HostError> {
        Ok(self.shared.arguments.clone())
    }

    /// None: what `.` is, is a matter of the granted directories' names.
    fn initial_cwd(&mut self) -> Result<Option<String>, HostError> {
        Ok(None)
    }
}

impl exit::Host for Ctx {
    fn exit(&mut self, status: Result<(), ()>) -> Result<(), HostError> {
        Err(Exit(status.map_or(1, |()| 0)).into())
    }

    fn exit_with_code(&mut self, status_code: u8) -> Result<(), HostError> {
        Err(Exit(status_code.into()).into())
    }
}

impl stdin::Host for Ctx {
    fn get_stdin(&mut self) -> Result<Resource<Input>, HostError> {
        let input = stdio::input(&self.shared.stdin, &mut self.input);
        Ok(self.table.push(input)?)
    }
}

impl stdout::Host for Ctx {
    fn get_stdout(&mut self) -> Result<Resource<Output>, HostError> {
        let output = stdio::output(&self.shared.stdout, std::io::stdout);
        Ok(self.table.push(output)?)
    }
}

impl stderr::Host for Ctx {
    fn get_stderr(&mut self) -> Result<Resource<Output>, HostError> {
        let output = stdio::output(&self.shared.stderr, std::io::stderr);
        Ok(self.table.push(output)?)
    }
}

impl terminal_input::HostTerminalInput for Ctx {
    fn drop(&mut self, rep: Resource<TerminalInput>) -> Result<(), HostError> {
        self.table.delete(rep)?;
        Ok(())
    }
}

impl terminal_input::Host for Ctx {}

impl terminal_output::HostTerminalOutput for Ctx {
    fn drop(&mut self, rep: Resource<TerminalOutput>) -> Result<(), HostError> {
        self.table.delete(rep)?;
        Ok(())
    }
}

impl terminal_output::Host for Ctx {}

impl terminal_stdin::Host for Ctx {
    fn get_terminal_stdin(&mut self) -> Result<Option<Resource<TerminalInput>>, HostError> {
        let terminal = matches!(self.shared.stdin, Stdin::Inherit) && std::io::stdin().is_terminal();
        Ok(if terminal { Some(self.table.push(TerminalInput(()))?) } else { None })
    }
}

impl terminal_stdout::Host for Ctx {
    fn get_terminal_stdout(&mut self) -> Result<Option<Resource<TerminalOutput>>, HostError> {
        let terminal = matches!(self.shared.stdout, Stdout::Inherit) && std::io::stdout().is_terminal();
        Ok(if terminal { Some(self.table.push(TerminalOutput(()))?) } else { None })
    }
}

impl terminal_stderr::Host for Ctx {
    fn get_terminal_stderr(&mut self) -> Result<Option<Resource<TerminalOutput>>, HostError> {
        let terminal = matches!(self.shared.stderr, Stdout::Inherit) && std::io::stderr().is_terminal();
        Ok(if terminal { Some(self.table.push(TerminalOutput(()))?) } else { None })
    }
}

#[cfg(test)]
mod tests {
    use super::super::bindings::wasi::io::streams::{HostInputStream as _, HostOutputStream as _, StreamError};
    use super::super::testing::context;
    use super::*;
    use crate::preview2::cli::environment::Host as _;
    use crate::preview2::cli::exit::Host as _;
    use crate::preview2::cli::stderr::Host as _;
    use crate::preview2::cli::stdin::Host as _;
    use crate::preview2::cli::stdout::Host as _;
    use crate::preview2::cli::terminal_stdin::Host as _;
    use crate::preview2::cli::terminal_stdout::Host as _;
    use crate::{Grant, Grants};

    #[test]
    fn arguments_environment_and_exit() {
        let variable = Grant::EnvVar { name: "NAME".into(), value: Some("a=b".into()) };
        let mut ctx = context(Grants::none().with(variable)).ctx;
        assert_eq!(ctx.get_arguments().unwrap(), ["prog"]);
        assert_eq!(ctx.get_environment().unwrap(), [("NAME".to_string(), "a=b".to_string())]);
        assert_eq!(ctx.initial_cwd().unwrap(), None);
        let status = |result: Result<(), HostError>| result.unwrap_err().downcast_ref::<Exit>().copied().unwrap();
        assert_eq!(status(ctx.exit(Ok(()))), Exit(0));
        assert_eq!(status(ctx.exit(Err(()))), Exit(1));
        assert_eq!(status(ctx.exit_with_code(7)), Exit(7));
    }

    #[tokio::test]
    async fn standard_streams() {
        let mut guest = context(Grants::none());
        let ctx = &mut guest.ctx;
        let (one, two) = (ctx.get_stdin().unwrap(), ctx.get_stdin().unwrap());
        assert_eq!(ctx.read(Resource::new_borrow(one.rep()), 3).unwrap().unwrap(), b"inp");
        assert_eq!(ctx.blocking_read(Resource::new_borrow(two.rep()), 10).await.unwrap().unwrap(), b"ut");
        let ended = ctx.read(Resource::new_borrow(one.rep()), 1).unwrap();
        assert!(matches!(ended, Err(StreamError::Closed)));
        let out = ctx.get_stdout().unwrap();
        ctx.blocking_write_and_flush(Resource::new_borrow(out.rep()), b"hello".to_vec()).await.unwrap().unwrap();
        let too_much = ctx.blocking_write_and_flush(Resource::new_borrow(out.rep()), vec![0; 4097]).await;
        assert!(too_much.unwrap_err().is::<super::super::io::TooMuch>());
        let err = ctx.get_stderr().unwrap();
        ctx.blocking_write_zeroes_and_flush(Resource::new_borrow(err.rep()), 3).await.unwrap().unwrap();
        assert!(ctx.blocking_write_zeroes_and_flush(err, u64::MAX).await.is_err());
        assert!(ctx.get_terminal_stdin().unwrap().is_none() && ctx.get_terminal_stdout().unwrap().is_none());
        assert_eq!((guest.stdout.contents(), guest.stderr.contents()), (b"hello".to_vec(), vec![0; 3]));
    }

    #[tokio::test]
    async fn splicing() {
        let mut guest = context(Grants::none());
        let ctx = &mut guest.ctx;
        let (input, output) = (ctx.get_stdin().unwrap(), ctx.get_stdout().unwrap());
        let lent = || (Resource::new_borrow(output.rep()), Resource::new_borrow(input.rep()));
        let (to, from) = lent();
        assert_eq!(ctx.splice(to, from, 2).unwrap().unwrap(), 2);
        let (to, from) = lent();
        assert_eq!(ctx.blocking_splice(to, from, 100).await.unwrap().unwrap(), 3);
        let (to, from) = lent();
        assert!(matches!(ctx.blocking_splice(to, from, 100).await.unwrap(), Err(StreamError::Closed)));
        assert_eq!(guest.stdout.contents(), b"input");
    }

    #[test]
    fn a_stream_outlives_its_pollables() {
        let mut ctx = context(Grants::none()).ctx;
        let input = ctx.get_stdin().unwrap();
        let pollable = super::super::bindings::wasi::io::streams::HostInputStream::subscribe(
            &mut ctx,
            Resource::new_borrow(input.rep()),
        );
        let again = Resource::new_own(input.rep());
        assert!(super::super::bindings::wasi::io::streams::HostInputStream::drop(&mut ctx, input).is_err());
        super::super::bindings::wasi::io::poll::HostPollable::drop(&mut ctx, pollable.unwrap()).unwrap();
        super::super::bindings::wasi::io::streams::HostInputStream::drop(&mut ctx, again).unwrap();
        assert!(ctx.table.is_empty());
    }
}
