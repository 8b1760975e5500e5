//! How the system's allocator deals with what is large.

/// From this size on memory comes from the operating system and goes back to it when it is freed.
const MAPPED_FROM_BYTES: i32 = 4 << 20;

/// So much may stay free at the end of a heap.
const TRIMMED_FROM_BYTES: i32 = 8 << 20;

/// Has what is large given back when it is freed. By itself glibc learns from the first large piece to keep such pieces, in a heap
/// for each of many threads: an argon2id of 19 MiB that is now on this thread and now on that one would be there a dozen
/// times over in the end.
///
/// Another C library does as it likes.
#[cfg(target_env = "gnu")]
#[allow(unsafe_code)]
pub fn give_back_what_is_large() {
    // SAFETY: `mallopt` sets two numbers of the allocator, under the allocator's own lock. That they are refused is not an error:
    // everything works as it did before.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_FROM_BYTES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, TRIMMED_FROM_BYTES);
    }
}

/// See the other one.
#[cfg(not(target_env = "gnu"))]
pub fn give_back_what_is_large() {}
