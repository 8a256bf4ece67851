//! The element types that are quantised, to and from f32.

use half::{bf16, f16};
use rayon::prelude::*;
use safetensors::Dtype;
use tessera_numerics::{ElementType, largest_magnitude};

/// The type of a tensor's elements before it is quantised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceElement {
    /// IEEE 754 binary32.
    F32,
    /// The upper half of an IEEE 754 binary32.
    Bf16,
    /// IEEE 754 binary16.
    F16,
}

/// Elements that one thread converts at a time.
const STRETCH: usize = 1 << 16;

impl SourceElement {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::F32, Self::Bf16, Self::F16];

    /// The one that a file calls so; `None` for element types that are not quantised.
    pub fn of(dtype: Dtype) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.dtype() == dtype)
    }

    /// Its name in files.
    pub const fn dtype(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::Bf16 => Dtype::BF16,
            Self::F16 => Dtype::F16,
        }
    }

    /// Its name elsewhere: `f32`, `bf16`, `f16`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => ElementType::F32.name(),
            Self::Bf16 => ElementType::Bf16.name(),
            Self::F16 => ElementType::F16.name(),
        }
    }

    /// Bytes of an element.
    pub const fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 | Self::F16 => 2,
        }
    }

    /// The elements in f32, which holds them exactly.
    pub fn to_f32(self, bytes: &[u8]) -> Vec<f32> {
        let mut values = vec![0.0; bytes.len() / self.size()];
        let sources = bytes.par_chunks(STRETCH * self.size());
        let targets = values.par_chunks_mut(STRETCH);
        targets
            .zip(sources)
            .for_each(|(target, source)| self.read(source, target));
        values
    }

    fn read(self, source: &[u8], target: &mut [f32]) {
        match self {
            Self::F32 => {
                for (value, bytes) in target.iter_mut().zip(source.as_chunks().0) {
                    *value = f32::from_le_bytes(*bytes);
                }
            }
            Self::Bf16 => {
                for (value, bytes) in target.iter_mut().zip(source.as_chunks().0) {
                    *value = bf16::from_le_bytes(*bytes).to_f32();
                }
            }
            Self::F16 => {
                for (value, bytes) in target.iter_mut().zip(source.as_chunks().0) {
                    *value = f16::from_le_bytes(*bytes).to_f32();
                }
            }
        }
    }

    /// Numbers rounded to this type, to the nearest, ties to even.
    pub fn bytes_of(self, values: &[f32]) -> Vec<u8> {
        let mut bytes = vec![0; values.len() * self.size()];
        let targets = bytes.par_chunks_mut(STRETCH * self.size());
        targets
            .zip(values.par_chunks(STRETCH))
            .for_each(|(target, source)| self.write(source, target));
        bytes
    }

    fn write(self, source: &[f32], target: &mut [u8]) {
        match self {
            Self::F32 => {
                for (bytes, value) in target.as_chunks_mut().0.iter_mut().zip(source) {
                    *bytes = value.to_le_bytes();
                }
            }
            Self::Bf16 => {
                for (bytes, value) in target.as_chunks_mut().0.iter_mut().zip(source) {
                    *bytes = bf16::from_f32(*value).to_le_bytes();
                }
            }
            Self::F16 => {
                for (bytes, value) in target.as_chunks_mut().0.iter_mut().zip(source) {
                    *bytes = f16::from_f32(*value).to_le_bytes();
                }
            }
        }
    }

    /// The largest magnitude, without a copy of the tensor in f32. NaN where any element is.
    pub fn largest_magnitude(self, bytes: &[u8]) -> f32 {
        let stretches = bytes.par_chunks(STRETCH * self.size());
        let each = stretches.map(|source| {
            let mut values = vec![0.0; source.len() / self.size()];
            self.read(source, &mut values);
            largest_magnitude(&values)
        });
        each.reduce(|| 0.0, larger)
    }
}

/// The larger one, NaN where one of the two is.
fn larger(a: f32, b: f32) -> f32 {
    if a.is_nan() || b.is_nan() {
        f32::NAN
    } else {
        a.max(b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_read_back_as_they_are() {
        let values = [0.0, -1.5, 6.0, f32::INFINITY];
        for element in SourceElement::ALL {
            let bytes = element.bytes_of(&values);
            assert_eq!(bytes.len(), 4 * element.size());
            assert_eq!(element.to_f32(&bytes), values, "{}", element.name());
        }
    }

    #[test]
    fn narrower_elements_are_rounded_to_the_nearest() {
        // bf16 has eight bits of significand: 257 lies midway between 256 and 258, and 256 is even.
        let bytes = SourceElement::Bf16.bytes_of(&[257.0, 259.0]);
        assert_eq!(SourceElement::Bf16.to_f32(&bytes), [256.0, 260.0]);
    }

    #[test]
    fn the_largest_magnitude_is_of_all_stretches_and_a_nan_stays() {
        let mut values = vec![1.0; 2 * STRETCH];
        values[STRETCH + 1] = -3.0;
        let largest = |values: &[f32]| {
            SourceElement::F32.largest_magnitude(&SourceElement::F32.bytes_of(values))
        };
        assert_eq!(largest(&values), 3.0);
        values[0] = f32::NAN;
        assert!(largest(&values).is_nan());
        assert_eq!(largest(&[]), 0.0);
    }
}
