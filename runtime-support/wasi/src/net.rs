//! TCP sockets as capabilities: each is opened by a grant, before the guest runs.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::net::{RecvFlags, SendFlags};
use socket2::{Domain, Protocol, Socket, Type};

use crate::grants::Address;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// A socket that accepts connections.
#[derive(Debug)]
pub(crate) struct Listener(Socket);

impl Listener {
    /// Listens on the first of the address's resolutions that can be bound.
    pub(crate) fn bind(address: &Address) -> io::Result<Self> {
        first_that_works(address, |address| {
            let socket = tcp(address)?;
            // So that a guest that is started again gets its port at once.
            socket.set_reuse_address(true)?;
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
            Ok(Self(socket))
        })
    }

    /// Takes a waiting connection, or waits for one.
    pub(crate) fn accept(&self) -> io::Result<Connection> {
        crate::fs::retry(|| self.0.accept()).map(|(socket, _)| Connection(socket))
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    #[cfg(test)]
    pub(crate) fn port(&self) -> u16 {
        self.0.local_addr().unwrap().as_socket().unwrap().port()
    }
}

/// A connected socket.
#[derive(Debug)]
pub(crate) struct Connection(Socket);

impl Connection {
    /// Connects to the first of the address's resolutions that answers.
    pub(crate) fn connect(address: &Address) -> io::Result<Self> {
        first_that_works(address, |address| {
            let socket = tcp(address)?;
            socket.connect(&address.into())?;
            Ok(Self(socket))
        })
    }

    /// Receives into `buffer`: as much as there is, or with `wait_all` as much as it holds. `peek` leaves it there.
    pub(crate) fn receive(&self, buffer: &mut [u8], peek: bool, wait_all: bool) -> io::Result<usize> {
        let mut flags = RecvFlags::empty();
        flags.set(RecvFlags::PEEK, peek);
        flags.set(RecvFlags::WAITALL, wait_all);
        crate::fs::retry(|| Ok(rustix::net::recv(&self.0, &mut *buffer, flags)?.0))
    }

    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        // A peer that is gone is an error of this call, not a signal to the host.
        crate::fs::retry(|| Ok(rustix::net::send(&self.0, bytes, SendFlags::NOSIGNAL)?))
    }

    pub(crate) fn shutdown(&self, how: std::net::Shutdown) -> io::Result<()> {
        self.0.shutdown(how)
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn tcp(address: SocketAddr) -> io::Result<Socket> {
    Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))
}

fn first_that_works<T>(address: &Address, open: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for resolved in (address.host.as_str(), address.port).to_socket_addrs()? {
        match open(resolved) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback(port: u16) -> Address {
        Address { host: "127.0.0.1".into(), port }
    }

    #[test]
    fn a_connection_carries_bytes_both_ways() {
        let listener = Listener::bind(&loopback(0)).unwrap();
        let client = Connection::connect(&loopback(listener.port())).unwrap();
        let server = listener.accept().unwrap();
        assert_eq!(client.send(b"ping").unwrap(), 4);
        let mut buffer = [0; 4];
        assert_eq!((server.receive(&mut buffer, true, true).unwrap(), &buffer), (4, b"ping"));
        assert_eq!(server.receive(&mut buffer, false, false).unwrap(), 4);
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(server.receive(&mut buffer, false, false).unwrap(), 0);
    }

    #[test]
    fn nobody_listens() {
        let port = Listener::bind(&loopback(0)).unwrap().port();
        assert!(Connection::connect(&loopback(port)).is_err());
    }
}
