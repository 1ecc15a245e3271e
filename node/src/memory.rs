//! What the allocator is told before anything else runs.

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

/// Heaps of all threads together.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const HEAPS_MAX: libc::c_int = 2;
