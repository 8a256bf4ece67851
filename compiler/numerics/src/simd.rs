//! Which vector instructions the processor has, and functions compiled once for each of them.
//!
//! Rust neither fuses nor reorders floating-point operations, and no rounding is left to the instructions: all levels
//! compute the same bits.

/// A set of vector instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SimdLevel {
    /// What the compilation target guarantees.
    Portable,
    /// AVX2.
    Avx2,
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
}

impl SimdLevel {
    /// Every level that this processor has, the best last.
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut)]
        let mut levels = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") {
                levels.push(Self::Avx2);
            }
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
            {
                levels.push(Self::Avx512);
            }
        }
        levels
    }

    /// The best level that this processor has.
    pub fn detect() -> Self {
        Self::available()
            .into_iter()
            .next_back()
            .unwrap_or(Self::Portable)
    }
}

/// Defines a function that runs one of several bodies, by the [`SimdLevel`] that is its first argument; each is compiled
/// for the level's instructions.
///
/// The bodies and all that they call must be `#[inline(always)]`: what is not inlined is compiled without the level's
/// instructions.
macro_rules! for_each_level {
    (
        $(#[$attribute:meta])*
        fn $name:ident $(<$($generic:ident: $bound:path),*>)? ($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)? = {
            avx512: $avx512:expr,
            avx2: $avx2:expr,
            portable: $portable:expr,
        };
    ) => {
        $(#[$attribute])*
        pub(crate) fn $name $(<$($generic: $bound),*>)? (level: $crate::simd::SimdLevel, $($argument: $type),*) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2")]
            fn avx2 $(<$($generic: $bound),*>)? ($($argument: $type),*) $(-> $result)? {
                $avx2($($argument),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
            fn avx512 $(<$($generic: $bound),*>)? ($($argument: $type),*) $(-> $result)? {
                $avx512($($argument),*)
            }
            match level {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: `SimdLevel::available` found the processor to have these instructions.
                $crate::simd::SimdLevel::Avx512 => unsafe { avx512 $(::<$($generic),*>)? ($($argument),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                $crate::simd::SimdLevel::Avx2 => unsafe { avx2 $(::<$($generic),*>)? ($($argument),*) },
                _ => $portable($($argument),*),
            }
        }
    };
}
pub(crate) use for_each_level;
