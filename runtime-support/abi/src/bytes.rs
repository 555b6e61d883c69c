//! Little-endian records and bounds-checked tables of them: what every table of `.precast.meta` is made of.
//!
//! To add a record, write it with [`record!`](crate::record!): the macro makes encoder and decoder from one list of fields, so that
//! they cannot disagree. Field types are those that implement [`Field`].

use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;

/// A value with a fixed little-endian encoding.
pub trait Field: Copy + 'static {
    /// Encoded size in bytes.
    const SIZE: usize;
    /// Appends the encoding to `out`.
    fn encode(self, out: &mut Vec<u8>);
    /// Decodes the first [`Self::SIZE`] bytes.
    ///
    /// # Panics
    /// If `bytes` is shorter.
    fn decode(bytes: &[u8]) -> Self;
}

macro_rules! int_fields {
    ($($int:ty)*) => { $(
        impl Field for $int {
            const SIZE: usize = size_of::<$int>();
            fn encode(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn decode(bytes: &[u8]) -> Self {
                let mut le = [0; Self::SIZE];
                le.copy_from_slice(&bytes[..Self::SIZE]);
                <$int>::from_le_bytes(le)
            }
        }
    )* };
}
int_fields!(u8 u16 u32 u64 i32 i64);

impl<const N: usize> Field for [u8; N] {
    const SIZE: usize = N;
    fn encode(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self);
    }
    fn decode(bytes: &[u8]) -> Self {
        let mut array = [0; N];
        array.copy_from_slice(&bytes[..N]);
        array
    }
}

/// A range of the blob (see [`crate::meta`]): names, signatures, segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Offset in bytes from the start of the blob.
    pub offset: u32,
    /// Length in bytes.
    pub len: u32,
}

impl Field for Span {
    const SIZE: usize = 8;
    fn encode(self, out: &mut Vec<u8>) {
        self.offset.encode(out);
        self.len.encode(out);
    }
    fn decode(bytes: &[u8]) -> Self {
        Span { offset: u32::decode(bytes), len: u32::decode(&bytes[4..]) }
    }
}

/// Defines a struct whose encoding is its fields', one after the other, without padding.
#[macro_export]
macro_rules! record {
    (
        $(#[$meta:meta])*
        pub struct $name:ident { $( $(#[$field_meta:meta])* pub $field:ident : $ty:ty, )* }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name { $( $(#[$field_meta])* pub $field: $ty, )* }

        impl $crate::bytes::Field for $name {
            const SIZE: usize = 0 $( + <$ty as $crate::bytes::Field>::SIZE )*;
            fn encode(self, out: &mut alloc::vec::Vec<u8>) {
                $( $crate::bytes::Field::encode(self.$field, out); )*
            }
            fn decode(mut bytes: &[u8]) -> Self {
                $(
                    let $field = <$ty as $crate::bytes::Field>::decode(bytes);
                    bytes = &bytes[<$ty as $crate::bytes::Field>::SIZE..];
                )*
                let _ = bytes;
                $name { $( $field, )* }
            }
        }
    };
}

/// A table of records in borrowed bytes. Rows are decoded when asked for; making one costs the same for any length.
pub struct Table<'a, R> {
    bytes: &'a [u8],
    record: PhantomData<fn() -> R>,
}

impl<R> Clone for Table<'_, R> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<R> Copy for Table<'_, R> {}

impl<R: Field + fmt::Debug> fmt::Debug for Table<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a, R: Field> Table<'a, R> {
    /// `bytes.len()` must be a multiple of the record's size.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        debug_assert_eq!(bytes.len() % R::SIZE, 0);
        Table { bytes, record: PhantomData }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.bytes.len() / R::SIZE
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Row `index`, if there is one.
    pub fn get(&self, index: usize) -> Option<R> {
        let start = index.checked_mul(R::SIZE)?;
        self.bytes.get(start..start.checked_add(R::SIZE)?).map(R::decode)
    }

    /// All rows in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = R> + 'a {
        self.bytes.chunks_exact(R::SIZE).map(R::decode)
    }

    /// The number of leading rows for which `before` holds; the table must be sorted by it.
    pub fn partition_point(&self, mut before: impl FnMut(R) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.get(middle).is_some_and(&mut before) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

#[cfg(test)]
#[allow(unreachable_pub, reason = "the macro makes public records")]
mod tests {
    use super::*;

    record! {
        /// Test.
        pub struct Row { pub a: u32, pub b: i64, pub c: [u8; 3], }
    }

    #[test]
    fn records_round_trip_and_tables_search() {
        let rows: Vec<Row> = (0..10).map(|i| Row { a: i * 2, b: -i64::from(i), c: [i as u8; 3] }).collect();
        let mut bytes = Vec::new();
        rows.iter().for_each(|row| row.encode(&mut bytes));
        assert_eq!(bytes.len(), 10 * 15);
        let table = Table::<Row>::new(&bytes);
        assert_eq!(table.iter().collect::<Vec<_>>(), rows);
        assert_eq!(table.get(10), None);
        assert_eq!(table.get(usize::MAX), None);
        assert_eq!(table.partition_point(|row| row.a < 7), 4);
        assert_eq!(table.partition_point(|_| true), 10);
    }
}
