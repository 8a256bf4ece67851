//! The products of a step as rows of a table.

use super::{Dimensions, LinearId, Linears, Place, Reason, Role};
use std::fmt;
use tessera_ir::{
    Binary, ComparisonDirection, Definition, Graph, Location, Module, OpKind, Operation, Tensor,
    ValueId,
};

/// What there is to say about a product.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The op.
    pub place: Place,
    /// Where it comes from.
    pub location: Location,
    /// What it is.
    pub subject: Subject,
    /// The sizes, a linear's under the linear's names.
    pub dimensions: Dimensions,
    /// How often a run of the step computes it, as if each branch it stands in were taken; `None` where a loop around
    /// it does not run a fixed number of times.
    pub count: Option<u64>,
}

/// What a product is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A linear's.
    Linear {
        /// The linear.
        linear: LinearId,
        /// Its name.
        name: String,
        /// What the product computes.
        role: Role,
        /// Whether an op before it computes the same.
        is_recomputed: bool,
        /// Whether the step does not update the weight.
        is_frozen: bool,
    },
    /// No linear's.
    Other {
        /// Why not.
        reason: Reason,
    },
}

/// One line: linear, role, sizes, and how often if that is not once; of other products the reason at the end.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = match self.count {
            Some(1) => String::new(),
            Some(count) => format!(", {count} times"),
            None => ", times unknown".to_owned(),
        };
        match &self.subject {
            Subject::Linear {
                name,
                role,
                is_recomputed,
                is_frozen,
                ..
            } => {
                let again = if *is_recomputed { " again" } else { "" };
                let frozen = if *is_frozen { " (frozen)" } else { "" };
                write!(
                    f,
                    "{name}{frozen}: {role}{again} {}{count}",
                    self.dimensions
                )
            }
            Subject::Other { reason } => write!(f, "—: {}{count}: {reason}", self.dimensions),
        }
    }
}

/// The products of a step: linear by linear, of each by role, then the others.
///
/// `linears` are those of `module`: a row of a place that the module does not have is left out.
pub fn explain(module: &Module, linears: &Linears) -> Vec<Row> {
    let mut rows = Vec::new();
    for (number, linear) in linears.linears.iter().enumerate() {
        let id = LinearId(number);
        let mut products: Vec<_> = linears.products_of(id).collect();
        products.sort_by_key(|product| product.role);
        for product in products {
            let subject = Subject::Linear {
                linear: id,
                name: linear.name.clone(),
                role: product.role,
                is_recomputed: product.is_recomputed,
                is_frozen: linear.is_frozen,
            };
            rows.extend(row(module, &product.place, subject, product.dimensions));
        }
    }
    for other in &linears.others {
        let subject = Subject::Other {
            reason: other.reason.clone(),
        };
        rows.extend(row(module, &other.place, subject, other.dimensions));
    }
    rows
}

fn row(module: &Module, place: &Place, subject: Subject, dimensions: Dimensions) -> Option<Row> {
    Some(Row {
        place: place.clone(),
        location: place.find(module)?.location.clone(),
        subject,
        dimensions,
        count: count(module, place),
    })
}

/// How often the op at a place runs: the product of what the loops around it say.
fn count(module: &Module, place: &Place) -> Option<u64> {
    let rounds = rounds_of(module, place)?.into_iter();
    rounds
        .map(|count| count as u64)
        .try_fold(1, u64::checked_mul)
}

/// How often each of the loops around a place runs, the outermost first; `None` where one does not run a fixed number of
/// times.
pub(crate) fn rounds_of(module: &Module, place: &Place) -> Option<Vec<usize>> {
    let mut graph: &Graph = module.graph(&place.graph)?;
    let mut counts = Vec::new();
    for &(holder, region) in &place.regions {
        let holder = graph.operations().get(holder.index())?;
        if let OpKind::While { .. } = &holder.op.kind {
            let counted = Counted::of(graph, holder)?;
            counts.push(usize::try_from(counted.rounds).ok()?);
        }
        graph = holder.op.kind.regions().into_iter().nth(region)?;
    }
    Some(counts)
}

/// A loop that runs a fixed number of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    /// How often it runs.
    pub rounds: u64,
    /// The number of the carried value that its condition compares.
    pub counter: usize,
    /// What the counter is in the first round.
    pub start: i128,
    /// What each round adds to the counter.
    pub step: i128,
}

impl Counted {
    /// A loop whose condition compares a counter with a constant, where each round adds a constant to the counter.
    pub fn of(graph: &Graph, operation: &Operation) -> Option<Self> {
        let OpKind::While { condition, body } = &operation.op.kind else {
            return None;
        };
        let [result] = condition.results() else {
            return None;
        };
        let comparison = &condition.defining_operation(result.value)?.op;
        let OpKind::Compare { direction, .. } = comparison.kind else {
            return None;
        };
        let Definition::Input(counter) = condition.definition(comparison.operands[0]) else {
            return None;
        };
        let bound = match condition.definition(comparison.operands[1]) {
            Definition::Input(bound) => {
                let result = body.results().get(bound).map(|result| result.value);
                let is_kept = result.is_none() || result == body.input_value(bound);
                integer(graph, operation.op.operands[bound]).filter(|_| is_kept)?
            }
            Definition::Result { .. } => integer(condition, comparison.operands[1])?,
        };
        let start = integer(graph, operation.op.operands[counter])?;
        let step = step_of(body, counter)?;
        let (distance, size) = match direction {
            ComparisonDirection::Lt => (bound - start, step),
            ComparisonDirection::Le => (bound - start + 1, step),
            ComparisonDirection::Gt => (start - bound, -step),
            ComparisonDirection::Ge => (start - bound + 1, -step),
            ComparisonDirection::Eq | ComparisonDirection::Ne => return None,
        };
        let rounds = (size > 0).then(|| (distance.max(0) + size - 1) / size)?;
        Some(Self {
            rounds: u64::try_from(rounds).ok()?,
            counter,
            start,
            step,
        })
    }
}

/// What a body adds to a counter that it carries.
pub(crate) fn step_of(body: &Graph, counter: usize) -> Option<i128> {
    let result = body.results().get(counter)?.value;
    let op = &body.defining_operation(result)?.op;
    let input = body.input_value(counter)?;
    match (&op.kind, &op.operands[..]) {
        (OpKind::Binary(Binary::Add), &[x, y]) if x == input => integer(body, y),
        (OpKind::Binary(Binary::Add), &[x, y]) if y == input => integer(body, x),
        (OpKind::Binary(Binary::Subtract), &[x, y]) if x == input => Some(-integer(body, y)?),
        _ => None,
    }
}

/// The number that a value is, if it is a constant integer scalar.
pub(crate) fn integer(graph: &Graph, value: ValueId) -> Option<i128> {
    let OpKind::Constant { value } = &graph.defining_operation(value)?.op.kind else {
        return None;
    };
    fn only<T: tessera_ir::Element>(tensor: &Tensor) -> Option<T> {
        tensor
            .values::<T>()?
            .into_iter()
            .next()
            .filter(|_| tensor.len() == 1)
    }
    only::<i32>(value)
        .map(i128::from)
        .or_else(|| only::<i64>(value).map(i128::from))
        .or_else(|| only::<u32>(value).map(i128::from))
        .or_else(|| only::<u64>(value).map(i128::from))
}
