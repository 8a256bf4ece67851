//! A product as a call of the runtime's matrix product.

use crate::blocks::dot::{Product, input_position};
use crate::mlir::index::{Expression, Variable};
use tessera_ir::ElementType;
use tessera_ir::plan::Kernel;
use tessera_runtime::bundle::{BatchDimension, Gemm, MatrixLayout};

/// The kernel as a call of the runtime's matrix product, and which of its inputs are lhs and rhs; `None` where it cannot
/// be one.
///
/// Rows and columns that do not lie at one stride become batches.
pub fn gemm(kernel: &Kernel) -> Option<(Gemm, [usize; 2])> {
    let product = Product::of(&kernel.body)?;
    let types = product
        .operation
        .op
        .operands
        .iter()
        .map(|&v| kernel.body.tensor_type(v).element);
    let element = product.element;
    let float = matches!(element, ElementType::F32 | ElementType::F64);
    if !float || product.accumulator != element || types.into_iter().any(|t| t != element) {
        return None;
    }
    let mut next = 0;
    let mut variables = |shape: &[usize]| -> Vec<Dimension> {
        let dimensions = shape.iter().map(|&extent| {
            next += 1;
            Dimension {
                number: next,
                extent,
            }
        });
        dimensions.collect()
    };
    let [batch, rows, columns, contracted] = [
        &product.batch,
        &product.rows,
        &product.columns,
        &product.contracted,
    ]
    .map(|shape| variables(shape));
    let expressions = |group: &[Dimension]| -> Vec<Expression> {
        group.iter().map(Dimension::expression).collect()
    };
    let [b, m, n, k] = [&batch, &rows, &columns, &contracted].map(|group| expressions(group));
    let operands = &product.operation.op.operands;
    let (lhs_input, lhs) =
        input_position(&kernel.body, operands[0], &product.lhs.indices(&b, &m, &k))?;
    let (rhs_input, rhs) =
        input_position(&kernel.body, operands[1], &product.rhs.indices(&b, &n, &k))?;
    let result = product.result_position(&[b, m, n].concat())?;
    if [&lhs, &rhs, &result]
        .iter()
        .any(|position| position.offset() != 0)
    {
        return None;
    }
    let strided = |group: Vec<Dimension>| -> Option<Vec<Strided>> {
        let dimensions = group.iter().filter(|d| d.extent != 1);
        let stride = |position: &Expression, d: &Dimension| {
            position
                .stride(d.number)
                .and_then(|stride| usize::try_from(stride).ok())
        };
        dimensions
            .map(|d| {
                Some(Strided {
                    extent: d.extent,
                    strides: [stride(&lhs, d)?, stride(&rhs, d)?, stride(&result, d)?],
                })
            })
            .collect()
    };
    let mut batches = joined(strided(batch)?);
    let mut one = |group: Vec<Strided>| {
        // The innermost stays; the others are products of their own.
        let mut group = joined(group);
        let last = group.pop().unwrap_or(Strided {
            extent: 1,
            strides: [0; 3],
        });
        batches.extend(group);
        last
    };
    let m = one(strided(rows)?);
    let n = one(strided(columns)?);
    let mut contracted = joined(strided(contracted)?);
    let k = contracted.pop().unwrap_or(Strided {
        extent: 1,
        strides: [0; 3],
    });
    if !contracted.is_empty() {
        return None;
    }
    let layout = |row_stride, column_stride| MatrixLayout {
        row_stride,
        column_stride,
    };
    let gemm = Gemm {
        element_type: element,
        m: m.extent,
        n: n.extent,
        k: k.extent,
        batch: batches.iter().map(Strided::batch).collect(),
        lhs: layout(m.strides[0], k.strides[0]),
        rhs: layout(k.strides[1], n.strides[1]),
        result: layout(m.strides[2], n.strides[2]),
    };
    Some((gemm, [lhs_input, rhs_input]))
}

/// A dimension of the product, and the variable that counts in it.
struct Dimension {
    number: u32,
    extent: usize,
}

impl Dimension {
    fn expression(&self) -> Expression {
        Expression::variable(Variable {
            number: self.number,
            lower: 0,
            upper: (self.extent as i64 - 1).max(0),
        })
    }
}

/// A dimension by its strides in lhs, rhs and result.
#[derive(Clone, Copy)]
pub(super) struct Strided {
    pub(super) extent: usize,
    pub(super) strides: [usize; 3],
}

impl Strided {
    /// As a dimension of a batch.
    pub(super) fn batch(&self) -> BatchDimension {
        let [lhs_stride, rhs_stride, result_stride] = self.strides;
        BatchDimension {
            extent: self.extent,
            lhs_stride,
            rhs_stride,
            result_stride,
        }
    }
}

/// Neighbouring dimensions that lie as one do become one.
pub(super) fn joined(dimensions: Vec<Strided>) -> Vec<Strided> {
    let mut joined: Vec<Strided> = Vec::new();
    for dimension in dimensions {
        match joined.last_mut() {
            Some(outer)
                if (0..3).all(|i| outer.strides[i] == dimension.strides[i] * dimension.extent) =>
            {
                *outer = Strided {
                    extent: outer.extent * dimension.extent,
                    ..dimension
                };
            }
            _ => joined.push(dimension),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use tessera_ir::{Graph, Input, Location, OpKind, TensorType};

    fn product_of(lhs: [usize; 3], transpose: Option<Vec<usize>>) -> Kernel {
        let inputs = [lhs.to_vec(), vec![lhs[2], 7]]
            .map(|shape| Input::new(TensorType::new(ElementType::F32, shape)));
        let mut body = Graph::new("", inputs.to_vec());
        let [x, w] = [0, 1].map(|i| body.input_value(i).unwrap());
        let dot = OpKind::DotGeneral {
            lhs_batching_dimensions: vec![],
            rhs_batching_dimensions: vec![],
            lhs_contracting_dimensions: vec![2],
            rhs_contracting_dimensions: vec![0],
            accumulator: ElementType::F32,
            element: ElementType::F32,
        };
        let mut result = body.push_value(dot, [x, w], Location::Unknown).unwrap();
        if let Some(permutation) = transpose {
            let transpose = OpKind::Transpose { permutation };
            result = body
                .push_value(transpose, [result], Location::Unknown)
                .unwrap();
        }
        body.set_result_values([result]);
        Kernel {
            name: "dot".to_owned(),
            family: tessera_ir::plan::Family::Dot,
            body,
        }
    }

    #[test]
    fn rows_of_two_dimensions_are_one_matrix() {
        let (gemm, inputs) = gemm(&product_of([4, 5, 6], None)).unwrap();
        assert_eq!((gemm.m, gemm.n, gemm.k), (20, 7, 6));
        assert!(gemm.batch.is_empty());
        assert_eq!((gemm.lhs.row_stride, gemm.lhs.column_stride), (6, 1));
        assert_eq!((gemm.rhs.row_stride, gemm.rhs.column_stride), (7, 1));
        assert_eq!((gemm.result.row_stride, gemm.result.column_stride), (7, 1));
        assert_eq!(inputs, [0, 1]);
    }

    #[test]
    fn a_transposed_result_is_strides() {
        let (gemm, _) = gemm(&product_of([4, 5, 6], Some(vec![2, 0, 1]))).unwrap();
        assert_eq!(
            (gemm.m, gemm.result.row_stride, gemm.result.column_stride),
            (20, 1, 20)
        );
    }

    #[test]
    fn rows_that_lie_apart_are_batches() {
        let (gemm, _) = gemm(&product_of([4, 5, 6], Some(vec![0, 2, 1]))).unwrap();
        assert_eq!((gemm.m, gemm.n, gemm.k), (5, 7, 6));
        assert_eq!((gemm.result.row_stride, gemm.result.column_stride), (1, 5));
        let batch = &gemm.batch[0];
        let strides = (batch.lhs_stride, batch.rhs_stride, batch.result_stride);
        assert_eq!((batch.extent, strides), (4, (30, 0, 35)));
    }
}
