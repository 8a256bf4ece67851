//! The interpreter against JAX's own results (`tests/fixtures/jax/` has the programs and writes the files).

mod programs;
mod roundings;
mod steps;

use safetensors::{Dtype, SafeTensors};
use std::path::{Path, PathBuf};
use tessera_ir::{ElementType, Tensor};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures")
}

/// The tensors `prefix0`, `prefix1`, … of a safetensors file.
fn numbered(file: &SafeTensors<'_>, prefix: &str) -> Vec<Tensor> {
    let tensor = |number: usize| {
        let view = file.tensor(&format!("{prefix}{number}")).ok()?;
        let tensor = Tensor::new(element_type(view.dtype()), view.shape(), view.data());
        Some(tensor.unwrap())
    };
    (0..).map_while(tensor).collect()
}

fn element_type(dtype: Dtype) -> ElementType {
    match dtype {
        Dtype::BOOL => ElementType::I1,
        Dtype::I8 => ElementType::I8,
        Dtype::I16 => ElementType::I16,
        Dtype::I32 => ElementType::I32,
        Dtype::I64 => ElementType::I64,
        Dtype::U8 => ElementType::Ui8,
        Dtype::U16 => ElementType::Ui16,
        Dtype::U32 => ElementType::Ui32,
        Dtype::U64 => ElementType::Ui64,
        Dtype::F16 => ElementType::F16,
        Dtype::BF16 => ElementType::Bf16,
        Dtype::F32 => ElementType::F32,
        Dtype::F64 => ElementType::F64,
        other => panic!("no fixture has {other:?}"),
    }
}

/// The elements of a tensor of floats.
fn floats(tensor: &Tensor) -> Vec<f64> {
    fn read<T: tessera_ir::Element + Into<f64>>(tensor: &Tensor) -> Vec<f64> {
        let values: Vec<T> = tensor.values().expect("the element type is matched below");
        values.into_iter().map(Into::into).collect()
    }
    match tensor.element() {
        ElementType::F16 => read::<half::f16>(tensor),
        ElementType::Bf16 => read::<half::bf16>(tensor),
        ElementType::F32 => read::<f32>(tensor),
        ElementType::F64 => read::<f64>(tensor),
        other => panic!("{other} is no float"),
    }
}
