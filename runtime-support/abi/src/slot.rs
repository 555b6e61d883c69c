//! The geometry of a slot: the address range an instance lives in.
//!
//! ```text
//!   0            host_size      stack_start         block_start            base_offset                    slot_size
//!   ┌────────────┬──────────────┬───────────────────┬──────────────────────┬──────────────────────────────┬
//!   │ host words │ stack guard  │ guest stack       │ tables · sizes ·     │ memory 0                     │ more
//!   │            │              │                   │ globals              │ (reservation and guard)      │ memories
//!   └────────────┴──────────────┴───────────────────┴──────────────────────┴──────────────────────────────┴
//!                                                                          ▲ base
//! ```
//!
//! All boundaries are multiples of the target's largest page. Compiled code addresses everything by constant distances
//! from the base, which is why the geometry belongs to the artifact and not to the loader.

use crate::record;

/// Bytes of a WebAssembly page.
pub const WASM_PAGE: u64 = 64 << 10;

/// Bytes of guard below the guest stack. Frames up to 4 KiB are not probed and larger ones probe each page.
pub const STACK_GUARD: u64 = 64 << 10;

/// Bytes of addresses of a guarded 32-bit memory: 4 GiB that an index reaches, 2 GiB that a folded offset adds, and a
/// WebAssembly page for the access itself.
pub const GUARDED_RESERVATION: u64 = (6 << 30) + WASM_PAGE;

/// A constant offset below this is folded into the address of an access to a guarded memory; a larger one is added
/// with an explicit check.
pub const GUARDED_OFFSET_LIMIT: u64 = 2 << 30;

record! {
    /// Where things are in a slot. Offsets and sizes in bytes from the slot's start, multiples of `page_size`.
    pub struct SlotLayout {
        /// The page size the layout is aligned to: the target's largest.
        pub page_size: u64,
        /// Size of the host words with all import cells, rounded up. The stack guard follows.
        pub host_size: u64,
        /// Start of the guest stack, just above its guard.
        pub stack_start: u64,
        /// End of the guest stack and start of the block of tables, sizes and globals.
        pub block_start: u64,
        /// Where the base points: the end of the block and the start of the first memory.
        pub base_offset: u64,
        /// Size of the whole reservation.
        pub slot_size: u64,
    }
}
