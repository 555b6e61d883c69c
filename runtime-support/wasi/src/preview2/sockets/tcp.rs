//! `wasi:sockets/tcp` as guests call it; the sockets' states are in `tcp_socket.rs`.

use std::sync::atomic::{AtomicBool, Ordering};

use precast_loader::HostError;
use precast_loader::component::Resource;
use rustix::net::{SocketFlags, sockopt};
use socket2::{Socket, Type};

use super::address::{bind_error, check_local, check_remote, connect_error, error_code, known, to_host};
use super::options::{self, nonzero, told};
use super::tcp_socket::{State, TcpSocket};
use super::{ErrorCode, IpAddressFamily, Network, Shared, Socketed, guests};
use crate::fs::retry;
use crate::preview2::Ctx;
use crate::preview2::bindings::wasi::sockets::tcp::{Host, HostTcpSocket, IpSocketAddress, ShutdownType};
use crate::preview2::bindings::wasi::sockets::tcp_create_socket;
use crate::preview2::io::{HostFd, Input, Output, Pollable};

impl tcp_create_socket::Host for Ctx {
    fn create_tcp_socket(&mut self, address_family: IpAddressFamily) -> Socketed<Resource<TcpSocket>> {
        let socket = guests!(self.socket(address_family, Type::STREAM));
        // Guests cannot ask for it, and what they flush is meant to be sent.
        guests!(told(sockopt::set_tcp_nodelay(socket.get(), true)));
        Ok(Ok(self.table.push(TcpSocket::new(socket, address_family, State::Unbound))?))
    }
}

impl Host for Ctx {}

impl HostTcpSocket for Ctx {
    fn start_bind(
        &mut self,
        self_: Resource<TcpSocket>,
        network: Resource<Network>,
        local_address: IpSocketAddress,
    ) -> Socketed<()> {
        self.table.get(&network)?;
        let (address, tcp) = (to_host(local_address), self.table.get(&self_)?);
        guests!(tcp.start(&[State::Unbound]));
        guests!(check_local(tcp.family, address));
        guests!(self.require_bind(address));
        let bind = || {
            // So that a guest that is started again gets its port at once.
            tcp.host().set_reuse_address(address.port() != 0)?;
            tcp.host().bind(&address.into())
        };
        guests!(bind().map_err(|error| bind_error(&error)));
        let may_listen = self.shared.rules.listens(address);
        let tcp = self.table.get_mut(&self_)?;
        (tcp.state, tcp.may_listen) = (State::Binding, may_listen);
        Ok(Ok(()))
    }

    fn finish_bind(&mut self, self_: Resource<TcpSocket>) -> Socketed<()> {
        let tcp = self.table.get_mut(&self_)?;
        guests!(tcp.finish(State::Binding));
        tcp.state = State::Bound;
        Ok(Ok(()))
    }

    fn start_connect(
        &mut self,
        self_: Resource<TcpSocket>,
        network: Resource<Network>,
        remote_address: IpSocketAddress,
    ) -> Socketed<()> {
        self.table.get(&network)?;
        let (address, tcp) = (to_host(remote_address), self.table.get(&self_)?);
        guests!(tcp.start(&[State::Unbound, State::Bound]));
        guests!(check_remote(tcp.family, address));
        guests!(self.require_reach(address));
        let state = match retry(|| tcp.host().connect(&address.into())) {
            Ok(()) => State::Connecting,
            Err(error) if error_code(&error) == ErrorCode::WouldBlock && !is_again(&error) => State::Connecting,
            Err(error) => State::Refused(connect_error(&error)),
        };
        self.table.get_mut(&self_)?.state = state;
        Ok(Ok(()))
    }

    fn finish_connect(&mut self, self_: Resource<TcpSocket>) -> Socketed<(Resource<Input>, Resource<Output>)> {
        let tcp = self.table.get_mut(&self_)?;
        if !matches!(tcp.state, State::Connecting | State::Refused(_)) {
            return Ok(Err(ErrorCode::NotInProgress));
        }
        let connected = guests!(tcp.connected().ok_or(ErrorCode::WouldBlock));
        tcp.state = if connected.is_ok() { State::Connected } else { State::Closed };
        guests!(connected);
        let (input, output) = tcp.streams();
        Ok(Ok((self.table.push(input)?, self.table.push(output)?)))
    }

    fn start_listen(&mut self, self_: Resource<TcpSocket>) -> Socketed<()> {
        let tcp = self.table.get(&self_)?;
        guests!(tcp.start(&[State::Bound]));
        if !tcp.may_listen {
            let local = guests!(tcp.host().local_addr().map_err(|error| error_code(&error)));
            guests!(local.as_socket().map_or(Err(ErrorCode::InvalidState), |on| self.require_listen(on)));
        }
        guests!(tcp.host().listen(tcp.backlog).map_err(|error| error_code(&error)));
        self.table.get_mut(&self_)?.state = State::StartedListening;
        Ok(Ok(()))
    }

    fn finish_listen(&mut self, self_: Resource<TcpSocket>) -> Socketed<()> {
        let tcp = self.table.get_mut(&self_)?;
        guests!(tcp.finish(State::StartedListening));
        tcp.state = State::Listening;
        Ok(Ok(()))
    }

    fn accept(
        &mut self,
        self_: Resource<TcpSocket>,
    ) -> Socketed<(Resource<TcpSocket>, Resource<Input>, Resource<Output>)> {
        let tcp = self.table.get(&self_)?;
        if tcp.state != State::Listening {
            return Ok(Err(ErrorCode::InvalidState));
        }
        let (listener, family) = (tcp.socket.clone(), tcp.family);
        let ticket = guests!(self.ticket().ok_or(ErrorCode::NewSocketLimit));
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let accepted = retry(|| Ok(rustix::net::accept_with(listener.get(), flags)?));
        let socket = Socket::from(guests!(accepted.map_err(|error| accept_error(&error))));
        // What the guest can set is inherited from the listener; see `create_tcp_socket` for this.
        guests!(told(sockopt::set_tcp_nodelay(&socket, true)));
        let tcp = TcpSocket::new(HostFd::new(Shared { socket, ticket }), family, State::Connected);
        let (input, output) = tcp.streams();
        // No children of it: they work on when it is dropped.
        Ok(Ok((self.table.push(tcp)?, self.table.push(input)?, self.table.push(output)?)))
    }

    fn local_address(&mut self, self_: Resource<TcpSocket>) -> Socketed<IpSocketAddress> {
        let tcp = self.table.get(&self_)?;
        Ok(if tcp.is_bound() { known(tcp.host().local_addr()) } else { Err(ErrorCode::InvalidState) })
    }

    fn remote_address(&mut self, self_: Resource<TcpSocket>) -> Socketed<IpSocketAddress> {
        let tcp = self.table.get(&self_)?;
        let connected = tcp.state == State::Connected;
        Ok(if connected { known(tcp.host().peer_addr()) } else { Err(ErrorCode::InvalidState) })
    }

    fn is_listening(&mut self, self_: Resource<TcpSocket>) -> Result<bool, HostError> {
        Ok(self.table.get(&self_)?.state == State::Listening)
    }

    fn address_family(&mut self, self_: Resource<TcpSocket>) -> Result<IpAddressFamily, HostError> {
        Ok(self.table.get(&self_)?.family)
    }

    fn set_listen_backlog_size(&mut self, self_: Resource<TcpSocket>, value: u64) -> Socketed<()> {
        let tcp = self.table.get_mut(&self_)?;
        let backlog = i32::try_from(guests!(nonzero(value))).unwrap_or(i32::MAX);
        match tcp.state {
            State::Connecting | State::Refused(_) | State::Connected | State::Closed => {
                return Ok(Err(ErrorCode::InvalidState));
            }
            State::StartedListening | State::Listening => {
                guests!(tcp.host().listen(backlog).map_err(|error| error_code(&error)));
            }
            State::Unbound | State::Binding | State::Bound => {}
        }
        tcp.backlog = backlog;
        Ok(Ok(()))
    }

    fn keep_alive_enabled(&mut self, self_: Resource<TcpSocket>) -> Socketed<bool> {
        self.option(&self_, |tcp| sockopt::socket_keepalive(tcp.socket.get()))
    }

    fn set_keep_alive_enabled(&mut self, self_: Resource<TcpSocket>, value: bool) -> Socketed<()> {
        self.option(&self_, |tcp| sockopt::set_socket_keepalive(tcp.socket.get(), value))
    }

    fn keep_alive_idle_time(&mut self, self_: Resource<TcpSocket>) -> Socketed<u64> {
        self.option(&self_, |tcp| sockopt::tcp_keepidle(tcp.socket.get()).map(options::nanoseconds))
    }

    fn set_keep_alive_idle_time(&mut self, self_: Resource<TcpSocket>, value: u64) -> Socketed<()> {
        let value = options::seconds(guests!(nonzero(value)));
        self.option(&self_, |tcp| sockopt::set_tcp_keepidle(tcp.socket.get(), value))
    }

    fn keep_alive_interval(&mut self, self_: Resource<TcpSocket>) -> Socketed<u64> {
        self.option(&self_, |tcp| sockopt::tcp_keepintvl(tcp.socket.get()).map(options::nanoseconds))
    }

    fn set_keep_alive_interval(&mut self, self_: Resource<TcpSocket>, value: u64) -> Socketed<()> {
        let value = options::seconds(guests!(nonzero(value)));
        self.option(&self_, |tcp| sockopt::set_tcp_keepintvl(tcp.socket.get(), value))
    }

    fn keep_alive_count(&mut self, self_: Resource<TcpSocket>) -> Socketed<u32> {
        self.option(&self_, |tcp| sockopt::tcp_keepcnt(tcp.socket.get()))
    }

    fn set_keep_alive_count(&mut self, self_: Resource<TcpSocket>, value: u32) -> Socketed<()> {
        let value = options::probes(guests!(nonzero(value)));
        self.option(&self_, |tcp| sockopt::set_tcp_keepcnt(tcp.socket.get(), value))
    }

    fn hop_limit(&mut self, self_: Resource<TcpSocket>) -> Socketed<u8> {
        self.option(&self_, |tcp| options::hop_limit(tcp.socket.get(), tcp.family))
    }

    fn set_hop_limit(&mut self, self_: Resource<TcpSocket>, value: u8) -> Socketed<()> {
        let value = guests!(nonzero(value));
        self.option(&self_, |tcp| options::set_hop_limit(tcp.socket.get(), tcp.family, value))
    }

    fn receive_buffer_size(&mut self, self_: Resource<TcpSocket>) -> Socketed<u64> {
        self.option(&self_, |tcp| options::receive_buffer_size(tcp.socket.get()))
    }

    fn set_receive_buffer_size(&mut self, self_: Resource<TcpSocket>, value: u64) -> Socketed<()> {
        let value = guests!(nonzero(value));
        self.option(&self_, |tcp| options::set_receive_buffer_size(tcp.socket.get(), value))
    }

    fn send_buffer_size(&mut self, self_: Resource<TcpSocket>) -> Socketed<u64> {
        self.option(&self_, |tcp| options::send_buffer_size(tcp.socket.get()))
    }

    fn set_send_buffer_size(&mut self, self_: Resource<TcpSocket>, value: u64) -> Socketed<()> {
        let value = guests!(nonzero(value));
        self.option(&self_, |tcp| options::set_send_buffer_size(tcp.socket.get(), value))
    }

    fn subscribe(&mut self, self_: Resource<TcpSocket>) -> Result<Resource<Pollable>, HostError> {
        Ok(Pollable::of(&mut self.table, &self_)?)
    }

    fn shutdown(&mut self, self_: Resource<TcpSocket>, shutdown_type: ShutdownType) -> Socketed<()> {
        let tcp = self.table.get(&self_)?;
        if tcp.state != State::Connected {
            return Ok(Err(ErrorCode::InvalidState));
        }
        let receive = matches!(shutdown_type, ShutdownType::Receive | ShutdownType::Both);
        let send = matches!(shutdown_type, ShutdownType::Send | ShutdownType::Both);
        let shut = |wanted: bool, done: &AtomicBool, how| {
            if !wanted || done.swap(true, Ordering::Relaxed) {
                return Ok(());
            }
            match tcp.host().shutdown(how) {
                // The peer has reset the connection: that direction is shut.
                Err(error) if error.kind() == std::io::ErrorKind::NotConnected => Ok(()),
                result => result.map_err(|error| error_code(&error)),
            }
        };
        guests!(shut(receive, &tcp.shut.receive, std::net::Shutdown::Read));
        Ok(shut(send, &tcp.shut.send, std::net::Shutdown::Write))
    }

    fn drop(&mut self, rep: Resource<TcpSocket>) -> Result<(), HostError> {
        self.table.delete(rep)?;
        Ok(())
    }
}

impl Ctx {
    /// Asks or tells the system an option of a socket.
    fn option<T>(
        &mut self,
        handle: &Resource<TcpSocket>,
        option: impl FnOnce(&TcpSocket) -> rustix::io::Result<T>,
    ) -> Socketed<T> {
        Ok(told(option(self.table.get(handle)?)))
    }
}

/// No port is left, as connecting says it; a connection that is begun is another error.
fn is_again(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::AGAIN.raw_os_error())
}

/// The code of a failed accept: errors of a connection that broke while it waited are its own.
fn accept_error(error: &std::io::Error) -> ErrorCode {
    match error_code(error) {
        code @ (ErrorCode::WouldBlock | ErrorCode::NewSocketLimit | ErrorCode::OutOfMemory) => code,
        _ => ErrorCode::ConnectionAborted,
    }
}
