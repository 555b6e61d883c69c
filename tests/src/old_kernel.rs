//! A kernel that does not know the newest calls, for the ways around them: `PAGEMAP_SCAN` (Linux 6.7) and
//! `MADV_GUARD_INSTALL` (Linux 6.13).

/// From now on these calls fail on this thread, and on those it starts, as on a kernel that does not know them.
///
/// # Panics
/// If the filter cannot be installed.
pub fn pretend_old_kernel() {
    const PAGEMAP_SCAN: u32 = 0xc060_6610;
    const MADV_GUARD_INSTALL: u32 = 102;
    // Offsets in `struct seccomp_data` (`linux/seccomp.h`); of arguments the lower half.
    const NUMBER: u32 = 0;
    const SECOND: u32 = 24;
    const THIRD: u32 = 32;
    let load = |offset| instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0);
    let skip_unless = |value, count| instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value, 0, count);
    let end = |verdict| instruction(libc::BPF_RET | libc::BPF_K, verdict, 0, 0);
    let mut filter = [
        load(NUMBER),
        skip_unless(libc::SYS_ioctl as u32, 3),
        load(SECOND),
        skip_unless(PAGEMAP_SCAN, 4),
        end(libc::SECCOMP_RET_ERRNO | libc::ENOTTY as u32),
        skip_unless(libc::SYS_madvise as u32, 2),
        load(THIRD),
        skip_unless(MADV_GUARD_INSTALL, 0),
        end(libc::SECCOMP_RET_ALLOW),
        end(libc::SECCOMP_RET_ERRNO | libc::EINVAL as u32),
    ];
    // The last comparison goes on to the refusal if it holds.
    filter[7].jt = 1;
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the program is valid while the kernel copies it, and only makes two calls fail.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program), 0);
    }
}

fn instruction(code: u32, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt, jf, k }
}
