//! Stores: instances that can reach each other, and the host's data.
//!
//! What comes in: the host's `T`, and instances that [`crate::Bound`] makes. What goes out: the exports of each, as
//! handles that only mean something together with their store.
//!
//! A store is one allocation with an address that never changes: host words, the context and every record point to it.
//! A store with one instance, by far the commonest, has that instance's record inside, so that making it allocates
//! once.
//!
//! # Safety
//! All access goes through the raw pointer that [`Store`] owns. Whoever may use the store has a borrow of it
//! ([`AsStore`]), and guest code runs only within a `&mut` borrow; so at any time one thread works on it. Borrows of
//! single fields end within a statement or two, and none is held while guest or host functions run.

use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::component;
use crate::context::Context;
use crate::externs::Extern;
use crate::interrupt::{self, CannotInterrupt, InterruptHandle};
use crate::record::InstanceRecord;
use crate::references::References;

/// Tells stores apart. Never used twice in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct StoreId(u64);

impl StoreId {
    /// Takes from a supply of its own thread, for which the threads' common counter is written rarely.
    fn next() -> Self {
        const SUPPLY: u64 = 1 << 16;
        static NEXT: AtomicU64 = AtomicU64::new(1);
        thread_local! {
            static SUPPLIED: Cell<Range<u64>> = const { Cell::new(0..0) };
        }
        let mut supply = SUPPLIED.take();
        let id = supply.next().unwrap_or_else(|| {
            let start = NEXT.fetch_add(SUPPLY, Ordering::Relaxed);
            supply = start + 1..start + SUPPLY;
            start
        });
        SUPPLIED.set(supply);
        StoreId(id)
    }
}

/// An instance of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InstanceId {
    pub(crate) store: StoreId,
    pub(crate) index: u32,
}

/// Everything of a store that does not depend on the type of the host's data.
pub struct StoreInner {
    pub(crate) id: StoreId,
    pub(crate) context: Context,
    /// How many instances there are.
    len: u32,
    /// Instance 0, if there is one.
    root: MaybeUninit<InstanceRecord>,
    /// The others. Boxes, owned by this list; raw because compiled code holds their addresses too.
    others: Vec<NonNull<InstanceRecord>>,
    /// Bases of the others with their indices, sorted.
    by_base: Vec<(usize, u32)>,
    pub(crate) references: References,
    /// What belongs to component-level calls.
    pub(crate) component: component::State,
}

impl StoreInner {
    /// Instance `index`, if there is such. It lives as long as the store.
    ///
    /// # Safety
    /// `store` is alive.
    #[inline]
    pub(crate) unsafe fn record(store: *mut StoreInner, index: u32) -> Option<*mut InstanceRecord> {
        // SAFETY: the store is alive; `root` holds a record once there is an instance; the borrow of one field ends
        // with the block. No reference to a record is made, so that pointers to it stay good.
        unsafe {
            if index >= (*store).len {
                return None;
            }
            let Some(other) = index.checked_sub(1) else { return Some((&raw mut (*store).root).cast()) };
            let others = &(*store).others;
            others.get(other as usize).map(|record| record.as_ptr())
        }
    }

    /// Instance 0, which there has to be.
    ///
    /// # Safety
    /// `store` is alive and has an instance.
    #[inline]
    pub(crate) unsafe fn first(store: *mut StoreInner) -> *mut InstanceRecord {
        // SAFETY: as the caller says; no reference to the record is made.
        unsafe {
            debug_assert!((*store).len > 0);
            (&raw mut (*store).root).cast()
        }
    }

    /// The instance whose base is `base`.
    ///
    /// # Safety
    /// `store` is alive.
    pub(crate) unsafe fn record_at(store: *mut StoreInner, base: usize) -> Option<*mut InstanceRecord> {
        // SAFETY: the store is alive, each borrow is of one field and ends with the statement.
        unsafe {
            if let Some(root) = Self::record(store, 0).filter(|root| (**root).base.addr() == base) {
                return Some(root);
            }
            let by_base = &(*store).by_base;
            let at = by_base.binary_search_by_key(&base, |(base, _)| *base).ok()?;
            let index = by_base[at].1;
            Self::record(store, index)
        }
    }

    /// The number of instances, which is the index of the next.
    ///
    /// # Safety
    /// `store` is alive.
    pub(crate) unsafe fn len(store: *mut StoreInner) -> u32 {
        // SAFETY: the store is alive.
        unsafe { (*store).len }
    }

    /// Adds an instance, made for index [`Self::len`].
    ///
    /// # Safety
    /// `store` is alive.
    pub(crate) unsafe fn push(store: *mut StoreInner, record: InstanceRecord) -> *mut InstanceRecord {
        // SAFETY: the store is alive, each borrow is of one field and ends with the statement.
        unsafe {
            debug_assert_eq!((*store).len, record.index);
            (*store).len += 1;
            if record.index == 0 {
                let root = (&raw mut (*store).root).cast::<InstanceRecord>();
                root.write(record);
                return root;
            }
            let entry = (record.base.addr(), record.index);
            let record = NonNull::from(Box::leak(Box::new(record)));
            (*store).others.push(record);
            let by_base = &mut (*store).by_base;
            by_base.insert(by_base.partition_point(|other| *other < entry), entry);
            record.as_ptr()
        }
    }
}

impl Drop for StoreInner {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: `root` holds a record once there is an instance, and nobody uses it after this.
            unsafe { self.root.assume_init_drop() };
        }
        for record in self.others.drain(..) {
            // SAFETY: `push` leaked the box for this list, which gives it up here.
            drop(unsafe { Box::from_raw(record.as_ptr()) });
        }
    }
}

/// The one allocation of a store.
struct Parts<T> {
    inner: StoreInner,
    data: T,
}

/// Instances that can reach each other, and the host's data: the unit of exclusive access, since every call takes a
/// `&mut` of it. Instances live as long as their store.
pub struct Store<T> {
    parts: NonNull<Parts<T>>,
    /// Owns a `T`, and is no store of anything else, be it of a shorter life: host functions were made for just this one.
    ///
    /// ```compile_fail
    /// fn shorter<'a>(store: precast_loader::Store<&'static str>) -> precast_loader::Store<&'a str> {
    ///     store
    /// }
    /// ```
    owns: PhantomData<Cell<Parts<T>>>,
}

// SAFETY: besides `T` a store owns slots, whose memory is no thread's in particular; host functions, which are `Send`
// and `Sync`; and host references, which are too. Guest code keeps nothing in thread-local storage.
unsafe impl<T: Send> Send for Store<T> {}

impl<T> Store<T> {
    /// A store without instances.
    pub fn new(data: T) -> Self {
        let id = StoreId::next();
        let inner = StoreInner {
            id,
            context: Context::new(),
            len: 0,
            root: MaybeUninit::uninit(),
            others: Vec::new(),
            by_base: Vec::new(),
            references: References::default(),
            component: component::State::new(id),
        };
        let parts = NonNull::from(Box::leak(Box::new(Parts { inner, data })));
        let store = Store { parts, owns: PhantomData };
        // SAFETY: the allocation was just made and nothing borrows it.
        unsafe {
            let context = &raw mut (*store.inner().as_ptr()).context;
            (*context).data = (&raw mut (*parts.as_ptr()).data).cast();
            (*context).store = store.inner().as_ptr().cast();
        }
        store
    }

    /// The host's data.
    pub fn data(&self) -> &T {
        // SAFETY: `parts` is alive, and the borrow of the store keeps others from changing the data.
        unsafe { &(*self.parts.as_ptr()).data }
    }

    /// The host's data.
    pub fn data_mut(&mut self) -> &mut T {
        // SAFETY: `parts` is alive, and the borrow of the store is exclusive.
        unsafe { &mut (*self.parts.as_ptr()).data }
    }

    /// Drops all instances and gives the data back.
    pub fn into_data(self) -> T {
        let store = std::mem::ManuallyDrop::new(self);
        // SAFETY: `new` leaked the box, and `ManuallyDrop` keeps `drop` from taking it too.
        let parts = unsafe { Box::from_raw(store.parts.as_ptr()) };
        parts.data
    }

    /// A handle with which other threads can stop the guest of this store.
    ///
    /// The first one in a process starts a thread and handles the signal `SIGURG`. Calls into a store with a handle take
    /// some ten nanoseconds more.
    ///
    /// # Errors
    /// The thread does not start.
    pub fn interrupt_handle(&mut self) -> Result<InterruptHandle, CannotInterrupt> {
        interrupt::ensure()?;
        // SAFETY: the store is alive and borrowed exclusively, so that no guest of it runs whose entry found none.
        let context = unsafe { &mut (*self.inner().as_ptr()).context };
        Ok(InterruptHandle::new(context.share_interrupts()))
    }

    /// Has guests of this store that are called by `call_async` and its like give their thread back when they have run for
    /// `slice`, some milliseconds later at most: the future is not ready then, wakes its task at once, and the guest goes
    /// on where it was when the future is polled next. What a host function calls is not paused.
    ///
    /// # Errors
    /// As [`Self::interrupt_handle`]; and on AArch64.
    pub fn set_time_slice(&mut self, slice: Option<Duration>) -> Result<(), CannotInterrupt> {
        interrupt::ensure()?;
        // SAFETY: as in `interrupt_handle`.
        let context = unsafe { &mut (*self.inner().as_ptr()).context };
        if context.set_slice(slice) { Ok(()) } else { Err(CannotInterrupt::UNSUPPORTED) }
    }

    /// The export of an instance called `name`.
    ///
    /// # Panics
    /// If the instance is another store's.
    pub fn export(&self, instance: InstanceId, name: &str) -> Option<Extern> {
        let record = self.record(instance)?;
        // SAFETY: the record lives as long as the store, and the borrow ends with the statement.
        unsafe { (*record).export(name) }
    }

    /// All exports of an instance, by name.
    ///
    /// # Panics
    /// If the instance is another store's.
    pub fn exports(&self, instance: InstanceId) -> impl Iterator<Item = (&str, Extern)> {
        let record = self.record(instance);
        // SAFETY: the record lives as long as the store, which the result borrows; what `exports` reads of it (its
        // artifact and index) never changes.
        let exports = record.map(|record| unsafe { (*record.cast_const()).exports() });
        exports.into_iter().flatten()
    }

    pub(crate) fn record(&self, instance: InstanceId) -> Option<*mut InstanceRecord> {
        // SAFETY: the store is alive.
        unsafe {
            assert!((*self.inner().as_ptr()).id == instance.store, "the instance belongs to another store");
            StoreInner::record(self.inner().as_ptr(), instance.index)
        }
    }
}

impl<T> Drop for Store<T> {
    fn drop(&mut self) {
        // SAFETY: `new` leaked the box, and only `into_data`, which forgets the store, takes it elsewhere.
        drop(unsafe { Box::from_raw(self.parts.as_ptr()) });
    }
}

impl<T: std::fmt::Debug> std::fmt::Debug for Store<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("data", self.data()).finish_non_exhaustive()
    }
}

/// What gives access to a store: [`Store`], [`crate::Instance`], [`crate::Caller`] in a host function, and `&mut` of
/// each.
pub trait AsStore: Sealed {
    /// Type of the host's data.
    type Data;
}

pub(crate) mod sealed {
    use std::ptr::NonNull;

    /// Keeps [`super::AsStore`] to this crate, whose unsafe code believes its implementations.
    pub trait Sealed {
        /// The store, which is alive as long as the borrow.
        fn inner(&self) -> NonNull<super::StoreInner>;
    }
}
use sealed::Sealed;

impl<T> Sealed for Store<T> {
    #[inline]
    fn inner(&self) -> NonNull<StoreInner> {
        // SAFETY: `parts` is alive, so a field of it has an address that is not null.
        unsafe { NonNull::new_unchecked(&raw mut (*self.parts.as_ptr()).inner) }
    }
}
impl<T> AsStore for Store<T> {
    type Data = T;
}

impl<S: Sealed> Sealed for &mut S {
    #[inline]
    fn inner(&self) -> NonNull<StoreInner> {
        (**self).inner()
    }
}
impl<S: AsStore> AsStore for &mut S {
    type Data = S::Data;
}
