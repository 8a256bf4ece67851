//! What a quantize kernel may hold: quantisations of one tensor, which is read once.
//!
//! The tensor may be less a mean: `subtract(x, broadcast_in_dim(mean))`, the mean of f32 with one number for each index of
//! the last dimension. Or it may be made elementwise, where it is read, of what is repeated along its rows or columns or
//! has its shape: a normalisation, given its rows' statistics, and the centring after it. Some of the quantisations may be
//! of the tensor's Hadamard transform along their own axis, which is never written. What else a quantisation takes, the
//! largest magnitude and the step, is computed elsewhere.

use super::contract::Refusal;
use std::collections::BTreeSet;
use tessera_ir::{Binary, Definition, ElementType, Graph, OpKind, Operation, ValueId};
use tessera_numerics::BlockShape;

/// What a quantize kernel does before it quantises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// It subtracts a mean or nothing. So many ops still have to become members: the broadcast of the mean.
    Centring { missing: usize },
    /// It makes the tensor.
    Prologue,
}

impl Before {
    /// Nothing.
    pub(super) const NOTHING: Self = Self::Centring { missing: 0 };

    /// How many ops that cost nothing still have to become members.
    pub(super) fn missing(self) -> usize {
        match self {
            Self::Centring { missing } => missing,
            Self::Prologue => 0,
        }
    }
}

/// Checks the quantize ops of numbers `roots` and what is around them.
pub(super) fn check(
    graph: &Graph,
    members: &BTreeSet<usize>,
    roots: &[usize],
    exports: &BTreeSet<ValueId>,
) -> Result<Before, Refusal> {
    let mut allowed: BTreeSet<usize> = roots.iter().copied().collect();
    let results: BTreeSet<ValueId> = (roots.iter())
        .map(|&root| graph.operations()[root].result())
        .collect();
    if !exports.is_subset(&results) {
        return Err("a result beside those of quantize");
    }
    let mut tensor = None;
    for &root in roots {
        let quantized = graph.operations()[root].op.operands[0];
        let transform = member(graph, members, quantized).filter(|&number| {
            let kind = &graph.operations()[number].op.kind;
            matches!(kind, OpKind::Hadamard { .. })
        });
        let read = match transform {
            Some(number) => {
                allowed.insert(number);
                transformed(graph, root, number)?
            }
            None => quantized,
        };
        if *tensor.get_or_insert(read) != read {
            return Err("quantisations of several tensors");
        }
    }
    let tensor = tensor.ok_or("a quantize kernel without quantize")?;
    let centring = Centring::of(graph, members, tensor).ok().flatten();
    let (centred, missing) = centring.map_or((Vec::new(), 0), |one| (one.members, one.missing));
    if (members.difference(&allowed)).all(|other| centred.contains(other)) {
        return Ok(Before::Centring { missing });
    }
    allowed.extend(prologue(graph, members, tensor)?);
    match members.is_subset(&allowed) {
        true => Ok(Before::Prologue),
        false => Err("an op beside quantize"),
    }
}

/// The tensor that a kernel's quantisations read from outside, or make less a mean; `None` where it quantises nothing.
pub(super) fn quantized(graph: &Graph, members: &BTreeSet<usize>) -> Option<ValueId> {
    let mut operations = members.iter().map(|&number| &graph.operations()[number].op);
    let quantize = operations.find(|op| matches!(op.kind, OpKind::Quantize { .. }))?;
    let mut value = quantize.operands[0];
    while let Some(number) = member(graph, members, value) {
        let op = &graph.operations()[number].op;
        match op.kind {
            OpKind::Hadamard { .. } | OpKind::Binary(Binary::Subtract) => value = op.operands[0],
            _ => return None,
        }
    }
    Some(value)
}

/// Whether an op is a reshape that leaves the last dimension.
pub(super) fn keeps_rows(graph: &Graph, operation: &Operation) -> bool {
    let last = |value| graph.value_type(value).shape().last();
    matches!(operation.op.kind, OpKind::Reshape { .. })
        && last(operation.op.operands[0]) == last(operation.result())
}

/// The numbers of the members that make a tensor elementwise.
fn prologue(
    graph: &Graph,
    members: &BTreeSet<usize>,
    tensor: ValueId,
) -> Result<BTreeSet<usize>, Refusal> {
    let mut found = BTreeSet::new();
    let mut open: Vec<usize> = member(graph, members, tensor).into_iter().collect();
    while let Some(number) = open.pop() {
        if !found.insert(number) {
            continue;
        }
        let operation = &graph.operations()[number];
        let stays = match &operation.op.kind {
            OpKind::BroadcastInDim { .. } | OpKind::Constant { .. } | OpKind::Iota { .. } => true,
            OpKind::Reshape { .. } => keeps_rows(graph, operation),
            kind => kind.is_elementwise(),
        };
        if !stays {
            return Err("what a quantised tensor is made of is moved");
        }
        let operands = operation.op.operands.iter();
        open.extend(operands.filter_map(|&operand| member(graph, members, operand)));
    }
    Ok(found)
}

/// The tensor whose transform, by op number `transform`, quantize op number `root` quantises.
fn transformed(graph: &Graph, root: usize, transform: usize) -> Result<ValueId, Refusal> {
    let [root, transform] = [root, transform].map(|number| &graph.operations()[number].op);
    match (&root.kind, &transform.kind) {
        (OpKind::Quantize { scaled_type, .. }, OpKind::Hadamard { axis, .. })
            if scaled_type.axis() == *axis && scaled_type.blocks() == BlockShape::Vector =>
        {
            Ok(transform.operands[0])
        }
        _ => Err("a transform that is not along the blocks"),
    }
}

/// The subtraction of a mean in a kernel that reads a tensor.
pub(super) struct Centring {
    /// The numbers of its ops.
    pub members: Vec<usize>,
    /// How many of its ops still have to become members.
    pub missing: usize,
}

impl Centring {
    /// The subtraction that makes a tensor; `None` where it is not made in the kernel.
    pub fn of(
        graph: &Graph,
        members: &BTreeSet<usize>,
        tensor: ValueId,
    ) -> Result<Option<Self>, Refusal> {
        let Some(subtract) = member(graph, members, tensor) else {
            return Ok(None);
        };
        let mean = subtracted_mean(graph, tensor).ok_or("an op before quantize")?;
        let broadcast = member(graph, members, mean);
        Ok(Some(Self {
            missing: usize::from(broadcast.is_none()),
            members: [Some(subtract), broadcast].into_iter().flatten().collect(),
        }))
    }
}

/// The repeated mean that a value is less of; `None` where it is something else.
fn subtracted_mean(graph: &Graph, value: ValueId) -> Option<ValueId> {
    let subtract = graph.defining_operation(value)?;
    if subtract.op.kind != OpKind::Binary(Binary::Subtract) {
        return None;
    }
    let repeated = subtract.op.operands[1];
    let broadcast = graph.defining_operation(repeated)?;
    let OpKind::BroadcastInDim {
        broadcast_dimensions,
        shape,
    } = &broadcast.op.kind
    else {
        return None;
    };
    let mean = graph.tensor_type(broadcast.op.operands[0]);
    let is_along_last = mean.element == ElementType::F32
        && broadcast_dimensions.len() == 1
        && broadcast_dimensions[0] + 1 == shape.len()
        && mean.shape[0] == shape[broadcast_dimensions[0]];
    is_along_last.then_some(repeated)
}

/// The number of the member that defines a value.
pub(super) fn member(graph: &Graph, members: &BTreeSet<usize>, value: ValueId) -> Option<usize> {
    match graph.definition(value) {
        Definition::Result { op, .. } => Some(op.index()).filter(|number| members.contains(number)),
        Definition::Input(_) => None,
    }
}
