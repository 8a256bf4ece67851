//! How fast a target's chip is at best: what times are held against.

use super::GpuTarget;
use std::fmt;
use tessera_runtime::bundle::{MatrixUnit, Work};

/// The chip of a target that its figures are known of, as NVIDIA's data sheets give them: dense, at the boost clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Chip {
    /// What it is called.
    pub name: &'static str,
    /// The target that is for it.
    pub target: &'static str,
    /// Bytes of memory a second, in 10⁹.
    pub gigabytes: f64,
    /// Operations of the cores a second in f32, in 10¹².
    pub cores: f64,
    /// Operations a second of the matrix units on numbers of 16 bits with sums of f32, in 10¹².
    pub half: f64,
    /// On numbers of 8 bits.
    pub fp8: Option<f64>,
    /// On numbers of 4 bits with block scales.
    pub fp4: Option<f64>,
}

/// What a kernel waits for at best.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The memory.
    Memory,
    /// The cores.
    Cores,
    /// The matrix units.
    MatrixUnits,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Cores => "cores",
            Self::MatrixUnits => "matrix units",
        })
    }
}

/// One chip of each architecture. Of GB10 NVIDIA gives the figure for numbers of 4 bits; those for 8 and 16 are a half and
/// a quarter of it.
const CHIPS: [Chip; 6] = [
    chip("A100", "sm_80", 2039.0, 19.5, [312.0, 0.0, 0.0]),
    chip("H200", "sm_90a", 4800.0, 67.0, [989.0, 1979.0, 0.0]),
    chip("B200", "sm_100a", 8000.0, 75.0, [2250.0, 4500.0, 9000.0]),
    chip("B300", "sm_103a", 8000.0, 75.0, [2250.0, 4500.0, 13500.0]),
    chip("RTX 5090", "sm_120a", 1792.0, 104.8, [209.5, 419.0, 1676.0]),
    chip("GB10", "sm_121a", 273.0, 31.0, [125.0, 250.0, 500.0]),
];

/// A row of the table: name, target, memory, cores, matrix units by 16, 8 and 4 bits, 0 where there are none.
const fn chip(
    name: &'static str,
    target: &'static str,
    gigabytes: f64,
    cores: f64,
    [half, fp8, fp4]: [f64; 3],
) -> Chip {
    Chip {
        name,
        target,
        gigabytes,
        cores,
        half,
        fp8: if fp8 > 0.0 { Some(fp8) } else { None },
        fp4: if fp4 > 0.0 { Some(fp4) } else { None },
    }
}

impl Chip {
    /// The chip that a target is for; of a family's target the first.
    pub fn of(target: GpuTarget) -> Option<&'static Self> {
        let name = target.capability().name;
        let own = |chip: &&Self| chip.target == name;
        let first = |chip: &&Self| chip.target.trim_end_matches('a') == name.trim_end_matches('f');
        CHIPS.iter().find(own).or_else(|| CHIPS.iter().find(first))
    }

    /// The least seconds that work takes, and what it waits for; `None` where the chip has no such matrix units. That is
    /// the longest of what memory, cores and matrix units need, each busy all the time.
    pub fn least_seconds(&self, work: &Work) -> Option<(f64, Bound)> {
        let matrix = match work.matrix_unit {
            None => 0.0,
            Some(MatrixUnit::Half) => work.matrix_operations as f64 / self.half,
            Some(MatrixUnit::Fp8) => work.matrix_operations as f64 / self.fp8?,
            Some(MatrixUnit::Fp4) => work.matrix_operations as f64 / self.fp4?,
        };
        let each = [
            (work.bytes as f64 / self.gigabytes / 1e9, Bound::Memory),
            (work.operations as f64 / self.cores / 1e12, Bound::Cores),
            (matrix / 1e12, Bound::MatrixUnits),
        ];
        each.into_iter()
            .reduce(|a, b| if b.0 > a.0 { b } else { a })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nvptx::CAPABILITIES;
    use crate::nvptx::Feature;

    fn chip_of(name: &str) -> &'static Chip {
        Chip::of(name.parse().unwrap()).unwrap()
    }

    #[test]
    fn every_target_has_a_chip_with_its_matrix_units() {
        for row in &CAPABILITIES {
            let chip = chip_of(row.name);
            let has_fp4 = [Feature::Tcgen05, Feature::BlockScaledMmaSync]
                .iter()
                .any(|feature| row.features.contains(feature));
            assert_eq!(chip.fp4.is_some(), has_fp4, "{}", row.name);
        }
    }

    #[test]
    fn a_familys_target_is_held_against_its_first_chip() {
        assert_eq!(chip_of("sm_100f").name, "B200");
        assert_eq!(chip_of("sm_120f").name, "RTX 5090");
    }

    /// 4096³ in nvfp4 on a B200: 2 · 2³⁶ operations at 9 · 10¹⁵ a second.
    #[test]
    fn a_product_waits_for_the_matrix_units() {
        let work = Work {
            bytes: 2 * 9 * (1 << 20) + 4 * (1 << 24),
            operations: 0,
            matrix_operations: 1 << 37,
            matrix_unit: Some(MatrixUnit::Fp4),
        };
        let (seconds, bound) = chip_of("sm_100a").least_seconds(&work).unwrap();
        assert_eq!(bound, Bound::MatrixUnits);
        assert!((seconds - 15.27e-6).abs() < 0.01e-6, "{seconds}");
    }

    /// A copy of 2 × 64 MiB on an H200: 2²⁷ bytes at 4.8 · 10¹² a second.
    #[test]
    fn a_copy_waits_for_memory() {
        let work = Work {
            bytes: 1 << 27,
            operations: 1 << 24,
            ..Work::default()
        };
        let (seconds, bound) = chip_of("sm_90a").least_seconds(&work).unwrap();
        assert_eq!(bound, Bound::Memory);
        assert!((seconds - 27.96e-6).abs() < 0.01e-6, "{seconds}");
    }

    #[test]
    fn a_chip_without_those_matrix_units_has_no_least_time() {
        let work = Work {
            matrix_operations: 1,
            matrix_unit: Some(MatrixUnit::Fp4),
            ..Work::default()
        };
        assert_eq!(chip_of("sm_80").least_seconds(&work), None);
    }
}
