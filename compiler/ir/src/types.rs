//! The types of values: tensors and scaled tensors.

use std::fmt;
use tessera_numerics::{ElementType, ScaledType, Tensor};

/// The type of a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Type {
    /// A tensor of numbers.
    Tensor(TensorType),
    /// Packed elements with their scales. Few ops take or give it: those that quantise, dequantise and multiply, and
    /// those that move any value, such as calls and loops.
    Scaled(ScaledType),
}

impl Type {
    /// The dimensions, slowest first.
    pub fn shape(&self) -> &[usize] {
        match self {
            Self::Tensor(tensor) => &tensor.shape,
            Self::Scaled(scaled) => scaled.shape(),
        }
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.shape().iter().product()
    }

    /// Whether some dimension is 0.
    pub fn is_empty(&self) -> bool {
        self.shape().contains(&0)
    }

    /// The bytes a value of this type takes in memory.
    pub fn byte_size(&self) -> usize {
        match self {
            Self::Tensor(tensor) => tensor.byte_size(),
            Self::Scaled(scaled) => scaled.byte_size(),
        }
    }

    /// As [`byte_size`](Self::byte_size), or `None` where that is more than memory can address.
    pub fn byte_size_checked(&self) -> Option<usize> {
        match self {
            Self::Tensor(tensor) => tensor.byte_size_checked(),
            Self::Scaled(scaled) => Some(scaled.byte_size()),
        }
    }

    /// The tensor type, where this is one.
    pub fn as_tensor(&self) -> Option<&TensorType> {
        match self {
            Self::Tensor(tensor) => Some(tensor),
            Self::Scaled(_) => None,
        }
    }

    /// The scaled type, where this is one.
    pub fn as_scaled(&self) -> Option<&ScaledType> {
        match self {
            Self::Tensor(_) => None,
            Self::Scaled(scaled) => Some(scaled),
        }
    }
}

impl From<TensorType> for Type {
    fn from(tensor: TensorType) -> Self {
        Self::Tensor(tensor)
    }
}

impl From<ScaledType> for Type {
    fn from(scaled: ScaledType) -> Self {
        Self::Scaled(scaled)
    }
}

impl PartialEq<TensorType> for Type {
    fn eq(&self, other: &TensorType) -> bool {
        self.as_tensor() == Some(other)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tensor(tensor) => tensor.fmt(f),
            Self::Scaled(scaled) => scaled.fmt(f),
        }
    }
}

/// A static shape and an element type, `tensor<8x256xbf16>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TensorType {
    /// The type of each element.
    pub element: ElementType,
    /// The dimensions, slowest first; empty for a scalar.
    pub shape: Vec<usize>,
}

impl TensorType {
    /// The type of a tensor with these dimensions.
    pub fn new(element: ElementType, shape: impl Into<Vec<usize>>) -> Self {
        Self {
            element,
            shape: shape.into(),
        }
    }

    /// The type of a tensor of rank 0.
    pub fn scalar(element: ElementType) -> Self {
        Self::new(element, [])
    }

    /// The type of a tensor in memory.
    pub fn of(tensor: &Tensor) -> Self {
        Self::new(tensor.element(), tensor.shape())
    }

    /// The number of dimensions.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether some dimension is 0.
    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }

    /// The bytes a dense tensor of this type takes.
    pub fn byte_size(&self) -> usize {
        self.len() * self.element.size()
    }

    /// The bytes a dense tensor of this type takes, or `None` where they, or the bytes of the dimensions that are not
    /// 0, are more than memory can address. Where there is an answer, no product of dimensions and element size
    /// overflows.
    pub fn byte_size_checked(&self) -> Option<usize> {
        let nonzero = self.shape.iter().filter(|&&dimension| dimension > 0);
        let size = nonzero
            .copied()
            .try_fold(self.element.size(), usize::checked_mul)?;
        isize::try_from(size).ok()?;
        Some(if self.is_empty() { 0 } else { size })
    }

    /// The same shape with another element type.
    pub fn with_element(&self, element: ElementType) -> Self {
        Self::new(element, self.shape.clone())
    }

    /// The same element type with another shape.
    pub fn with_shape(&self, shape: impl Into<Vec<usize>>) -> Self {
        Self::new(self.element, shape)
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tensor<")?;
        for dimension in &self.shape {
            write!(f, "{dimension}x")?;
        }
        write!(f, "{}>", self.element)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_print_as_mlir_does() {
        assert_eq!(
            TensorType::new(ElementType::Bf16, [8, 256]).to_string(),
            "tensor<8x256xbf16>"
        );
        assert_eq!(
            TensorType::scalar(ElementType::I1).to_string(),
            "tensor<i1>"
        );
    }

    #[test]
    fn sizes_beyond_memory_have_no_answer() {
        let size = |shape: &[usize]| TensorType::new(ElementType::F32, shape).byte_size_checked();
        assert_eq!(size(&[2, 3]), Some(24));
        assert_eq!(size(&[2, 0]), Some(0));
        assert_eq!(size(&[1 << 61]), None);
        assert_eq!(size(&[usize::MAX, 2, 0]), None);
    }
}
