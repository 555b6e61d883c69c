//! `wasi:sockets/ip-name-lookup`: addresses of names, from the host's resolver on another thread.

use std::io;
use std::net::{IpAddr, Ipv6Addr, ToSocketAddrs};
use std::task::{Context, Poll, Waker};
use std::vec;

use precast_loader::HostError;
use precast_loader::component::Resource;
use tokio::task::JoinHandle;

use super::address::ip_to_guest;
use super::{ErrorCode, Network, Socketed, guests};
use crate::denial::{Denial, shown};
use crate::preview2::Ctx;
use crate::preview2::bindings::wasi::sockets::ip_name_lookup::{Host, HostResolveAddressStream, IpAddress};
use crate::preview2::io::{Pollable, Ready};

/// Names looked up, and where they led. A grant of a name then covers these addresses.
#[derive(Debug, Default)]
pub(crate) struct Names(Vec<(String, IpAddr)>);

/// Most addresses that are remembered of one guest.
const MOST_NAMES: usize = 1024;

impl Names {
    /// Whether a name, however it is written, has led to an address.
    pub(super) fn leads(&self, name: &str, to: IpAddr) -> bool {
        self.0.iter().any(|(known, ip)| *ip == to && known.eq_ignore_ascii_case(name))
    }

    fn learn(&mut self, name: &str, ip: IpAddr) {
        if self.0.len() < MOST_NAMES && !self.leads(name, ip) {
            self.0.push((name.into(), ip));
        }
    }
}

/// The resource `wasi:sockets/ip-name-lookup.resolve-address-stream`.
#[derive(Debug)]
pub struct ResolveAddressStream {
    name: String,
    state: State,
}

#[derive(Debug)]
enum State {
    Asking(JoinHandle<io::Result<Vec<IpAddr>>>),
    Found(vec::IntoIter<IpAddr>),
    Failed(ErrorCode),
}

impl ResolveAddressStream {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let State::Asking(task) = &mut self.state else { return Poll::Ready(()) };
        let answer = std::task::ready!(std::pin::Pin::new(task).poll(cx));
        self.state = match answer {
            Ok(Ok(found)) if !found.is_empty() => State::Found(found.into_iter()),
            Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                State::Failed(ErrorCode::TemporaryResolverFailure)
            }
            // The standard library does not tell the resolver's errors apart.
            Ok(_) => State::Failed(ErrorCode::NameUnresolvable),
            Err(_) => State::Failed(ErrorCode::PermanentResolverFailure),
        };
        Poll::Ready(())
    }
}

impl Ready for ResolveAddressStream {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll(cx)
    }
}

impl Host for Ctx {
    fn resolve_addresses(
        &mut self,
        network: Resource<Network>,
        name: String,
    ) -> Socketed<Resource<ResolveAddressStream>> {
        self.table.get(&network)?;
        let state = match name.parse::<IpAddr>() {
            Ok(IpAddr::V6(v6)) if v6.to_ipv4_mapped().is_some() => return Ok(Err(ErrorCode::InvalidArgument)),
            Ok(ip) => State::Found(vec![ip].into_iter()),
            Err(_) => {
                guests!(check_name(&name));
                guests!(self.require_lookup(&name));
                let asked = name.clone();
                State::Asking(tokio::task::spawn_blocking(move || resolve(&asked)))
            }
        };
        Ok(Ok(self.table.push(ResolveAddressStream { name, state })?))
    }
}

impl HostResolveAddressStream for Ctx {
    fn resolve_next_address(&mut self, self_: Resource<ResolveAddressStream>) -> Socketed<Option<IpAddress>> {
        let stream = self.table.get_mut(&self_)?;
        if stream.poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            return Ok(Err(ErrorCode::WouldBlock));
        }
        Ok(match &mut stream.state {
            State::Asking(_) => Err(ErrorCode::WouldBlock),
            State::Failed(code) => Err(*code),
            State::Found(left) => Ok(left.next().map(|ip| {
                self.names.learn(&stream.name, ip);
                ip_to_guest(ip)
            })),
        })
    }

    fn subscribe(&mut self, self_: Resource<ResolveAddressStream>) -> Result<Resource<Pollable>, HostError> {
        Ok(Pollable::of(&mut self.table, &self_)?)
    }

    fn drop(&mut self, rep: Resource<ResolveAddressStream>) -> Result<(), HostError> {
        self.table.delete(rep)?;
        Ok(())
    }
}

impl Ctx {
    /// Fails, and tells the user, unless some port of a name is granted.
    fn require_lookup(&self, name: &str) -> Result<(), ErrorCode> {
        if self.shared.rules.reaches_name(name, None) {
            return Ok(());
        }
        self.deny(Denial::new(format!("the address of {}", shown(name)), format!("net:{name}:PORT")));
        Err(ErrorCode::AccessDenied)
    }
}

/// Asks the host's resolver. Addresses that disguise one of IPv4 are told as that.
fn resolve(name: &str) -> io::Result<Vec<IpAddr>> {
    let mut found: Vec<IpAddr> = Vec::new();
    for address in (name, 0).to_socket_addrs()? {
        let ip = match address.ip() {
            IpAddr::V6(v6) => Ipv6Addr::to_canonical(&v6),
            v4 => v4,
        };
        if !found.contains(&ip) {
            found.push(ip);
        }
    }
    Ok(found)
}

/// Fails unless this can be a host's name: dots between words of letters, digits, hyphens and underscores. One that is
/// not in ASCII must come in its ASCII form (`xn--`).
fn check_name(name: &str) -> Result<(), ErrorCode> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let word = |word: &str| {
        (1..=63).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    if name.len() <= 253 && name.split('.').all(word) { Ok(()) } else { Err(ErrorCode::InvalidArgument) }
}
