//! x86-64: all registers of code that a signal interrupted, to go on with it later, on whatever thread.
//!
//! What comes in and goes out: the kernel's frame, from which it restores the registers when a handler returns. The vector
//! registers lie there as `xsave` writes them (Intel's manual, volume 1, chapter 13; Linux, `uapi/asm/sigcontext.h`):
//! 512 bytes as `fxsave`, then which components there are, then each at its offset. Only what guest code may use is
//! taken: the rest, protection keys above all, is the thread's own.
//!
//! BANS. [`Paused::save`] and [`Paused::restore`] run in signal handlers: no lock, no allocation, no panic.
//!
//! # Safety
//! Both believe the frame. What they copy lies in it: its own size says so.

use std::arch::x86_64::__cpuid_count;
use std::ffi::c_void;
use std::sync::OnceLock;

use super::Registers;
use super::cpuid::saved_state;

/// General registers and flags: the first ones of the kernel's.
const GENERAL: usize = libc::REG_EFL as usize + 1;
/// What `fxsave` writes; what follows up to 512 is the kernel's own.
const LEGACY: usize = 464;
/// Components: x87, 16, 32, masks and 64.
const COMPONENTS: u64 = 0xe7;
/// Those that have an offset of their own.
const EXTENDED: [u32; 4] = [2, 5, 6, 7];
/// Where in the kernel's own bytes it says that there is more than what `fxsave` writes, and how much in all.
const MAGIC: (usize, u32) = (464, 0x4650_5853);
const SIZE: usize = 480;
/// The bits of the components that there are.
const PRESENT: usize = 512;

/// A part of what `xsave` writes.
struct Component {
    bit: u64,
    offset: usize,
    size: usize,
}

/// The registers of interrupted code.
pub(crate) struct Paused {
    general: [libc::greg_t; GENERAL],
    legacy: [u8; LEGACY],
    present: u64,
    /// The components one after the other.
    extended: Box<[u8]>,
    components: &'static [Component],
}

fn components() -> &'static [Component] {
    static KNOWN: OnceLock<Vec<Component>> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let saved = EXTENDED.into_iter().filter(|number| saved_state() & 1 << number != 0);
        let component = |number| {
            let leaf = __cpuid_count(13, number);
            Component { bit: 1 << number, offset: leaf.ebx as usize, size: leaf.eax as usize }
        };
        saved.map(component).collect()
    })
}

impl Paused {
    /// Room for them.
    pub(crate) fn new() -> Option<Self> {
        let components = components();
        let extended = vec![0; components.iter().map(|component| component.size).sum()];
        let (general, legacy) = ([0; GENERAL], [0; LEGACY]);
        Some(Paused { general, legacy, present: 0, extended: extended.into(), components })
    }

    /// Takes them from the kernel's frame. Whether they are there.
    ///
    /// # Safety
    /// `kernel` is the third argument of a signal handler.
    pub(crate) unsafe fn save(&mut self, kernel: *mut c_void) -> bool {
        // SAFETY: the kernel gives handlers a ucontext_t, whose vector registers lie where it says.
        unsafe {
            let machine = &(*kernel.cast::<libc::ucontext_t>()).uc_mcontext;
            let Some(frame) = Frame::new(machine) else { return false };
            self.general.copy_from_slice(&machine.gregs[..GENERAL]);
            frame.start.copy_to_nonoverlapping(self.legacy.as_mut_ptr(), LEGACY);
            self.present = frame.present();
            let mut at = self.extended.as_mut_ptr();
            for component in self.components {
                if self.present & component.bit != 0 {
                    frame.start.add(component.offset).copy_to_nonoverlapping(at, component.size);
                }
                at = at.add(component.size);
            }
        }
        true
    }

    /// Has the kernel go on with them when the handler returns.
    ///
    /// # Safety
    /// As [`Self::save`], which was called in this process. The interrupted code is no longer needed.
    pub(crate) unsafe fn restore(&self, kernel: *mut c_void) {
        // SAFETY: as above. Nothing else refers to the frame.
        unsafe {
            let machine = &mut (*kernel.cast::<libc::ucontext_t>()).uc_mcontext;
            let Some(frame) = Frame::new(machine) else { return };
            machine.gregs[..GENERAL].copy_from_slice(&self.general);
            frame.start.copy_from_nonoverlapping(self.legacy.as_ptr(), LEGACY);
            frame.set_present(frame.present() & !COMPONENTS | self.present & COMPONENTS);
            let mut at = self.extended.as_ptr();
            for component in self.components {
                if self.present & component.bit != 0 {
                    frame.start.add(component.offset).copy_from_nonoverlapping(at, component.size);
                }
                at = at.add(component.size);
            }
        }
    }

    /// Those that a backtrace begins with.
    pub(crate) fn registers(&self) -> Registers {
        let get = |register: libc::c_int| self.general[register as usize] as usize;
        Registers { pc: get(libc::REG_RIP), sp: get(libc::REG_RSP), fp: get(libc::REG_RBP), link: 0 }
    }
}

/// The vector registers in the kernel's frame.
struct Frame {
    start: *mut u8,
    is_extended: bool,
}

impl Frame {
    /// None if they are not all there.
    ///
    /// # Safety
    /// The registers are the kernel's.
    unsafe fn new(machine: &libc::mcontext_t) -> Option<Frame> {
        let start = machine.fpregs.cast::<u8>();
        if start.is_null() {
            return None;
        }
        // SAFETY: 512 bytes are there in any case.
        let word = |at: usize| unsafe { start.add(at).cast::<u32>().read_unaligned() };
        let is_extended = word(MAGIC.0) == MAGIC.1;
        let end = components().iter().map(|component| component.offset + component.size).max().unwrap_or(0);
        let has_all = if is_extended { end <= word(SIZE) as usize } else { end == 0 };
        has_all.then_some(Frame { start, is_extended })
    }

    fn present(&self) -> u64 {
        // SAFETY: an extended frame has the word.
        if self.is_extended { unsafe { self.start.add(PRESENT).cast::<u64>().read_unaligned() } } else { 3 }
    }

    fn set_present(&self, present: u64) {
        if self.is_extended {
            // SAFETY: an extended frame has the word.
            unsafe { self.start.add(PRESENT).cast::<u64>().write_unaligned(present) };
        }
    }
}
