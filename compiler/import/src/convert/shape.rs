//! Constants, and ops that move elements without computing with them.

use super::Scope;
use super::elementwise::broadcast;
use crate::raw::RawOp;
use tessera_ir::diagnostic::Diagnostic;
use tessera_ir::text::DenseLiteral;
use tessera_ir::{OpKind, ValueId};

type Converted = Result<Vec<ValueId>, Diagnostic>;

/// A constant; one of equal elements becomes a scalar and its broadcast, so that no memory is filled with it.
pub(super) fn constant(scope: &mut Scope<'_, '_>, op: &RawOp<'_>) -> Converted {
    let attribute = op.attribute("value")?;
    match attribute.dense()? {
        DenseLiteral::Splat { tensor_type, value } if tensor_type.rank() > 0 => {
            let value = value.clone();
            let scalar = scope.push_one(op, OpKind::Constant { value }, Vec::new())?;
            Ok(vec![broadcast(scope, op, scalar, tensor_type)?])
        }
        literal => {
            let value = literal
                .to_tensor()
                .map_err(|error| op.error(error.to_string()))?;
            scope.push(op, OpKind::Constant { value })
        }
    }
}

pub(super) fn iota(scope: &mut Scope<'_, '_>, op: &RawOp<'_>) -> Converted {
    let kind = OpKind::Iota {
        dimension: op.attribute("iota_dimension")?.integer()?,
        tensor_type: op.result_type()?.clone(),
    };
    scope.push(op, kind)
}

pub(super) fn broadcast_in_dim(scope: &mut Scope<'_, '_>, op: &RawOp<'_>) -> Converted {
    let kind = OpKind::BroadcastInDim {
        broadcast_dimensions: op.integers("broadcast_dimensions")?,
        shape: op.result_type()?.shape.clone(),
    };
    scope.push(op, kind)
}

pub(super) fn reshape(scope: &mut Scope<'_, '_>, op: &RawOp<'_>) -> Converted {
    let shape = op.result_type()?.shape.clone();
    scope.push(op, OpKind::Reshape { shape })
}

pub(super) fn transpose(scope: &mut Scope<'_, '_>, op: &RawOp<'_>) -> Converted {
    let permutation = op.integers("permutation")?;
    scope.push(op, OpKind::Transpose { permutation })
}

pub(super) fn slice(scope: &mut Scope<'_, '_>, op: &RawOp<'_>) -> Converted {
    let kind = OpKind::Slice {
        start_indices: op.integers("start_indices")?,
        limit_indices: op.integers("limit_indices")?,
        strides: op.integers("strides")?,
    };
    scope.push(op, kind)
}

pub(super) fn dynamic_slice(scope: &mut Scope<'_, '_>, op: &RawOp<'_>) -> Converted {
    let slice_sizes = op.integers("slice_sizes")?;
    scope.push(op, OpKind::DynamicSlice { slice_sizes })
}

pub(super) fn pad(scope: &mut Scope<'_, '_>, op: &RawOp<'_>) -> Converted {
    let kind = OpKind::Pad {
        edge_padding_low: op.integers("edge_padding_low")?,
        edge_padding_high: op.integers("edge_padding_high")?,
        interior_padding: op.integers("interior_padding")?,
    };
    scope.push(op, kind)
}

pub(super) fn concatenate(scope: &mut Scope<'_, '_>, op: &RawOp<'_>) -> Converted {
    let dimension = op.attribute("dimension")?.integer()?;
    scope.push(op, OpKind::Concatenate { dimension })
}

pub(super) fn reverse(scope: &mut Scope<'_, '_>, op: &RawOp<'_>) -> Converted {
    let dimensions = op.integers("dimensions")?;
    scope.push(op, OpKind::Reverse { dimensions })
}
