//! The vector instructions that a product can be computed with.

#[cfg(target_arch = "x86_64")]
use super::amx;
use std::fmt;

/// Vector instructions of a CPU, each level with kernels of its own. All levels give the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Plain Rust, for any CPU.
    Portable,
    /// x86-64 with AVX2 and FMA: products of bytes in pairs, sums in 16 bits.
    Avx2,
    /// x86-64 with AVX-VNNI: products of bytes in fours, 256 bits at a time.
    AvxVnni,
    /// x86-64 with AVX-512 VNNI: products of bytes in fours, 512 bits at a time.
    Avx512Vnni,
    /// x86-64 with AMX-BF16 and AVX-512: products of 16×16 elements at a time, for nvfp4; the rest as
    /// [`Avx512Vnni`](Self::Avx512Vnni).
    AmxBf16,
}

impl Level {
    /// Every level, from slow to fast.
    pub const ALL: [Self; 5] = [
        Self::Portable,
        Self::Avx2,
        Self::AvxVnni,
        Self::Avx512Vnni,
        Self::AmxBf16,
    ];

    /// The fastest level of this CPU.
    pub fn detect() -> Self {
        let mut levels = Self::ALL.into_iter().rev();
        levels
            .find(|level| level.is_available())
            .unwrap_or(Self::Portable)
    }

    /// Whether this CPU has the level's instructions.
    pub fn is_available(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        let has_avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => has_avx2,
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => has_avx2 && is_x86_feature_detected!("avxvnni"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => {
                has_avx2
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(target_arch = "x86_64")]
            Self::AmxBf16 => {
                Self::Avx512Vnni.is_available()
                    && is_x86_feature_detected!("avx512bw")
                    && amx::is_available()
            }
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::AvxVnni | Self::Avx512Vnni | Self::AmxBf16 => false,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Portable => "portable",
            Self::Avx2 => "AVX2",
            Self::AvxVnni => "AVX-VNNI",
            Self::Avx512Vnni => "AVX-512 VNNI",
            Self::AmxBf16 => "AMX-BF16",
        })
    }
}
