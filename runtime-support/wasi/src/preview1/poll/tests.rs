//! Readiness, timeouts and refusals.

use std::time::Instant;

use super::*;
use crate::preview1::testing::{DIR, Guest, buffer, context, memory, open, u16_at, u32_at, u64_at, with_directory};
use crate::{Address, Grant, Grants};

const IN: u32 = 0x1000;
const OUT: u32 = 0x2000;

fn clock(userdata: u64, id: u32, timeout: u64, absolute: bool) -> [u8; 48] {
    let mut bytes = [0; 48];
    bytes[..8].copy_from_slice(&userdata.to_le_bytes());
    bytes[16..20].copy_from_slice(&id.to_le_bytes());
    bytes[24..32].copy_from_slice(&timeout.to_le_bytes());
    bytes[40] = absolute.into();
    bytes
}

fn descriptor(userdata: u64, kind: EventType, fd: u32) -> [u8; 48] {
    let mut bytes = [0; 48];
    bytes[..8].copy_from_slice(&userdata.to_le_bytes());
    bytes[8] = kind as u8;
    bytes[16..20].copy_from_slice(&fd.to_le_bytes());
    bytes
}

/// Userdata, error, type and bytes of each event.
fn poll(guest: &mut Guest, subscriptions: &[[u8; 48]]) -> Result<Vec<(u64, u16, u8, u64)>, Errno> {
    let mut memory = memory();
    memory.write(IN, subscriptions.as_flattened()).unwrap();
    poll_oneoff(&mut guest.ctx, &mut memory, IN, OUT, subscriptions.len() as u32, 0)?;
    let event = |at: usize| (u64_at(&memory, at), u16_at(&memory, at + 8), memory[at + 10], u64_at(&memory, at + 16));
    Ok((0..u32_at(&memory, 0) as usize).map(|index| event(OUT as usize + index * 32)).collect())
}

fn with_clocks() -> Guest {
    context(Grants::none().with(Grant::Clocks))
}

#[test]
fn a_relative_time_comes() {
    let started = Instant::now();
    let long = clock(2, 1, 60_000_000_000, false);
    assert_eq!(poll(&mut with_clocks(), &[clock(1, 1, 20_000_000, false), long]), Ok(vec![(1, 0, 0, 0)]));
    assert!(started.elapsed().as_millis() >= 20);
}

#[test]
fn an_absolute_time_may_have_come() {
    for id in [0, 1] {
        assert_eq!(poll(&mut with_clocks(), &[clock(1, id, 0, true)]), Ok(vec![(1, 0, 0, 0)]));
    }
    let mut guest = with_clocks();
    let soon = now(&guest.ctx, ClockId::Monotonic) + 5_000_000;
    assert_eq!(poll(&mut guest, &[clock(1, 1, soon, true)]), Ok(vec![(1, 0, 0, 0)]));
    assert!(now(&guest.ctx, ClockId::Monotonic) >= soon);
}

#[test]
fn cpu_time_cannot_be_waited_for() {
    let expected = Errno::NotSup as u16;
    assert_eq!(poll(&mut with_clocks(), &[clock(1, 2, 0, false)]), Ok(vec![(1, expected, 0, 0)]));
}

#[test]
fn streams_in_memory_and_files_are_ready() {
    let ((_temp, mut guest), mut memory) = (with_directory(false), memory());
    let file = open(&mut guest.ctx, &mut memory, "file", 0, Rights::FD_READ.0).unwrap();
    let subscriptions = [
        descriptor(1, EventType::FdRead, 0),
        descriptor(2, EventType::FdWrite, 1),
        descriptor(3, EventType::FdRead, file),
        descriptor(4, EventType::FdWrite, file),
    ];
    assert_eq!(poll(&mut guest, &subscriptions), Ok(vec![(1, 0, 1, 5), (2, 0, 2, 1), (3, 0, 1, 10), (4, 0, 2, 1)]));
}

#[test]
fn what_cannot_be_waited_for_is_an_event_with_an_error() {
    let (_temp, mut guest) = with_directory(false);
    let subscriptions = [
        descriptor(1, EventType::FdRead, 99),
        descriptor(2, EventType::FdWrite, 0),
        descriptor(3, EventType::FdRead, 1),
        descriptor(4, EventType::FdRead, DIR),
    ];
    let (bad, lacking) = (Errno::BadF as u16, Errno::NotCapable as u16);
    assert_eq!(
        poll(&mut guest, &subscriptions),
        Ok(vec![(1, bad, 1, 0), (2, bad, 2, 0), (3, bad, 1, 0), (4, lacking, 1, 0)])
    );
}

#[test]
fn sockets_become_ready() {
    let listener = crate::net::Listener::bind(&Address { host: "127.0.0.1".into(), port: 0 }).unwrap();
    let address = Address { host: "127.0.0.1".into(), port: listener.port() };
    let mut guest = context(Grants::from_iter([Grant::Clocks, Grant::Net(Some(address))]));
    let peer = listener.accept().unwrap();
    let (read, write) = (descriptor(1, EventType::FdRead, DIR), descriptor(2, EventType::FdWrite, DIR));
    assert_eq!(poll(&mut guest, &[read, write]), Ok(vec![(2, 0, 2, 1)]));
    assert_eq!(poll(&mut guest, &[read, clock(3, 1, 1_000_000, false)]), Ok(vec![(3, 0, 0, 0)]));
    peer.send(b"abc").unwrap();
    assert_eq!(poll(&mut guest, &[read]), Ok(vec![(1, 0, 1, 3)]));
}

#[test]
fn without_a_grant_there_is_no_sleep() {
    let mut guest = context(Grants::none());
    let subscriptions = [descriptor(1, EventType::FdRead, 0), clock(2, 1, 0, false)];
    assert_eq!(poll(&mut guest, &subscriptions), Err(Errno::NotCapable));
    assert_eq!(guest.denials(), ["denied: the guest asked for the monotonic clock; grant it with --allow=clocks"]);
}

#[test]
fn bad_calls_are_refused() {
    let (mut guest, mut memory) = (with_clocks(), memory());
    let iovs = buffer(&mut memory, 0, 0);
    assert_eq!(poll_oneoff(&mut guest.ctx, &mut memory, iovs, OUT, 0, 0), Err(Errno::Inval));
    assert_eq!(poll_oneoff(&mut guest.ctx, &mut memory, IN, OUT, u32::MAX, 0), Err(Errno::Inval));
    assert_eq!(poll_oneoff(&mut guest.ctx, &mut memory, 0xfff0, OUT, 1, 0), Err(Errno::Fault));
    assert_eq!(poll_oneoff(&mut guest.ctx, &mut memory, IN, 0xfff0, 1, 0), Err(Errno::Fault));
    assert_eq!(poll_oneoff(&mut guest.ctx, &mut memory, IN, OUT, 1, 0xfffe), Err(Errno::Fault));
    assert_eq!(poll(&mut guest, &[clock(1, 9, 0, false)]), Err(Errno::Inval));
}
