//! The dot family: calls of the runtime's matrix product, and the loops for all that is none.

use crate::harness::{Case, Random, Tolerance, check};
use tessera_ir::plan::Family;
use tessera_ir::{ElementType, Graph, Input, Location, OpKind, TensorType};

/// A dot_general between transposed operands and result.
struct Dot {
    lhs: (Vec<usize>, Vec<usize>),
    rhs: (Vec<usize>, Vec<usize>),
    batching: [Vec<usize>; 2],
    contracting: [Vec<usize>; 2],
    result: Option<Vec<usize>>,
    operand: ElementType,
    accumulator: ElementType,
    element: ElementType,
}

impl Dot {
    fn plain(lhs: &[usize], rhs: &[usize], contracting: [usize; 2], element: ElementType) -> Self {
        let identity = |shape: &[usize]| (shape.to_vec(), (0..shape.len()).collect());
        Self {
            lhs: identity(lhs),
            rhs: identity(rhs),
            batching: [vec![], vec![]],
            contracting: contracting.map(|d| vec![d]),
            result: None,
            operand: element,
            accumulator: match element {
                ElementType::F16 | ElementType::Bf16 => ElementType::F32,
                element => element,
            },
            element,
        }
    }

    fn case(self, random: &mut Random) -> Case {
        let inputs = [&self.lhs, &self.rhs].map(|(shape, _)| random.tensor(self.operand, shape));
        let types = [&self.lhs, &self.rhs]
            .map(|(shape, _)| Input::new(TensorType::new(self.operand, shape.clone())));
        let mut graph = Graph::new("dot", types.to_vec());
        let mut push =
            |kind, operands: Vec<_>| graph.push_value(kind, operands, Location::Unknown).unwrap();
        let inputs_of = [self.lhs.1.clone(), self.rhs.1.clone()];
        let values: Vec<_> = Graph::new("", types.to_vec()).input_values().collect();
        let operands: Vec<_> = (values.into_iter().zip(inputs_of))
            .map(|(value, permutation)| {
                if permutation.is_sorted() {
                    value
                } else {
                    push(OpKind::Transpose { permutation }, vec![value])
                }
            })
            .collect();
        let [lhs_contracting_dimensions, rhs_contracting_dimensions] = self.contracting.clone();
        let [lhs_batching_dimensions, rhs_batching_dimensions] = self.batching.clone();
        let mut result = push(
            OpKind::DotGeneral {
                lhs_batching_dimensions,
                rhs_batching_dimensions,
                lhs_contracting_dimensions,
                rhs_contracting_dimensions,
                accumulator: self.accumulator,
                element: self.element,
            },
            operands,
        );
        if let Some(permutation) = self.result {
            result = push(OpKind::Transpose { permutation }, vec![result]);
        }
        graph.set_result_values([result]);
        let depth: usize = self.contracting[0]
            .iter()
            .map(|&d| self.lhs.0[self.lhs.1[d]])
            .product();
        // Sums of k products up to 4 in size: each partial sum's rounding, and the last one's to the result's type.
        // The largest of many such sums is not far below √k.
        let roundoff = if self.accumulator == ElementType::F64 {
            2f64.powi(-53)
        } else {
            2f64.powi(-24)
        };
        let last = match self.element {
            ElementType::Bf16 => 2f64.powi(-8),
            ElementType::F16 => 2f64.powi(-11),
            _ => 0.0,
        };
        let tolerance = if self.accumulator.is_float() {
            let k = depth as f64;
            Tolerance::OfLargest(4.0 * k * k.max(1.0).sqrt() * roundoff + 2.0 * last)
        } else {
            Tolerance::Exact
        };
        Case::of(Family::Dot, graph, inputs.to_vec()).within(tolerance)
    }
}

#[test]
fn products_of_every_type() {
    let mut random = Random(31);
    let mut cases = Vec::new();
    for element in ElementType::ALL
        .into_iter()
        .filter(|e| *e != ElementType::I1)
    {
        cases.push(Dot::plain(&[7, 33], &[33, 70], [1, 0], element).case(&mut random));
        cases.push(Dot::plain(&[7, 133], &[5, 133], [1, 1], element).case(&mut random));
        cases.push(Dot::plain(&[33, 8], &[33, 64], [0, 0], element).case(&mut random));
    }
    for (operand, accumulator, element) in [
        (ElementType::Bf16, ElementType::F32, ElementType::F32),
        (ElementType::F16, ElementType::F32, ElementType::F32),
        (ElementType::F32, ElementType::F64, ElementType::F32),
        (ElementType::I8, ElementType::I32, ElementType::I32),
    ] {
        let dot = Dot {
            operand,
            accumulator,
            element,
            ..Dot::plain(&[9, 40], &[40, 66], [1, 0], element)
        };
        cases.push(dot.case(&mut random));
    }
    check(cases);
}

#[test]
fn empty_products_are_zeros_or_nothing() {
    let mut random = Random(32);
    let mut cases = Vec::new();
    for element in [ElementType::F32, ElementType::Bf16, ElementType::I32] {
        for (m, n, k) in [(3, 4, 0), (0, 4, 5), (3, 0, 5), (1, 1, 1)] {
            cases.push(Dot::plain(&[m, k], &[k, n], [1, 0], element).case(&mut random));
        }
    }
    check(cases);
}

/// Attention's two products as JAX writes them, from and to [batch, sequence, heads, width].
#[test]
fn batches_and_transposes_are_strides() {
    let mut random = Random(33);
    let mut cases = Vec::new();
    for element in [ElementType::F32, ElementType::Bf16] {
        let scores = Dot {
            lhs: (vec![2, 11, 3, 8], vec![0, 1, 2, 3]),
            rhs: (vec![2, 13, 3, 8], vec![0, 1, 2, 3]),
            batching: [vec![0, 2], vec![0, 2]],
            contracting: [vec![3], vec![3]],
            ..Dot::plain(&[1], &[1], [0, 0], element)
        };
        cases.push(scores.case(&mut random));
        let mixed = Dot {
            lhs: (vec![2, 3, 11, 13], vec![0, 1, 2, 3]),
            rhs: (vec![2, 13, 3, 8], vec![0, 1, 2, 3]),
            batching: [vec![0, 1], vec![0, 2]],
            contracting: [vec![3], vec![1]],
            result: Some(vec![0, 2, 1, 3]),
            ..Dot::plain(&[1], &[1], [0, 0], element)
        };
        cases.push(mixed.case(&mut random));
        // Rows and contracted dimensions that do not lie at one stride.
        let apart = Dot {
            lhs: (vec![5, 4, 6, 7], vec![2, 0, 3, 1]),
            rhs: (vec![9, 7, 4], vec![1, 2, 0]),
            contracting: [vec![2, 3], vec![0, 1]],
            ..Dot::plain(&[1], &[1], [0, 0], element)
        };
        cases.push(apart.case(&mut random));
    }
    check(cases);
}
