//! What each GPU target has: the table that is consulted before any code is made.
//!
//! LLVM aborts on an instruction that its target lacks, and PTX of one chip is refused by another's driver, so a kernel
//! asks here first. "Blackwell" is two families that share no matrix instruction of 4 bits: `tcgen05` on 100 and 103,
//! block-scaled `mma.sync` on 120 and 121. (PTX ISA, "Target ISA notes" of each instruction.)

use std::fmt;
use std::str::FromStr;

/// What not every target can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Feature {
    /// `cp.async`.
    AsyncCopy,
    /// `mma.sync` of f16, bf16 and tf32.
    MmaSync,
    /// Clusters of CTAs and their shared memory.
    Clusters,
    /// Copies by tensor maps, `cp.async.bulk.tensor`.
    TensorCopies,
    /// `wgmma`.
    Wgmma,
    /// `tcgen05` and tensor memory.
    Tcgen05,
    /// `mma.sync` with block scales.
    BlockScaledMmaSync,
    /// `cvt.rn` to E4M3 and E5M2.
    ConvertToFp8,
    /// `cvt.rn` to E2M1, E2M3 and E3M2.
    ConvertToE2m1,
    /// `cvt.rs` to E2M1: stochastic rounding in hardware.
    StochasticConversions,
}

impl Feature {
    /// Every feature.
    pub const ALL: [Self; 10] = [
        Self::AsyncCopy,
        Self::MmaSync,
        Self::Clusters,
        Self::TensorCopies,
        Self::Wgmma,
        Self::Tcgen05,
        Self::BlockScaledMmaSync,
        Self::ConvertToFp8,
        Self::ConvertToE2m1,
        Self::StochasticConversions,
    ];
}

/// A target's row of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Capability {
    /// The target's name, suffix included.
    pub name: &'static str,
    /// The PTX version that code is written in, times ten: the least that knows the target and all its instructions.
    pub ptx_version: u32,
    /// Bytes of shared memory that a CTA can have. (CUDA C++ Programming Guide, "Technical Specifications per Compute
    /// Capability".)
    pub shared_bytes: u32,
    /// Columns of tensor memory that an SM has.
    pub tensor_memory_columns: u32,
    /// What it has of what not all have.
    pub features: &'static [Feature],
}

use Feature::{
    AsyncCopy, BlockScaledMmaSync, Clusters, ConvertToE2m1, ConvertToFp8, MmaSync,
    StochasticConversions, Tcgen05, TensorCopies, Wgmma,
};

const KIB: u32 = 1024;

const AMPERE: &[Feature] = &[AsyncCopy, MmaSync];

const HOPPER: &[Feature] = &[
    AsyncCopy,
    MmaSync,
    Clusters,
    TensorCopies,
    Wgmma,
    ConvertToFp8,
];

/// Of all chips of Blackwell's data-centre family.
const BLACKWELL_100F: &[Feature] = &[
    AsyncCopy,
    MmaSync,
    Clusters,
    TensorCopies,
    Tcgen05,
    ConvertToFp8,
    ConvertToE2m1,
];

/// Of its chips one by one.
const BLACKWELL_100A: &[Feature] = &[
    AsyncCopy,
    MmaSync,
    Clusters,
    TensorCopies,
    Tcgen05,
    ConvertToFp8,
    ConvertToE2m1,
    StochasticConversions,
];

/// Of Blackwell's other family.
const BLACKWELL_120: &[Feature] = &[
    AsyncCopy,
    MmaSync,
    Clusters,
    TensorCopies,
    BlockScaledMmaSync,
    ConvertToFp8,
    ConvertToE2m1,
];

/// Every target.
pub const CAPABILITIES: [Capability; 8] = [
    row("sm_80", 70, 163, 0, AMPERE),
    row("sm_90a", 80, 227, 0, HOPPER),
    row("sm_100a", 88, 227, 512, BLACKWELL_100A),
    row("sm_100f", 88, 227, 512, BLACKWELL_100F),
    row("sm_103a", 88, 227, 512, BLACKWELL_100A),
    row("sm_120a", 87, 99, 0, BLACKWELL_120),
    row("sm_120f", 88, 99, 0, BLACKWELL_120),
    row("sm_121a", 88, 99, 0, BLACKWELL_120),
];

/// A row of the table: name, PTX version, KiB of shared memory, columns of tensor memory, features.
const fn row(
    name: &'static str,
    ptx_version: u32,
    shared_kib: u32,
    tensor_memory_columns: u32,
    features: &'static [Feature],
) -> Capability {
    Capability {
        name,
        ptx_version,
        shared_bytes: shared_kib * KIB,
        tensor_memory_columns,
        features,
    }
}

/// A GPU target: a row of [`CAPABILITIES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GpuTarget(&'static Capability);

/// A name that is no GPU target's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GpuTargetError {
    /// A chip without the suffix that says for which chips the code is.
    #[error(
        "'{name}' has no matrix instructions of its own chip: those are in the targets with a suffix, {candidates} ('a': this chip alone; 'f': its family)"
    )]
    Suffix {
        /// The name given.
        name: String,
        /// The targets of that chip.
        candidates: String,
    },
    /// No target at all.
    #[error("unknown GPU target '{name}': expected {expected}", expected = names())]
    Unknown {
        /// The name given.
        name: String,
    },
}

/// The names of all targets.
pub(crate) fn names() -> String {
    let names = CAPABILITIES.iter().map(|row| row.name);
    names.collect::<Vec<_>>().join(", ")
}

impl GpuTarget {
    /// What it has.
    pub fn capability(self) -> &'static Capability {
        self.0
    }

    /// Whether it can do that.
    pub fn has(self, feature: Feature) -> bool {
        self.0.features.contains(&feature)
    }
}

impl FromStr for GpuTarget {
    type Err = GpuTargetError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        if let Some(row) = CAPABILITIES.iter().find(|row| row.name == name) {
            return Ok(Self(row));
        }
        let name = name.to_owned();
        let suffixed = |row: &&Capability| row.name.strip_prefix(&name[..]).is_some_and(is_suffix);
        let candidates: Vec<&str> = (CAPABILITIES.iter().filter(suffixed))
            .map(|row| row.name)
            .collect();
        Err(match candidates[..] {
            [] => GpuTargetError::Unknown { name },
            _ => GpuTargetError::Suffix {
                name,
                candidates: candidates.join(", "),
            },
        })
    }
}

fn is_suffix(rest: &str) -> bool {
    matches!(rest, "a" | "f")
}

impl fmt::Display for GpuTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_read_back_from_its_name() {
        for row in &CAPABILITIES {
            let target: GpuTarget = row.name.parse().unwrap();
            assert_eq!(target.to_string(), row.name);
        }
    }

    #[test]
    fn a_chip_without_its_suffix_is_explained() {
        let error = "sm_120".parse::<GpuTarget>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "'sm_120' has no matrix instructions of its own chip: those are in the targets with a suffix, sm_120a, \
             sm_120f ('a': this chip alone; 'f': its family)"
        );
    }

    #[test]
    fn an_unknown_chip_is_named_with_those_there_are() {
        let error = "sm_75".parse::<GpuTarget>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown GPU target 'sm_75': expected sm_80, sm_90a, sm_100a, sm_100f, sm_103a, sm_120a, sm_120f, sm_121a"
        );
    }

    #[test]
    fn the_two_families_of_blackwell_share_no_matrix_instruction_of_four_bits() {
        for row in &CAPABILITIES {
            let both = [Tcgen05, BlockScaledMmaSync].map(|f| row.features.contains(&f));
            assert_ne!(both, [true, true], "{}", row.name);
        }
    }
}
