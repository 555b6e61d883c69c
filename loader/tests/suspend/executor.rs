//! The least that runs futures: this thread polls them all whenever one of them was woken.
#![allow(unreachable_pub, reason = "a module of a test program")]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// A future that can go to another thread.
pub type Task<'a, R> = Pin<Box<dyn Future<Output = R> + Send + 'a>>;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls once. The waker wakes this thread.
pub fn poll<R>(task: &mut Task<'_, R>) -> Poll<R> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    task.as_mut().poll(&mut Context::from_waker(&waker))
}

/// Runs one future to its end.
pub fn block_on<'a, R>(future: impl Future<Output = R> + Send + 'a) -> R {
    let mut task: Task<'_, R> = Box::pin(future);
    loop {
        if let Poll::Ready(result) = poll(&mut task) {
            return result;
        }
        thread::park();
    }
}

/// Runs all futures to their ends, on this thread.
pub fn run_all<R>(tasks: Vec<Task<'_, R>>) -> Vec<R> {
    let mut tasks: Vec<_> = tasks.into_iter().enumerate().collect();
    let mut results = Vec::new();
    while !tasks.is_empty() {
        tasks.retain_mut(|(index, task)| {
            let Poll::Ready(result) = poll(task) else { return true };
            results.push((*index, result));
            false
        });
        if !tasks.is_empty() {
            thread::park();
        }
    }
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Is not ready the first `times` times that it is polled, and wakes at once.
pub struct Later {
    times: u32,
}

impl Later {
    pub fn new(times: u32) -> Self {
        Later { times }
    }
}

impl Future for Later {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(times) = self.times.checked_sub(1) else { return Poll::Ready(()) };
        self.times = times;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Is ready after some time.
pub struct Sleep {
    end: Instant,
    sleeping: bool,
}

impl Sleep {
    pub fn new(time: Duration) -> Self {
        Sleep { end: Instant::now() + time, sleeping: false }
    }
}

impl Future for Sleep {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let rest = self.end.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            return Poll::Ready(());
        }
        if !self.sleeping {
            self.sleeping = true;
            let waker = cx.waker().clone();
            thread::spawn(move || {
                thread::sleep(rest);
                waker.wake();
            });
        }
        Poll::Pending
    }
}
