//! Ops that fold many elements into one by a reducer.

use crate::elements::{elements, scalar_at, tensor};
use crate::elementwise::undefined;
use crate::error::OpFailure;
use crate::evaluate::Scope;
use crate::number::{Number, with_element};
use crate::strided::{Positions, for_each_index, others, pick, position, strides};
use tessera_ir::{Binary, Region, Tensor, TensorType};

/// The inputs of a reduction, and the init of each.
pub(crate) struct Reduced<'a> {
    pub inputs: &'a [Tensor],
    pub inits: &'a [Tensor],
}

impl<'a> Reduced<'a> {
    /// Parts the operands `(input…, init…)`.
    pub fn new(operands: &'a [Tensor]) -> Self {
        let (inputs, inits) = operands.split_at(operands.len() / 2);
        Self { inputs, inits }
    }
}

pub(crate) fn reduce(
    scope: &Scope<'_>,
    dimensions: &[usize],
    body: &Region,
    reduced: Reduced<'_>,
    results: &[&TensorType],
) -> Result<Vec<Tensor>, OpFailure> {
    let shape = reduced.inputs[0].shape();
    let strides = strides(shape);
    let kept = others(shape.len(), dimensions);
    let folded: Vec<usize> = (0..shape.len())
        .filter(|d| dimensions.contains(d))
        .collect();
    let along = |dimensions: &[usize]| {
        Positions::new(&pick(shape, dimensions), &pick(&strides, dimensions), 0)
    };
    let folded: Vec<usize> = along(&folded).collect();
    let group = |first: usize| folded.iter().map(move |offset| Some(first + offset));
    fold(scope, body, reduced, results, along(&kept).map(group))
}

/// The attributes of `reduce_window` that say where a window's elements lie.
pub(crate) struct Window<'a> {
    pub dimensions: &'a [usize],
    pub strides: &'a [usize],
    pub base_dilations: &'a [usize],
    pub dilations: &'a [usize],
    pub padding_low: &'a [i64],
}

impl Window<'_> {
    /// The positions of the elements that the window of a result index covers; `None` for padding, at the edges and
    /// between the elements of a dilated base.
    fn positions(&self, shape: &[usize], result: &[usize]) -> Vec<Option<usize>> {
        let mut positions = Vec::new();
        for_each_index(self.dimensions, |at| {
            let index: Option<Vec<i64>> = (0..shape.len())
                .map(|d| {
                    let padded = (result[d] * self.strides[d] + at[d] * self.dilations[d]) as i64;
                    let dilated = padded - self.padding_low[d];
                    let dilation = self.base_dilations[d] as i64;
                    (dilated % dilation == 0).then_some(dilated / dilation)
                })
                .collect();
            positions.push(index.and_then(|index| position(shape, &index)));
        });
        positions
    }
}

/// Padding counts as inits, which are neutral elements of the body.
pub(crate) fn reduce_window(
    scope: &Scope<'_>,
    window: &Window<'_>,
    body: &Region,
    reduced: Reduced<'_>,
    results: &[&TensorType],
) -> Result<Vec<Tensor>, OpFailure> {
    let shape = reduced.inputs[0].shape();
    let mut groups = Vec::new();
    for_each_index(&results[0].shape, |result| {
        groups.push(window.positions(shape, result));
    });
    fold(scope, body, reduced, results, groups.into_iter())
}

/// Each result element is a fold over a group of input positions, in their order, the inits first. `None` stands for
/// the inits once more.
fn fold<G: IntoIterator<Item = Option<usize>>>(
    scope: &Scope<'_>,
    body: &Region,
    reduced: Reduced<'_>,
    results: &[&TensorType],
    groups: impl Iterator<Item = G>,
) -> Result<Vec<Tensor>, OpFailure> {
    if let ([input], [init], Some(function)) = (reduced.inputs, reduced.inits, body.as_binary()) {
        return Ok(vec![fold_binary(
            function, input, init, results[0], groups,
        )?]);
    }
    let mut folded: Vec<Vec<u8>> = vec![Vec::new(); results.len()];
    for group in groups {
        let mut accumulators = reduced.inits.to_vec();
        for place in group {
            for (input, init) in reduced.inputs.iter().zip(reduced.inits) {
                let next = place.map(|position| scalar_at(input, position));
                accumulators.push(next.unwrap_or_else(|| Ok(init.clone()))?);
            }
            accumulators = scope.scalars(body, accumulators)?;
        }
        for (bytes, accumulator) in folded.iter_mut().zip(accumulators) {
            bytes.extend_from_slice(accumulator.bytes());
        }
    }
    let result = |(bytes, result): (_, &&TensorType)| {
        Ok(Tensor::new(result.element, result.shape.as_slice(), bytes)?)
    };
    folded.into_iter().zip(results).map(result).collect()
}

fn fold_binary<G: IntoIterator<Item = Option<usize>>>(
    function: Binary,
    input: &Tensor,
    init: &Tensor,
    result: &TensorType,
    groups: impl Iterator<Item = G>,
) -> Result<Tensor, OpFailure> {
    let element = input.element();
    with_element!(element, T => {
        let values: Vec<T> = elements(input).collect();
        let init: T = elements(init).next().ok_or_else(|| undefined(element))?;
        let apply = T::binary(function).ok_or_else(|| undefined(element))?;
        let fold = |group: G| {
            let group = group.into_iter().map(|place| place.map_or(init, |position| values[position]));
            match function {
                Binary::Add => T::sum(init, group).unwrap_or(init),
                _ => group.fold(init, &apply),
            }
        };
        Ok(tensor(&result.shape, groups.map(fold))?)
    })
}
