//! What a kernel's memory holds: tensors of every type that files have, those of four and eight bits too.

use safetensors::Dtype;
use safetensors::tensor::TensorView;

/// A row-major tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

/// Types by their names, MLIR's and PTX's.
const TYPES: [(&str, Dtype); 25] = [
    ("i1", Dtype::BOOL),
    ("i8", Dtype::I8),
    ("s8", Dtype::I8),
    ("i16", Dtype::I16),
    ("s16", Dtype::I16),
    ("i32", Dtype::I32),
    ("s32", Dtype::I32),
    ("i64", Dtype::I64),
    ("s64", Dtype::I64),
    ("ui8", Dtype::U8),
    ("u8", Dtype::U8),
    ("ui16", Dtype::U16),
    ("u16", Dtype::U16),
    ("ui32", Dtype::U32),
    ("u32", Dtype::U32),
    ("ui64", Dtype::U64),
    ("u64", Dtype::U64),
    ("f16", Dtype::F16),
    ("bf16", Dtype::BF16),
    ("f32", Dtype::F32),
    ("f64", Dtype::F64),
    ("e4m3", Dtype::F8_E4M3),
    ("e5m2", Dtype::F8_E5M2),
    ("ue8m0", Dtype::F8_E8M0),
    ("e2m1", Dtype::F4),
];

impl Memory {
    /// Zeros of `TYPE:SHAPE`, or of `TYPE` for a scalar.
    pub fn zeros(what: &str) -> Result<Self, String> {
        let (kind, shape) = match what.split_once(':') {
            Some((kind, shape)) => (kind, lengths(shape)?),
            None => (what, Vec::new()),
        };
        let found = TYPES.iter().find(|(name, _)| *name == kind);
        let &(_, dtype) = found.ok_or_else(|| {
            let names: Vec<&str> = TYPES.iter().map(|&(name, _)| name).collect();
            format!(
                "unknown type '{kind}', expected one of {}",
                names.join(", ")
            )
        })?;
        let mut lengths = shape.iter();
        let elements = lengths.try_fold(1, |all: usize, &size| all.checked_mul(size));
        let bits = elements.and_then(|elements| elements.checked_mul(dtype.bitsize()));
        // Memory that there is not is asked for here, where it is an error, and not where it ends the process.
        let has_room = |bytes: usize| Vec::<u8>::new().try_reserve_exact(2 * bytes).is_ok();
        match bits.filter(|&bits| bits / 8 <= isize::MAX as usize / 2 && has_room(bits / 8)) {
            Some(bits) if bits % 8 != 0 => Err(format!("expected whole bytes, found {what}")),
            Some(bits) => Ok(Self {
                dtype,
                shape,
                bytes: vec![0; bits / 8],
            }),
            None => Err(format!(
                "expected a tensor that fits into memory, found {what}"
            )),
        }
    }

    /// The indices of the element that has a byte.
    pub fn index(&self, byte: usize) -> Vec<usize> {
        let mut element = 8 * byte / self.dtype.bitsize();
        let mut index = vec![0; self.shape.len()];
        for (place, &size) in index.iter_mut().zip(&self.shape).rev() {
            *place = element % size;
            element /= size;
        }
        index
    }
}

/// The file of some tensors.
pub(super) fn file(tensors: &[(String, Memory)]) -> Result<Vec<u8>, safetensors::SafeTensorError> {
    let views = tensors.iter().map(|(name, tensor)| {
        let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes)?;
        Ok((name, view))
    });
    let views: Vec<_> = views.collect::<Result<_, safetensors::SafeTensorError>>()?;
    safetensors::serialize(views, None)
}

fn lengths(shape: &str) -> Result<Vec<usize>, String> {
    let each = shape.split('x').map(str::parse);
    each.collect::<Result<_, _>>()
        .map_err(|_| format!("expected a shape such as 256x128, found '{shape}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_has_a_type_and_a_shape() {
        let memory = Memory::zeros("f32:2x3").unwrap();
        assert_eq!((memory.dtype, &memory.shape[..]), (Dtype::F32, &[2, 3][..]));
        assert_eq!(memory.bytes, [0; 24]);
        assert_eq!(Memory::zeros("u32").unwrap().shape, [0; 0]);
        assert_eq!(Memory::zeros("e2m1:2x4").unwrap().bytes, [0; 4]);
        assert_eq!(Memory::zeros("ue8m0:5").unwrap().bytes, [0; 5]);
        let refused = |what| Memory::zeros(what).unwrap_err();
        assert!(refused("f32:2*3").contains("'2*3'"));
        assert!(refused("f32:").contains("expected a shape such as 256x128, found ''"));
        assert!(refused("e2m1:3").contains("whole bytes"));
        assert!(refused("b32:3").starts_with("unknown type 'b32'"));
    }

    #[test]
    fn elements_are_counted_row_by_row() {
        let memory = Memory::zeros("f32:2x5").unwrap();
        assert_eq!(memory.index(4 * 7), [1, 2]);
        assert_eq!(Memory::zeros("e2m1:2x4").unwrap().index(3), [1, 2]);
    }
}
