//! Success and refusal of each function of the family.

use super::*;
use crate::net::Listener;
use crate::preview1::fd::{fd_fdstat_get, fd_fdstat_set_flags};
use crate::preview1::io::{fd_read, fd_write};
use crate::preview1::testing::{DIR, Guest, buffer, context, memory, put, u16_at, u32_at};
use crate::{Address, Grant, Grants};

/// The first descriptor that a grant opens.
const SOCKET: u32 = DIR;

fn loopback(port: u16) -> Address {
    Address { host: "127.0.0.1".into(), port }
}

/// A guest that is connected to the test, and the test's end.
fn connected() -> (Guest, Connection) {
    let listener = Listener::bind(&loopback(0)).unwrap();
    let guest = context(Grants::none().with(Grant::Net(Some(loopback(listener.port())))));
    (guest, listener.accept().unwrap())
}

/// A guest that listens, and its port.
fn listening() -> (Guest, u16) {
    let guest = context(Grants::none().with(Grant::Listen(loopback(0))));
    let Object::Listener(listener) = &guest.ctx.table.get(SOCKET).unwrap().object else { panic!() };
    let port = listener.port();
    (guest, port)
}

#[test]
fn connections_are_accepted_on_a_granted_address() {
    let ((mut guest, port), mut memory) = (listening(), memory());
    let client = Connection::connect(&loopback(port)).unwrap();
    sock_accept(&mut guest.ctx, &mut memory, SOCKET, u32::from(FdFlags::NONBLOCK.0), 0).unwrap();
    let accepted = u32_at(&memory, 0);
    assert_eq!(accepted, SOCKET + 1);
    fd_fdstat_get(&mut guest.ctx, &mut memory, accepted, 0).unwrap();
    assert_eq!((memory[0], u16_at(&memory, 2)), (6, FdFlags::NONBLOCK.0));
    let iovs = buffer(&mut memory, 0x200, 4);
    assert_eq!(fd_read(&mut guest.ctx, &mut memory, accepted, iovs, 1, 0), Err(Errno::Again));
    fd_fdstat_set_flags(&mut guest.ctx, &mut memory, accepted, 0).unwrap();
    client.send(b"ping").unwrap();
    fd_read(&mut guest.ctx, &mut memory, accepted, iovs, 1, 0).unwrap();
    assert_eq!(&memory[0x200..0x204], b"ping");
    fd_write(&mut guest.ctx, &mut memory, accepted, iovs, 1, 0).unwrap();
    let mut echoed = [0; 4];
    client.receive(&mut echoed, false, true).unwrap();
    assert_eq!(&echoed, b"ping");
}

#[test]
fn accepting_is_refused_where_nothing_listens() {
    let ((mut guest, _peer), mut memory) = (connected(), memory());
    assert_eq!(sock_accept(&mut guest.ctx, &mut memory, SOCKET, 0, 0), Err(Errno::Inval));
    assert_eq!(sock_accept(&mut guest.ctx, &mut memory, 0, 0, 0), Err(Errno::NotSock));
    assert_eq!(sock_accept(&mut guest.ctx, &mut memory, 99, 0, 0), Err(Errno::BadF));
    assert!(guest.denials().is_empty());
    let (mut listening, _) = listening();
    let append = u32::from(FdFlags::APPEND.0);
    assert_eq!(sock_accept(&mut listening.ctx, &mut memory, SOCKET, append, 0), Err(Errno::Inval));
    assert_eq!(sock_accept(&mut listening.ctx, &mut memory, SOCKET, 0, u32::MAX), Err(Errno::Fault));
}

#[test]
fn bytes_are_sent_and_received() {
    let ((mut guest, peer), mut memory) = (connected(), memory());
    put(&mut memory, 0x200, "ping");
    let iovs = buffer(&mut memory, 0x200, 4);
    sock_send(&mut guest.ctx, &mut memory, SOCKET, iovs, 1, 0, 0).unwrap();
    let mut received = [0; 4];
    peer.receive(&mut received, false, true).unwrap();
    assert_eq!((u32_at(&memory, 0), &received), (4, b"ping"));
    peer.send(b"pong").unwrap();
    for flags in [RiFlags::PEEK.with(RiFlags::WAITALL), RiFlags::WAITALL] {
        put(&mut memory, 0x200, "    ");
        sock_recv(&mut guest.ctx, &mut memory, SOCKET, iovs, 1, u32::from(flags.0), 0, 4).unwrap();
        assert_eq!((u32_at(&memory, 0), u16_at(&memory, 4), &memory[0x200..0x204]), (4, 0, &b"pong"[..]));
    }
}

#[test]
fn only_connections_send_and_receive() {
    let ((mut guest, _), mut memory) = (listening(), memory());
    assert_eq!(sock_send(&mut guest.ctx, &mut memory, SOCKET, 0, 0, 0, 0), Err(Errno::NotConn));
    assert_eq!(sock_recv(&mut guest.ctx, &mut memory, SOCKET, 0, 0, 0, 0, 0), Err(Errno::NotConn));
    assert_eq!(sock_send(&mut guest.ctx, &mut memory, 1, 0, 0, 0, 0), Err(Errno::NotSock));
    assert_eq!(sock_recv(&mut guest.ctx, &mut memory, 0, 0, 0, 0, 0, 0), Err(Errno::NotSock));
    assert_eq!(sock_send(&mut guest.ctx, &mut memory, 1, 0, 0, 1, 0), Err(Errno::Inval));
    assert_eq!(sock_recv(&mut guest.ctx, &mut memory, 0, 0, 0, 4, 0, 0), Err(Errno::Inval));
}

#[test]
fn directions_are_shut_down() {
    let ((mut guest, peer), mut memory) = (connected(), memory());
    sock_shutdown(&mut guest.ctx, &mut memory, SOCKET, u32::from(SdFlags::WR.0)).unwrap();
    assert_eq!(peer.receive(&mut [0; 1], false, false).unwrap(), 0);
    let iovs = buffer(&mut memory, 0x200, 4);
    assert_eq!(sock_send(&mut guest.ctx, &mut memory, SOCKET, iovs, 1, 0, 0), Err(Errno::Pipe));
    assert_eq!(sock_shutdown(&mut guest.ctx, &mut memory, SOCKET, 0), Err(Errno::Inval));
    assert_eq!(sock_shutdown(&mut guest.ctx, &mut memory, SOCKET, 4), Err(Errno::Inval));
    assert_eq!(sock_shutdown(&mut guest.ctx, &mut memory, 1, 1), Err(Errno::NotSock));
    assert_eq!(sock_shutdown(&mut guest.ctx, &mut memory, 99, 1), Err(Errno::BadF));
}

#[test]
fn without_a_grant_there_is_no_socket() {
    let (mut guest, mut memory) = (context(Grants::none()), memory());
    assert_eq!(sock_accept(&mut guest.ctx, &mut memory, SOCKET, 0, 0), Err(Errno::BadF));
    assert_eq!(sock_send(&mut guest.ctx, &mut memory, SOCKET, 0, 0, 0, 0), Err(Errno::BadF));
    assert_eq!(sock_recv(&mut guest.ctx, &mut memory, SOCKET, 0, 0, 0, 0, 0), Err(Errno::BadF));
    assert_eq!(
        guest.denials(),
        [
            "denied: the guest asked for a listening socket; grant it with --allow=listen:HOST:PORT",
            "denied: the guest asked for a connected socket; grant it with --allow=net:HOST:PORT"
        ]
    );
}
