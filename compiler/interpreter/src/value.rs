//! What a graph's value is when it is evaluated.

use tessera_ir::{ScaledTensor, Tensor, TensorType, Type};

/// A value: a tensor or a scaled tensor. Copies share their bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A tensor of numbers.
    Tensor(Tensor),
    /// Packed elements with their scales.
    Scaled(ScaledTensor),
}

impl Value {
    /// Its type.
    pub fn value_type(&self) -> Type {
        match self {
            Self::Tensor(tensor) => TensorType::of(tensor).into(),
            Self::Scaled(scaled) => scaled.scaled_type().clone().into(),
        }
    }

    /// The tensor, where it is one.
    pub fn as_tensor(&self) -> Option<&Tensor> {
        match self {
            Self::Tensor(tensor) => Some(tensor),
            Self::Scaled(_) => None,
        }
    }

    /// The scaled tensor, where it is one.
    pub fn as_scaled(&self) -> Option<&ScaledTensor> {
        match self {
            Self::Tensor(_) => None,
            Self::Scaled(scaled) => Some(scaled),
        }
    }

    /// The tensor.
    ///
    /// # Errors
    /// It is a scaled tensor, which is given back.
    pub fn into_tensor(self) -> Result<Tensor, ScaledTensor> {
        match self {
            Self::Tensor(tensor) => Ok(tensor),
            Self::Scaled(scaled) => Err(scaled),
        }
    }

    /// The bytes as they lie in memory.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Tensor(tensor) => tensor.bytes(),
            Self::Scaled(scaled) => scaled.bytes(),
        }
    }
}

impl From<Tensor> for Value {
    fn from(tensor: Tensor) -> Self {
        Self::Tensor(tensor)
    }
}

impl From<ScaledTensor> for Value {
    fn from(scaled: ScaledTensor) -> Self {
        Self::Scaled(scaled)
    }
}
