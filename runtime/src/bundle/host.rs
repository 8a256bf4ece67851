//! The machine this runs on: which CPU features a bundle may ask for, and which are here.

/// A CPU feature by LLVM's name, and whether this machine has it.
struct Feature {
    name: &'static str,
    here: fn() -> bool,
}

/// Pairs LLVM's names with the standard library's, which differ for a few features.
macro_rules! features {
    ($detected:ident: $($llvm:literal => $standard:tt),* $(,)?) => {
        &[$(Feature {
            name: $llvm,
            here: || std::arch::$detected!($standard),
        }),*]
    };
}

#[cfg(target_arch = "x86_64")]
const FEATURES: &[Feature] = features![is_x86_feature_detected:
    "adx" => "adx",
    "aes" => "aes",
    "avx" => "avx",
    "avx2" => "avx2",
    "avx512bf16" => "avx512bf16",
    "avx512bitalg" => "avx512bitalg",
    "avx512bw" => "avx512bw",
    "avx512cd" => "avx512cd",
    "avx512dq" => "avx512dq",
    "avx512f" => "avx512f",
    "avx512fp16" => "avx512fp16",
    "avx512ifma" => "avx512ifma",
    "avx512vbmi" => "avx512vbmi",
    "avx512vbmi2" => "avx512vbmi2",
    "avx512vl" => "avx512vl",
    "avx512vnni" => "avx512vnni",
    "avx512vp2intersect" => "avx512vp2intersect",
    "avx512vpopcntdq" => "avx512vpopcntdq",
    "avxifma" => "avxifma",
    "avxneconvert" => "avxneconvert",
    "avxvnni" => "avxvnni",
    "avxvnniint16" => "avxvnniint16",
    "avxvnniint8" => "avxvnniint8",
    "bmi" => "bmi1",
    "bmi2" => "bmi2",
    "cx16" => "cmpxchg16b",
    "f16c" => "f16c",
    "fma" => "fma",
    "fxsr" => "fxsr",
    "gfni" => "gfni",
    "lzcnt" => "lzcnt",
    "movbe" => "movbe",
    "pclmul" => "pclmulqdq",
    "popcnt" => "popcnt",
    "rdrnd" => "rdrand",
    "rdseed" => "rdseed",
    "sha" => "sha",
    "sse" => "sse",
    "sse2" => "sse2",
    "sse3" => "sse3",
    "sse4.1" => "sse4.1",
    "sse4.2" => "sse4.2",
    "sse4a" => "sse4a",
    "ssse3" => "ssse3",
    "vaes" => "vaes",
    "vpclmulqdq" => "vpclmulqdq",
    "xsave" => "xsave",
    "xsavec" => "xsavec",
    "xsaveopt" => "xsaveopt",
    "xsaves" => "xsaves",
];

#[cfg(target_arch = "aarch64")]
const FEATURES: &[Feature] = features![is_aarch64_feature_detected:
    "aes" => "aes",
    "bf16" => "bf16",
    "crc" => "crc",
    "dotprod" => "dotprod",
    "fp-armv8" => "fp",
    "fp16fml" => "fhm",
    "fullfp16" => "fp16",
    "i8mm" => "i8mm",
    "lse" => "lse",
    "neon" => "neon",
    "rdm" => "rdm",
    "sve" => "sve",
    "sve2" => "sve2",
];

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const FEATURES: &[Feature] = &[];

/// The features that a bundle for this machine's instruction set may ask for, as LLVM names them, in alphabetical order.
///
/// A compiler that makes code for this machine leaves every other feature off: whether they are here cannot be checked.
pub fn known_features() -> impl Iterator<Item = &'static str> {
    FEATURES.iter().map(|feature| feature.name)
}

/// Those of the [`known_features`] that this machine has.
pub fn host_features() -> impl Iterator<Item = &'static str> {
    FEATURES
        .iter()
        .filter(|feature| (feature.here)())
        .map(|feature| feature.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_unique() {
        let names: Vec<_> = known_features().collect();
        assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_baseline_is_here() {
        let host: Vec<_> = host_features().collect();
        assert!(host.contains(&"sse2"), "{host:?}");
    }
}
