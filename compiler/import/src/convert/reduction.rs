//! Reductions, sorting and selection.

use super::Scope;
use crate::raw::RawOp;
use tessera_ir::diagnostic::Diagnostic;
use tessera_ir::{OpKind, ValueId};

type Converted = Result<Vec<ValueId>, Diagnostic>;

pub(super) fn reduce<'r, 's>(scope: &mut Scope<'r, 's>, op: &'r RawOp<'s>) -> Converted {
    let [body] = op.regions()?;
    let kind = OpKind::Reduce {
        dimensions: op.integers("dimensions")?,
        body: scope.isolated_region(body)?,
    };
    scope.push(op, kind)
}

pub(super) fn reduce_window<'r, 's>(scope: &mut Scope<'r, 's>, op: &'r RawOp<'s>) -> Converted {
    let [body] = op.regions()?;
    let window_dimensions: Vec<usize> = op.integers("window_dimensions")?;
    let rank = window_dimensions.len();
    let padding: Vec<i64> = op.integers_or("padding", 0, 2 * rank)?;
    let side = |side: usize| padding.iter().skip(side).step_by(2).copied().collect();
    let kind = OpKind::ReduceWindow {
        window_strides: op.integers_or("window_strides", 1, rank)?,
        base_dilations: op.integers_or("base_dilations", 1, rank)?,
        window_dilations: op.integers_or("window_dilations", 1, rank)?,
        padding_low: side(0),
        padding_high: side(1),
        body: scope.isolated_region(body)?,
        window_dimensions,
    };
    scope.push(op, kind)
}

pub(super) fn sort<'r, 's>(scope: &mut Scope<'r, 's>, op: &'r RawOp<'s>) -> Converted {
    let [comparator] = op.regions()?;
    let kind = OpKind::Sort {
        dimension: sorted_dimension(op)?,
        is_stable: op.flag("is_stable")?,
        comparator: scope.isolated_region(comparator)?,
    };
    scope.push(op, kind)
}

/// The dimension to sort along: the last one by default, counted from the end where it is negative.
fn sorted_dimension(op: &RawOp<'_>) -> Result<usize, Diagnostic> {
    let written = op.attributes.get("dimension");
    let dimension: i64 = written.map_or(Ok(-1), |attribute| attribute.integer())?;
    let rank = op.operand_types.first().map_or(0, |operand| operand.rank());
    let from_start = match usize::try_from(dimension) {
        Ok(dimension) => Some(dimension),
        Err(_) => usize::try_from(dimension.unsigned_abs())
            .ok()
            .and_then(|back| rank.checked_sub(back)),
    };
    from_start.ok_or_else(|| op.error(format!("dimension {dimension} of a tensor of rank {rank}")))
}

pub(super) fn top_k(scope: &mut Scope<'_, '_>, op: &RawOp<'_>) -> Converted {
    let k = op.attribute("k")?.integer()?;
    scope.push(op, OpKind::TopK { k })
}
