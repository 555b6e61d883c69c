//! What an instance wrote is gone too if it was swapped out when the instance was dropped. Needs root, for a small swap
//! file; says so where that is not to be had.
#![cfg(target_os = "linux")]

mod common;

use std::path::Path;
use std::process::Command;

use common::artifact;
use precast_loader::Linker;

/// A swap file in use.
struct Swap(tempfile::TempDir);

impl Swap {
    fn on() -> Result<Swap, String> {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).map_err(|error| error.to_string())?;
        let file = folder.path().join("swap");
        std::fs::write(&file, vec![0u8; 64 << 20]).map_err(|error| error.to_string())?;
        run("chmod", &["600".as_ref(), &file])?;
        run("mkswap", &[&file])?;
        run("swapon", &[&file])?;
        Ok(Swap(folder))
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        let off = run("swapoff", &[&self.0.path().join("swap")]);
        off.expect("what was swapped out comes back");
    }
}

fn run(program: &str, args: &[&Path]) -> Result<(), String> {
    let output = Command::new(program).args(args).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
}

/// Has the kernel swap out what it can of the slots, which are the mappings of at least 1 MiB. KiB that are.
fn swap_out() -> u64 {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("the kernel tells");
    for line in maps.lines().filter(|line| line.contains(" rw-p ")) {
        let (start, end) = line.split(' ').next().and_then(|range| range.split_once('-')).expect("a range");
        let address = |text| usize::from_str_radix(text, 16).expect("an address");
        let (start, end) = (address(start), address(end));
        // SAFETY: paging out changes no contents.
        unsafe { libc::madvise(std::ptr::with_exposed_provenance_mut(start), end - start, libc::MADV_PAGEOUT) };
    }
    let status = std::fs::read_to_string("/proc/self/status").expect("the kernel tells");
    let line = status.lines().find(|line| line.starts_with("VmSwap:")).expect("it counts");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

#[test]
fn what_was_swapped_out_is_gone_too() {
    let swap = match Swap::on() {
        Ok(swap) => swap,
        Err(reason) => return println!("left out: no swap file to be had here: {reason}"),
    };
    let artifact = artifact(
        r#"(module (memory (export "memory") 20) (global $g (mut i32) (i32.const 7))
            (data (i32.const 70000) "initial")
            (func (export "write") (global.set $g (i32.const 8))
                (memory.fill (i32.const 60000) (i32.const 0xee) (i32.const 400000))
                (drop (memory.grow (i32.const 3)))
                (memory.fill (i32.const 1310720) (i32.const 0xee) (i32.const 150000))))"#,
    );
    let bound = Linker::<()>::new().bind(&artifact).expect("binds");
    let (fresh, _) = artifact.slot_hashes().expect("maps");
    for round in 0..40 {
        let mut instance = bound.instantiate(()).expect("instantiates");
        instance.func::<(), ()>("write").expect("exported").call(&mut instance, ()).expect("writes");
        let swapped = swap_out();
        assert!(swapped >= 100, "only {swapped} KiB are swapped out");
        drop(instance);
        assert_eq!(artifact.idle_hashes(), [fresh], "round {round}");
    }
    drop(swap);
}
