//! A dense array in host memory: element type, shape, bytes.

use crate::ElementType;
use std::fmt;
use std::sync::Arc;

/// A dense, row-major array of elements in host memory, little-endian, without padding.
///
/// It is what a constant holds, what the interpreter computes with and what the runtime takes and gives.
/// Copies share their bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tensor {
    element: ElementType,
    shape: Vec<usize>,
    bytes: Arc<[u8]>,
}

/// Why bytes are not a tensor of the type they are said to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    /// The number of bytes is not what element type and shape ask for.
    #[error(
        "expected {expected} bytes for a tensor of {shape:?} {element} elements, found {found}"
    )]
    Size {
        /// The element type asked for.
        element: ElementType,
        /// The shape asked for.
        shape: Vec<usize>,
        /// The bytes that element type and shape need.
        expected: usize,
        /// The bytes given.
        found: usize,
    },
    /// The shape has more elements than memory can address.
    #[error("a tensor of {shape:?} {element} elements is larger than the address space")]
    Overflow {
        /// The element type asked for.
        element: ElementType,
        /// The shape asked for.
        shape: Vec<usize>,
    },
    /// A boolean is stored as a byte other than 0 and 1.
    #[error("element {index} of a tensor of i1 is stored as {found}, expected 0 or 1")]
    Boolean {
        /// The element's row-major index.
        index: usize,
        /// The byte found there.
        found: u8,
    },
}

impl Tensor {
    /// Takes `bytes` for a tensor of the given element type and shape.
    ///
    /// # Errors
    /// The bytes are too few, too many, or hold a boolean that is neither 0 nor 1.
    pub fn new(
        element: ElementType,
        shape: impl Into<Vec<usize>>,
        bytes: impl Into<Arc<[u8]>>,
    ) -> Result<Self, TensorError> {
        let (shape, bytes) = (shape.into(), bytes.into());
        let expected = byte_size(element, &shape)?;
        if bytes.len() != expected {
            return Err(TensorError::Size {
                element,
                shape,
                expected,
                found: bytes.len(),
            });
        }
        if element == ElementType::I1
            && let Some(index) = bytes.iter().position(|&byte| byte > 1)
        {
            return Err(TensorError::Boolean {
                index,
                found: bytes[index],
            });
        }
        Ok(Self {
            element,
            shape,
            bytes,
        })
    }

    /// A tensor of Rust numbers, in row-major order.
    ///
    /// # Errors
    /// The number of values is not the product of the shape's dimensions.
    pub fn from_values<T: Element>(
        shape: impl Into<Vec<usize>>,
        values: &[T],
    ) -> Result<Self, TensorError> {
        let mut bytes = Vec::with_capacity(size_of_val(values));
        for value in values {
            value.write(&mut bytes);
        }
        Self::new(T::ELEMENT, shape, bytes)
    }

    /// A tensor of rank 0.
    pub fn scalar<T: Element>(value: T) -> Self {
        let mut bytes = Vec::with_capacity(size_of::<T>());
        value.write(&mut bytes);
        Self {
            element: T::ELEMENT,
            shape: Vec::new(),
            bytes: bytes.into(),
        }
    }

    /// A tensor of zeros (false, for booleans).
    ///
    /// # Errors
    /// The shape is larger than the address space.
    pub fn zeros(element: ElementType, shape: impl Into<Vec<usize>>) -> Result<Self, TensorError> {
        let shape = shape.into();
        let bytes = vec![0; byte_size(element, &shape)?];
        Self::new(element, shape, bytes)
    }

    /// The type of each element.
    pub fn element(&self) -> ElementType {
        self.element
    }

    /// The dimensions, slowest first; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of elements: the product of the dimensions, 1 for a scalar.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.element.size()
    }

    /// Whether some dimension is 0.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The elements' bytes: row-major, little-endian.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The elements as Rust numbers, or `None` where the element type is another.
    pub fn values<T: Element>(&self) -> Option<Vec<T>> {
        (T::ELEMENT == self.element).then(|| {
            self.bytes
                .chunks_exact(T::ELEMENT.size())
                .map(T::read)
                .collect()
        })
    }

    /// The same elements in the same order under another shape.
    ///
    /// # Errors
    /// The shape has another number of elements.
    pub fn reshaped(&self, shape: impl Into<Vec<usize>>) -> Result<Self, TensorError> {
        Self::new(self.element, shape, Arc::clone(&self.bytes))
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor<")?;
        for dimension in &self.shape {
            write!(f, "{dimension}x")?;
        }
        write!(f, "{}>(", self.element)?;
        for (index, byte) in self.bytes.iter().take(64).enumerate() {
            let separator = if index > 0 && index % self.element.size() == 0 {
                " "
            } else {
                ""
            };
            write!(f, "{separator}{byte:02x}")?;
        }
        f.write_str(if self.bytes.len() > 64 { " …)" } else { ")" })
    }
}

fn byte_size(element: ElementType, shape: &[usize]) -> Result<usize, TensorError> {
    shape
        .iter()
        .try_fold(element.size(), |size, &dimension| {
            size.checked_mul(dimension)
        })
        .filter(|&size| isize::try_from(size).is_ok())
        .ok_or_else(|| TensorError::Overflow {
            element,
            shape: shape.to_vec(),
        })
}

/// A Rust number that is stored as one tensor element.
pub trait Element: Copy {
    /// The element type whose numbers this is.
    const ELEMENT: ElementType;

    /// Appends the number's bytes as they lie in a tensor.
    fn write(self, bytes: &mut Vec<u8>);

    /// Reads the number from exactly `Self::ELEMENT.size()` bytes.
    fn read(bytes: &[u8]) -> Self;
}

macro_rules! elements {
    ($($rust:ty => $element:ident),* $(,)?) => {$(
        impl Element for $rust {
            const ELEMENT: ElementType = ElementType::$element;

            fn write(self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_le_bytes());
            }

            fn read(bytes: &[u8]) -> Self {
                let mut own = [0; size_of::<$rust>()];
                own.copy_from_slice(bytes);
                Self::from_le_bytes(own)
            }
        }
    )*};
}

elements! {
    i8 => I8, i16 => I16, i32 => I32, i64 => I64,
    u8 => Ui8, u16 => Ui16, u32 => Ui32, u64 => Ui64,
    half::f16 => F16, half::bf16 => Bf16, f32 => F32, f64 => F64,
}

impl Element for bool {
    const ELEMENT: ElementType = ElementType::I1;

    fn write(self, bytes: &mut Vec<u8>) {
        bytes.push(u8::from(self));
    }

    fn read(bytes: &[u8]) -> Self {
        bytes[0] != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_stored_row_major_and_little_endian() {
        let tensor = Tensor::from_values([2, 2], &[1u16, 2, 3, 0x0405]).unwrap();
        assert_eq!(tensor.bytes(), [1, 0, 2, 0, 3, 0, 5, 4]);
        assert_eq!(tensor.values::<u16>(), Some(vec![1, 2, 3, 0x0405]));
        assert_eq!(tensor.values::<i16>(), None);
    }

    #[test]
    fn a_scalar_has_rank_zero_and_one_element() {
        let tensor = Tensor::scalar(1.5f32);
        assert_eq!((tensor.shape(), tensor.len()), (&[][..], 1));
    }

    #[test]
    fn a_wrong_number_of_bytes_is_refused() {
        let error = Tensor::new(ElementType::F32, [2], vec![0; 7]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "expected 8 bytes for a tensor of [2] f32 elements, found 7"
        );
    }

    #[test]
    fn a_shape_beyond_memory_is_refused() {
        assert!(matches!(
            Tensor::zeros(ElementType::F32, [usize::MAX, 2]),
            Err(TensorError::Overflow { .. })
        ));
    }

    #[test]
    fn a_boolean_is_zero_or_one() {
        assert_eq!(
            Tensor::new(ElementType::I1, [2], vec![1, 2]),
            Err(TensorError::Boolean { index: 1, found: 2 })
        );
    }

    #[test]
    fn an_empty_tensor_has_no_bytes() {
        let tensor = Tensor::zeros(ElementType::F64, [3, 0]).unwrap();
        assert!(tensor.is_empty());
        assert_eq!(tensor.len(), 0);
    }
}
