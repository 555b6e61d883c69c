//! `wasi:sockets`: TCP and UDP sockets that guests open themselves, and looking up names.
//!
//! Sockets never block: every call does what can be done at once, and guests wait with pollables. Each address is held
//! against the grants when it is used ([`crate::net::Rules`]): `net:HOST:PORT` to connect or send there,
//! `listen:HOST:PORT` to be reached. What is not granted is `access-denied`, and the user is told of the grant.

mod address;
mod datagrams;
mod lookup;
mod options;
mod tcp;
mod tcp_socket;
mod tcp_stream;
mod udp;

use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use precast_loader::HostError;
use precast_loader::component::Resource;
use socket2::{Domain, Protocol, Socket, Type};

use super::Ctx;
use super::bindings::wasi::sockets::network::{ErrorCode, IpAddressFamily};
use super::bindings::wasi::sockets::{instance_network, network};
use super::context::Ticket;
use super::io::{Error, HostFd};
use crate::denial::Denial;

use address::error_code;
pub use datagrams::{IncomingDatagramStream, OutgoingDatagramStream};
pub(super) use lookup::Names;
pub use lookup::ResolveAddressStream;
pub use tcp_socket::TcpSocket;
pub use udp::UdpSocket;

/// A result whose error the guest sees.
type Socketed<T> = Result<Result<T, ErrorCode>, HostError>;

/// The resource `wasi:sockets/network.network`: the only one there is. Grants say what can be reached on it.
#[derive(Clone, Copy, Debug)]
pub struct Network(());

/// A socket of the host, and the guest's right to have it open.
#[derive(Debug)]
struct Shared {
    socket: Socket,
    #[allow(dead_code, reason = "it is counted")]
    ticket: Ticket,
}

type SharedSocket = HostFd<Shared>;

impl AsFd for Shared {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Shared {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl instance_network::Host for Ctx {
    fn instance_network(&mut self) -> Result<Resource<Network>, HostError> {
        Ok(self.table.push(Network(()))?)
    }
}

impl network::HostNetwork for Ctx {
    fn drop(&mut self, rep: Resource<Network>) -> Result<(), HostError> {
        self.table.delete(rep)?;
        Ok(())
    }
}

impl network::Host for Ctx {
    fn network_error_code(&mut self, err: Resource<Error>) -> Result<Option<ErrorCode>, HostError> {
        let failure = self.table.get(&err)?.downcast_ref::<tcp_stream::Failure>();
        Ok(failure.map(|failure| error_code(&failure.0)))
    }
}

impl Ctx {
    /// A new socket that does not block.
    fn socket(&mut self, family: IpAddressFamily, kind: Type) -> Result<SharedSocket, ErrorCode> {
        let ticket = self.ticket().ok_or(ErrorCode::NewSocketLimit)?;
        let (domain, protocol) =
            (address::domain(family), if kind == Type::STREAM { Protocol::TCP } else { Protocol::UDP });
        let new = || {
            let socket = Socket::new(domain, kind.nonblocking(), Some(protocol))?;
            if domain == Domain::IPV6 {
                socket.set_only_v6(true)?;
            }
            Ok(socket)
        };
        let socket = new().map_err(|error| error_code(&error))?;
        Ok(HostFd::new(Shared { socket, ticket }))
    }

    /// Fails, and tells the user, unless the guest may connect or send to an address.
    fn require_reach(&self, to: SocketAddr) -> Result<(), ErrorCode> {
        if self.reaches(to) {
            self.shared.reads.report(|| format!("what {to} sent"));
            return Ok(());
        }
        self.deny(Denial::new(format!("a connection to {to}"), format!("net:{to}")));
        Err(ErrorCode::AccessDenied)
    }

    /// Whether the guest may connect or send to an address.
    fn reaches(&self, to: SocketAddr) -> bool {
        self.shared.rules.reaches(to, |name, ip| self.names.leads(name, ip))
    }

    /// Fails, and tells the user, unless the guest may listen on an address.
    fn require_listen(&self, on: SocketAddr) -> Result<(), ErrorCode> {
        if self.shared.rules.listens(on) {
            return Ok(());
        }
        self.deny(Denial::new(format!("listening on {on}"), format!("listen:{on}")));
        Err(ErrorCode::AccessDenied)
    }

    /// Fails, and tells the user, unless the guest may bind a socket to an address. One that the system chooses is no
    /// more than what connecting would give the socket.
    fn require_bind(&self, to: SocketAddr) -> Result<(), ErrorCode> {
        if to.port() == 0 && self.shared.rules.is_some() { Ok(()) } else { self.require_listen(to) }
    }
}

/// The value of a `Result` in a function that returns another whose error is the guest's.
macro_rules! guests {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(error) => return Ok(Err(error)),
        }
    };
}
use guests;

#[cfg(test)]
mod tests;
