//! Streams by themselves, without a guest.

use std::future::poll_fn;
use std::io::Write;

use super::*;
use crate::OutputPipe;

#[test]
fn memory_is_read_to_the_end() {
    let mut input = Input::new(MemoryInput::new("abcde"));
    assert_eq!(input.read(3).unwrap(), "abc");
    assert_eq!(input.read(0).unwrap(), "");
    assert_eq!(input.skip(u64::MAX).unwrap(), 2);
    assert!(matches!(input.read(1), Err(StreamError::Closed)));
    assert!(matches!(Input::new(EmptyInput).read(0), Err(StreamError::Closed)));
}

#[test]
fn a_write_needs_a_permit() {
    let pipe = OutputPipe::new(10);
    let mut output = Output::new(MemoryOutput::new(pipe.clone()));
    let trapped = output.write(Bytes::from_static(b"a"));
    assert!(matches!(trapped, Err(StreamError::Trap(error)) if error.is::<Overdrawn>()));
    assert_eq!(output.check_write().unwrap(), 10);
    output.write(Bytes::from_static(b"abcd")).unwrap();
    output.write_zeroes(2).unwrap();
    assert!(matches!(output.write_zeroes(5), Err(StreamError::Trap(_))));
    assert_eq!(output.check_write().unwrap(), 4);
    output.write(Bytes::from_static(b"efgh")).unwrap();
    assert!(matches!(output.check_write(), Err(StreamError::Closed)));
    assert_eq!(pipe.contents(), b"abcd\0\0efgh");
}

#[tokio::test]
async fn a_descriptor_is_waited_for() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let fd = HostFd::new(reader);
    let late = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(30));
        writer.write_all(b"x").unwrap();
        writer
    });
    poll_fn(|cx| fd.poll_readable(cx)).await;
    assert_eq!(rustix::io::read(fd.get(), &mut [0; 8]).unwrap(), 1);
    // Not ready again until the other end is closed.
    let writer = late.join().unwrap();
    let again = tokio::time::timeout(std::time::Duration::from_millis(20), poll_fn(|cx| fd.poll_readable(cx)));
    assert!(again.await.is_err());
    drop(writer);
    poll_fn(|cx| fd.poll_readable(cx)).await;
    assert_eq!(rustix::io::read(fd.get(), &mut [0; 8]).unwrap(), 0);
}

#[tokio::test]
async fn a_file_is_always_ready() {
    let fd = HostFd::new(tempfile::tempfile().unwrap());
    poll_fn(|cx| fd.poll_readable(cx)).await;
    poll_fn(|cx| fd.poll_writable(cx)).await;
}

#[test]
fn errors_are_told_with_their_causes() {
    #[derive(Debug, thiserror::Error)]
    #[error("cannot read")]
    struct Outer(#[source] std::io::Error);
    let error = Error::new(Outer(std::io::Error::other("the disk is gone")));
    assert_eq!(error.to_debug_string(), "cannot read: the disk is gone");
    assert!(error.downcast_ref::<Outer>().is_some() && error.downcast_ref::<std::io::Error>().is_none());
}
