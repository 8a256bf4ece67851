//! Why there is no such product of scaled tensors.

use super::level::Level;
use tessera_numerics::ScaledType;

/// Why a product of scaled tensors cannot be made or computed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScaledDotError {
    /// An operand of a format that is not computed in integers.
    #[error("{operand}: expected nvfp4 or mxfp4, found {found}")]
    Format {
        /// lhs or rhs.
        operand: &'static str,
        /// The operand's type.
        found: ScaledType,
    },
    /// Operands of different formats.
    #[error("expected operands of one format, found {lhs} and {rhs}")]
    Formats {
        /// The type of the lhs.
        lhs: ScaledType,
        /// The type of the rhs.
        rhs: ScaledType,
    },
    /// Axes of different sizes.
    #[error("expected operands with axes of one size, found {lhs} and {rhs}")]
    Contraction {
        /// The type of the lhs.
        lhs: ScaledType,
        /// The type of the rhs.
        rhs: ScaledType,
    },
    /// Strides that leave an operand.
    #[error("{operand}: expected strides that stay inside its {expected} rows, found {found}")]
    Strides {
        /// lhs or rhs.
        operand: &'static str,
        /// The rows it has.
        expected: usize,
        /// The extents and strides.
        found: String,
    },
    /// A result that is larger than memory, or has two elements in one place.
    #[error("result: expected strides that give each element a place of its own, found {found}")]
    Result {
        /// The extents and strides.
        found: String,
    },
    /// Packed operands that are larger than memory.
    #[error("the packed columns of all products are larger than the address space")]
    TooLarge,
    /// A buffer of another size.
    #[error("{buffer}: expected room for {expected}, found {found}")]
    Buffer {
        /// lhs, rhs, result or workspace.
        buffer: &'static str,
        /// The bytes it needs, of the result the elements.
        expected: usize,
        /// What was given.
        found: usize,
    },
    /// A level that this CPU does not have.
    #[error("this CPU has not the instructions of level {level}")]
    Level {
        /// The level asked for.
        level: Level,
    },
}
