//! A TCP socket on its way from new to connected or listening.

use std::sync::Arc;
use std::task::{Context, Poll};

use socket2::Socket;

use super::address::connect_error;
use super::tcp_stream::{Shut, TcpInput, TcpOutput};
use super::{ErrorCode, IpAddressFamily, SharedSocket};
use crate::preview2::io::{Input, Output, Ready};

/// Connections that may wait to be accepted, unless the guest says otherwise.
const BACKLOG: i32 = 128;

/// The resource `wasi:sockets/tcp.tcp-socket`.
#[derive(Debug)]
pub struct TcpSocket {
    pub(super) socket: SharedSocket,
    pub(super) family: IpAddressFamily,
    pub(super) state: State,
    pub(super) backlog: i32,
    /// The address it is bound to is one that the guest may listen on.
    pub(super) may_listen: bool,
    pub(super) shut: Arc<Shut>,
}

/// What the system is asked to do is done when an operation starts; that it is finished is what changes the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Unbound,
    Binding,
    Bound,
    Connecting,
    /// The system refused at once; the guest learns of it when it asks.
    Refused(ErrorCode),
    Connected,
    StartedListening,
    Listening,
    Closed,
}

impl TcpSocket {
    pub(super) fn new(socket: SharedSocket, family: IpAddressFamily, state: State) -> Self {
        Self { socket, family, state, backlog: BACKLOG, may_listen: false, shut: Arc::default() }
    }

    pub(super) fn host(&self) -> &Socket {
        &self.socket.get().socket
    }

    /// Fails unless an operation that starts in one of these states can start.
    pub(super) fn start(&self, from: &[State]) -> Result<(), ErrorCode> {
        match self.state {
            state if from.contains(&state) => Ok(()),
            State::Binding | State::Connecting | State::StartedListening | State::Refused(_) => {
                Err(ErrorCode::ConcurrencyConflict)
            }
            _ => Err(ErrorCode::InvalidState),
        }
    }

    /// Fails unless the operation that is going on is this one.
    pub(super) fn finish(&self, going_on: State) -> Result<(), ErrorCode> {
        if self.state == going_on { Ok(()) } else { Err(ErrorCode::NotInProgress) }
    }

    pub(super) fn is_bound(&self) -> bool {
        !matches!(self.state, State::Unbound | State::Binding | State::Closed)
    }

    pub(super) fn streams(&self) -> (Input, Output) {
        let input = TcpInput::new(self.socket.clone(), Arc::clone(&self.shut));
        let output = TcpOutput::new(self.socket.clone(), Arc::clone(&self.shut));
        (Input::new(input), Output::new(output))
    }

    /// Whether the connection is made. `None` if it is not yet.
    pub(super) fn connected(&self) -> Option<Result<(), ErrorCode>> {
        if let State::Refused(code) = self.state {
            return Some(Err(code));
        }
        if !self.socket.is_writable() {
            return None;
        }
        Some(match self.host().take_error() {
            Ok(None) => Ok(()),
            Ok(Some(error)) | Err(error) => Err(connect_error(&error)),
        })
    }
}

impl Ready for TcpSocket {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.state {
            State::Connecting => self.socket.poll_writable(cx),
            State::Listening => self.socket.poll_readable(cx),
            _ => Poll::Ready(()),
        }
    }
}
