//! The two streams of a UDP socket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use precast_loader::HostError;
use precast_loader::component::Resource;
use rustix::net::{RecvFlags, SendFlags};

use super::address::{check_remote, error_code, to_guest, to_host};
use super::{ErrorCode, IpAddressFamily, Shared, SharedSocket, Socketed, guests};
use crate::fs::retry;
use crate::preview2::Ctx;
use crate::preview2::bindings::wasi::sockets::udp::{
    HostIncomingDatagramStream, HostOutgoingDatagramStream, IncomingDatagram, OutgoingDatagram,
};
use crate::preview2::io::{Pollable, Ready, unless_blocked};

/// Most datagrams that one call moves.
const MOST_DATAGRAMS: usize = 16;

/// The largest there can be, of IPv4 and of IPv6 without jumbograms.
const LARGEST: usize = 65535;

/// What both streams know. Only the streams that a socket gave last are of use.
#[derive(Clone, Debug)]
pub(super) struct Association {
    pub(super) socket: SharedSocket,
    pub(super) family: IpAddressFamily,
    /// The only peer, if the guest chose one.
    pub(super) remote: Option<SocketAddr>,
    /// Whether anyone may send to the socket: the guest was granted to listen there.
    pub(super) from_anyone: bool,
    pub(super) number: u32,
    pub(super) current: Arc<AtomicU32>,
}

impl Association {
    fn check(&self) -> Result<(), ErrorCode> {
        match self.current.load(Ordering::Relaxed) == self.number {
            true => Ok(()),
            false => Err(ErrorCode::InvalidState),
        }
    }
}

/// The resource `wasi:sockets/udp.incoming-datagram-stream`.
#[derive(Debug)]
pub struct IncomingDatagramStream(pub(super) Association);

/// The resource `wasi:sockets/udp.outgoing-datagram-stream`.
#[derive(Debug)]
pub struct OutgoingDatagramStream {
    pub(super) of: Association,
    /// Datagrams that may be sent before the guest must check again.
    pub(super) permit: usize,
}

impl Ready for IncomingDatagramStream {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.0.check().is_err() { Poll::Ready(()) } else { self.0.socket.poll_readable(cx) }
    }
}

impl Ready for OutgoingDatagramStream {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.of.check().is_err() { Poll::Ready(()) } else { self.of.socket.poll_writable(cx) }
    }
}

/// A guest sent more datagrams than the stream had permitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the guest sends {count} datagrams to a stream that permits {permit}: it must call check-send first")]
struct Overdrawn {
    count: usize,
    permit: usize,
}

/// One datagram that is there, and who sent it. `None` if there is none.
fn receive(socket: &Shared, buffer: &mut [u8]) -> std::io::Result<Option<(usize, SocketAddr)>> {
    let received = retry(|| Ok(rustix::net::recvfrom(socket, &mut *buffer, RecvFlags::empty())?));
    let Some((count, _, Some(from))) = unless_blocked(received)? else { return Ok(None) };
    Ok(Some((count, SocketAddr::try_from(from)?)))
}

impl HostIncomingDatagramStream for Ctx {
    fn receive(
        &mut self,
        self_: Resource<IncomingDatagramStream>,
        max_results: u64,
    ) -> Socketed<Vec<IncomingDatagram>> {
        let of = self.table.get(&self_)?.0.clone();
        guests!(of.check());
        let most = usize::try_from(max_results).unwrap_or(MOST_DATAGRAMS).min(MOST_DATAGRAMS);
        let mut datagrams = Vec::new();
        let mut buffer = if most > 0 { vec![0; LARGEST] } else { Vec::new() };
        // Those that are not for the guest count too, so that a flood of them does not keep it here.
        for _ in 0..most {
            let (count, from) = match receive(of.socket.get(), &mut buffer) {
                Ok(Some(received)) => received,
                Ok(None) => break,
                Err(_) if !datagrams.is_empty() => break,
                Err(error) => return Ok(Err(error_code(&error))),
            };
            // The system lets through what came before the peer was chosen.
            let wanted = match of.remote {
                Some(remote) => remote.ip() == from.ip() && remote.port() == from.port(),
                None => of.from_anyone || self.reaches(from),
            };
            if wanted {
                datagrams.push(IncomingDatagram { data: buffer[..count].to_vec(), remote_address: to_guest(from) });
            }
        }
        Ok(Ok(datagrams))
    }

    fn subscribe(&mut self, self_: Resource<IncomingDatagramStream>) -> Result<Resource<Pollable>, HostError> {
        Ok(Pollable::of(&mut self.table, &self_)?)
    }

    fn drop(&mut self, rep: Resource<IncomingDatagramStream>) -> Result<(), HostError> {
        self.table.delete(rep)?;
        Ok(())
    }
}

impl HostOutgoingDatagramStream for Ctx {
    fn check_send(&mut self, self_: Resource<OutgoingDatagramStream>) -> Socketed<u64> {
        let stream = self.table.get_mut(&self_)?;
        stream.permit = 0;
        guests!(stream.of.check());
        if stream.of.socket.is_writable() {
            stream.permit = MOST_DATAGRAMS;
        }
        Ok(Ok(stream.permit as u64))
    }

    fn send(&mut self, self_: Resource<OutgoingDatagramStream>, datagrams: Vec<OutgoingDatagram>) -> Socketed<u64> {
        let stream = self.table.get_mut(&self_)?;
        let (count, permit) = (datagrams.len(), stream.permit);
        stream.permit = permit.checked_sub(count).ok_or(Overdrawn { count, permit })?;
        let of = stream.of.clone();
        guests!(of.check());
        for (sent, datagram) in (0..).zip(&datagrams) {
            match self.send_one(&of, datagram) {
                Ok(()) => {}
                Err(ErrorCode::WouldBlock) => return Ok(Ok(sent)),
                // The guest learns of it when it sends this one again.
                Err(_) if sent > 0 => return Ok(Ok(sent)),
                Err(code) => return Ok(Err(code)),
            }
        }
        Ok(Ok(count as u64))
    }

    fn subscribe(&mut self, self_: Resource<OutgoingDatagramStream>) -> Result<Resource<Pollable>, HostError> {
        Ok(Pollable::of(&mut self.table, &self_)?)
    }

    fn drop(&mut self, rep: Resource<OutgoingDatagramStream>) -> Result<(), HostError> {
        self.table.delete(rep)?;
        Ok(())
    }
}

impl Ctx {
    fn send_one(&self, of: &Association, datagram: &OutgoingDatagram) -> Result<(), ErrorCode> {
        let to = datagram.remote_address.map(to_host);
        let socket = of.socket.get();
        let sent = match (of.remote, to) {
            (None, None) => return Err(ErrorCode::InvalidArgument),
            (Some(remote), Some(to)) if to != remote => return Err(ErrorCode::InvalidArgument),
            (Some(_), _) => retry(|| Ok(rustix::net::send(socket, &datagram.data, SendFlags::NOSIGNAL)?)),
            (None, Some(to)) => {
                check_remote(of.family, to)?;
                self.require_reach(to)?;
                retry(|| Ok(rustix::net::sendto(socket, &datagram.data, SendFlags::NOSIGNAL, &to)?))
            }
        };
        sent.map(|_| ()).map_err(|error| error_code(&error))
    }
}
