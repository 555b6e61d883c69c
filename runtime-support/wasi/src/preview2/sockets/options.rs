//! Options that both kinds of sockets have, and those of keeping connections alive.

use std::time::Duration;

use rustix::io::Result;
use rustix::net::sockopt;

use super::address::error_code;
use super::{ErrorCode, IpAddressFamily, Shared};

/// Longest times and highest count that Linux takes (`tcp(7)`).
const MOST_SECONDS: u64 = 32767;
const MOST_PROBES: u32 = 127;

/// What the system said, for the guest.
pub(super) fn told<T>(result: Result<T>) -> std::result::Result<T, ErrorCode> {
    result.map_err(|errno| error_code(&errno.into()))
}

/// Zero is not a value of any option but switches.
pub(super) fn nonzero<T: Default + PartialEq>(value: T) -> std::result::Result<T, ErrorCode> {
    if value == T::default() { Err(ErrorCode::InvalidArgument) } else { Ok(value) }
}

pub(super) fn hop_limit(socket: &Shared, family: IpAddressFamily) -> Result<u8> {
    match family {
        IpAddressFamily::Ipv4 => Ok(u8::try_from(sockopt::ip_ttl(socket)?).unwrap_or(u8::MAX)),
        IpAddressFamily::Ipv6 => sockopt::ipv6_unicast_hops(socket),
    }
}

pub(super) fn set_hop_limit(socket: &Shared, family: IpAddressFamily, value: u8) -> Result<()> {
    match family {
        IpAddressFamily::Ipv4 => sockopt::set_ip_ttl(socket, value.into()),
        IpAddressFamily::Ipv6 => sockopt::set_ipv6_unicast_hops(socket, Some(value)),
    }
}

/// Linux doubles what it is told, for its own needs, and tells the double.
pub(super) fn receive_buffer_size(socket: &Shared) -> Result<u64> {
    Ok(sockopt::socket_recv_buffer_size(socket)? as u64 / 2)
}

pub(super) fn set_receive_buffer_size(socket: &Shared, value: u64) -> Result<()> {
    sockopt::set_socket_recv_buffer_size(socket, buffer_size(value))
}

/// Linux doubles this one too.
pub(super) fn send_buffer_size(socket: &Shared) -> Result<u64> {
    Ok(sockopt::socket_send_buffer_size(socket)? as u64 / 2)
}

pub(super) fn set_send_buffer_size(socket: &Shared, value: u64) -> Result<()> {
    sockopt::set_socket_send_buffer_size(socket, buffer_size(value))
}

/// A size that the system can double.
fn buffer_size(value: u64) -> usize {
    const MOST: u64 = i32::MAX as u64 / 2;
    value.min(MOST) as usize
}

/// A time in whole seconds, of which at least one.
pub(super) fn seconds(nanoseconds: u64) -> Duration {
    Duration::from_secs(nanoseconds.div_ceil(1_000_000_000).clamp(1, MOST_SECONDS))
}

pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

pub(super) fn probes(count: u32) -> u32 {
    count.min(MOST_PROBES)
}
