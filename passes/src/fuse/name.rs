//! Names of kernels.

use tessera_ir::plan::Family;
use tessera_ir::{Graph, OpKind, Operation};

/// A C identifier for a kernel: its family and the ops that do its work, `row_reduce_divide_multiply`. Not unique.
pub(super) fn kernel_name(family: Family, body: &Graph) -> String {
    const MOST_OPS: usize = 4;
    if family == Family::Attention {
        return attention_name(body);
    }
    let family = match family {
        Family::Loop => "loop",
        Family::Row => "row",
        Family::Column => "column",
        Family::Dot => "dot",
        Family::Attention => "attention",
        Family::Index => "index",
        Family::Sort => "sort",
        Family::Quantize => "quantize",
        Family::Solve => "solve",
    };
    let mut computing: Vec<&str> = Vec::new();
    let mut moving: Vec<&str> = Vec::new();
    // A dot's product is said first, whatever its epilogue's operands are made of.
    let is_first = |operation: &&Operation| family == "dot" && operation.op.kind.is_product();
    let first = body.operations().iter().filter(is_first);
    for operation in first.chain(body.operations()) {
        let kind = &operation.op.kind;
        let list = if says_little(kind) {
            &mut moving
        } else {
            &mut computing
        };
        if !list.contains(&kind.name()) {
            list.push(kind.name());
        }
    }
    let mut words = if computing.is_empty() {
        moving
    } else {
        computing
    };
    let left_out = words.len().saturating_sub(MOST_OPS);
    words.truncate(MOST_OPS);
    let is_said = |word: &str| word == family || family == "dot" && word == "dot_general";
    words.retain(|word| !is_said(word));
    words.insert(0, family);
    if left_out > 0 {
        words.push("more");
    }
    words.join("_")
}

/// An attention's kernels are told apart by what they end with: a softmax's sums, another sum, or a product of the weights,
/// along their columns or their rows.
fn attention_name(body: &Graph) -> String {
    let operations = body.operations().iter().rev();
    let is_reduction = |one: &&Operation| matches!(one.op.kind, OpKind::Reduce { .. });
    let end = match operations.clone().filter(is_reduction).count() {
        0 => {
            let mut products = operations.filter(|one| one.op.kind.is_product());
            match products.next().is_some_and(|one| sums_columns(body, one)) {
                true => "dot_along_columns",
                false => "dot_along_rows",
            }
        }
        1 => "reduce",
        _ => "softmax",
    };
    format!("attention_{end}")
}

/// Whether the operand of a product that is made of scores is contracted along its last dimension.
fn sums_columns(body: &Graph, product: &Operation) -> bool {
    let OpKind::DotGeneral {
        lhs_contracting_dimensions,
        rhs_contracting_dimensions,
        ..
    } = &product.op.kind
    else {
        return false;
    };
    let contracting = [lhs_contracting_dimensions, rhs_contracting_dimensions];
    let mut operands = product.op.operands.iter().zip(contracting);
    operands.any(|(&operand, contracting)| {
        let made = body.defining_operation(operand).map(|one| &one.op.kind);
        let is_weights = made.is_some_and(|kind| kind.is_elementwise() || kind.is_product());
        let rank = body.value_type(operand).shape().len();
        is_weights && contracting.contains(&(rank - 1))
    })
}

/// Whether an op only says where elements lie.
fn says_little(kind: &OpKind) -> bool {
    matches!(
        kind,
        OpKind::Constant { .. }
            | OpKind::BroadcastInDim { .. }
            | OpKind::Reshape { .. }
            | OpKind::Iota { .. }
            | OpKind::Slice { .. }
            | OpKind::Transpose { .. }
            | OpKind::Convert { .. }
    )
}
