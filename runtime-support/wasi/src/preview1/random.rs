//! `random_get`.

use super::errno::Errno;
use super::memory::GuestMemory;
use crate::{Denial, WasiCtx};

/// Bytes made at a time.
const CHUNK: usize = 16 << 10;

/// Fills the whole buffer: a guest has no way to learn of less.
pub(crate) fn random_get(
    ctx: &mut WasiCtx,
    memory: &mut dyn GuestMemory,
    buffer: u32,
    length: u32,
) -> Result<(), Errno> {
    memory.check(buffer, length)?;
    if !ctx.random {
        ctx.denials.report(Denial::new("random numbers", "random"));
        return Err(Errno::NotCapable);
    }
    ctx.reads.report(|| "random numbers");
    let mut chunk = vec![0; CHUNK.min(length as usize)];
    let (mut address, mut left) = (buffer, length);
    while left > 0 {
        let count = left.min(super::memory::count(chunk.len()));
        let part = &mut chunk[..count as usize];
        getrandom::fill(part).map_err(|_| Errno::Io)?;
        memory.store(address, part)?;
        // In bounds, so it cannot wrap before the last byte.
        address = address.wrapping_add(count);
        left -= count;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{context, memory};
    use super::*;
    use crate::{Grant, Grants};

    #[test]
    fn fills_all_of_a_buffer_and_no_more() {
        let (mut ctx, mut memory) = (context(Grants::none().with(Grant::Random)).ctx, memory());
        random_get(&mut ctx, &mut memory, 100, 40_000).unwrap();
        assert!(memory[100..40_100].chunks(100).all(|part| part.iter().any(|byte| *byte != 0)));
        assert!(memory[40_100..].iter().chain(&memory[..100]).all(|byte| *byte == 0));
        random_get(&mut ctx, &mut memory, 0, 0).unwrap();
    }

    #[test]
    fn refuses_without_a_grant_and_out_of_bounds() {
        let (mut guest, mut memory) = (context(Grants::none()), memory());
        assert_eq!(random_get(&mut guest.ctx, &mut memory, 0, 8), Err(Errno::NotCapable));
        assert_eq!(guest.denials(), ["denied: the guest asked for random numbers; grant it with --allow=random"]);
        assert!(memory.iter().all(|byte| *byte == 0));
        let mut granted = context(Grants::none().with(Grant::Random));
        assert_eq!(random_get(&mut granted.ctx, &mut memory, 0, u32::MAX), Err(Errno::Fault));
    }
}
