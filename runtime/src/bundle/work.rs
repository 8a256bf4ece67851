//! What a kernel has to do, as a roofline counts it.

use serde::{Deserialize, Serialize};

/// What one launch of a kernel has to do. A chip takes at least as long as its memory needs for the bytes, its cores for
/// their operations and its matrix units for theirs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Work {
    /// Bytes of operands and results, each read or written once.
    pub bytes: u64,
    /// Operations of the cores: one for an element of an op's result, two for a product that is added.
    pub operations: u64,
    /// Operations of the matrix units, two for a product that is added.
    pub matrix_operations: u64,
    /// The matrix units that do them; none where there are no such operations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matrix_unit: Option<MatrixUnit>,
}

/// A GPU's matrix units, by the numbers that they multiply: what their speed depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MatrixUnit {
    /// Numbers of 16 bits, bf16 or f16.
    Half,
    /// Numbers of 8 and of 6 bits, and of 4 where the other operand's have more.
    Fp8,
    /// Numbers of 4 bits with block scales.
    Fp4,
}
