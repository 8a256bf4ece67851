//! Which result of a kernel may be written over which operand.

use crate::fuse::{ReadsInPlace, magnitudes};
use std::collections::BTreeSet;
use tessera_ir::plan::Family;
use tessera_ir::{Definition, Graph, OpKind, Type, ValueId};

/// A result that may lie where an operand lies, by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Overwrite {
    pub(super) operand: usize,
    pub(super) result: usize,
    /// Whether the kernel then saves the copying of what it does not change.
    pub(super) is_update: bool,
}

/// What a kernel's results may be written over.
///
/// - The result of a dynamic_update_slice or scatter over what it updates, if the kernel reads that nowhere else.
/// - In a loop kernel, a result over an operand of which each element is read only where the same element of the results
///   is computed: all is read there before anything is written. So too in a column kernel, after the reduction.
/// - In a dot kernel likewise, over an operand that only its epilogue reads: each element of the results is computed once,
///   where it is written.
/// - A largest magnitude that a dot kernel finds over what it begins with.
/// - In a row kernel likewise, if nothing but that one result is computed from the operand: a row is walked over more
///   than once.
pub(super) fn overwrites(body: &Graph, family: Family) -> Vec<Overwrite> {
    match family {
        Family::Index => updates(body),
        Family::Loop | Family::Row | Family::Column | Family::Dot => {
            let mut overwrites = elementwise(body, family);
            let begun = magnitudes(body).into_iter();
            overwrites.extend(begun.map(|(operand, result)| Overwrite {
                operand,
                result,
                is_update: false,
            }));
            overwrites
        }
        Family::Attention | Family::Sort | Family::Quantize | Family::Solve => Vec::new(),
    }
}

fn updates(body: &Graph) -> Vec<Overwrite> {
    let uses = body.use_counts();
    let mut overwrites = Vec::new();
    for (number, result) in body.results().iter().enumerate() {
        let Definition::Result { op, index } = body.definition(result.value) else {
            continue;
        };
        let op = &body.operation(op).op;
        let updated = match op.kind {
            OpKind::DynamicUpdateSlice {} => op.operands[0],
            OpKind::Scatter { .. } => op.operands[index],
            _ => continue,
        };
        if let Definition::Input(operand) = body.definition(updated)
            && uses[updated.index()] == 1
        {
            overwrites.push(Overwrite {
                operand,
                result: number,
                is_update: true,
            });
        }
    }
    overwrites
}

fn elementwise(body: &Graph, family: Family) -> Vec<Overwrite> {
    let Some(reads) = ReadsInPlace::of(body) else {
        return Vec::new();
    };
    let mut overwrites = Vec::new();
    for (operand, input) in body.inputs().iter().enumerate() {
        let Some(value) = body.input_value(operand) else {
            continue;
        };
        if !reads.is_read_in_place(value) {
            continue;
        }
        let reached = (family == Family::Row).then(|| reached_results(body, value));
        for (number, result) in body.results().iter().enumerate() {
            let types = (body.value_type(result.value), &input.value_type);
            let same_places = matches!(
                types,
                (Type::Tensor(result), Type::Tensor(operand))
                    if result.shape == operand.shape && result.element.size() == operand.element.size()
            );
            let is_alone = match &reached {
                None => true,
                Some(Some(reached)) => *reached == BTreeSet::from([number]),
                Some(None) => false,
            };
            if same_places && is_alone {
                overwrites.push(Overwrite {
                    operand,
                    result: number,
                    is_update: false,
                });
            }
        }
    }
    overwrites
}

/// The numbers of the results that are computed from a value; `None` where a reduction is.
fn reached_results(body: &Graph, value: ValueId) -> Option<BTreeSet<usize>> {
    let mut reached = BTreeSet::from([value]);
    for operation in body.operations() {
        if operation.op.operands.iter().any(|o| reached.contains(o)) {
            if let OpKind::Reduce { .. } = operation.op.kind {
                return None;
            }
            reached.extend(operation.results());
        }
    }
    let results = body.results().iter().enumerate();
    let reached = results.filter(|(_, result)| reached.contains(&result.value));
    Some(reached.map(|(number, _)| number).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tessera_ir::text;

    /// Which operands of a square product with that epilogue its result may lie over: `%x` and `%w` are multiplied.
    fn overwritten(epilogue: &str) -> Vec<usize> {
        let body = format!(
            "func.func @dot(%x: tensor<8x8xf32>, %w: tensor<8x8xf32>, %r: tensor<8x8xf32>) -> tensor<8x8xf32> {{
               %p = tsr.dot_general %x, %w {{lhs_batching_dimensions = [], rhs_batching_dimensions = [], lhs_contracting_dimensions = [1], rhs_contracting_dimensions = [0], accumulator = f32}} : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x8xf32>
               {epilogue}
               return %y : tensor<8x8xf32>
             }}"
        );
        let body = text::parse_graph(&body, None)
            .unwrap_or_else(|error| panic!("{}", error.render("body", &body)));
        let found = overwrites(&body, Family::Dot);
        found.iter().map(|overwrite| overwrite.operand).collect()
    }

    #[test]
    fn what_only_an_epilogue_reads_where_it_writes_may_be_overwritten() {
        assert_eq!(overwritten("%y = tsr.add %p, %r : tensor<8x8xf32>"), [2]);
    }

    #[test]
    fn what_is_multiplied_too_may_not() {
        let both = "%a = tsr.add %p, %x : tensor<8x8xf32>
                    %y = tsr.add %a, %r : tensor<8x8xf32>";
        assert_eq!(overwritten(both), [2]);
    }

    #[test]
    fn what_is_read_elsewhere_too_may_not() {
        let twice =
            "%t = tsr.transpose %r {permutation = [1, 0]} : (tensor<8x8xf32>) -> tensor<8x8xf32>
                     %a = tsr.add %p, %t : tensor<8x8xf32>
                     %y = tsr.add %a, %r : tensor<8x8xf32>";
        assert_eq!(overwritten(twice), []);
    }
}
