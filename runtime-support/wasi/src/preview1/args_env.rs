//! `args_*` and `environ_*`: two lists of strings with a zero byte after each. The environment is empty unless granted,
//! which is nothing out of the ordinary: no denial is reported, since a guest does not say which variable it wants.

use super::errno::Errno;
use super::memory::GuestMemory;
use crate::WasiCtx;

pub(crate) fn args_get(
    ctx: &mut WasiCtx,
    memory: &mut dyn GuestMemory,
    pointers: u32,
    bytes: u32,
) -> Result<(), Errno> {
    store_strings(&ctx.arguments, memory, pointers, bytes)
}

pub(crate) fn args_sizes_get(
    ctx: &mut WasiCtx,
    memory: &mut dyn GuestMemory,
    count: u32,
    size: u32,
) -> Result<(), Errno> {
    store_sizes(&ctx.arguments, memory, count, size)
}

pub(crate) fn environ_get(
    ctx: &mut WasiCtx,
    memory: &mut dyn GuestMemory,
    pointers: u32,
    bytes: u32,
) -> Result<(), Errno> {
    if !ctx.environment.is_empty() {
        ctx.reads.report(|| "the environment");
    }
    store_strings(&ctx.environment, memory, pointers, bytes)
}

pub(crate) fn environ_sizes_get(
    ctx: &mut WasiCtx,
    memory: &mut dyn GuestMemory,
    count: u32,
    size: u32,
) -> Result<(), Errno> {
    store_sizes(&ctx.environment, memory, count, size)
}

/// Number of strings and their size in bytes, zero bytes included.
fn sizes(strings: &[String]) -> Result<(u32, u32), Errno> {
    let size: usize = strings.iter().map(|string| string.len() + 1).sum();
    let narrow = |number: usize| u32::try_from(number).map_err(|_| Errno::Overflow);
    Ok((narrow(strings.len())?, narrow(size)?))
}

fn store_sizes(strings: &[String], memory: &mut dyn GuestMemory, count: u32, size: u32) -> Result<(), Errno> {
    let sizes = sizes(strings)?;
    memory.store_u32(count, sizes.0)?;
    memory.store_u32(size, sizes.1)
}

fn store_strings(strings: &[String], memory: &mut dyn GuestMemory, pointers: u32, bytes: u32) -> Result<(), Errno> {
    let (count, size) = sizes(strings)?;
    memory.check(pointers, count.checked_mul(4).ok_or(Errno::Overflow)?)?;
    memory.check(bytes, size)?;
    // Both ranges are in bounds, so neither address can wrap.
    let (mut pointer, mut address) = (pointers, bytes);
    for string in strings {
        memory.store_u32(pointer, address)?;
        memory.store(address, string.as_bytes())?;
        address += super::memory::count(string.len());
        memory.store(address, &[0])?;
        pointer += 4;
        address += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{context, memory, u32_at};
    use super::*;
    use crate::{Grant, Grants};

    fn greeted() -> WasiCtx {
        let variable = Grant::EnvVar { name: "GREETING".into(), value: Some("hi".into()) };
        WasiCtx::builder().args(["prog", "", "é"]).grants(Grants::none().with(variable)).build().unwrap()
    }

    #[test]
    fn arguments_are_laid_out_one_after_another() {
        let (mut ctx, mut memory) = (greeted(), memory());
        args_sizes_get(&mut ctx, &mut memory, 0, 4).unwrap();
        assert_eq!((u32_at(&memory, 0), u32_at(&memory, 4)), (3, 9));
        args_get(&mut ctx, &mut memory, 8, 100).unwrap();
        assert_eq!([8, 12, 16].map(|at| u32_at(&memory, at)), [100, 105, 106]);
        assert_eq!(&memory[100..109], "prog\0\0é\0".as_bytes());
    }

    #[test]
    fn the_environment_is_what_was_granted() {
        let (mut ctx, mut memory) = (greeted(), memory());
        environ_sizes_get(&mut ctx, &mut memory, 0, 4).unwrap();
        assert_eq!((u32_at(&memory, 0), u32_at(&memory, 4)), (1, 12));
        environ_get(&mut ctx, &mut memory, 8, 100).unwrap();
        assert_eq!((u32_at(&memory, 8), &memory[100..112]), (100, &b"GREETING=hi\0"[..]));
    }

    #[test]
    fn without_a_grant_the_environment_is_empty() {
        let (mut ctx, mut memory) = (context(Grants::none()).ctx, memory());
        environ_sizes_get(&mut ctx, &mut memory, 0, 4).unwrap();
        assert_eq!((u32_at(&memory, 0), u32_at(&memory, 4)), (0, 0));
        environ_get(&mut ctx, &mut memory, 0, 0).unwrap();
    }

    #[test]
    fn bad_addresses_are_faults() {
        let (mut ctx, mut memory) = (greeted(), memory());
        let end = super::super::memory::count(memory.len());
        assert_eq!(args_get(&mut ctx, &mut memory, end - 11, 0), Err(Errno::Fault));
        assert_eq!(args_get(&mut ctx, &mut memory, 0, end - 8), Err(Errno::Fault));
        assert_eq!(args_sizes_get(&mut ctx, &mut memory, 0, u32::MAX), Err(Errno::Fault));
        assert_eq!(environ_get(&mut ctx, &mut memory, u32::MAX, 0), Err(Errno::Fault));
        assert_eq!(environ_sizes_get(&mut ctx, &mut memory, end, 0), Err(Errno::Fault));
    }
}
