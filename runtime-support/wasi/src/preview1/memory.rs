//! Guest memory: every pointer and length a guest passes goes through here.
//!
//! Nothing is allocated by a size the guest chose alone: a transfer takes at most [`TRANSFER`] bytes (the guest sees a
//! short read or write, which it has to handle anyway), a path at most [`LONGEST_PATH`]. Destinations are checked
//! before anything is read for them, so that a bad pointer loses no data.

use super::errno::Errno;

/// Most bytes that one call moves between guest and host.
pub(crate) const TRANSFER: u32 = 1 << 20;

/// Most buffers that one call looks at; more give a short transfer.
const MOST_BUFFERS: u32 = 1024;

/// The system's longest path, in bytes.
const LONGEST_PATH: u32 = 4096;

/// A guest's linear memory.
///
/// Addresses are the ABI's 32-bit ones, also if the memory is larger. Reading and writing out of bounds fails with
/// [`Fault`] and changes nothing.
pub(crate) trait GuestMemory {
    /// Current size in bytes.
    fn size(&self) -> u64;
    /// Copies from the guest.
    fn read(&self, address: u32, into: &mut [u8]) -> Result<(), Fault>;
    /// Copies to the guest.
    fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), Fault>;
}

/// An address range that is not in the guest's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault;

impl From<Fault> for Errno {
    fn from(Fault: Fault) -> Self {
        Self::Fault
    }
}

impl dyn GuestMemory + '_ {
    /// Fails unless `length` bytes at `address` are in bounds.
    pub(crate) fn check(&self, address: u32, length: u32) -> Result<(), Errno> {
        let end = u64::from(address) + u64::from(length);
        if end <= self.size() { Ok(()) } else { Err(Errno::Fault) }
    }

    pub(crate) fn store(&mut self, address: u32, bytes: &[u8]) -> Result<(), Errno> {
        Ok(self.write(address, bytes)?)
    }

    pub(crate) fn store_u32(&mut self, address: u32, value: u32) -> Result<(), Errno> {
        self.store(address, &value.to_le_bytes())
    }

    pub(crate) fn store_u64(&mut self, address: u32, value: u64) -> Result<(), Errno> {
        self.store(address, &value.to_le_bytes())
    }

    pub(crate) fn load<const N: usize>(&self, address: u32) -> Result<[u8; N], Errno> {
        let mut bytes = [0; N];
        self.read(address, &mut bytes)?;
        Ok(bytes)
    }

    /// A path: Unicode without zero bytes.
    pub(crate) fn path(&self, address: u32, length: u32) -> Result<String, Errno> {
        self.check(address, length)?;
        if length > LONGEST_PATH {
            return Err(Errno::NameTooLong);
        }
        let mut bytes = vec![0; length as usize];
        self.read(address, &mut bytes)?;
        let path = String::from_utf8(bytes).map_err(|_| Errno::IlSeq)?;
        if path.contains('\0') { Err(Errno::Inval) } else { Ok(path) }
    }

    /// The buffers that an array of `iovec` (or `ciovec`) names, as far as one call goes.
    pub(crate) fn buffers(&self, address: u32, count: u32) -> Result<Buffers, Errno> {
        let bytes = count.checked_mul(8).ok_or(Errno::Inval)?;
        self.check(address, bytes)?;
        let mut buffers = Buffers { parts: Vec::new(), total: 0 };
        for index in 0..count.min(MOST_BUFFERS) {
            let [a0, a1, a2, a3, l0, l1, l2, l3] = self.load::<8>(address + index * 8)?;
            let (start, length) = (u32::from_le_bytes([a0, a1, a2, a3]), u32::from_le_bytes([l0, l1, l2, l3]));
            self.check(start, length)?;
            let length = length.min(TRANSFER - buffers.total);
            buffers.parts.push((start, length));
            buffers.total += length;
            if buffers.total == TRANSFER {
                break;
            }
        }
        Ok(buffers)
    }
}

/// Buffers in guest memory, in bounds when they were looked up.
pub(crate) struct Buffers {
    parts: Vec<(u32, u32)>,
    total: u32,
}

impl Buffers {
    /// Host memory for all of them.
    pub(crate) fn room(&self) -> Vec<u8> {
        vec![0; self.total as usize]
    }

    /// What the guest has in them.
    pub(crate) fn gather(&self, memory: &dyn GuestMemory) -> Result<Vec<u8>, Errno> {
        let mut bytes = self.room();
        let mut rest = bytes.as_mut_slice();
        for &(address, length) in &self.parts {
            let (part, after) = rest.split_at_mut(length as usize);
            memory.read(address, part)?;
            rest = after;
        }
        Ok(bytes)
    }

    /// Spreads bytes over them, from the first on.
    pub(crate) fn scatter(&self, memory: &mut dyn GuestMemory, mut bytes: &[u8]) -> Result<(), Errno> {
        for &(address, length) in &self.parts {
            let (part, after) = bytes.split_at(bytes.len().min(length as usize));
            memory.write(address, part)?;
            bytes = after;
        }
        Ok(())
    }
}

/// A number of bytes as the guest is told it. Never more than a transfer.
pub(crate) fn count(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Guest memory for tests.
    impl GuestMemory for Vec<u8> {
        fn size(&self) -> u64 {
            self.len() as u64
        }

        fn read(&self, address: u32, into: &mut [u8]) -> Result<(), Fault> {
            let start = address as usize;
            into.copy_from_slice(self.get(start..start + into.len()).ok_or(Fault)?);
            Ok(())
        }

        fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), Fault> {
            let start = address as usize;
            self.get_mut(start..start + bytes.len()).ok_or(Fault)?.copy_from_slice(bytes);
            Ok(())
        }
    }

    fn memory_with(pages: usize, buffers: &[(u32, u32)]) -> Vec<u8> {
        let mut memory = vec![0; pages << 16];
        for (index, (address, length)) in buffers.iter().enumerate() {
            memory[index * 8..index * 8 + 4].copy_from_slice(&address.to_le_bytes());
            memory[index * 8 + 4..index * 8 + 8].copy_from_slice(&length.to_le_bytes());
        }
        memory
    }

    #[test]
    fn ranges_are_checked_without_wrapping() {
        let memory: &dyn GuestMemory = &vec![0; 16];
        assert_eq!(memory.check(16, 0), Ok(()));
        assert_eq!(memory.check(15, 2), Err(Errno::Fault));
        assert_eq!(memory.check(u32::MAX, u32::MAX), Err(Errno::Fault));
    }

    #[test]
    fn paths_are_unicode_without_zero_bytes() {
        let bytes = b"a/\xc3\xa9\0\xff".to_vec();
        let memory: &dyn GuestMemory = &bytes;
        assert_eq!(memory.path(0, 4), Ok("a/é".into()));
        assert_eq!(memory.path(0, 5), Err(Errno::Inval));
        assert_eq!(memory.path(5, 1), Err(Errno::IlSeq));
        assert_eq!(memory.path(0, 7), Err(Errno::Fault));
        let large: &dyn GuestMemory = &vec![b'a'; 8192];
        assert_eq!(large.path(0, 4097), Err(Errno::NameTooLong));
    }

    #[test]
    fn buffers_are_gathered_and_scattered_in_order() {
        let mut memory = memory_with(1, &[(100, 2), (200, 0), (300, 3)]);
        let buffers = (&memory as &dyn GuestMemory).buffers(0, 3).unwrap();
        buffers.scatter(&mut memory, b"abcd").unwrap();
        assert_eq!((&memory[100..103], &memory[300..303]), (&b"ab\0"[..], &b"cd\0"[..]));
        assert_eq!(buffers.gather(&memory).unwrap(), b"abcd\0");
    }

    #[test]
    fn one_call_moves_a_bounded_number_of_bytes() {
        let memory = memory_with(32, &[(0, 1 << 20), (0, 1 << 20)]);
        let buffers = (&memory as &dyn GuestMemory).buffers(0, 2).unwrap();
        assert_eq!(buffers.room().len(), TRANSFER as usize);
    }

    #[test]
    fn bad_buffers_are_refused() {
        let memory = memory_with(1, &[(65535, 2)]);
        let memory: &dyn GuestMemory = &memory;
        assert_eq!(memory.buffers(0, 1).err(), Some(Errno::Fault));
        assert_eq!(memory.buffers(65530, 1).err(), Some(Errno::Fault));
        assert_eq!(memory.buffers(0, u32::MAX).err(), Some(Errno::Inval));
    }
}
