//! The contract between precast's compiler and its loader, defined once.
//!
//! What comes in: nothing; this crate has no dependencies and does no I/O. What goes out: the bytes of `.precast.meta`
//! ([`meta`]), the geometry of a slot ([`slot`]), the words that host and guest share ([`host`]), the encoding of
//! references ([`funcref`]), trap codes ([`trap`]) and value types ([`types`]). `FORMAT.md` draws the bytes. The state of an
//! instance that goes from the loader to the compiler ([`snapshot`]) is in no file; what instances did ([`profile`]) is in
//! one of its own.
//!
//! Both sides use these definitions, so an offset has one home. Anything here that changes the meaning of an existing
//! artifact must raise [`ABI_VERSION`].
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod bytes;
pub mod component;
pub mod funcref;
pub mod host;
pub mod meta;
pub mod profile;
pub mod sites;
pub mod slot;
pub mod snapshot;
pub mod trap;
pub mod types;

/// Version of everything this crate defines. A loader opens artifacts of its own version only.
pub const ABI_VERSION: u32 = 3;

/// The first eight bytes of `.precast.meta`.
pub const MAGIC: [u8; 8] = *b"PRECAST\0";

/// Type of the program header that locates `.precast.meta` (`PT_LOOS` + "PC").
pub const PT_PRECAST_META: u32 = 0x6000_0000 + 0x5043;

/// Names of the sections that are ours.
pub mod section {
    /// The meta tables.
    pub const META: &str = ".precast.meta";
    /// The pages of the initial state.
    pub const IMAGE: &str = ".precast.image";
}

/// Names of dynamic symbols.
pub mod symbol {
    /// Prefix of the symbol of each exported function.
    pub const EXPORT_PREFIX: &str = "precast.export.";
    /// The symbol at the start of `.precast.meta`.
    pub const DESCRIPTOR: &str = "precast_descriptor";
}
