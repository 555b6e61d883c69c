//! `wasi:random`: numbers that cannot be predicted, and numbers that need not be.
//!
//! The former are granted; a guest without the grant is stopped, since the interface has no error and must not give
//! anything else. The latter may be the same on every run, as the interface says, and without the grant they are: so
//! programs that seed a hash map run without one.

use precast_loader::HostError;

use super::Ctx;
use super::bindings::wasi::random::{insecure, insecure_seed, random};

/// Most bytes at a time: the host makes them all before the guest has any.
const MOST_RANDOM: u64 = 64 << 20;

/// A guest wants more random bytes at a time than it can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the guest asks for {0} random bytes at once; at most {MOST_RANDOM} can be had")]
struct TooMany(u64);

fn length(len: u64) -> Result<usize, TooMany> {
    usize::try_from(len).ok().filter(|_| len <= MOST_RANDOM).ok_or(TooMany(len))
}

/// The host has no random numbers to give.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random numbers: {0}")]
struct NoRandom(getrandom::Error);

fn secure_u64() -> Result<u64, NoRandom> {
    getrandom::u64().map_err(NoRandom)
}

impl random::Host for Ctx {
    fn get_random_bytes(&mut self, len: u64) -> Result<Vec<u8>, HostError> {
        self.require(self.shared.random, "random numbers", "random")?;
        let mut bytes = vec![0; length(len)?];
        getrandom::fill(&mut bytes).map_err(NoRandom)?;
        Ok(bytes)
    }

    fn get_random_u64(&mut self) -> Result<u64, HostError> {
        self.require(self.shared.random, "random numbers", "random")?;
        Ok(secure_u64()?)
    }
}

impl insecure::Host for Ctx {
    fn get_insecure_random_bytes(&mut self, len: u64) -> Result<Vec<u8>, HostError> {
        let length = length(len)?;
        let mut bytes = Vec::with_capacity(length.next_multiple_of(8));
        while bytes.len() < length {
            bytes.extend(self.next_insecure()?.to_le_bytes());
        }
        bytes.truncate(length);
        Ok(bytes)
    }

    fn get_insecure_random_u64(&mut self) -> Result<u64, HostError> {
        self.next_insecure()
    }
}

impl insecure_seed::Host for Ctx {
    fn insecure_seed(&mut self) -> Result<(u64, u64), HostError> {
        Ok((self.next_insecure()?, self.next_insecure()?))
    }
}

impl Ctx {
    /// The next number of a splitmix64 generator (Steele, Lea and Flood, "Fast splittable pseudorandom number
    /// generators", 2014).
    fn next_insecure(&mut self) -> Result<u64, HostError> {
        let state = match self.insecure {
            Some(state) => state,
            None if self.shared.random => {
                self.shared.reads.report(|| "random numbers");
                secure_u64()?
            }
            None => 0,
        };
        let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.insecure = Some(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Ok(mixed ^ (mixed >> 31))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::context;
    use super::insecure::Host as _;
    use super::insecure_seed::Host as _;
    use super::random::Host as _;
    use crate::preview2::Denied;
    use crate::{Grant, Grants};

    #[test]
    fn granted_numbers_differ() {
        let mut one = context(Grants::none().with(Grant::Random)).ctx;
        let mut two = context(Grants::none().with(Grant::Random)).ctx;
        assert_ne!(one.get_random_u64().unwrap(), one.get_random_u64().unwrap());
        assert_ne!(one.get_random_bytes(33).unwrap(), two.get_random_bytes(33).unwrap());
        assert_eq!(one.get_random_bytes(0).unwrap(), []);
        assert_ne!(one.insecure_seed().unwrap(), two.insecure_seed().unwrap());
        assert!(one.get_random_bytes(u64::MAX).is_err() && one.get_insecure_random_bytes(1 << 40).is_err());
    }

    #[test]
    fn without_a_grant_only_predictable_ones() {
        let (mut one, mut two) = (context(Grants::none()), context(Grants::none()));
        assert!(one.ctx.get_random_u64().unwrap_err().is::<Denied>());
        assert!(one.ctx.get_random_bytes(1).unwrap_err().is::<Denied>());
        assert_eq!(one.denials(), ["denied: the guest asked for random numbers; grant it with --allow=random"]);
        assert_eq!(one.ctx.insecure_seed().unwrap(), two.ctx.insecure_seed().unwrap());
        let bytes = one.ctx.get_insecure_random_bytes(20).unwrap();
        assert_eq!(bytes.len(), 20);
        assert_ne!(bytes[..8], bytes[8..16]);
        assert_ne!(one.ctx.get_insecure_random_u64().unwrap(), one.ctx.get_insecure_random_u64().unwrap());
    }
}
