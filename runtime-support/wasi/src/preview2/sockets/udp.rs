//! `wasi:sockets/udp`: sockets that send and receive datagrams.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use precast_loader::HostError;
use precast_loader::component::Resource;
use socket2::{Socket, Type};

use super::address::{bind_error, check_local, check_remote, connect_error, known, to_guest, to_host};
use super::datagrams::{Association, IncomingDatagramStream, OutgoingDatagramStream};
use super::options::{self, nonzero, told};
use super::{ErrorCode, IpAddressFamily, Network, SharedSocket, Socketed, guests};
use crate::fs::retry;
use crate::preview2::Ctx;
use crate::preview2::bindings::wasi::sockets::udp::{Host, HostUdpSocket, IpSocketAddress};
use crate::preview2::bindings::wasi::sockets::udp_create_socket;
use crate::preview2::io::{Pollable, Ready};

/// The resource `wasi:sockets/udp.udp-socket`.
#[derive(Debug)]
pub struct UdpSocket {
    socket: SharedSocket,
    family: IpAddressFamily,
    state: State,
    /// The address it is bound to is one that the guest may listen on.
    may_listen: bool,
    remote: Option<std::net::SocketAddr>,
    /// Number of the streams that are of use.
    current: Arc<AtomicU32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unbound,
    Binding,
    Bound,
}

impl UdpSocket {
    fn host(&self) -> &Socket {
        &self.socket.get().socket
    }
}

/// Binding, the only thing a guest waits for, is done at once.
impl Ready for UdpSocket {
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

impl udp_create_socket::Host for Ctx {
    fn create_udp_socket(&mut self, address_family: IpAddressFamily) -> Socketed<Resource<UdpSocket>> {
        let socket = guests!(self.socket(address_family, Type::DGRAM));
        let (state, current) = (State::Unbound, Arc::default());
        let udp = UdpSocket { socket, family: address_family, state, may_listen: false, remote: None, current };
        Ok(Ok(self.table.push(udp)?))
    }
}

impl Host for Ctx {}

/// What `stream` gives.
type Streams = (Resource<IncomingDatagramStream>, Resource<OutgoingDatagramStream>);

impl HostUdpSocket for Ctx {
    fn start_bind(
        &mut self,
        self_: Resource<UdpSocket>,
        network: Resource<Network>,
        local_address: IpSocketAddress,
    ) -> Socketed<()> {
        self.table.get(&network)?;
        let (address, udp) = (to_host(local_address), self.table.get(&self_)?);
        match udp.state {
            State::Unbound => {}
            State::Binding => return Ok(Err(ErrorCode::ConcurrencyConflict)),
            State::Bound => return Ok(Err(ErrorCode::InvalidState)),
        }
        guests!(check_local(udp.family, address));
        guests!(self.require_bind(address));
        guests!(udp.host().bind(&address.into()).map_err(|error| bind_error(&error)));
        let may_listen = self.shared.rules.listens(address);
        let udp = self.table.get_mut(&self_)?;
        (udp.state, udp.may_listen) = (State::Binding, may_listen);
        Ok(Ok(()))
    }

    fn finish_bind(&mut self, self_: Resource<UdpSocket>) -> Socketed<()> {
        let udp = self.table.get_mut(&self_)?;
        if udp.state != State::Binding {
            return Ok(Err(ErrorCode::NotInProgress));
        }
        udp.state = State::Bound;
        Ok(Ok(()))
    }

    fn stream(&mut self, self_: Resource<UdpSocket>, remote_address: Option<IpSocketAddress>) -> Socketed<Streams> {
        let (remote, udp) = (remote_address.map(to_host), self.table.get(&self_)?);
        if udp.state != State::Bound {
            return Ok(Err(ErrorCode::InvalidState));
        }
        if let Some(remote) = remote {
            guests!(check_remote(udp.family, remote));
            guests!(self.require_reach(remote));
        }
        let udp = self.table.get_mut(&self_)?;
        if udp.remote.take().is_some() {
            guests!(told(rustix::net::connect_unspec(udp.socket.get())));
        }
        // Whatever becomes of this, the streams of before are no more.
        let number = udp.current.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        if let Some(remote) = remote {
            guests!(retry(|| udp.host().connect(&remote.into())).map_err(|error| connect_error(&error)));
        }
        udp.remote = remote;
        let of = Association {
            socket: udp.socket.clone(),
            family: udp.family,
            remote,
            from_anyone: udp.may_listen,
            number,
            current: Arc::clone(&udp.current),
        };
        let incoming = self.table.push(IncomingDatagramStream(of.clone()))?;
        Ok(Ok((incoming, self.table.push(OutgoingDatagramStream { of, permit: 0 })?)))
    }

    fn local_address(&mut self, self_: Resource<UdpSocket>) -> Socketed<IpSocketAddress> {
        let udp = self.table.get(&self_)?;
        let bound = udp.state == State::Bound;
        Ok(if bound { known(udp.host().local_addr()) } else { Err(ErrorCode::InvalidState) })
    }

    fn remote_address(&mut self, self_: Resource<UdpSocket>) -> Socketed<IpSocketAddress> {
        Ok(self.table.get(&self_)?.remote.map(to_guest).ok_or(ErrorCode::InvalidState))
    }

    fn address_family(&mut self, self_: Resource<UdpSocket>) -> Result<IpAddressFamily, HostError> {
        Ok(self.table.get(&self_)?.family)
    }

    fn unicast_hop_limit(&mut self, self_: Resource<UdpSocket>) -> Socketed<u8> {
        let udp = self.table.get(&self_)?;
        Ok(told(options::hop_limit(udp.socket.get(), udp.family)))
    }

    fn set_unicast_hop_limit(&mut self, self_: Resource<UdpSocket>, value: u8) -> Socketed<()> {
        let udp = self.table.get(&self_)?;
        let value = guests!(nonzero(value));
        Ok(told(options::set_hop_limit(udp.socket.get(), udp.family, value)))
    }

    fn receive_buffer_size(&mut self, self_: Resource<UdpSocket>) -> Socketed<u64> {
        Ok(told(options::receive_buffer_size(self.table.get(&self_)?.socket.get())))
    }

    fn set_receive_buffer_size(&mut self, self_: Resource<UdpSocket>, value: u64) -> Socketed<()> {
        let value = guests!(nonzero(value));
        Ok(told(options::set_receive_buffer_size(self.table.get(&self_)?.socket.get(), value)))
    }

    fn send_buffer_size(&mut self, self_: Resource<UdpSocket>) -> Socketed<u64> {
        Ok(told(options::send_buffer_size(self.table.get(&self_)?.socket.get())))
    }

    fn set_send_buffer_size(&mut self, self_: Resource<UdpSocket>, value: u64) -> Socketed<()> {
        let value = guests!(nonzero(value));
        Ok(told(options::set_send_buffer_size(self.table.get(&self_)?.socket.get(), value)))
    }

    fn subscribe(&mut self, self_: Resource<UdpSocket>) -> Result<Resource<Pollable>, HostError> {
        Ok(Pollable::of(&mut self.table, &self_)?)
    }

    fn drop(&mut self, rep: Resource<UdpSocket>) -> Result<(), HostError> {
        self.table.delete(rep)?;
        Ok(())
    }
}
