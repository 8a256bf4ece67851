//! Rules for ops that work element by element.

use super::facts;
use super::simplifier::{Applied, Candidate, Rule, Simplifier};
use tessera_ir::{
    Binary, CompareType, ComparisonDirection, ElementType, OpKind, Tensor, Unary, ValueId,
};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "identity operand",
        apply: identity_operand,
    },
    Rule {
        name: "absorbing operand",
        apply: absorbing_operand,
    },
    Rule {
        name: "equal operands",
        apply: equal_operands,
    },
    Rule {
        name: "double inverse",
        apply: double_inverse,
    },
    Rule {
        name: "divide by a power of two",
        apply: divide_by_power_of_two,
    },
    Rule {
        name: "convert to the same",
        apply: convert,
    },
    Rule {
        name: "known select",
        apply: select,
    },
    Rule {
        name: "compare of equals",
        apply: compare,
    },
    Rule {
        name: "elementwise before broadcast",
        apply: before_broadcast,
    },
];

/// `x ∘ e → x` where `e` is the neutral element: `x · 1`, `x / 1`, `x − 0`, `x + −0` for floats, and so on.
fn identity_operand(s: &mut Simplifier<'_>, c: &Candidate<'_>) -> Applied {
    let OpKind::Binary(function) = c.kind else {
        return Ok(None);
    };
    let [x, e] = *c.operands else {
        return Ok(None);
    };
    let Some(scalar) = facts::splat(&s.graph, e) else {
        return Ok(None);
    };
    let neutral = if scalar.element().is_float() {
        facts::as_float(scalar).is_some_and(|e| is_neutral_float(*function, e))
    } else {
        facts::as_integer(scalar).is_some_and(|e| is_neutral_integer(*function, scalar, e))
    };
    Ok(neutral.then(|| vec![x]))
}

fn is_neutral_float(function: Binary, e: f64) -> bool {
    match function {
        // −0 + −0 = −0, but −0 + +0 = +0.
        Binary::Add => e == 0.0 && e.is_sign_negative(),
        Binary::Subtract => e == 0.0 && e.is_sign_positive(),
        Binary::Multiply | Binary::Divide => e == 1.0,
        Binary::Maximum => e == f64::NEG_INFINITY,
        Binary::Minimum => e == f64::INFINITY,
        Binary::And
        | Binary::Atan2
        | Binary::Or
        | Binary::Power
        | Binary::Remainder
        | Binary::ShiftLeft
        | Binary::ShiftRightArithmetic
        | Binary::ShiftRightLogical
        | Binary::Xor => false,
    }
}

fn is_neutral_integer(function: Binary, scalar: &Tensor, e: i128) -> bool {
    let (smallest, largest) = bounds(scalar.element());
    let all_ones = if scalar.element().is_signed_integer() {
        -1
    } else {
        largest
    };
    match function {
        Binary::Add | Binary::Or | Binary::Xor => e == 0,
        Binary::Subtract => e == 0 && scalar.element() != ElementType::I1,
        Binary::Multiply | Binary::Divide | Binary::Power => e == 1,
        Binary::And => e == all_ones,
        Binary::Maximum => e == smallest,
        Binary::Minimum => e == largest,
        Binary::ShiftLeft | Binary::ShiftRightArithmetic | Binary::ShiftRightLogical => e == 0,
        Binary::Atan2 | Binary::Remainder => false,
    }
}

/// The smallest and the largest number of an integer type or of booleans.
fn bounds(element: ElementType) -> (i128, i128) {
    if element.is_signed_integer() {
        let half = 1i128 << (element.bits() - 1);
        (-half, half - 1)
    } else {
        (0, (1i128 << element.bits()) - 1)
    }
}

/// `x ∘ a → a` where `a` absorbs: `x · 0` and `x & 0` for integers, `x | true` for booleans, and so on. Not for floats:
/// NaN is not absorbed.
fn absorbing_operand(s: &mut Simplifier<'_>, c: &Candidate<'_>) -> Applied {
    let OpKind::Binary(function) = c.kind else {
        return Ok(None);
    };
    let [_, a] = *c.operands else {
        return Ok(None);
    };
    let Some(scalar) = facts::splat(&s.graph, a) else {
        return Ok(None);
    };
    let Some(number) = facts::as_integer(scalar) else {
        return Ok(None);
    };
    let (smallest, largest) = bounds(scalar.element());
    let boolean = scalar.element() == ElementType::I1;
    let absorbs = match function {
        Binary::Multiply | Binary::And => number == 0,
        Binary::Or if scalar.element().is_signed_integer() => number == -1,
        Binary::Or => number == largest,
        Binary::Add => boolean && number == 1,
        Binary::Maximum => number == largest,
        Binary::Minimum => number == smallest,
        Binary::Atan2
        | Binary::Divide
        | Binary::Power
        | Binary::Remainder
        | Binary::ShiftLeft
        | Binary::ShiftRightArithmetic
        | Binary::ShiftRightLogical
        | Binary::Subtract
        | Binary::Xor => false,
    };
    Ok(absorbs.then(|| vec![a]))
}

/// `max(x, x)`, `min(x, x)`, `x & x`, `x | x → x`; `x − x`, `x ^ x → 0` for integers.
fn equal_operands(s: &mut Simplifier<'_>, c: &Candidate<'_>) -> Applied {
    let (OpKind::Binary(function), &[x, y]) = (c.kind, c.operands) else {
        return Ok(None);
    };
    if x != y {
        return Ok(None);
    }
    match function {
        Binary::Maximum | Binary::Minimum | Binary::And | Binary::Or => Ok(Some(vec![x])),
        Binary::Subtract | Binary::Xor if !c.results[0].element.is_float() => {
            let Ok(zero) = Tensor::zeros(c.results[0].element, []) else {
                return Ok(None);
            };
            let zero = s.constant(zero, c.location)?;
            let shape = c.results[0].shape.clone();
            Ok(Some(vec![s.broadcast(zero, &[], &shape, c.location)?]))
        }
        Binary::Add
        | Binary::Atan2
        | Binary::Divide
        | Binary::Multiply
        | Binary::Power
        | Binary::Remainder
        | Binary::ShiftLeft
        | Binary::ShiftRightArithmetic
        | Binary::ShiftRightLogical
        | Binary::Subtract
        | Binary::Xor => Ok(None),
    }
}

/// `−(−x)`, `not(not x) → x`; `x · −1`, `x / −1 → −x`.
fn double_inverse(s: &mut Simplifier<'_>, c: &Candidate<'_>) -> Applied {
    match c.kind {
        OpKind::Unary(function @ (Unary::Negate | Unary::Not)) => {
            let inner = s.definition(c.operands[0]);
            let same = inner.filter(|inner| inner.kind == OpKind::Unary(*function));
            Ok(same.map(|inner| vec![inner.operands[0]]))
        }
        OpKind::Binary(Binary::Multiply | Binary::Divide)
            if facts::float(&s.graph, c.operands[1]) == Some(-1.0) =>
        {
            let negate = OpKind::Unary(Unary::Negate);
            s.emit(negate, vec![c.operands[0]], c.location).map(Some)
        }
        _ => Ok(None),
    }
}

/// `x / 2ᵏ → x · 2⁻ᵏ` for floats, where 2⁻ᵏ has full precision: both are the same real number, rounded once.
fn divide_by_power_of_two(s: &mut Simplifier<'_>, c: &Candidate<'_>) -> Applied {
    if *c.kind != OpKind::Binary(Binary::Divide) {
        return Ok(None);
    }
    let [x, divisor] = *c.operands else {
        return Ok(None);
    };
    let Some(number) = facts::float(&s.graph, divisor) else {
        return Ok(None);
    };
    let element = s.tensor_type(divisor).element;
    // A power of two is 1.0 times its exponent: no bit of the significand is set.
    let is_power = number.is_normal() && number.to_bits() & ((1 << 52) - 1) == 0;
    let reciprocal = number.recip();
    if !is_power || reciprocal.abs() < facts::smallest_normal(element) {
        return Ok(None);
    }
    let Some(reciprocal) = facts::exact_float(element, reciprocal) else {
        return Ok(None);
    };
    let reciprocal = s.constant(reciprocal, c.location)?;
    let shape = c.results[0].shape.clone();
    let reciprocal = s.broadcast(reciprocal, &[], &shape, c.location)?;
    let multiply = OpKind::Binary(Binary::Multiply);
    s.emit(multiply, vec![x, reciprocal], c.location).map(Some)
}

/// `convert` to the operand's own type goes, and so do two of them by way of a type that holds every number of the
/// first exactly.
fn convert(s: &mut Simplifier<'_>, c: &Candidate<'_>) -> Applied {
    let &[x] = c.operands else {
        return Ok(None);
    };
    match *c.kind {
        OpKind::Convert { element } | OpKind::BitcastConvert { element }
            if s.tensor_type(x).element == element =>
        {
            Ok(Some(vec![x]))
        }
        OpKind::Convert { element } => {
            let Some(inner) = s.definition(x) else {
                return Ok(None);
            };
            let (OpKind::Convert { element: middle }, &[source]) =
                (&inner.kind, inner.operands.as_slice())
            else {
                return Ok(None);
            };
            let first = s.tensor_type(source).element;
            if !facts::holds_exactly(*middle, first) {
                return Ok(None);
            }
            let kind = OpKind::Convert { element };
            s.emit(kind, vec![source], c.location).map(Some)
        }
        _ => Ok(None),
    }
}

/// `select` by a known predicate, of equal values, of true and false, or by a negation.
fn select(s: &mut Simplifier<'_>, c: &Candidate<'_>) -> Applied {
    let (OpKind::Select {}, &[predicate, on_true, on_false]) = (c.kind, c.operands) else {
        return Ok(None);
    };
    if on_true == on_false {
        return Ok(Some(vec![on_true]));
    }
    if let Some(known) = facts::integer(&s.graph, predicate) {
        return Ok(Some(vec![if known != 0 { on_true } else { on_false }]));
    }
    let is_whole = *s.graph.tensor_type(predicate) == c.results[0];
    let known = [on_true, on_false].map(|value| facts::integer(&s.graph, value));
    match known {
        [Some(yes), Some(0)] if is_whole && yes != 0 => return Ok(Some(vec![predicate])),
        [Some(0), Some(no)] if is_whole && no != 0 => {
            let negated = OpKind::Unary(Unary::Not);
            return s.emit(negated, vec![predicate], c.location).map(Some);
        }
        _ => {}
    }
    match s.definition(predicate) {
        Some(inner) if inner.kind == OpKind::Unary(Unary::Not) => {
            let operands = vec![inner.operands[0], on_false, on_true];
            s.emit(OpKind::Select {}, operands, c.location).map(Some)
        }
        _ => Ok(None),
    }
}

/// `x = x`, `x ≤ x`, `x ≥ x` are true and `x ≠ x`, `x < x`, `x > x` false, but for floats in IEEE order: NaN ≠ NaN.
fn compare(s: &mut Simplifier<'_>, c: &Candidate<'_>) -> Applied {
    let OpKind::Compare {
        direction,
        compare_type,
    } = c.kind
    else {
        return Ok(None);
    };
    if c.operands[0] != c.operands[1] || *compare_type == CompareType::Float {
        return Ok(None);
    }
    let holds = match direction {
        ComparisonDirection::Eq | ComparisonDirection::Ge | ComparisonDirection::Le => true,
        ComparisonDirection::Ne | ComparisonDirection::Gt | ComparisonDirection::Lt => false,
    };
    let scalar = s.constant(Tensor::scalar(holds), c.location)?;
    let shape = c.results[0].shape.clone();
    Ok(Some(vec![s.broadcast(scalar, &[], &shape, c.location)?]))
}

/// `f(broadcast x, broadcast y, broadcast of a scalar) → broadcast f(x, y, broadcast of the scalar)`, where x and y are
/// broadcast alike: fewer elements are computed.
fn before_broadcast(s: &mut Simplifier<'_>, c: &Candidate<'_>) -> Applied {
    if !c.kind.is_elementwise() {
        return Ok(None);
    }
    let shape = &c.results[0].shape;
    let mut sources: Vec<(ValueId, &[usize])> = Vec::with_capacity(c.operands.len());
    for &operand in c.operands {
        let source = match s.definition(operand) {
            Some(op) => match &op.kind {
                OpKind::BroadcastInDim {
                    broadcast_dimensions,
                    ..
                } => (op.operands[0], broadcast_dimensions.as_slice()),
                _ if s.shape(operand).is_empty() => (operand, [].as_slice()),
                _ => return Ok(None),
            },
            None if s.shape(operand).is_empty() => (operand, [].as_slice()),
            None => return Ok(None),
        };
        sources.push(source);
    }
    let Some(&(widest, dimensions)) = sources.iter().max_by_key(|(_, dims)| dims.len()) else {
        return Ok(None);
    };
    let source_shape = s.shape(widest).to_vec();
    let dimensions = dimensions.to_vec();
    let fewer = source_shape.iter().product::<usize>() < shape.iter().product();
    let alike = sources.iter().all(|&(source, dims)| {
        s.shape(source).is_empty() || (dims == dimensions && s.shape(source) == source_shape)
    });
    if !fewer || !alike {
        return Ok(None);
    }
    let values: Vec<ValueId> = sources.iter().map(|&(source, _)| source).collect();
    let mut operands = Vec::with_capacity(values.len());
    for (position, value) in values.into_iter().enumerate() {
        // The predicate of a select and the bounds of a clamp may stay scalars where they were.
        let stays = s.shape(c.operands[position]).is_empty();
        let needs_shape = s.shape(value).is_empty() && !source_shape.is_empty() && !stays;
        operands.push(if needs_shape {
            s.broadcast(value, &[], &source_shape, c.location)?
        } else {
            value
        });
    }
    let inner = s.emit_value(c.kind.clone(), operands, c.location)?;
    let shape = shape.clone();
    let result = s.broadcast(inner, &dimensions, &shape, c.location)?;
    Ok(Some(vec![result]))
}
