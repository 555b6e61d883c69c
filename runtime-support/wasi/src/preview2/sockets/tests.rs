//! Sockets by the interface, without a guest, on the loopback interface.

use std::net::IpAddr;
use std::time::Duration;

use super::super::bindings::wasi::io::streams::{HostInputStream, HostOutputStream, StreamError};
use super::super::bindings::wasi::sockets::ip_name_lookup::{Host as _, HostResolveAddressStream as _, IpAddress};
use super::super::bindings::wasi::sockets::network::{
    Host as _, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress,
};
use super::super::bindings::wasi::sockets::tcp::{HostTcpSocket, ShutdownType};
use super::super::bindings::wasi::sockets::tcp_create_socket::Host as _;
use super::super::bindings::wasi::sockets::udp::{
    HostIncomingDatagramStream as _, HostOutgoingDatagramStream as _, HostUdpSocket, OutgoingDatagram,
};
use super::super::bindings::wasi::sockets::udp_create_socket::Host as _;
use super::super::testing::{self, Guest, context, lent};
use super::instance_network::Host as _;
use super::*;
use crate::Grants;

fn guest(allow: &str) -> Guest {
    context(Grants::from_iter(Grants::parse(allow).unwrap()))
}

const V4: IpAddressFamily = IpAddressFamily::Ipv4;

fn local(port: u16) -> IpSocketAddress {
    IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address: (127, 0, 0, 1) })
}

fn port(address: IpSocketAddress) -> u16 {
    address::to_host(address).port()
}

/// A socket that listens on the loopback interface, and its port.
fn listener(ctx: &mut Ctx) -> (Resource<TcpSocket>, u16) {
    let network = ctx.instance_network().unwrap();
    let tcp = ctx.create_tcp_socket(V4).unwrap().unwrap();
    HostTcpSocket::start_bind(ctx, lent(&tcp), network, local(0)).unwrap().unwrap();
    HostTcpSocket::finish_bind(ctx, lent(&tcp)).unwrap().unwrap();
    ctx.start_listen(lent(&tcp)).unwrap().unwrap();
    ctx.finish_listen(lent(&tcp)).unwrap().unwrap();
    assert!(ctx.is_listening(lent(&tcp)).unwrap());
    let port = port(HostTcpSocket::local_address(ctx, lent(&tcp)).unwrap().unwrap());
    (tcp, port)
}

/// Waits for a socket.
async fn wait(ctx: &mut Ctx, tcp: &Resource<TcpSocket>) {
    let pollable = HostTcpSocket::subscribe(ctx, lent(tcp)).unwrap();
    testing::wait(ctx, pollable).await;
}

type Connection = (Resource<Input>, Resource<Output>);
use super::super::io::{Input, Output};

async fn connect(ctx: &mut Ctx, to: IpSocketAddress) -> Result<(Resource<TcpSocket>, Connection), ErrorCode> {
    let network = ctx.instance_network().unwrap();
    let tcp = ctx.create_tcp_socket(V4).unwrap().unwrap();
    ctx.start_connect(lent(&tcp), network, to).unwrap()?;
    wait(ctx, &tcp).await;
    let streams = ctx.finish_connect(lent(&tcp)).unwrap()?;
    Ok((tcp, streams))
}

#[tokio::test]
async fn a_connection_carries_bytes_both_ways() {
    let mut guest = guest("net");
    let ctx = &mut guest.ctx;
    let (server, port) = listener(ctx);
    assert_eq!(ctx.accept(lent(&server)).unwrap().unwrap_err(), ErrorCode::WouldBlock);
    let (client, (client_in, client_out)) = connect(ctx, local(port)).await.unwrap();
    wait(ctx, &server).await;
    let (accepted, server_in, server_out) = ctx.accept(lent(&server)).unwrap().unwrap();
    let peer = HostTcpSocket::remote_address(ctx, lent(&accepted)).unwrap().unwrap();
    let own = HostTcpSocket::local_address(ctx, lent(&client)).unwrap().unwrap();
    assert_eq!(address::to_host(peer), address::to_host(own));
    ctx.blocking_write_and_flush(client_out, b"ping".to_vec()).await.unwrap().unwrap();
    assert_eq!(ctx.blocking_read(lent(&server_in), 100).await.unwrap().unwrap(), b"ping");
    assert_eq!(HostInputStream::read(ctx, lent(&server_in), 100).unwrap().unwrap(), b"");
    ctx.blocking_write_and_flush(lent(&server_out), b"pong".to_vec()).await.unwrap().unwrap();
    ctx.shutdown(lent(&accepted), ShutdownType::Send).unwrap().unwrap();
    ctx.shutdown(lent(&accepted), ShutdownType::Both).unwrap().unwrap();
    let shut = HostOutputStream::check_write(ctx, lent(&server_out)).unwrap();
    assert!(matches!(shut, Err(StreamError::Closed)));
    assert!(matches!(HostInputStream::read(ctx, server_in, 1).unwrap(), Err(StreamError::Closed)));
    // The socket may go before its streams.
    HostTcpSocket::drop(ctx, client).unwrap();
    assert_eq!(ctx.blocking_read(lent(&client_in), 100).await.unwrap().unwrap(), b"pong");
    assert!(matches!(ctx.blocking_read(client_in, 100).await.unwrap(), Err(StreamError::Closed)));
}

#[tokio::test]
async fn more_than_the_system_takes_arrives_all_the_same() {
    const SIZE: usize = 8 << 20;
    let mut guest = guest("net");
    let ctx = &mut guest.ctx;
    let std_listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = std_listener.local_addr().unwrap().port();
    let (_tcp, (_input, output)) = connect(ctx, local(port)).await.unwrap();
    let (mut peer, _) = std_listener.accept().unwrap();
    let reader = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        let mut all = Vec::new();
        std::io::Read::read_to_end(&mut peer, &mut all).unwrap();
        all
    });
    let mut sent = 0;
    while sent < SIZE {
        match HostOutputStream::check_write(ctx, lent(&output)).unwrap().unwrap() {
            0 => {
                let pollable = HostOutputStream::subscribe(ctx, lent(&output)).unwrap();
                testing::wait(ctx, pollable).await;
            }
            permit => {
                let part: Vec<u8> = (sent..sent + permit as usize).map(|at| (at % 251) as u8).collect();
                sent += part.len();
                HostOutputStream::write(ctx, lent(&output), part).unwrap().unwrap();
            }
        }
    }
    ctx.blocking_flush(lent(&output)).await.unwrap().unwrap();
    HostOutputStream::drop(ctx, output).unwrap();
    drop(guest);
    let all = reader.join().unwrap();
    assert_eq!(all.len(), sent);
    assert!(all.iter().enumerate().all(|(at, byte)| *byte == (at % 251) as u8));
}

#[tokio::test]
async fn operations_have_an_order() {
    let mut guest = guest("net");
    let ctx = &mut guest.ctx;
    let network = ctx.instance_network().unwrap();
    let tcp = ctx.create_tcp_socket(V4).unwrap().unwrap();
    assert_eq!(HostTcpSocket::finish_bind(ctx, lent(&tcp)).unwrap(), Err(ErrorCode::NotInProgress));
    assert_eq!(ctx.start_listen(lent(&tcp)).unwrap(), Err(ErrorCode::InvalidState));
    assert_eq!(ctx.accept(lent(&tcp)).unwrap().unwrap_err(), ErrorCode::InvalidState);
    assert_eq!(HostTcpSocket::local_address(ctx, lent(&tcp)).unwrap().unwrap_err(), ErrorCode::InvalidState);
    let six = IpSocketAddress::Ipv6(Ipv6SocketAddress {
        port: 0,
        flow_info: 0,
        address: (0, 0, 0, 0, 0, 0, 0, 1),
        scope_id: 0,
    });
    let bind = |ctx: &mut Ctx, to| HostTcpSocket::start_bind(ctx, lent(&tcp), lent(&network), to).unwrap();
    assert_eq!(bind(ctx, six), Err(ErrorCode::InvalidArgument));
    assert_eq!(bind(ctx, local(0)), Ok(()));
    assert_eq!(bind(ctx, local(0)), Err(ErrorCode::ConcurrencyConflict));
    assert_eq!(HostTcpSocket::finish_bind(ctx, lent(&tcp)).unwrap(), Ok(()));
    assert_eq!(bind(ctx, local(0)), Err(ErrorCode::InvalidState));
    let connect = |ctx: &mut Ctx, to| ctx.start_connect(lent(&tcp), lent(&network), to).unwrap();
    assert_eq!(connect(ctx, local(0)), Err(ErrorCode::InvalidArgument));
    let nowhere = IpSocketAddress::Ipv4(Ipv4SocketAddress { port: 1, address: (0, 0, 0, 0) });
    assert_eq!(connect(ctx, nowhere), Err(ErrorCode::InvalidArgument));
    assert_eq!(ctx.shutdown(lent(&tcp), ShutdownType::Both).unwrap(), Err(ErrorCode::InvalidState));
    assert_eq!(ctx.finish_connect(lent(&tcp)).unwrap().unwrap_err(), ErrorCode::NotInProgress);
    // Nobody listens there: the port was the system's choice, and is free again.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    assert_eq!(connect(ctx, local(free)), Ok(()));
    wait(ctx, &tcp).await;
    assert_eq!(ctx.finish_connect(lent(&tcp)).unwrap().unwrap_err(), ErrorCode::ConnectionRefused);
    assert_eq!(connect(ctx, local(free)), Err(ErrorCode::InvalidState));
}

#[tokio::test]
async fn options_can_be_set() {
    let mut guest = guest("net");
    let ctx = &mut guest.ctx;
    for family in [V4, IpAddressFamily::Ipv6] {
        let tcp = ctx.create_tcp_socket(family).unwrap().unwrap();
        assert_eq!(HostTcpSocket::address_family(ctx, lent(&tcp)).unwrap(), family);
        assert_eq!(ctx.set_hop_limit(lent(&tcp), 42).unwrap(), Ok(()));
        assert_eq!(ctx.hop_limit(lent(&tcp)).unwrap(), Ok(42));
        assert_eq!(ctx.set_hop_limit(lent(&tcp), 0).unwrap(), Err(ErrorCode::InvalidArgument));
    }
    let tcp = ctx.create_tcp_socket(V4).unwrap().unwrap();
    assert_eq!(ctx.keep_alive_enabled(lent(&tcp)).unwrap(), Ok(false));
    assert_eq!(ctx.set_keep_alive_enabled(lent(&tcp), true).unwrap(), Ok(()));
    assert_eq!(ctx.keep_alive_enabled(lent(&tcp)).unwrap(), Ok(true));
    assert_eq!(ctx.set_keep_alive_idle_time(lent(&tcp), 1).unwrap(), Ok(()));
    assert_eq!(ctx.keep_alive_idle_time(lent(&tcp)).unwrap(), Ok(1_000_000_000));
    assert_eq!(ctx.set_keep_alive_interval(lent(&tcp), u64::MAX).unwrap(), Ok(()));
    assert_eq!(ctx.keep_alive_interval(lent(&tcp)).unwrap(), Ok(32_767_000_000_000));
    assert_eq!(ctx.set_keep_alive_count(lent(&tcp), u32::MAX).unwrap(), Ok(()));
    assert_eq!(ctx.keep_alive_count(lent(&tcp)).unwrap(), Ok(127));
    assert_eq!(ctx.set_keep_alive_count(lent(&tcp), 0).unwrap(), Err(ErrorCode::InvalidArgument));
    assert_eq!(HostTcpSocket::set_receive_buffer_size(ctx, lent(&tcp), 10_000).unwrap(), Ok(()));
    assert_eq!(HostTcpSocket::receive_buffer_size(ctx, lent(&tcp)).unwrap(), Ok(10_000));
    assert_eq!(HostTcpSocket::set_send_buffer_size(ctx, lent(&tcp), u64::MAX).unwrap(), Ok(()));
    assert!(HostTcpSocket::send_buffer_size(ctx, lent(&tcp)).unwrap().unwrap() > 0);
    assert_eq!(ctx.set_listen_backlog_size(lent(&tcp), 0).unwrap(), Err(ErrorCode::InvalidArgument));
    assert_eq!(ctx.set_listen_backlog_size(lent(&tcp), u64::MAX).unwrap(), Ok(()));
    let udp = ctx.create_udp_socket(IpAddressFamily::Ipv6).unwrap().unwrap();
    assert_eq!(ctx.set_unicast_hop_limit(lent(&udp), 7).unwrap(), Ok(()));
    assert_eq!(ctx.unicast_hop_limit(lent(&udp)).unwrap(), Ok(7));
    assert_eq!(HostUdpSocket::set_send_buffer_size(ctx, lent(&udp), 0).unwrap(), Err(ErrorCode::InvalidArgument));
}

/// A UDP socket on the loopback interface, and its port.
fn udp(ctx: &mut Ctx) -> (Resource<UdpSocket>, u16) {
    let network = ctx.instance_network().unwrap();
    let udp = ctx.create_udp_socket(V4).unwrap().unwrap();
    HostUdpSocket::start_bind(ctx, lent(&udp), network, local(0)).unwrap().unwrap();
    HostUdpSocket::finish_bind(ctx, lent(&udp)).unwrap().unwrap();
    let port = port(HostUdpSocket::local_address(ctx, lent(&udp)).unwrap().unwrap());
    (udp, port)
}

fn datagram(data: &[u8], to: Option<IpSocketAddress>) -> OutgoingDatagram {
    OutgoingDatagram { data: data.to_vec(), remote_address: to }
}

#[tokio::test]
async fn datagrams_arrive() {
    let mut guest = guest("net");
    let ctx = &mut guest.ctx;
    let unbound = ctx.create_udp_socket(V4).unwrap().unwrap();
    assert_eq!(ctx.stream(unbound, None).unwrap().unwrap_err(), ErrorCode::InvalidState);
    let ((one, one_port), (two, two_port)) = (udp(ctx), udp(ctx));
    let (one_in, one_out) = ctx.stream(lent(&one), None).unwrap().unwrap();
    let (two_in, two_out) = ctx.stream(lent(&two), Some(local(one_port))).unwrap().unwrap();
    assert_eq!(port(HostUdpSocket::remote_address(ctx, lent(&two)).unwrap().unwrap()), one_port);
    assert!(ctx.send(lent(&one_out), vec![datagram(b"x", None)]).is_err());
    assert_eq!(ctx.check_send(lent(&one_out)).unwrap(), Ok(16));
    let unaddressed = ctx.send(lent(&one_out), vec![datagram(b"x", None)]).unwrap();
    assert_eq!(unaddressed, Err(ErrorCode::InvalidArgument));
    let sent = vec![datagram(b"first", Some(local(two_port))), datagram(b"", Some(local(two_port)))];
    assert_eq!(ctx.send(lent(&one_out), sent).unwrap(), Ok(2));
    let pollable = ctx.subscribe_incoming(&two_in);
    testing::wait(ctx, pollable).await;
    let received = ctx.receive(lent(&two_in), 10).unwrap().unwrap();
    assert_eq!(received.iter().map(|it| &it.data[..]).collect::<Vec<_>>(), [&b"first"[..], b""]);
    assert_eq!(port(received[0].remote_address), one_port);
    assert_eq!(ctx.receive(lent(&two_in), 10).unwrap().unwrap().len(), 0);
    ctx.check_send(lent(&two_out)).unwrap().unwrap();
    let elsewhere = ctx.send(lent(&two_out), vec![datagram(b"x", Some(local(two_port)))]).unwrap();
    assert_eq!(elsewhere, Err(ErrorCode::InvalidArgument));
    assert_eq!(ctx.send(lent(&two_out), vec![datagram(b"back", None)]).unwrap(), Ok(1));
    let pollable = ctx.subscribe_incoming(&one_in);
    testing::wait(ctx, pollable).await;
    assert_eq!(ctx.receive(lent(&one_in), 1).unwrap().unwrap()[0].data, b"back");
    ctx.check_send(lent(&one_out)).unwrap().unwrap();
    let large = ctx.send(lent(&one_out), vec![datagram(&[0; 65_536], Some(local(two_port)))]).unwrap();
    assert_eq!(large, Err(ErrorCode::DatagramTooLarge));
    // New streams put an end to the old ones.
    ctx.stream(lent(&two), None).unwrap().unwrap();
    assert_eq!(ctx.receive(two_in, 1).unwrap().unwrap_err(), ErrorCode::InvalidState);
    assert_eq!(HostUdpSocket::remote_address(ctx, two).unwrap().unwrap_err(), ErrorCode::InvalidState);
}

impl Ctx {
    fn subscribe_incoming(
        &mut self,
        stream: &Resource<IncomingDatagramStream>,
    ) -> Resource<super::super::io::Pollable> {
        super::super::bindings::wasi::sockets::udp::HostIncomingDatagramStream::subscribe(self, lent(stream)).unwrap()
    }
}

#[tokio::test]
async fn addresses_that_are_not_granted_are_denied_and_named() {
    let mut guest = guest("net:127.0.0.1:9,listen:127.0.0.1:0");
    let ctx = &mut guest.ctx;
    let (_listener, _) = listener(ctx);
    assert_eq!(connect(ctx, local(10)).await.unwrap_err(), ErrorCode::AccessDenied);
    let (tcp, network) = (ctx.create_tcp_socket(V4).unwrap().unwrap(), ctx.instance_network().unwrap());
    let everywhere = IpSocketAddress::Ipv4(Ipv4SocketAddress { port: 80, address: (0, 0, 0, 0) });
    let bound = HostTcpSocket::start_bind(ctx, lent(&tcp), lent(&network), everywhere).unwrap();
    assert_eq!(bound, Err(ErrorCode::AccessDenied));
    // A port of the system's choice can be had to connect from, but not to listen on.
    let unspecified = IpSocketAddress::Ipv4(Ipv4SocketAddress { port: 0, address: (0, 0, 0, 0) });
    HostTcpSocket::start_bind(ctx, lent(&tcp), network, unspecified).unwrap().unwrap();
    HostTcpSocket::finish_bind(ctx, lent(&tcp)).unwrap().unwrap();
    assert_eq!(ctx.start_listen(tcp).unwrap(), Err(ErrorCode::AccessDenied));
    let (socket, _) = udp(ctx);
    let (_, outgoing) = ctx.stream(socket, None).unwrap().unwrap();
    ctx.check_send(lent(&outgoing)).unwrap().unwrap();
    let sent = ctx.send(outgoing, vec![datagram(b"x", Some(local(11)))]).unwrap();
    assert_eq!(sent, Err(ErrorCode::AccessDenied));
    let network = ctx.instance_network().unwrap();
    let looked_up = ctx.resolve_addresses(network, "example.org".into()).unwrap();
    assert_eq!(looked_up.unwrap_err(), ErrorCode::AccessDenied);
    let told = guest.denials();
    let denied = |what: &str, grant: &str| {
        let text = format!("denied: the guest asked for {what}; grant it with --allow={grant}");
        assert!(told.contains(&text), "{text} is not among {told:?}");
    };
    denied("a connection to 127.0.0.1:10", "net:127.0.0.1:10");
    denied("listening on 0.0.0.0:80", "listen:0.0.0.0:80");
    denied("a connection to 127.0.0.1:11", "net:127.0.0.1:11");
    denied("the address of \"example.org\"", "net:example.org:PORT");
}

#[tokio::test]
async fn names_lead_to_addresses() {
    let mut guest = guest("net:localhost:80,net:some.name:80");
    let ctx = &mut guest.ctx;
    let network = ctx.instance_network().unwrap();
    let resolve = |ctx: &mut Ctx, name: &str| ctx.resolve_addresses(lent(&network), name.into()).unwrap();
    let literal = resolve(ctx, "10.1.2.3").unwrap();
    let Ok(Some(IpAddress::Ipv4(ip))) = ctx.resolve_next_address(lent(&literal)).unwrap() else { panic!() };
    assert_eq!(ip, (10, 1, 2, 3));
    assert!(matches!(ctx.resolve_next_address(literal).unwrap(), Ok(None)));
    let found = resolve(ctx, "localhost").unwrap();
    let pollable =
        super::super::bindings::wasi::sockets::ip_name_lookup::HostResolveAddressStream::subscribe(ctx, lent(&found));
    testing::wait(ctx, pollable.unwrap()).await;
    assert!(matches!(ctx.resolve_next_address(found).unwrap(), Ok(Some(_))));
    for bad in ["", "a..b", "::ffff:1.2.3.4", "b\u{fc}cher.example", "a b", &"x".repeat(64)] {
        assert_eq!(resolve(ctx, bad).unwrap_err(), ErrorCode::InvalidArgument, "{bad}");
    }
    let (ip, port) = (IpAddr::from([10, 9, 8, 7]), 80);
    assert!(!ctx.reaches((ip, port).into()));
    ctx.names = Names::default();
    assert!(ctx.reaches(([127, 0, 0, 1], 80).into()) && !ctx.reaches(([127, 0, 0, 1], 81).into()));
}

#[test]
fn failed_streams_tell_their_code() {
    let mut ctx = context(Grants::none()).ctx;
    let reset = std::io::Error::from(rustix::io::Errno::CONNRESET);
    let error = ctx.table.push(Error::new(tcp_stream::Failure(reset))).unwrap();
    assert_eq!(ctx.network_error_code(error).unwrap(), Some(ErrorCode::ConnectionReset));
}
