//! Between the host's addresses and errors and the interface's.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use rustix::io::Errno;
use socket2::{Domain, SockAddr};

use crate::fs::os_error;
use crate::preview2::bindings::wasi::sockets::network::{
    ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress,
};

pub(super) fn domain(family: IpAddressFamily) -> Domain {
    match family {
        IpAddressFamily::Ipv4 => Domain::IPV4,
        IpAddressFamily::Ipv6 => Domain::IPV6,
    }
}

/// A guest's address for the host.
pub(super) fn to_host(address: IpSocketAddress) -> SocketAddr {
    match address {
        IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address: (a, b, c, d) }) => {
            SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), port).into()
        }
        IpSocketAddress::Ipv6(Ipv6SocketAddress { port, flow_info, address: (a, b, c, d, e, f, g, h), scope_id }) => {
            SocketAddrV6::new(Ipv6Addr::new(a, b, c, d, e, f, g, h), port, flow_info, scope_id).into()
        }
    }
}

/// The host's address for a guest.
pub(super) fn to_guest(address: SocketAddr) -> IpSocketAddress {
    match address {
        SocketAddr::V4(v4) => {
            let [a, b, c, d] = v4.ip().octets();
            IpSocketAddress::Ipv4(Ipv4SocketAddress { port: v4.port(), address: (a, b, c, d) })
        }
        SocketAddr::V6(v6) => {
            let [a, b, c, d, e, f, g, h] = v6.ip().segments();
            IpSocketAddress::Ipv6(Ipv6SocketAddress {
                port: v6.port(),
                flow_info: v6.flowinfo(),
                address: (a, b, c, d, e, f, g, h),
                scope_id: v6.scope_id(),
            })
        }
    }
}

pub(super) fn ip_to_guest(ip: IpAddr) -> IpAddress {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            IpAddress::Ipv4((a, b, c, d))
        }
        IpAddr::V6(v6) => {
            let [a, b, c, d, e, f, g, h] = v6.segments();
            IpAddress::Ipv6((a, b, c, d, e, f, g, h))
        }
    }
}

/// What `getsockname` and `getpeername` gave, for a guest.
pub(super) fn known(address: io::Result<SockAddr>) -> Result<IpSocketAddress, ErrorCode> {
    let address = address.map_err(|error| error_code(&error))?;
    address.as_socket().map(to_guest).ok_or(ErrorCode::InvalidState)
}

/// Fails unless the address is of the family and could be a socket's: no multicast, broadcast or disguised IPv4 one.
pub(super) fn check_local(family: IpAddressFamily, address: SocketAddr) -> Result<(), ErrorCode> {
    let fits = match (family, address.ip()) {
        (IpAddressFamily::Ipv4, IpAddr::V4(v4)) => !v4.is_multicast() && !v4.is_broadcast(),
        (IpAddressFamily::Ipv6, IpAddr::V6(v6)) => !v6.is_multicast() && v6.to_ipv4_mapped().is_none(),
        _ => false,
    };
    if fits { Ok(()) } else { Err(ErrorCode::InvalidArgument) }
}

/// Fails unless the address is of the family and could be a peer's.
pub(super) fn check_remote(family: IpAddressFamily, address: SocketAddr) -> Result<(), ErrorCode> {
    check_local(family, address)?;
    if address.ip().is_unspecified() || address.port() == 0 { Err(ErrorCode::InvalidArgument) } else { Ok(()) }
}

/// The interface's code of the system's error.
pub(super) fn error_code(error: &io::Error) -> ErrorCode {
    match os_error(error) {
        Errno::ACCESS | Errno::PERM => ErrorCode::AccessDenied,
        Errno::OPNOTSUPP | Errno::NOPROTOOPT | Errno::AFNOSUPPORT | Errno::PFNOSUPPORT | Errno::PROTONOSUPPORT => {
            ErrorCode::NotSupported
        }
        Errno::INVAL | Errno::DESTADDRREQ => ErrorCode::InvalidArgument,
        Errno::NOMEM | Errno::NOBUFS => ErrorCode::OutOfMemory,
        Errno::TIMEDOUT => ErrorCode::Timeout,
        Errno::ALREADY => ErrorCode::ConcurrencyConflict,
        Errno::AGAIN | Errno::INPROGRESS => ErrorCode::WouldBlock,
        Errno::ISCONN | Errno::NOTCONN => ErrorCode::InvalidState,
        Errno::MFILE | Errno::NFILE => ErrorCode::NewSocketLimit,
        Errno::ADDRNOTAVAIL => ErrorCode::AddressNotBindable,
        Errno::ADDRINUSE => ErrorCode::AddressInUse,
        Errno::HOSTUNREACH | Errno::HOSTDOWN | Errno::NETUNREACH | Errno::NETDOWN | Errno::NONET => {
            ErrorCode::RemoteUnreachable
        }
        Errno::CONNREFUSED => ErrorCode::ConnectionRefused,
        Errno::CONNRESET | Errno::NETRESET | Errno::PIPE => ErrorCode::ConnectionReset,
        Errno::CONNABORTED => ErrorCode::ConnectionAborted,
        Errno::MSGSIZE => ErrorCode::DatagramTooLarge,
        _ => ErrorCode::Unknown,
    }
}

/// The code of a failed bind, where an argument that the system dislikes is a socket that is bound already.
pub(super) fn bind_error(error: &io::Error) -> ErrorCode {
    match error_code(error) {
        ErrorCode::InvalidArgument => ErrorCode::InvalidState,
        // All ports are taken.
        ErrorCode::OutOfMemory => ErrorCode::AddressInUse,
        code => code,
    }
}

/// The code of a failed connect, where no address to be had means that no port was left.
pub(super) fn connect_error(error: &io::Error) -> ErrorCode {
    match error_code(error) {
        ErrorCode::AddressNotBindable | ErrorCode::WouldBlock => ErrorCode::AddressInUse,
        code => code,
    }
}
