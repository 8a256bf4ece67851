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

#[cfg(test)]
mod tests {
    use crate::rules::testing::{outcome, tensor};
    use crate::{Builder, Input, OpError, ValueId, WindowAttributes};

    /// Sums of each accumulator with its element.
    fn sums(
        b: &mut Builder,
        accumulators: &[ValueId],
        elements: &[ValueId],
    ) -> Result<Vec<ValueId>, OpError> {
        let pairs = accumulators.iter().zip(elements);
        pairs.map(|(&a, &x)| b.add(a, x)).collect()
    }

    #[test]
    fn reduce_drops_the_dimensions() {
        let reduce = |input: &str, init: &str, dimensions: &[usize]| {
            outcome([input, init], |b, [x, i]| {
                b.reduce(&[x], &[i], dimensions, sums)
            })
        };
        assert_eq!(reduce("2x3x4xf32", "f32", &[2, 0]), "tensor<3xf32>");
        assert_eq!(reduce("2x3xf32", "f32", &[]), "tensor<2x3xf32>");
        assert_eq!(
            reduce("2x3xf32", "f64", &[0]),
            "'tsr.reduce' (C2): each init must have its input's element type, found tensor<f64> for tensor<2x3xf32>"
        );
        assert_eq!(
            reduce("2x3xf32", "1xf32", &[0]),
            "'tsr.reduce' (I2): inits must be scalars, found tensor<1xf32>"
        );
        assert_eq!(
            reduce("2x3xf32", "f32", &[2]),
            "'tsr.reduce' (C4): the dimensions must be less than the rank of the inputs, 2, found dimension 2"
        );
        assert_eq!(
            reduce("2x3xf32", "f32", &[1, 1]),
            "'tsr.reduce' (C5): the dimensions must be distinct, found dimension 1 twice in [1, 1]"
        );
    }

    #[test]
    fn reduce_takes_as_many_inits_as_inputs() {
        let several = |operands: [&str; 4]| {
            outcome(operands, |b, [x, y, i, j]| {
                b.reduce(&[x, y], &[i, j], &[0], sums)
            })
        };
        assert_eq!(
            several(["2x3xf32", "2x3xi32", "f32", "i32"]),
            "tensor<3xf32>, tensor<3xi32>"
        );
        assert_eq!(
            several(["2x3xf32", "3x3xi32", "f32", "i32"]),
            "'tsr.reduce' (C1): the inputs must have one shape, found tensor<2x3xf32>, tensor<3x3xi32>"
        );
        assert_eq!(
            outcome(["2xf32"], |b, [x]| b.reduce(&[x], &[], &[0], sums)),
            "'tsr.reduce' (C3): expected inputs and as many inits, at least one, found 1 operand(s)"
        );
        assert_eq!(
            outcome([], |b, []| b.reduce(&[], &[], &[], sums)),
            "'tsr.reduce' (C3): expected inputs and as many inits, at least one, found 0 operand(s)"
        );
    }

    #[test]
    fn the_body_of_reduce_works_on_scalars_of_the_inputs_elements() {
        let reduce = |body: fn(&mut Builder, ValueId) -> Result<Vec<ValueId>, OpError>| {
            outcome(["2xf32", "f32"], |b, [x, i]| {
                b.reduce(&[x], &[i], &[0], |b, accumulators, _| {
                    body(b, accumulators[0])
                })
            })
        };
        assert_eq!(
            reduce(|_, _| Ok(vec![])),
            "'tsr.reduce' (C6): the body must have type (tensor<f32>, tensor<f32>) -> tensor<f32>, found (tensor<f32>, tensor<f32>) -> ()"
        );
        assert_eq!(
            reduce(|b, x| Ok(vec![b.is_finite(x)?])),
            "'tsr.reduce' (C6): the body must have type (tensor<f32>, tensor<f32>) -> tensor<f32>, found (tensor<f32>, tensor<f32>) -> tensor<i1>"
        );
    }

    #[test]
    fn a_region_gives_back_values_of_its_own() {
        assert_eq!(
            outcome(["2xf32", "f32"], |b, [x, i]| {
                let (mut other, [y]) = Builder::new("", [Input::new(tensor("f32"))]);
                let mut last = y;
                for _ in 0..9 {
                    last = other.negate(last)?;
                }
                b.reduce(&[x], &[i], &[0], |_, _, _| Ok(vec![last]))
            }),
            "'tsr.reduce' (C6): the body must give back values of its own, found one it does not define"
        );
    }

    /// A window of 3 elements, side by side, on one dimension.
    const WINDOW: WindowAttributes<'static> = WindowAttributes {
        window_dimensions: &[3],
        window_strides: &[1],
        base_dilations: &[1],
        window_dilations: &[1],
        padding_low: &[0],
        padding_high: &[0],
    };

    fn reduce_window(input: &str, window: &WindowAttributes<'_>) -> String {
        outcome([input, "f32"], |b, [x, i]| {
            b.reduce_window(&[x], &[i], window, sums)
        })
    }

    #[test]
    fn windows_are_counted_where_they_lie_inside() {
        assert_eq!(reduce_window("10xf32", &WINDOW), "tensor<8xf32>");
        for (window, expected) in [
            // Windows start at 0, 4 and would at 8, where 2 elements are left.
            (
                WindowAttributes {
                    window_strides: &[4],
                    ..WINDOW
                },
                "tensor<2xf32>",
            ),
            // 10 elements with a gap between two take 19 places.
            (
                WindowAttributes {
                    base_dilations: &[2],
                    ..WINDOW
                },
                "tensor<17xf32>",
            ),
            // 3 elements with two gaps between two take 7 places.
            (
                WindowAttributes {
                    window_dilations: &[3],
                    ..WINDOW
                },
                "tensor<4xf32>",
            ),
            // A cumulative sum's window: as many results as inputs.
            (
                WindowAttributes {
                    padding_low: &[2],
                    ..WINDOW
                },
                "tensor<10xf32>",
            ),
            (
                WindowAttributes {
                    padding_low: &[-4],
                    padding_high: &[-4],
                    ..WINDOW
                },
                "tensor<0xf32>",
            ),
        ] {
            assert_eq!(reduce_window("10xf32", &window), expected, "{window:?}");
        }
        assert_eq!(reduce_window("0xf32", &WINDOW), "tensor<0xf32>");
    }

    #[test]
    fn window_attributes_are_positive_and_one_for_each_dimension() {
        type Change = fn(&mut WindowAttributes<'static>, &'static [usize]);
        let changes: [(Change, &str, &str, &str); 4] = [
            (
                |w, to| w.window_dimensions = to,
                "window_dimensions",
                "C4",
                "C5",
            ),
            (|w, to| w.window_strides = to, "window_strides", "C6", "C7"),
            (|w, to| w.base_dilations = to, "base_dilations", "C8", "C9"),
            (
                |w, to| w.window_dilations = to,
                "window_dilations",
                "C10",
                "C11",
            ),
        ];
        for (change, name, entries, positive) in changes {
            let mut window = WINDOW;
            change(&mut window, &[1, 1]);
            assert_eq!(
                reduce_window("10xf32", &window),
                format!(
                    "'tsr.reduce_window' ({entries}): {name} must have one entry for each of the 1 dimension(s) of tensor<10xf32>, found 2"
                )
            );
            change(&mut window, &[0]);
            assert_eq!(
                reduce_window("10xf32", &window),
                format!("'tsr.reduce_window' ({positive}): {name} must be positive, found [0]")
            );
        }
        for (window, name) in [
            (
                WindowAttributes {
                    padding_low: &[],
                    ..WINDOW
                },
                "padding_low",
            ),
            (
                WindowAttributes {
                    padding_high: &[],
                    ..WINDOW
                },
                "padding_high",
            ),
        ] {
            assert_eq!(
                reduce_window("10xf32", &window),
                format!(
                    "'tsr.reduce_window' (C12): {name} must have one entry for each of the 1 dimension(s) of tensor<10xf32>, found 0"
                )
            );
        }
        let vast = WindowAttributes {
            window_dilations: &[usize::MAX],
            ..WINDOW
        };
        assert_eq!(
            reduce_window("10xf32", &vast),
            "'tsr.reduce_window' (size): the dilated window or input is larger than the address space in dimension 0"
        );
    }

    #[test]
    fn reduce_window_takes_inputs_inits_and_a_body_as_reduce_does() {
        let windowed = |operands: [&str; 4]| {
            outcome(operands, |b, [x, y, i, j]| {
                b.reduce_window(&[x, y], &[i, j], &WINDOW, sums)
            })
        };
        assert_eq!(
            windowed(["5xf32", "4xf32", "f32", "f32"]),
            "'tsr.reduce_window' (C2): the inputs must have one shape, found tensor<5xf32>, tensor<4xf32>"
        );
        assert_eq!(
            windowed(["5xf32", "5xf32", "f32", "i32"]),
            "'tsr.reduce_window' (C3): each init must have its input's element type, found tensor<i32> for tensor<5xf32>"
        );
        assert_eq!(
            windowed(["5xf32", "5xf32", "f32", "1xf32"]),
            "'tsr.reduce_window' (I2): inits must be scalars, found tensor<1xf32>"
        );
        assert_eq!(
            outcome(["5xf32"], |b, [x]| b.reduce_window(
                &[x],
                &[],
                &WINDOW,
                sums
            )),
            "'tsr.reduce_window' (C1): expected inputs and as many inits, at least one, found 1 operand(s)"
        );
        assert_eq!(
            outcome(["5xf32", "f32"], |b, [x, i]| {
                b.reduce_window(&[x], &[i], &WINDOW, |_, _, _| Ok(vec![]))
            }),
            "'tsr.reduce_window' (C13): the body must have type (tensor<f32>, tensor<f32>) -> tensor<f32>, found (tensor<f32>, tensor<f32>) -> ()"
        );
    }
}
