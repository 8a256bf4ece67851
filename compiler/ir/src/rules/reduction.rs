//! The rules of the ops that combine many elements by a body.

use super::OpError;
use super::check::{Rule, list, require, without};
use crate::{Region, TensorType, WindowAttributes};

/// The inputs and inits of a reduction: as many of the one as of the other.
struct Reduced<'a> {
    inputs: Vec<&'a TensorType>,
    inits: Vec<&'a TensorType>,
}

/// The numbers of the constraints that `reduce` and `reduce_window` share.
struct Labels {
    counts: &'static str,
    scalars: &'static str,
    shapes: &'static str,
    elements: &'static str,
    body: &'static str,
}

impl<'a> Reduced<'a> {
    /// The first half of the operands and the second, checked against each other and the body.
    fn check(
        rule: Rule,
        labels: &Labels,
        body: &Region,
        operands: &[&'a TensorType],
    ) -> Result<Self, OpError> {
        let count = operands.len() / 2;
        if count == 0 || operands.len() != 2 * count {
            let found = operands.len();
            let message = format!(
                "expected inputs and as many inits, at least one, found {found} operand(s)"
            );
            return Err(rule.error(labels.counts, message));
        }
        let (inputs, inits) = operands.split_at(count);
        for (input, init) in inputs.iter().zip(inits) {
            if init.rank() != 0 {
                let message = format!("inits must be scalars, found {init}");
                return Err(rule.error(labels.scalars, message));
            }
            if init.element != input.element {
                let message = format!(
                    "each init must have its input's element type, found {init} for {input}"
                );
                return Err(rule.error(labels.elements, message));
            }
        }
        if inputs.array_windows().any(|[a, b]| a.shape != b.shape) {
            let message = format!("the inputs must have one shape, found {}", list(inputs));
            return Err(rule.error(labels.shapes, message));
        }
        let accumulators_and_elements = [inits, inits].concat();
        rule.signature(
            labels.body,
            "the body",
            body,
            &accumulators_and_elements,
            inits,
        )?;
        let (inputs, inits) = (inputs.to_vec(), inits.to_vec());
        Ok(Self { inputs, inits })
    }

    /// The result types, all of one shape.
    fn results(&self, shape: &[usize]) -> Vec<TensorType> {
        self.inits
            .iter()
            .map(|init| init.with_shape(shape))
            .collect()
    }
}

/// - (C3) there are as many inits as inputs, and at least one.
/// - (I2) inits are scalars.
/// - (C2) each has its input's element type.
/// - (C1) the inputs have one shape.
/// - (C6) the body takes the accumulators, then the elements, all scalars, and gives the accumulators, all of them of
///   the inputs' element types. (StableHLO also lets the body work in a wider type; here a `convert` says so.)
/// - (C5) the dimensions are distinct.
/// - (C4) each is one of the inputs'.
pub(super) fn reduce(
    rule: Rule,
    dimensions: &[usize],
    body: &Region,
    operands: &[&TensorType],
) -> Result<Vec<TensorType>, OpError> {
    let labels = Labels {
        counts: "C3",
        scalars: "I2",
        shapes: "C1",
        elements: "C2",
        body: "C6",
    };
    let reduced = Reduced::check(rule, &labels, body, operands)?;
    let input = reduced.inputs[0];
    rule.unique("C5", "the dimensions", dimensions)?;
    rule.in_rank(
        "C4",
        "the dimensions",
        dimensions,
        "the inputs",
        input.rank(),
    )?;
    Ok(reduced.results(&without(&input.shape, &[dimensions])))
}

/// - (C1) there are as many inits as inputs, and at least one.
/// - (I2) inits are scalars.
/// - (C3) each has its input's element type.
/// - (C2) the inputs have one shape.
/// - (C13) the body takes the accumulators, then the elements, all scalars, and gives the accumulators, all of them of
///   the inputs' element types.
/// - (C4), (C6), (C8), (C10), (C12) each attribute has an entry for each dimension.
/// - (C5), (C7), (C9), (C11) window dimensions, strides and dilations are positive.
///
/// (C15) A dimension of the result counts the windows that lie whole in the dilated and padded input.
pub(super) fn reduce_window(
    rule: Rule,
    window: &WindowAttributes<'_>,
    body: &Region,
    operands: &[&TensorType],
) -> Result<Vec<TensorType>, OpError> {
    let labels = Labels {
        counts: "C1",
        scalars: "I2",
        shapes: "C2",
        elements: "C3",
        body: "C13",
    };
    let reduced = Reduced::check(rule, &labels, body, operands)?;
    let input = reduced.inputs[0];
    for (entries, positive, name, attribute) in [
        ("C4", "C5", "window_dimensions", window.window_dimensions),
        ("C6", "C7", "window_strides", window.window_strides),
        ("C8", "C9", "base_dilations", window.base_dilations),
        ("C10", "C11", "window_dilations", window.window_dilations),
    ] {
        rule.entry_per_dimension(entries, name, attribute.len(), input)?;
        if attribute.contains(&0) {
            let message = format!("{name} must be positive, found {attribute:?}");
            return Err(rule.error(positive, message));
        }
    }
    rule.entry_per_dimension("C12", "padding_low", window.padding_low.len(), input)?;
    rule.entry_per_dimension("C12", "padding_high", window.padding_high.len(), input)?;
    let mut shape = Vec::with_capacity(input.rank());
    for dimension in 0..input.rank() {
        let windows = windows(window, dimension, input.shape[dimension]);
        require!(
            rule,
            "size",
            windows.is_some(),
            "the dilated window or input is larger than the address space in dimension {dimension}"
        );
        shape.extend(windows);
    }
    Ok(reduced.results(&shape))
}

/// The number of windows in one dimension of a size (C15), or `None` where a size on the way is beyond 64 bits.
fn windows(window: &WindowAttributes<'_>, dimension: usize, size: usize) -> Option<usize> {
    let dilated = |count: usize, dilation: usize| -> Option<i128> {
        let extent = match count.checked_sub(1) {
            None => 0,
            Some(gaps) => gaps.checked_mul(dilation)?.checked_add(1)?,
        };
        Some(extent as i128)
    };
    let input = dilated(size, window.base_dilations[dimension])?
        + i128::from(window.padding_low[dimension])
        + i128::from(window.padding_high[dimension]);
    let dilation = window.window_dilations[dimension];
    let window_extent = dilated(window.window_dimensions[dimension], dilation)?;
    if input < window_extent {
        return Some(0);
    }
    let steps = (input - window_extent) / window.window_strides[dimension] as i128;
    usize::try_from(steps + 1).ok()
}
