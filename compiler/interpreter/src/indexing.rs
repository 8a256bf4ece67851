//! Ops that read or write slices at places that are data.

use crate::elements::{cells, elements, integers, scalar_at, tensor, tensor_of_cells, with_size};
use crate::elementwise::undefined;
use crate::error::OpFailure;
use crate::evaluate::Scope;
use crate::number::{Number, with_element};
use crate::strided::{for_each_index, others, pick, position};
use tessera_ir::{Binary, Region, Tensor, TensorType};

/// How an array of indices says where slices of an operand start, for `gather` and `scatter` alike.
pub(crate) struct Starts<'a> {
    /// The operand's dimension that each component of an index vector is for.
    pub index_map: &'a [usize],
    /// The dimension of the indices that holds the components.
    pub index_vector_dim: usize,
    /// The operand's dimensions that go together with dimensions of the indices …
    pub operand_batching_dims: &'a [usize],
    /// … and those dimensions.
    pub indices_batching_dims: &'a [usize],
}

impl Starts<'_> {
    /// Where the slice of a batch index starts in the operand. A batch index counts through the indices' dimensions
    /// without `index_vector_dim`.
    fn start(&self, rank: usize, indices: &Indices<'_>, batch: &[usize]) -> Vec<i64> {
        let mut at = batch.to_vec();
        // Where index_vector_dim is the rank of the indices, each is a vector of one component.
        let is_explicit = self.index_vector_dim < indices.shape.len();
        if is_explicit {
            at.insert(self.index_vector_dim, 0);
        }
        let mut start = vec![0; rank];
        for (component, &dimension) in self.index_map.iter().enumerate() {
            if is_explicit {
                at[self.index_vector_dim] = component;
            }
            start[dimension] = indices.at(&at);
        }
        let pairs = self
            .operand_batching_dims
            .iter()
            .zip(self.indices_batching_dims);
        for (&operand_dimension, &dimension) in pairs {
            start[operand_dimension] = at[dimension] as i64;
        }
        start
    }
}

/// An array of indices as numbers.
struct Indices<'a> {
    shape: &'a [usize],
    values: Vec<i64>,
}

impl<'a> Indices<'a> {
    fn new(tensor: &'a Tensor) -> Self {
        Self {
            shape: tensor.shape(),
            values: integers(tensor),
        }
    }

    fn at(&self, index: &[usize]) -> i64 {
        let dimensions = self.shape.iter().zip(index);
        self.values[dimensions.fold(0, |position, (size, at)| position * size + at)]
    }
}

/// The index in an operand: that of an element in its slice plus where the slice starts. `window` lists the operand's
/// dimensions that the slice has, in the slice's order.
fn place(start: &[i64], window: &[usize], in_slice: &[usize]) -> Vec<i64> {
    let mut place = start.to_vec();
    for (&dimension, &at) in window.iter().zip(in_slice) {
        place[dimension] = place[dimension].saturating_add(at as i64);
    }
    place
}

/// The attributes of `gather`.
pub(crate) struct Gather<'a> {
    pub starts: Starts<'a>,
    pub offset_dims: &'a [usize],
    pub collapsed_slice_dims: &'a [usize],
    pub slice_sizes: &'a [usize],
}

/// A slice that would lie partly outside is moved inside.
pub(crate) fn gather(
    gather: &Gather<'_>,
    operand: &Tensor,
    start_indices: &Tensor,
    shape: &[usize],
) -> Result<Tensor, OpFailure> {
    let rank = operand.shape().len();
    let batch_dims = others(shape.len(), gather.offset_dims);
    let without = [
        gather.collapsed_slice_dims,
        gather.starts.operand_batching_dims,
    ]
    .concat();
    let window = others(rank, &without);
    let indices = Indices::new(start_indices);
    let mut positions = Vec::new();
    for_each_index(shape, |result| {
        let mut start = gather
            .starts
            .start(rank, &indices, &pick(result, &batch_dims));
        for (d, start) in start.iter_mut().enumerate() {
            let greatest = operand.shape()[d].saturating_sub(gather.slice_sizes[d]);
            *start = (*start).clamp(0, greatest as i64);
        }
        let place = place(&start, &window, &pick(result, gather.offset_dims));
        positions.extend(position(operand.shape(), &place));
    });
    with_size!(operand.element(), N => {
        let from = cells::<N>(operand);
        let gathered = positions.iter().map(|&position| from[position]).collect();
        Ok(tensor_of_cells(operand.element(), shape, gathered)?)
    })
}

/// The attributes of `scatter`.
pub(crate) struct Scatter<'a> {
    pub starts: Starts<'a>,
    pub update_window_dims: &'a [usize],
    pub inserted_window_dims: &'a [usize],
}

impl Scatter<'_> {
    /// For each element of the updates, in row-major order, its position in the operand, or `None` where its slice lies
    /// partly outside.
    fn positions(
        &self,
        operand: &[usize],
        scatter_indices: &Tensor,
        updates: &[usize],
    ) -> Vec<Option<usize>> {
        let scatter_dims = others(updates.len(), self.update_window_dims);
        let without = [self.inserted_window_dims, self.starts.operand_batching_dims].concat();
        let window = others(operand.len(), &without);
        let sizes = pick(updates, self.update_window_dims);
        let last: Vec<usize> = sizes.iter().map(|size| size.saturating_sub(1)).collect();
        let indices = Indices::new(scatter_indices);
        let mut positions = Vec::new();
        for_each_index(updates, |update| {
            let batch = pick(update, &scatter_dims);
            let start = self.starts.start(operand.len(), &indices, &batch);
            let first_is_inside = position(operand, &start).is_some();
            let last_is_inside = position(operand, &place(&start, &window, &last)).is_some();
            let place = place(&start, &window, &pick(update, self.update_window_dims));
            let inside = position(operand, &place);
            positions.push(inside.filter(|_| first_is_inside && last_is_inside));
        });
        positions
    }
}

/// Updates are applied one after the other in their row-major order, each rounded as the body rounds.
pub(crate) fn scatter(
    scope: &Scope<'_>,
    scatter: &Scatter<'_>,
    update_computation: &Region,
    operands: &[Tensor],
    results: &[&TensorType],
) -> Result<Vec<Tensor>, OpFailure> {
    let count = operands.len() / 2;
    let (inputs, scatter_indices, updates) =
        (&operands[..count], &operands[count], &operands[count + 1..]);
    let positions = scatter.positions(inputs[0].shape(), scatter_indices, updates[0].shape());
    if let ([input], [update]) = (inputs, updates) {
        if let Some(function) = update_computation.as_binary() {
            return Ok(vec![scatter_binary(function, input, update, &positions)?]);
        }
        if update_computation.as_projection() == Some(1) {
            return Ok(vec![scatter_replace(input, update, &positions)?]);
        }
    }
    let mut scattered: Vec<Vec<u8>> = inputs.iter().map(|input| input.bytes().to_vec()).collect();
    for (number, place) in positions.into_iter().enumerate() {
        let Some(place) = place else { continue };
        let mut arguments = Vec::with_capacity(2 * count);
        for (bytes, input) in scattered.iter().zip(inputs) {
            let size = input.element().size();
            arguments.push(Tensor::new(
                input.element(),
                [],
                &bytes[place * size..][..size],
            )?);
        }
        for update in updates {
            arguments.push(scalar_at(update, number)?);
        }
        let combined = scope.scalars(update_computation, arguments)?;
        for (bytes, combined) in scattered.iter_mut().zip(combined) {
            let size = combined.element().size();
            bytes[place * size..][..size].copy_from_slice(combined.bytes());
        }
    }
    let result = |(bytes, result): (_, &&TensorType)| {
        Ok(Tensor::new(result.element, result.shape.as_slice(), bytes)?)
    };
    scattered.into_iter().zip(results).map(result).collect()
}

fn scatter_binary(
    function: Binary,
    input: &Tensor,
    updates: &Tensor,
    positions: &[Option<usize>],
) -> Result<Tensor, OpFailure> {
    let element = input.element();
    with_element!(element, T => {
        let function = T::binary(function).ok_or_else(|| undefined(element))?;
        let mut scattered: Vec<T> = elements(input).collect();
        for (update, place) in elements(updates).zip(positions) {
            if let Some(place) = *place {
                scattered[place] = function(scattered[place], update);
            }
        }
        Ok(tensor(input.shape(), scattered.into_iter())?)
    })
}

fn scatter_replace(
    input: &Tensor,
    updates: &Tensor,
    positions: &[Option<usize>],
) -> Result<Tensor, OpFailure> {
    with_size!(input.element(), N => {
        let mut scattered = cells::<N>(input).to_vec();
        for (update, place) in cells(updates).iter().zip(positions) {
            if let Some(place) = *place {
                scattered[place] = *update;
            }
        }
        Ok(tensor_of_cells(input.element(), input.shape(), scattered)?)
    })
}
