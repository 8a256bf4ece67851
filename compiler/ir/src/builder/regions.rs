//! The ops that hold or name graphs.

use super::Builder;
use crate::rules::OpError;
use crate::{
    Graph, OpKind, ScatterDimensionNumbers, Symbol, TensorType, ValueId, WindowAttributes,
};

/// Reductions, sorts, loops, branches and calls.
///
/// Closures build the regions. A region is closed: a closure sees the values it is given, which are the region's own,
/// and none of the graph outside.
impl Builder {
    /// Inputs combined along the dimensions by `body`, a function of accumulators and elements that gives the
    /// accumulators.
    ///
    /// # Errors
    /// As [`push`](Self::push), and those of `body`.
    pub fn reduce(
        &mut self,
        inputs: &[ValueId],
        inits: &[ValueId],
        dimensions: &[usize],
        body: impl FnOnce(&mut Self, &[ValueId], &[ValueId]) -> Result<Vec<ValueId>, OpError>,
    ) -> Result<Vec<ValueId>, OpError> {
        let scalars = self.scalars("reduce", inputs)?;
        let kind = OpKind::Reduce {
            dimensions: dimensions.to_vec(),
            body: self.region([&scalars[..], &scalars].concat(), |b, values| {
                let (accumulators, elements) = values.split_at(scalars.len());
                body(b, accumulators, elements)
            })?,
        };
        self.push(kind, [inputs, inits].concat())
    }

    /// `body` applied over a sliding window, as in [`reduce`](Self::reduce).
    ///
    /// # Errors
    /// As [`push`](Self::push), and those of `body`.
    pub fn reduce_window(
        &mut self,
        inputs: &[ValueId],
        inits: &[ValueId],
        window: &WindowAttributes<'_>,
        body: impl FnOnce(&mut Self, &[ValueId], &[ValueId]) -> Result<Vec<ValueId>, OpError>,
    ) -> Result<Vec<ValueId>, OpError> {
        let scalars = self.scalars("reduce_window", inputs)?;
        let kind = OpKind::ReduceWindow {
            window_dimensions: window.window_dimensions.to_vec(),
            window_strides: window.window_strides.to_vec(),
            base_dilations: window.base_dilations.to_vec(),
            window_dilations: window.window_dilations.to_vec(),
            padding_low: window.padding_low.to_vec(),
            padding_high: window.padding_high.to_vec(),
            body: self.region([&scalars[..], &scalars].concat(), |b, values| {
                let (accumulators, elements) = values.split_at(scalars.len());
                body(b, accumulators, elements)
            })?,
        };
        self.push(kind, [inputs, inits].concat())
    }

    /// Inputs with slices combined with updates by `update_computation`, a function of the inputs' elements and the
    /// updates' that gives the inputs'. Indices are in no promised order and may be equal.
    ///
    /// # Errors
    /// As [`push`](Self::push), and those of `update_computation`.
    pub fn scatter(
        &mut self,
        inputs: &[ValueId],
        scatter_indices: ValueId,
        updates: &[ValueId],
        numbers: &ScatterDimensionNumbers<'_>,
        update_computation: impl FnOnce(
            &mut Self,
            &[ValueId],
            &[ValueId],
        ) -> Result<Vec<ValueId>, OpError>,
    ) -> Result<Vec<ValueId>, OpError> {
        let scalars = self.scalars("scatter", inputs)?;
        let kind = OpKind::Scatter {
            update_window_dims: numbers.update_window_dims.to_vec(),
            inserted_window_dims: numbers.inserted_window_dims.to_vec(),
            input_batching_dims: numbers.input_batching_dims.to_vec(),
            scatter_indices_batching_dims: numbers.scatter_indices_batching_dims.to_vec(),
            scatter_dims_to_operand_dims: numbers.scatter_dims_to_operand_dims.to_vec(),
            index_vector_dim: numbers.index_vector_dim,
            indices_are_sorted: false,
            unique_indices: false,
            update_computation: self.region([&scalars[..], &scalars].concat(), |b, values| {
                let (elements, updates) = values.split_at(scalars.len());
                update_computation(b, elements, updates)
            })?,
        };
        self.push(kind, [inputs, &[scatter_indices], updates].concat())
    }

    /// The operands sorted together along a dimension, equal ones in their order. `comparator` is given a pair (a, b) of
    /// elements of each operand and says whether a stands before b.
    ///
    /// # Errors
    /// As [`push`](Self::push), and those of `comparator`.
    pub fn sort(
        &mut self,
        operands: &[ValueId],
        dimension: usize,
        comparator: impl FnOnce(&mut Self, &[(ValueId, ValueId)]) -> Result<ValueId, OpError>,
    ) -> Result<Vec<ValueId>, OpError> {
        let scalars = self.scalars("sort", operands)?;
        let pairs = scalars
            .into_iter()
            .flat_map(|scalar| [scalar.clone(), scalar]);
        let kind = OpKind::Sort {
            dimension,
            is_stable: true,
            comparator: self.region(pairs.collect(), |b, values| {
                let (pairs, _) = values.as_chunks();
                let pairs: Vec<_> = pairs.iter().map(|&[x, y]| (x, y)).collect();
                Ok::<_, OpError>(vec![comparator(b, &pairs)?])
            })?,
        };
        self.push(kind, operands)
    }

    /// `body` applied to the carried values while `condition` holds; gives the carried values in the end. Both closures
    /// are given the carried values and the captured ones, which stay.
    ///
    /// # Errors
    /// As [`push`](Self::push), and those of the closures.
    pub fn while_loop(
        &mut self,
        carried: &[ValueId],
        captured: &[ValueId],
        condition: impl FnOnce(&mut Self, &[ValueId], &[ValueId]) -> Result<ValueId, OpError>,
        body: impl FnOnce(&mut Self, &[ValueId], &[ValueId]) -> Result<Vec<ValueId>, OpError>,
    ) -> Result<Vec<ValueId>, OpError> {
        let operands = [carried, captured].concat();
        let types = self.types("while", &operands)?;
        let kind = OpKind::While {
            condition: self.region(types.clone(), |b, values| {
                let (carried, captured) = values.split_at(carried.len());
                Ok::<_, OpError>(vec![condition(b, carried, captured)?])
            })?,
            body: self.region(types, |b, values| {
                let (carried, captured) = values.split_at(carried.len());
                body(b, carried, captured)
            })?,
        };
        self.push(kind, operands)
    }

    /// The branch of the number `index` (an i32 scalar), or the last one where there is none, applied to the captured
    /// values. `branch` is called once for each of the `count` branches with its number and its captured values.
    ///
    /// # Errors
    /// As [`push`](Self::push), and those of `branch`.
    pub fn case(
        &mut self,
        index: ValueId,
        captured: &[ValueId],
        count: usize,
        mut branch: impl FnMut(&mut Self, usize, &[ValueId]) -> Result<Vec<ValueId>, OpError>,
    ) -> Result<Vec<ValueId>, OpError> {
        let types = self.types("case", captured)?;
        let branches = (0..count)
            .map(|number| self.region(types.clone(), |b, captured| branch(b, number, captured)));
        let branches = branches.collect::<Result<_, OpError>>()?;
        self.push(OpKind::Case { branches }, [&[index], captured].concat())
    }

    /// Another graph of the module applied to the operands.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn call(&mut self, callee: &Graph, operands: &[ValueId]) -> Result<Vec<ValueId>, OpError> {
        let kind = OpKind::Call {
            callee: Symbol(callee.name.clone()),
            result_types: callee.result_types().cloned().collect(),
        };
        self.push(kind, operands)
    }

    fn types(&self, op: &'static str, values: &[ValueId]) -> Result<Vec<TensorType>, OpError> {
        let types = values.iter().map(|&value| self.type_of(op, value).cloned());
        types.collect()
    }

    /// The types of one element of each of the values.
    fn scalars(&self, op: &'static str, values: &[ValueId]) -> Result<Vec<TensorType>, OpError> {
        let types = self.types(op, values)?;
        Ok(types
            .into_iter()
            .map(|one| TensorType::scalar(one.element))
            .collect())
    }
}
