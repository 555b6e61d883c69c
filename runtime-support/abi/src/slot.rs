//! The geometry of a slot: the address range an instance lives in.
//!
//! ```text
//!   0             stack_start   block_start  host_start  +host_size   base_offset                    slot_size
//!   ┌─────────────┬─────────────┬────────────┬────────────┬────────────┬──────────────────────────────┬
//!   │ stack guard │ guest stack │ tables     │ host words │ sizes ·    │ memory 0                     │ more
//!   │             │             │            │            │ globals    │ (reservation and guard)      │ memories
//!   └─────────────┴─────────────┴────────────┴────────────┴────────────┴──────────────────────────────┴
//!                                                                      ▲ base
//! ```
//!
//! What each instance writes lies together, just below the base: in one page, as long as imports, globals and tables are
//! few. Compiled code addresses everything by constant distances from the base, which is why the geometry belongs to the
//! artifact and not to the loader.

use crate::record;

/// What the parts of a block are aligned to, in bytes: a cache line.
pub const ALIGN: u64 = 64;

/// Bytes of a WebAssembly page.
pub const WASM_PAGE: u64 = 64 << 10;

/// Bytes of an image up to which a loader may rather copy it into slots than map its runs.
pub const COPIED_IMAGE: u64 = 64 << 10;

/// Bytes of guard below the guest stack. Frames up to 4 KiB are not probed and larger ones probe each page.
pub const STACK_GUARD: u64 = 64 << 10;

/// Bytes of addresses of a guarded 32-bit memory: 4 GiB that an index reaches, 2 GiB that a folded offset adds, and a
/// WebAssembly page for the access itself.
pub const GUARDED_RESERVATION: u64 = (6 << 30) + WASM_PAGE;

/// A constant offset below this is folded into the address of an access to a guarded memory; a larger one is added
/// with an explicit check.
pub const GUARDED_OFFSET_LIMIT: u64 = 2 << 30;

record! {
    /// Where things are in a slot. Offsets in bytes from the slot's start, multiples of `page_size` or of [`ALIGN`].
    pub struct SlotLayout {
        /// The page size the layout is aligned to: the target's largest.
        pub page_size: u64,
        /// Start of the guest stack, just above its guard, which begins the slot. A multiple of `page_size`.
        pub stack_start: u64,
        /// End of the guest stack and start of the block of tables, sizes and globals. A multiple of [`ALIGN`].
        pub block_start: u64,
        /// Start of the host words, which lie within the block. A multiple of [`ALIGN`].
        pub host_start: u64,
        /// Size of the host words with all import cells. A multiple of [`ALIGN`].
        pub host_size: u64,
        /// Where the base points: the end of the block and the start of the first memory. A multiple of `page_size`.
        pub base_offset: u64,
        /// Size of the whole reservation. A multiple of `page_size`.
        pub slot_size: u64,
    }
}
