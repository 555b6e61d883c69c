//! TCP sockets as capabilities: each is opened by a grant, before the guest runs. And [`Rules`], for guests that open
//! sockets themselves: which addresses the grants let them reach and listen on.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::net::{RecvFlags, SendFlags};
use socket2::{Domain, Protocol, Socket, Type};

use crate::grants::{Address, Grants};

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

/// Which addresses a guest may reach, and listen on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    /// All of them.
    any: bool,
    reach: Vec<Address>,
    /// Where the names of the grants lead was asked when the rules were made.
    listen: Vec<SocketAddr>,
}

impl Rules {
    /// The rules of these grants.
    ///
    /// # Errors
    /// The address to listen on that has no meaning, and why.
    pub(crate) fn new(grants: &Grants) -> Result<Self, (Address, io::Error)> {
        let mut listen = Vec::new();
        for address in &grants.listen {
            let resolved = (address.host.as_str(), address.port).to_socket_addrs();
            listen.extend(resolved.map_err(|error| (address.clone(), error))?);
        }
        Ok(Self { any: grants.any_net, reach: grants.net.clone(), listen })
    }

    /// Whether anything of the network is granted.
    pub(crate) fn is_some(&self) -> bool {
        self.any || !self.reach.is_empty() || !self.listen.is_empty()
    }

    /// Whether the guest may reach a host by its name, on this port or on some.
    pub(crate) fn reaches_name(&self, host: &str, port: Option<u16>) -> bool {
        let granted =
            |address: &Address| address.host.eq_ignore_ascii_case(host) && port.is_none_or(|port| address.port == port);
        self.any || self.reach.iter().any(granted)
    }

    /// Whether the guest may reach an address. `is_named` tells whether a name has led there.
    pub(crate) fn reaches(&self, to: SocketAddr, is_named: impl Fn(&str, IpAddr) -> bool) -> bool {
        let granted = |address: &Address| {
            address.port == to.port()
                && match address.host.parse::<IpAddr>() {
                    Ok(ip) => ip == to.ip(),
                    Err(_) if address.host.eq_ignore_ascii_case("localhost") => to.ip().is_loopback(),
                    Err(_) => is_named(&address.host, to.ip()),
                }
        };
        self.any || self.reach.iter().any(granted)
    }

    /// Whether the guest may listen on an address. Port 0 of a grant stands for those that the system chooses.
    pub(crate) fn listens(&self, on: SocketAddr) -> bool {
        let granted = |granted: &SocketAddr| {
            let everywhere = granted.ip().is_unspecified() && granted.is_ipv4() == on.is_ipv4();
            granted.port() == on.port() && (everywhere || granted.ip() == on.ip())
        };
        self.any || self.listen.iter().any(granted)
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
    fn rules_go_by_address_and_port() {
        let rules = |list: &str| Rules::new(&Grants::from_iter(Grants::parse(list).unwrap())).unwrap();
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let unnamed = |_: &str, _: IpAddr| false;
        let some = rules("net:10.0.0.1:80,net:Example.org:443,net:localhost:1,listen:127.0.0.1:0,listen:0.0.0.0:53");
        assert!(some.reaches(at("10.0.0.1:80"), unnamed) && some.reaches(at("[::1]:1"), unnamed));
        assert!(!some.reaches(at("10.0.0.1:81"), unnamed) && !some.reaches(at("10.0.0.2:80"), unnamed));
        assert!(!some.reaches(at("1.2.3.4:443"), unnamed));
        assert!(some.reaches(at("1.2.3.4:443"), |name, _| name == "Example.org"));
        assert!(some.reaches_name("example.ORG", Some(443)) && some.reaches_name("example.org", None));
        assert!(!some.reaches_name("example.org", Some(80)) && !some.reaches_name("example.com", None));
        assert!(some.listens(at("127.0.0.1:0")) && some.listens(at("10.0.0.9:53")));
        assert!(!some.listens(at("0.0.0.0:0")) && !some.listens(at("[::]:53")) && !some.listens(at("127.0.0.1:80")));
        let all = rules("net");
        assert!(all.reaches(at("1.2.3.4:5"), unnamed) && all.listens(at("[::]:80")) && all.is_some());
        assert!(!Rules::default().is_some());
    }

    #[test]
    fn nobody_listens() {
        let port = Listener::bind(&loopback(0)).unwrap().port();
        assert!(Connection::connect(&loopback(port)).is_err());
    }
}
