//! How far two correct evaluations of a program may lie apart.
//!
//! The interpreter and JAX round at different places: the interpreter keeps sums in f64 and knows transcendental
//! functions to the last digit, JAX adds in the element type and in another order, fuses a multiplication with an
//! addition, and approximates. To first order, an intermediate result that is off by one rounding moves a final one by
//! one rounding too, as far as no step makes much smaller numbers out of larger ones, which these programs avoid. So
//! results differ by at most as many roundings as lie on the longest path through the program, each of the size that
//! the largest elements have.

use tessera_ir::{Binary, ElementType, Graph, Module, OpKind, Operation, Unary};

/// XLA's polynomials for transcendental functions of f32 are off by a few units in the last place; the worst is the
/// inverse error function, whose source (M. Giles, "Approximating the erfinv function", 2010) gives a relative error of
/// 3.5e-7, which is 6 units of 2⁻²⁴.
const APPROXIMATION: usize = 8;

/// No loop in the fixtures that computes with floats goes round more often.
const LONGEST_LOOP: usize = 8;

/// The most roundings on a path from an input to a result of the graph.
pub fn on_longest_path(module: &Module, graph: &Graph) -> usize {
    let mut depths = vec![0; graph.value_count()];
    for operation in graph.operations() {
        let before = operation
            .op
            .operands
            .iter()
            .map(|value| depths[value.index()])
            .max();
        let depth = before.unwrap_or(0) + of_operation(module, graph, operation);
        operation
            .results()
            .for_each(|value| depths[value.index()] = depth);
    }
    let results = graph.results().iter();
    results
        .map(|result| depths[result.value.index()])
        .max()
        .unwrap_or(0)
}

/// How many ops of the graph round, and whether all of them are elementwise.
pub fn of_elementwise(module: &Module, graph: &Graph) -> Option<usize> {
    let rounding = |operation: &&Operation| of_operation(module, graph, operation) > 0;
    let mut rounding = graph.operations().iter().filter(rounding);
    match (rounding.next(), rounding.next()) {
        (None, _) => Some(0),
        (Some(only), None) if only.op.kind.is_elementwise() => {
            Some(of_operation(module, graph, only))
        }
        _ => None,
    }
}

/// The most roundings on a path through the op.
fn of_operation(module: &Module, graph: &Graph, operation: &Operation) -> usize {
    let length = |value: usize| graph.tensor_type(operation.op.operands[value]).len();
    let result = graph.tensor_type(operation.result());
    let terms = || length(0) / result.len().max(1);
    match &operation.op.kind {
        OpKind::Call { callee, .. } => on_longest_path(module, module.graph(&callee.0).unwrap()),
        OpKind::Case { branches } => {
            let branches = branches
                .iter()
                .map(|branch| on_longest_path(module, branch));
            branches.max().unwrap_or(0)
        }
        OpKind::While { body, .. } => LONGEST_LOOP * on_longest_path(module, body),
        OpKind::Reduce { body, .. } => terms() * on_longest_path(module, body),
        OpKind::ReduceWindow {
            window_dimensions,
            body,
            ..
        } => window_dimensions.iter().product::<usize>() * on_longest_path(module, body),
        // In the worst case every update goes to one place.
        OpKind::Scatter {
            update_computation, ..
        } => {
            let updates = operation.op.operands.len() - 1;
            length(updates) * on_longest_path(module, update_computation)
        }
        _ if !result.element.is_float() => 0,
        OpKind::DotGeneral {
            lhs_contracting_dimensions,
            ..
        } => {
            let lhs = &graph.tensor_type(operation.op.operands[0]).shape;
            // A product and a sum for each term.
            2 * lhs_contracting_dimensions
                .iter()
                .map(|&d| lhs[d])
                .product::<usize>()
        }
        OpKind::GroupedDot {
            lhs_contracting_dimension,
            ..
        } => {
            let lhs = &graph.tensor_type(operation.op.operands[0]).shape;
            2 * lhs[*lhs_contracting_dimension]
        }
        OpKind::Unary(function) => of_unary(*function),
        OpKind::Binary(function) => of_binary(*function),
        OpKind::Convert { element } => {
            let narrower =
                element.size() < graph.tensor_type(operation.op.operands[0]).element.size();
            usize::from(narrower)
        }
        OpKind::Compare { .. }
        | OpKind::Select {}
        | OpKind::Clamp {}
        | OpKind::BitcastConvert { .. }
        | OpKind::Constant { .. }
        | OpKind::Iota { .. }
        | OpKind::BroadcastInDim { .. }
        | OpKind::Reshape { .. }
        | OpKind::Transpose { .. }
        | OpKind::Slice { .. }
        | OpKind::DynamicSlice { .. }
        | OpKind::DynamicUpdateSlice {}
        | OpKind::Pad { .. }
        | OpKind::Concatenate { .. }
        | OpKind::Reverse { .. }
        | OpKind::Gather { .. }
        | OpKind::Sort { .. }
        | OpKind::TopK { .. }
        | OpKind::OptimizationBarrier {} => 0,
        OpKind::Quantize { .. }
        | OpKind::Dequantize { .. }
        | OpKind::Relayout { .. }
        | OpKind::ScaledDot { .. }
        | OpKind::GroupedScaledDot { .. }
        | OpKind::ColumnMean { .. }
        | OpKind::Hadamard { .. }
        | OpKind::Orthonormalize {}
        | OpKind::SubspaceIterate { .. } => unreachable!("JAX has no such op"),
    }
}

fn of_unary(function: Unary) -> usize {
    match function {
        Unary::Abs
        | Unary::Ceil
        | Unary::CountLeadingZeros
        | Unary::Floor
        | Unary::IsFinite
        | Unary::Negate
        | Unary::Not
        | Unary::Popcnt
        | Unary::RoundNearestAfz
        | Unary::RoundNearestEven
        | Unary::Sign => 0,
        Unary::Sqrt => 1,
        Unary::Cbrt
        | Unary::Cosine
        | Unary::Erf
        | Unary::Erfc
        | Unary::ErfInv
        | Unary::Exponential
        | Unary::ExponentialMinusOne
        | Unary::Log
        | Unary::LogPlusOne
        | Unary::Logistic
        | Unary::Rsqrt
        | Unary::Sine
        | Unary::Tan
        | Unary::Tanh => APPROXIMATION,
    }
}

fn of_binary(function: Binary) -> usize {
    match function {
        Binary::Add | Binary::Divide | Binary::Multiply | Binary::Subtract => 1,
        Binary::Atan2 | Binary::Power => APPROXIMATION,
        Binary::And
        | Binary::Maximum
        | Binary::Minimum
        | Binary::Or
        | Binary::Remainder
        | Binary::ShiftLeft
        | Binary::ShiftRightArithmetic
        | Binary::ShiftRightLogical
        | Binary::Xor => 0,
    }
}

/// The greatest distance between neighbouring numbers around 1 among the float types of a graph and all that it holds
/// or calls.
pub fn coarsest(module: &Module, graph: &Graph) -> f64 {
    let own = graph.values().map(|value| graph.tensor_type(value).element);
    let own = own.filter(|element| element.is_float()).map(epsilon);
    let inner = graph.operations().iter().flat_map(|operation| {
        let regions = operation
            .op
            .kind
            .regions()
            .into_iter()
            .map(|region| coarsest(module, region));
        let callee = match &operation.op.kind {
            OpKind::Call { callee, .. } => module.graph(&callee.0),
            _ => None,
        };
        regions
            .chain(callee.map(|callee| coarsest(module, callee)))
            .collect::<Vec<_>>()
    });
    own.chain(inner).fold(0.0, f64::max)
}

/// The distance between 1 and the next greater number.
fn epsilon(element: ElementType) -> f64 {
    match element {
        ElementType::F16 => 2f64.powi(-10),
        ElementType::Bf16 => 2f64.powi(-7),
        ElementType::F32 => 2f64.powi(-23),
        ElementType::F64 => 2f64.powi(-52),
        other => panic!("{other} is no float"),
    }
}
