//! What code is made for: the target's name, its processor and features; and LLVM's code generator for it.

use crate::llvm::{LoweringError, Machine};
use inkwell::{
    OptimizationLevel,
    targets::{CodeModel, InitializationConfig, RelocMode, Target, TargetTriple},
};
use std::fmt;
use std::str::FromStr;
use tessera_runtime::bundle::{host_features, known_features};

/// A level of the x86-64 ABI, and the features it adds to the one before.
struct Level {
    name: &'static str,
    features: &'static [&'static str],
}

/// Levels from the one that code needs: without fused multiply-add and half-precision conversions, both would be calls.
const LEVELS: [Level; 2] = [
    Level {
        name: "x86-64-v3",
        features: &[
            "avx", "avx2", "bmi", "bmi2", "cx16", "f16c", "fma", "lzcnt", "movbe", "popcnt",
            "sse3", "sse4.1", "sse4.2", "ssse3", "xsave",
        ],
    },
    Level {
        name: "x86-64-v4",
        features: &["avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"],
    },
];

/// A CPU target: `cpu` for the machine at hand, or `cpu:x86-64-v3`, `cpu:x86-64-v4`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuTarget {
    name: String,
    level: usize,
    /// Features beyond the baseline, in alphabetical order.
    features: Vec<&'static str>,
}

/// A target name that means nothing, or a machine that no code can be made for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CpuTargetError {
    /// The name is not one of a CPU target.
    #[error("unknown target '{name}': expected cpu, cpu:x86-64-v3 or cpu:x86-64-v4")]
    Unknown {
        /// The name given.
        name: String,
    },
    /// The machine at hand lacks what every kernel needs.
    #[error(
        "this machine's processor lacks {missing}: code is made for x86-64-v3 and above; name a target, cpu:x86-64-v3, to compile for another machine"
    )]
    Host {
        /// The features it lacks.
        missing: String,
    },
}

impl CpuTarget {
    /// The features of a level and those below it.
    fn level_features(level: usize) -> impl Iterator<Item = &'static str> {
        LEVELS[..=level]
            .iter()
            .flat_map(|level| level.features.iter().copied())
    }

    /// The machine at hand.
    ///
    /// # Errors
    /// Its processor lacks what every kernel needs.
    pub fn host() -> Result<Self, CpuTargetError> {
        let features: Vec<_> = host_features().collect();
        let has = |level: usize| Self::level_features(level).all(|f| features.contains(&f));
        let Some(level) = (0..LEVELS.len()).rev().find(|&level| has(level)) else {
            let missing: Vec<_> = Self::level_features(0)
                .filter(|f| !features.contains(f))
                .collect();
            return Err(CpuTargetError::Host {
                missing: missing.join(", "),
            });
        };
        Ok(Self {
            name: "cpu".to_owned(),
            level,
            features,
        })
    }

    /// The features that the code needs beyond x86-64's baseline, by LLVM's names, in alphabetical order.
    pub fn features(&self) -> &[&'static str] {
        &self.features
    }

    /// What the code is made for, whatever the target's name: a level and all features.
    pub(crate) fn description(&self) -> String {
        format!("{} {}", LEVELS[self.level].name, self.features.join(","))
    }

    /// The target of a [description](Self::description).
    pub(crate) fn described(text: &str) -> Option<Self> {
        let (level, features) = text.split_once(' ')?;
        let known = |name: &str| known_features().find(|known| *known == name);
        Some(Self {
            name: format!("cpu:{level}"),
            level: LEVELS.iter().position(|known| known.name == level)?,
            features: features.split(',').map(known).collect::<Option<_>>()?,
        })
    }

    /// LLVM's code generator for this target.
    pub(super) fn machine(&self) -> Result<Machine, LoweringError> {
        let fail = |message: String| LoweringError {
            stage: "LLVM's target",
            message,
        };
        Target::initialize_x86(&InitializationConfig::default());
        let triple = TargetTriple::create("x86_64-unknown-linux-gnu");
        let target = Target::from_triple(&triple).map_err(|error| fail(error.to_string()))?;
        // Vectors as wide as there are: LLVM would use half of what a level-4 processor has.
        let features: String = (self.features.iter())
            .map(|feature| format!("+{feature},"))
            .chain(["-prefer-256-bit".to_owned()])
            .collect();
        let machine = target.create_target_machine(
            &triple,
            LEVELS[self.level].name,
            &features,
            OptimizationLevel::Aggressive,
            RelocMode::PIC,
            CodeModel::Default,
        );
        let machine = machine.ok_or_else(|| fail(format!("there is none for {self}")))?;
        Ok(Machine(machine))
    }
}

impl FromStr for CpuTarget {
    type Err = CpuTargetError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        if name == "cpu" {
            return Self::host();
        }
        let level = name
            .strip_prefix("cpu:")
            .and_then(|level| LEVELS.iter().position(|known| known.name == level));
        let Some(level) = level else {
            return Err(CpuTargetError::Unknown {
                name: name.to_owned(),
            });
        };
        let mut features: Vec<_> = Self::level_features(level).collect();
        features.sort_unstable();
        Ok(Self {
            name: name.to_owned(),
            level,
            features,
        })
    }
}

impl fmt::Display for CpuTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_has_the_features_of_those_below() {
        let v4: CpuTarget = "cpu:x86-64-v4".parse().unwrap();
        assert!(v4.features().contains(&"fma") && v4.features().contains(&"avx512f"));
        assert!(v4.features().is_sorted());
        assert_eq!(v4.to_string(), "cpu:x86-64-v4");
    }

    #[test]
    fn an_unknown_target_is_named() {
        let error = "cpu:x86-64-v2".parse::<CpuTarget>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown target 'cpu:x86-64-v2': expected cpu, cpu:x86-64-v3 or cpu:x86-64-v4"
        );
    }
}
