//! Reading the elements of tensors and making tensors of elements.

use crate::number::{Number, Wide, with_element};
use tessera_numerics::{Element, ElementType, Tensor, TensorError};

/// The elements of a tensor whose element type is `T`'s.
pub(crate) fn elements<T: Element>(tensor: &Tensor) -> impl ExactSizeIterator<Item = T> {
    debug_assert_eq!(tensor.element(), T::ELEMENT);
    tensor.bytes().chunks_exact(size_of::<T>()).map(T::read)
}

/// The elements of a tensor of `count` elements, or of a scalar, again and again.
pub(crate) fn elements_or_scalar<T: Element>(
    tensor: &Tensor,
    count: usize,
) -> impl Iterator<Item = T> {
    elements(tensor)
        .collect::<Vec<T>>()
        .into_iter()
        .cycle()
        .take(count)
}

/// A tensor of the given elements in row-major order.
pub(crate) fn tensor<T: Element>(
    shape: &[usize],
    elements: impl Iterator<Item = T>,
) -> Result<Tensor, TensorError> {
    let mut bytes = Vec::with_capacity(elements.size_hint().0 * size_of::<T>());
    elements.for_each(|element| element.write(&mut bytes));
    Tensor::new(T::ELEMENT, shape, bytes)
}

/// The elements of a tensor as uninterpreted cells of `N` bytes, which is its element type's size.
pub(crate) fn cells<const N: usize>(tensor: &Tensor) -> &[[u8; N]] {
    debug_assert_eq!(tensor.element().size(), N);
    tensor.bytes().as_chunks().0
}

/// A tensor of the given cells in row-major order.
pub(crate) fn tensor_of_cells<const N: usize>(
    element: ElementType,
    shape: &[usize],
    cells: Vec<[u8; N]>,
) -> Result<Tensor, TensorError> {
    Tensor::new(element, shape, cells.into_flattened())
}

/// Evaluates an expression with `$N` standing for the size of an element type.
macro_rules! with_size {
    ($element:expr, $N:ident => $body:expr) => {{
        use tessera_numerics::ElementType::*;
        match $element {
            I1 | I8 | Ui8 => {
                const $N: usize = 1;
                $body
            }
            I16 | Ui16 | F16 | Bf16 => {
                const $N: usize = 2;
                $body
            }
            I32 | Ui32 | F32 => {
                const $N: usize = 4;
                $body
            }
            I64 | Ui64 | F64 => {
                const $N: usize = 8;
                $body
            }
        }
    }};
}
pub(crate) use with_size;

/// The element at a position as a tensor of rank 0.
pub(crate) fn scalar_at(tensor: &Tensor, position: usize) -> Result<Tensor, TensorError> {
    let size = tensor.element().size();
    Tensor::new(
        tensor.element(),
        [],
        &tensor.bytes()[position * size..][..size],
    )
}

/// The integers of a tensor of integers or booleans. Those beyond i64 become its greatest.
pub(crate) fn integers(tensor: &Tensor) -> Vec<i64> {
    let integer = |wide| match wide {
        Wide::Integer(value) => i64::try_from(value).unwrap_or(i64::MAX),
        Wide::Float(value) => value as i64,
    };
    with_element!(tensor.element(), T => elements::<T>(tensor).map(|x| integer(x.widen())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_any_width_are_read() {
        let of = |tensor: Tensor| integers(&tensor);
        assert_eq!(of(Tensor::scalar(-3i8)), [-3]);
        assert_eq!(of(Tensor::scalar(u32::MAX)), [4_294_967_295]);
        assert_eq!(of(Tensor::scalar(u64::MAX)), [i64::MAX]);
        assert_eq!(of(Tensor::scalar(true)), [1]);
    }

    #[test]
    fn a_scalar_repeats() {
        let repeated: Vec<f32> = elements_or_scalar(&Tensor::scalar(2f32), 3).collect();
        assert_eq!(repeated, [2.0, 2.0, 2.0]);
    }
}
