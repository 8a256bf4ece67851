//! Loops, branches and calls. What their regions use from outside becomes operands.

use super::{Scope, free_values, ragged};
use crate::raw::{RawOp, RawRegion};
use tessera_ir::diagnostic::Diagnostic;
use tessera_ir::text::ValueUse;
use tessera_ir::{ElementType, OpKind, Symbol, Type, ValueId};

type Converted = Result<Vec<ValueId>, Diagnostic>;

pub(super) fn while_loop<'r, 's>(scope: &mut Scope<'r, 's>, op: &'r RawOp<'s>) -> Converted {
    let [condition, body] = op.regions()?;
    let captured = free_values([condition, body]);
    let kind = OpKind::While {
        condition: scope.region(condition, &captured)?,
        body: scope.region(body, &captured)?,
    };
    let mut operands = scope.operands(op)?;
    operands.extend(values(scope, &captured)?);
    scope.push_on(op, kind, operands)
}

pub(super) fn case<'r, 's>(scope: &mut Scope<'r, 's>, op: &'r RawOp<'s>) -> Converted {
    let operands = scope.operands(op)?;
    let &[index] = operands.as_slice() else {
        return Err(op.error(format!("expected one operand, found {}", operands.len())));
    };
    branch(scope, op, index, op.regions.iter().collect())
}

/// `if(p) {a} else {b}` is `case(convert(p)) {b} {a}`.
pub(super) fn if_then_else<'r, 's>(scope: &mut Scope<'r, 's>, op: &'r RawOp<'s>) -> Converted {
    let [on_true, on_false] = op.regions()?;
    let operands = scope.operands(op)?;
    let element = ElementType::I32;
    let index = scope.push_one(op, OpKind::Convert { element }, operands)?;
    branch(scope, op, index, vec![on_false, on_true])
}

fn branch<'r, 's>(
    scope: &mut Scope<'r, 's>,
    op: &'r RawOp<'s>,
    index: ValueId,
    branches: Vec<&'r RawRegion<'s>>,
) -> Converted {
    let captured = free_values(branches.iter().copied());
    let regions = branches
        .into_iter()
        .map(|region| scope.region(region, &captured));
    let branches = regions.collect::<Result<_, _>>()?;
    let mut operands = vec![index];
    operands.extend(values(scope, &captured)?);
    scope.push_on(op, OpKind::Case { branches }, operands)
}

fn values(scope: &Scope<'_, '_>, uses: &[ValueUse<'_>]) -> Converted {
    uses.iter().map(|used| scope.value(used)).collect()
}

pub(super) fn call(scope: &mut Scope<'_, '_>, op: &RawOp<'_>) -> Converted {
    call_by(scope, op, "callee")
}

/// A composite is what its decomposition computes; a grouped product is that op.
pub(super) fn composite(scope: &mut Scope<'_, '_>, op: &RawOp<'_>) -> Converted {
    let name = op
        .attributes
        .get("name")
        .and_then(|name| name.string().ok());
    if name == Some("chlo.ragged_dot") {
        return ragged::composite(scope, op);
    }
    call_by(scope, op, "decomposition")
}

fn call_by(scope: &mut Scope<'_, '_>, op: &RawOp<'_>, attribute: &str) -> Converted {
    let attribute = op.attribute(attribute)?;
    let callee = attribute.symbol()?;
    let Some(function) = scope.signatures.get(callee) else {
        let message = format!("there is no function @{callee}");
        return Err(Diagnostic::new(message, attribute.span.clone()));
    };
    let parameters = function
        .body
        .arguments
        .iter()
        .map(|argument| &argument.tensor_type);
    if !parameters.clone().eq(&op.operand_types) {
        let message = format!(
            "@{callee} takes {}, found {}",
            super::list(&parameters.cloned().collect::<Vec<_>>()),
            super::list(&op.operand_types)
        );
        return Err(op
            .error(message)
            .with_note("defined here", Some(function.span.clone())));
    }
    let kind = OpKind::Call {
        callee: Symbol(callee.to_owned()),
        result_types: (function.result_types.iter().cloned())
            .map(Type::Tensor)
            .collect(),
    };
    scope.push(op, kind)
}

/// The refusal of a call into a library of XLA's.
pub(crate) fn custom_call(op: &RawOp<'_>, target: &str) -> Diagnostic {
    op.error(format!("the call target '{target}' is not supported"))
}

/// The refusal of a call whose target is an attribute.
pub(super) fn generic_custom_call(op: &RawOp<'_>) -> Diagnostic {
    match op
        .attribute("call_target_name")
        .and_then(|target| target.string())
    {
        Ok(target) => custom_call(op, target),
        Err(error) => error,
    }
}
