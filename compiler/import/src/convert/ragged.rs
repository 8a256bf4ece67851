//! Grouped products: CHLO's `ragged_dot`, as an op and as the composite that an exported module has of it.

use super::Scope;
use super::contraction::accumulator;
use crate::raw::RawOp;
use tessera_ir::diagnostic::Diagnostic;
use tessera_ir::text::{AttributeValue, ParsedAttribute};
use tessera_ir::{ElementType, OpKind, Tensor, TensorType, ValueId};

type Converted = Result<Vec<ValueId>, Diagnostic>;

/// The names of the dimension numbers, in the order in which a composite lists them.
const NAMES: [&str; 6] = [
    "lhs_batching_dimensions",
    "rhs_batching_dimensions",
    "lhs_contracting_dimensions",
    "rhs_contracting_dimensions",
    "lhs_ragged_dimensions",
    "rhs_group_dimensions",
];

pub(super) fn ragged_dot(scope: &mut Scope<'_, '_>, op: &RawOp<'_>) -> Converted {
    let numbers = op.attribute("ragged_dot_dimension_numbers")?.dictionary()?;
    let read = |name: &str| {
        let list = numbers.get(name);
        list.map_or(Ok(Vec::new()), ParsedAttribute::integers)
    };
    convert(scope, op, &each(read)?)
}

/// `stablehlo.composite "chlo.ragged_dot"`, whose dimension numbers are a list without names.
pub(super) fn composite(scope: &mut Scope<'_, '_>, op: &RawOp<'_>) -> Converted {
    let attributes = op.attribute("composite_attributes")?;
    let Some(numbers) = attributes.dictionary()?.get("ragged_dot_dimension_numbers") else {
        let message = "the attribute 'ragged_dot_dimension_numbers' is missing";
        return Err(Diagnostic::new(message, attributes.span.clone()));
    };
    let AttributeValue::Array(lists) = &numbers.value else {
        return Err(numbers.unexpected("an array of lists of dimensions"));
    };
    if lists.len() != NAMES.len() {
        return Err(numbers.unexpected("six lists of dimensions"));
    }
    let mut lists = lists.iter();
    let read = |_: &str| {
        let list = lists.next();
        list.map_or(Ok(Vec::new()), ParsedAttribute::integers)
    };
    convert(scope, op, &each(read)?)
}

/// The lists of [`NAMES`].
fn each(
    mut read: impl FnMut(&str) -> Result<Vec<usize>, Diagnostic>,
) -> Result<[Vec<usize>; 6], Diagnostic> {
    let mut lists: [Vec<usize>; 6] = Default::default();
    for (list, name) in lists.iter_mut().zip(NAMES) {
        *list = read(name)?;
    }
    Ok(lists)
}

/// Two of CHLO's three modes, without batching: rows of groups by a matrix for each, and sums over the rows of groups.
fn convert(scope: &mut Scope<'_, '_>, op: &RawOp<'_>, numbers: &[Vec<usize>; 6]) -> Converted {
    let [
        lhs_batching,
        rhs_batching,
        lhs_contracting,
        rhs_contracting,
        ragged,
        group,
    ] = numbers;
    let refused = |what: &str| {
        let note = "supported: (m, k) x (g, k, n) -> (m, n) and (m, k) x (m, n) -> (g, k, n), with group sizes of one dimension";
        op.error(format!("{what} not supported"))
            .with_note(note, None)
    };
    if !lhs_batching.is_empty() || !rhs_batching.is_empty() {
        return Err(refused("a grouped product with batching dimensions is"));
    }
    let operands = scope.operands(op)?;
    let &[lhs, mut rhs, group_sizes] = operands.as_slice() else {
        return Err(op.error(format!("expected 3 operands, found {}", operands.len())));
    };
    let (&[left], &[mut right], &[ragged]) =
        (&lhs_contracting[..], &rhs_contracting[..], &ragged[..])
    else {
        return Err(refused(
            "a grouped product with other than one contracting and one ragged dimension is",
        ));
    };
    let [lhs_rank, rhs_rank, sizes_rank] =
        [lhs, rhs, group_sizes].map(|value| scope.graph.tensor_type(value).rank());
    match (ragged == left, &group[..]) {
        (true, []) if rhs_rank == 2 => {}
        (false, &[group]) if rhs_rank == 3 && group < 3 && group != right => {
            if group != 0 {
                let mut permutation: Vec<usize> = (0..3).filter(|&d| d != group).collect();
                permutation.insert(0, group);
                right = permutation
                    .iter()
                    .position(|&d| d == right)
                    .unwrap_or(right);
                rhs = scope.push_one(op, OpKind::Transpose { permutation }, vec![rhs])?;
            }
        }
        _ => return Err(refused("a grouped product of such operands is")),
    }
    if lhs_rank != 2 || ragged > 1 || sizes_rank != 1 {
        return Err(refused("a grouped product of such operands is"));
    }
    let group_sizes = sizes(scope, op, group_sizes)?;
    let element = op.result_type()?.element;
    let kind = OpKind::GroupedDot {
        lhs_contracting_dimension: left,
        rhs_contracting_dimension: right,
        accumulator: accumulator(op, element),
        element,
    };
    scope.push_on(op, kind, vec![lhs, rhs, group_sizes])
}

/// The group sizes as i32. Of what i32 cannot hold, negative sizes stay negative and large ones large, so that they are
/// refused when the product is computed.
fn sizes(scope: &mut Scope<'_, '_>, op: &RawOp<'_>, sizes: ValueId) -> Result<ValueId, Diagnostic> {
    let found = scope.graph.tensor_type(sizes).clone();
    let bounds = match found.element {
        ElementType::I32 => return Ok(sizes),
        ElementType::I64 => Some([
            Tensor::scalar(i64::from(i32::MIN)),
            Tensor::scalar(i64::from(i32::MAX)),
        ]),
        ElementType::Ui32 => Some([Tensor::scalar(0u32), Tensor::scalar(i32::MAX as u32)]),
        ElementType::Ui64 => Some([Tensor::scalar(0u64), Tensor::scalar(i32::MAX as u64)]),
        element if element.is_integer() => None,
        _ => {
            let expected = TensorType::new(ElementType::I32, found.shape.clone());
            return Err(op.error(format!("expected group sizes of {expected}, found {found}")));
        }
    };
    let mut sizes = sizes;
    if let Some(bounds) = bounds {
        let [low, high] =
            bounds.map(|value| scope.push_one(op, OpKind::Constant { value }, vec![]));
        sizes = scope.push_one(op, OpKind::Clamp {}, vec![low?, sizes, high?])?;
    }
    let element = ElementType::I32;
    scope.push_one(op, OpKind::Convert { element }, vec![sizes])
}
