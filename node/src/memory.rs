//! What the allocator is told: before anything else runs, and now and then.

/// Freed memory can be used again by every thread: glibc otherwise keeps up to eight heaps for each processor, and a node's
/// threads, RocksDB's among them, would each fill their own. To be called before any other thread exists.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
pub fn share_heaps() {
    // SAFETY: the function takes two integers and changes nothing but the allocator's own settings.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, HEAPS_MAX);
    }
}

/// Other allocators have no such heaps.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn share_heaps() {}

/// Gives pages in which nothing lies any more back to the system. glibc itself only gives back what is free at the end of a
/// heap: what a busy minute took in its midst would stay with the process for ever. Takes some milliseconds.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
pub fn give_back() {
    // SAFETY: the function takes an integer and touches nothing but free memory, under the allocator's own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Other allocators do so by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn give_back() {}

/// Heaps of all threads together.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const HEAPS_MAX: libc::c_int = 2;

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    /// Bytes of this process that are in memory and no file's.
    fn resident() -> Option<u64> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
        Some(line.trim_end_matches("kB").trim().parse::<u64>().ok()? * 1024)
    }

    #[test]
    fn what_is_free_between_what_is_held_goes_back_to_the_system() {
        let mut pieces: Vec<Option<Vec<u8>>> = (0..16_384).map(|_| Some(vec![1; 4000])).collect();
        for (n, piece) in pieces.iter_mut().enumerate() {
            if n % 64 != 0 {
                *piece = None;
            }
        }
        let before = resident().unwrap();
        super::give_back();
        let after = resident().unwrap();
        assert!(after + (40 << 20) < before, "{before} bytes were resident, and {after} are");
        assert_eq!(pieces.iter().flatten().count(), 256);
    }
}
