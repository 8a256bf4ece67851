//! Values that are repeated along dimensions: what a broadcast says, in the one form that rules ask for.

use super::super::rule::Terms;
use crate::canonicalise::reshape_groups;
use egg::Id;
use tessera_ir::OpKind;

/// A value that is repeated along some dimensions.
#[derive(Clone, Debug)]
pub(super) struct Repetition {
    /// What is repeated. None of its dimensions is.
    pub(super) source: Id,
    /// Which dimensions of the value the source's are, ascending.
    pub(super) dimensions: Vec<usize>,
    /// The value's shape.
    pub(super) shape: Vec<usize>,
}

impl Repetition {
    /// Whether the value is repeated along a dimension.
    pub(super) fn is_along(&self, dimension: usize) -> bool {
        !self.dimensions.contains(&dimension) && self.shape[dimension] != 1
    }

    /// The value without some dimensions that it is repeated along.
    pub(super) fn without(&self, terms: &mut Terms<'_>, removed: &[usize]) -> Option<Id> {
        let kept: Vec<usize> = (0..self.shape.len())
            .filter(|d| !removed.contains(d))
            .collect();
        let shape: Vec<usize> = kept.iter().map(|&d| self.shape[d]).collect();
        let places = self.dimensions.iter();
        let places: Option<Vec<usize>> = places.map(|d| kept.iter().position(|k| k == d)).collect();
        terms.broadcast(self.source, &places?, &shape)
    }
}

/// The ways in which a value is repeated: one for each broadcast that it is equal to.
pub(super) fn repetitions(terms: &mut Terms<'_>, id: Id) -> Vec<Repetition> {
    let broadcasts = terms.ops(id, |op| match &op.kind {
        OpKind::BroadcastInDim {
            broadcast_dimensions,
            shape,
        } => Some((op.operands[0], broadcast_dimensions.clone(), shape.clone())),
        _ => None,
    });
    let broadcasts = broadcasts.into_iter();
    broadcasts
        .filter_map(|(source, dimensions, shape)| repetition(terms, source, &dimensions, shape))
        .collect()
}

fn repetition(
    terms: &mut Terms<'_>,
    source: Id,
    dimensions: &[usize],
    shape: Vec<usize>,
) -> Option<Repetition> {
    if shape.contains(&0) {
        return None;
    }
    // Dimensions of 1 are repeated, or hold nothing: they go.
    let sizes = terms.shape(source).to_vec();
    let kept: Vec<usize> = (0..sizes.len()).filter(|&d| sizes[d] != 1).collect();
    let squeezed: Vec<usize> = kept.iter().map(|&d| sizes[d]).collect();
    let source = terms.reshape(source, &squeezed)?;
    let places: Vec<usize> = kept.iter().map(|&d| dimensions[d]).collect();
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_by_key(|&position| places[position]);
    let source = terms.transpose(source, &order)?;
    let dimensions = order.into_iter().map(|position| places[position]).collect();
    let repetition = Repetition {
        source,
        dimensions,
        shape,
    };
    let is_repeated = (0..repetition.shape.len()).any(|d| repetition.is_along(d));
    is_repeated.then_some(repetition)
}

/// The tensor of that shape that has the one number of a value everywhere.
pub(super) fn splat_of_shape(terms: &mut Terms<'_>, id: Id, shape: &[usize]) -> Option<Id> {
    let value = terms.splat(id)?.clone();
    let scalar = terms.add(OpKind::Constant { value }, &[])?;
    terms.broadcast(scalar, &[], shape)
}

/// `reshape(broadcast x)` from one shape to another as a broadcast of a reshape of x; `None` where a dimension would
/// hold both elements of x and repetitions.
pub(super) fn reshaped_broadcast(
    terms: &mut Terms<'_>,
    (source, dimensions): (Id, &[usize]),
    from: &[usize],
    to: &[usize],
) -> Option<Id> {
    if !dimensions.is_sorted() {
        return None;
    }
    let source_shape = terms.shape(source).to_vec();
    let holds_source = |dimension: usize| {
        let position = dimensions.iter().position(|&d| d == dimension);
        position.is_some_and(|p| source_shape[p] == from[dimension])
    };
    let (mut new_shape, mut places) = (Vec::new(), Vec::new());
    for group in reshape_groups(from, to)? {
        let mut members = group.from.filter(|&dimension| from[dimension] != 1);
        if members.clone().all(holds_source) {
            for dimension in group.to.filter(|&dimension| to[dimension] != 1) {
                new_shape.push(to[dimension]);
                places.push(dimension);
            }
        } else if members.any(holds_source) {
            return None;
        }
    }
    let value = terms.reshape(source, &new_shape)?;
    terms.broadcast(value, &places, to)
}
