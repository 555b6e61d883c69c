//! Guests that wait: host functions that are asynchronous, and calls that can be suspended in them.
//!
//! What comes in: in a host call, a [`Pending`] future; from a caller with an executor, a function of a store. What goes
//! out: the status with which the host call returns, and a [`Call`], which is a future. A guest that waits is left on
//! its own stack as it is, while the host's stack unwinds to the executor; so a thread has as many waiting guests as it
//! likes, and a guest may go on on another thread.
//!
//! A host call polls its future once itself. If that is not enough, the future travels through the context to the
//! [`Call`], which owns it from then on: who forgets a call forgets that future too, so that nobody polls or drops it when
//! the borrow of the store that it may hold has ended.
//!
//! # Safety
//! A [`Call`] works on a store that its maker has borrowed exclusively for as long as the call exists, unless it is
//! forgotten. Futures in it are polled and dropped by it only.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{self, Poll, Waker};

use crate::HostError;
use crate::call::{self, CallError};
use crate::context::{self, Abort, Context, Progress, host_status};
use crate::host::abort_with;
use crate::record::InstanceRecord;

/// What a guest waits for. When it is ready, the results lie in the cells of the host call.
pub(crate) type Pending = Pin<Box<dyn Future<Output = Result<(), HostError>> + Send>>;

/// A host function was called that could not give its results at once, where the guest cannot wait for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CannotWait {
    /// The guest was entered by a function that waits for nothing.
    #[error("an async host function has to wait, and the guest was called synchronously: use call_async")]
    Synchronous,
    /// There are frames of the guest that a host function called from, and these cannot be left.
    #[error("an async host function that has to wait was called from a nested, synchronous call")]
    Nested,
}

/// Makes a future one that a guest can wait for, whatever it borrows.
///
/// # Safety
/// The future is given to [`suspend`] in the host call that made it. What it borrows lives, and is used by nobody else,
/// until that host call has returned to the guest or the guest is abandoned: the caller of the host call, the closure it is
/// for, and its cells are such. If it is not `Send`, neither is what borrows the store exclusively for the call.
pub(crate) unsafe fn erase<'a>(future: impl Future<Output = Result<(), HostError>> + 'a) -> Pending {
    /// A future that moves between threads only together with the store.
    struct WithStore<F>(F);
    // SAFETY: the caller says that where the future is not `Send`, the store's borrow is not either, so that the call that
    // owns both stays on its thread.
    unsafe impl<F> Send for WithStore<F> {}
    impl<F: Future> Future for WithStore<F> {
        type Output = F::Output;
        fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<F::Output> {
            // SAFETY: the field is pinned whenever the whole is.
            unsafe { self.map_unchecked_mut(|this| &mut this.0) }.poll(cx)
        }
    }
    let future: Pin<Box<dyn Future<Output = Result<(), HostError>> + Send + 'a>> = Box::pin(WithStore(future));
    // SAFETY: only the lifetime changes, for which the caller vouches: `suspend` drops the future before the host call
    // returns, or gives it to the `Call`, which drops it when it is ready, or before the guest counts as abandoned.
    unsafe { std::mem::transmute::<Pin<Box<dyn Future<Output = Result<(), HostError>> + Send + 'a>>, Pending>(future) }
}

/// Waits for `pending` in a host call. Gives the status that the host call returns: at once if the future is ready when it
/// is polled the first time. Catches panics of the future.
///
/// # Safety
/// `context` is that of the guest that called the host, on this thread; the host call returns what this returns, and does
/// nothing in between.
pub(crate) unsafe fn suspend(context: *mut Context, pending: Pending) -> u32 {
    // SAFETY: as the caller says; no reference outlives its statement.
    let (waker, can_wait) = unsafe { ((*context).waker, (*context).can_suspend()) };
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut pending = pending;
        // SAFETY: the waker is borrowed by the function that runs the guest now, and resets the pointer at its end.
        let waker = if can_wait { unsafe { &*waker } } else { Waker::noop() };
        match pending.as_mut().poll(&mut task::Context::from_waker(waker)) {
            Poll::Ready(result) => result.map(|()| None),
            Poll::Pending if can_wait => Ok(Some(pending)),
            Poll::Pending => {
                // SAFETY: the thread's innermost activation is the guest's, since that called.
                let outermost = unsafe { context::current().as_ref() }.is_none_or(|entry| entry.outer.host_sp == 0);
                Err(if outermost { CannotWait::Synchronous } else { CannotWait::Nested }.into())
            }
        }
    }));
    let abort = match outcome {
        Ok(Ok(None)) => return 0,
        Ok(Ok(waiting)) => {
            // SAFETY: as above.
            unsafe { (*context).waiting = waiting };
            return host_status::SUSPEND;
        }
        Ok(Err(error)) => abort_with(error),
        Err(payload) => Abort::Panic(payload),
    };
    // SAFETY: as above.
    unsafe { (*context).pending = Some(abort) };
    host_status::ABANDON
}

/// Calls the code at `text` of instance `record` through the entry thunk of its type. Host functions that it calls may
/// wait, unless this call is made by a host function itself.
///
/// The call does nothing until it is polled. Dropping it while the guest is suspended abandons the guest.
///
/// # Panics
/// When polled: with the panic of a host function that the guest called.
///
/// # Safety
/// As [`call::enter`], for as long as the call exists and is not forgotten; `cells` stays where it is, also when it is.
pub(crate) unsafe fn call_async(record: *mut InstanceRecord, entry: u32, text: u32, cells: *mut u64) -> Call {
    Call { record, entry, text, cells, state: State::New }
}

/// A call of the guest, as a future.
pub(crate) struct Call {
    record: *mut InstanceRecord,
    entry: u32,
    text: u32,
    cells: *mut u64,
    state: State,
}

enum State {
    New,
    /// The guest is suspended, and waits for this. There is nothing only for a moment.
    Suspended(Option<Pending>),
    /// The guest is paused, and can go on at any time.
    Paused,
    Done,
}

// SAFETY: the call is used where the borrow of its store is, which is `Send` if the host's data is; nothing of a suspended
// guest is a thread's in particular.
unsafe impl Send for Call {}

impl Call {
    fn context(&self) -> *mut Context {
        // SAFETY: the maker of the call says that the record and its store are alive.
        unsafe { &raw mut (*(*self.record).store).context }
    }

    /// Enters the guest.
    fn enter(&mut self, waker: &Waker) -> Result<Progress, Box<Abort>> {
        let context = self.context();
        // SAFETY: the maker's promise. Only the outermost entry of a context may be suspendable.
        unsafe {
            if !(*context).is_idle() {
                return call::enter(self.record, self.entry, self.text, self.cells).map(|()| Progress::Returned);
            }
            let record = self.record;
            let (entry, base, code) = ((*record).code(self.entry), (*record).base, (*record).code(self.text));
            context::enter_suspendable(context, entry, base, code, self.cells, waker)
        }
    }

    /// Goes on with what the future came to that the guest waited for.
    fn resume(&mut self, result: Result<(), HostError>, waker: &Waker) -> Result<Progress, Box<Abort>> {
        self.state = State::Suspended(None);
        match result {
            // SAFETY: the guest is the one that `enter` entered, and suspended; nobody but the future, which is gone, had a
            // use of the context since; the future's promise is that the results are in the cells.
            Ok(()) => unsafe { context::resume(self.context(), waker) },
            Err(error) => Err(Box::new(abort_with(error))),
        }
    }
}

impl Future for Call {
    type Output = Result<(), CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let end = match &mut this.state {
            State::New => this.enter(cx.waker()),
            State::Suspended(pending) => {
                // If the future panics the guest stays suspended, until the call is dropped.
                let Some(pending) = pending else { panic!("a call was polled after a panic") };
                let Poll::Ready(result) = pending.as_mut().poll(cx) else { return Poll::Pending };
                this.resume(result, cx.waker())
            }
            // SAFETY: the guest is the one that `enter` entered, and paused.
            State::Paused => unsafe { context::resume_paused(this.context(), cx.waker()) },
            State::Done => panic!("a call was polled after its end"),
        };
        match end {
            Ok(Progress::Suspended) => {
                // SAFETY: the store is alive, and the guest does not run. The host call polled the future just now.
                this.state = State::Suspended(unsafe { (*this.context()).waiting.take() });
                return Poll::Pending;
            }
            Ok(Progress::Paused) => {
                this.state = State::Paused;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Ok(Progress::Returned) => this.state = State::Done,
            Err(_) => this.end(),
        }
        Poll::Ready(end.map(drop).map_err(CallError::from))
    }
}

impl Call {
    /// Abandons the guest if it is suspended, after whatever it waits for is dropped.
    fn end(&mut self) {
        /// Does its work also when dropping the future panics.
        struct Abandon(*mut Context);
        impl Drop for Abandon {
            fn drop(&mut self) {
                // SAFETY: made below.
                unsafe { (*self.0).abandon() };
            }
        }
        match std::mem::replace(&mut self.state, State::Done) {
            State::Suspended(pending) => {
                let _abandon = Abandon(self.context());
                drop(pending);
            }
            State::Paused => drop(Abandon(self.context())),
            State::New | State::Done => {}
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.end();
    }
}
