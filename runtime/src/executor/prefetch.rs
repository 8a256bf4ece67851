//! Fetches memory into the nearest cache before it is needed.

/// Fetches the line that holds `place`, if there is one, to read it.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn to_read<T>(place: *const T) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch has no effect that a program sees, wherever the place is.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) };
}

/// Fetches the line that holds `place`, if there is one, to write to it.
#[inline(always)]
pub(super) fn to_write<T>(place: *const T) {
    // SAFETY: as for reading; a CPU without the instruction does nothing.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::asm!(
            "prefetchw [{}]",
            in(reg) place,
            options(nostack, preserves_flags, readonly),
        );
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}
