//! The matrix products of a step: their operands and sizes, and what of them depends on state and on the batch.

use super::congruence::{Congruence, Key};
use super::flow::{Flow, Node, NodeSet, Site};
use super::state::State;
use super::{Dimensions, Place};
use tessera_ir::OpKind;

/// A `dot_general` or a `grouped_dot`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dot {
    pub(super) site: Site,
    /// Both operands.
    pub(super) operands: [Node; 2],
    pub(super) result: Node,
    pub(super) sizes: Sizes,
}

/// The sizes of a product, as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) batch: usize,
    /// What stays of either operand.
    pub(super) free: [usize; 2],
    pub(super) contracted: usize,
    /// Whether it is a grouped product: then there is a matrix for each of the batch on one side alone.
    pub(super) is_grouped: bool,
}

impl Sizes {
    /// The sizes under the names they have for a product that is no linear's.
    pub(super) fn plain(self) -> Dimensions {
        Dimensions {
            batch: self.batch,
            l: self.free[0],
            m: self.contracted,
            n: self.free[1],
            is_grouped: self.is_grouped,
        }
    }
}

/// The products of a flow, in the order of the program.
pub(super) fn dots(flow: &Flow<'_>) -> Vec<Dot> {
    let dots = flow.sites.iter().filter_map(|&site| {
        let op = &flow.operation(site).op;
        let (batching, contracting) = match &op.kind {
            OpKind::DotGeneral {
                lhs_batching_dimensions: lhs_batching,
                rhs_batching_dimensions: rhs_batching,
                lhs_contracting_dimensions: lhs_contracting,
                rhs_contracting_dimensions: rhs_contracting,
                ..
            } => (
                (lhs_batching, rhs_batching),
                (lhs_contracting, rhs_contracting),
            ),
            OpKind::GroupedDot {
                lhs_contracting_dimension,
                rhs_contracting_dimension,
                ..
            } => {
                let contracting = [*lhs_contracting_dimension, *rhs_contracting_dimension];
                return Some(grouped(flow, site, contracting));
            }
            _ => return None,
        };
        let (lhs_batching_dimensions, rhs_batching_dimensions) = batching;
        let (lhs_contracting_dimensions, rhs_contracting_dimensions) = contracting;
        let operands = [op.operands[0], op.operands[1]].map(|value| flow.node(site.frame, value));
        let [lhs, rhs] = operands.map(|node| flow.shape(node));
        let size = |dimensions: &[usize]| -> usize { dimensions.iter().map(|&d| lhs[d]).product() };
        let free = |shape: &[usize], used: [&[usize]; 2]| -> usize {
            let sizes = shape.iter().enumerate();
            let free = sizes.filter(|(d, _)| !used.iter().any(|used| used.contains(d)));
            free.map(|(_, &size)| size).product()
        };
        let sizes = Sizes {
            batch: size(lhs_batching_dimensions),
            free: [
                free(lhs, [lhs_batching_dimensions, lhs_contracting_dimensions]),
                free(rhs, [rhs_batching_dimensions, rhs_contracting_dimensions]),
            ],
            contracted: size(lhs_contracting_dimensions),
            is_grouped: false,
        };
        Some(Dot {
            site,
            operands,
            result: flow.result(site, 0),
            sizes,
        })
    });
    dots.collect()
}

/// A `grouped_dot` that sums over those dimensions.
fn grouped(flow: &Flow<'_>, site: Site, contracting: [usize; 2]) -> Dot {
    let op = &flow.operation(site).op;
    let [lhs, rhs, group_sizes] = [0, 1, 2].map(|n| flow.node(site.frame, op.operands[n]));
    let free = |node: Node, contracting: usize| {
        let shape = flow.shape(node);
        let own = shape.len() - 2..shape.len();
        let mut free = own.filter(|&dimension| dimension != contracting);
        free.next().map_or(1, |dimension| shape[dimension])
    };
    Dot {
        site,
        operands: [lhs, rhs],
        result: flow.result(site, 0),
        sizes: Sizes {
            batch: flow.len(group_sizes),
            free: [free(lhs, contracting[0]), free(rhs, contracting[1])],
            contracted: flow.shape(lhs)[contracting[0]],
            is_grouped: true,
        },
    }
}

/// The place of an op.
pub(super) fn place(flow: &Flow<'_>, site: Site) -> Place {
    let mut regions = Vec::new();
    let mut frame = site.frame;
    while let Some((holder, region)) = flow.holder(frame) {
        regions.push((holder.operation, region));
        frame = holder.frame;
    }
    regions.reverse();
    Place {
        graph: flow.frames[frame].graph.name.clone(),
        regions,
        operation: site.operation,
    }
}

/// What the operands of products are made of.
pub(super) struct Origins {
    /// Of each node, whether it depends on the batch: on an input that is no state.
    batch: NodeSet,
    /// Of each product and operand that does not depend on the batch, the state it is made of.
    state: Vec<[Vec<usize>; 2]>,
}

impl Origins {
    /// Of the products of a flow. States are numbered as they are given.
    pub(super) fn new(flow: &Flow<'_>, states: &[State], dots: &[Dot]) -> Self {
        let entry = flow.frames[0].graph;
        let is_state = |input: usize| states.iter().any(|state| state.input == input);
        let inputs = entry.input_values().enumerate();
        let inputs = inputs.filter(|&(input, _)| !is_state(input));
        let batch = flow.reachable(inputs.map(|(_, value)| flow.node(0, value)));
        let mut state = vec![[Vec::new(), Vec::new()]; dots.len()];
        for (number, of) in states.iter().enumerate() {
            let reached = flow.reachable_within([of.before], |node| !batch.contains(node));
            for (dot, state) in dots.iter().zip(&mut state) {
                for (operand, state) in dot.operands.iter().zip(state) {
                    if reached.contains(*operand) {
                        state.push(number);
                    }
                }
            }
        }
        Self { batch, state }
    }

    /// Whether a node depends on the batch.
    pub(super) fn depends_on_batch(&self, node: Node) -> bool {
        self.batch.contains(node)
    }

    /// The state that an operand of a product is made of, where it does not depend on the batch.
    pub(super) fn state(&self, dot: usize, operand: usize) -> &[usize] {
        &self.state[dot][operand]
    }
}

/// A product that applies state to what depends on the batch: forward or dgrad, if it is a linear's.
#[derive(Clone, Debug)]
pub(super) struct Application {
    /// The number of the product.
    pub(super) dot: usize,
    /// Which operand is made of state.
    pub(super) weight_operand: usize,
    /// The states, by number.
    pub(super) states: Vec<usize>,
}

impl Application {
    /// What a product applies, if it applies state.
    pub(super) fn of(
        number: usize,
        dot: &Dot,
        origins: &Origins,
        congruence: &Congruence<'_>,
        states: &[State],
    ) -> Option<Self> {
        let depends = dot.operands.map(|node| origins.depends_on_batch(node));
        let application = |weight_operand, states| Self {
            dot: number,
            weight_operand,
            states,
        };
        let made_of_state = |operand: usize| {
            let states = origins.state(number, operand);
            (!states.is_empty()).then(|| application(operand, states.to_vec()))
        };
        match depends {
            [false, true] => made_of_state(0),
            [true, false] => made_of_state(1),
            [false, false] => None,
            [true, true] => {
                // Rows of a parameter that the batch chose, as of an expert's matrix gathered for each token.
                let chosen = dot.operands.map(|node| {
                    let shown = congruence.shown(congruence.key(node))?;
                    states.iter().position(|state| state.before == shown)
                });
                match chosen {
                    [Some(state), None] => Some(application(0, vec![state])),
                    [None, Some(state)] => Some(application(1, vec![state])),
                    [None, None] | [Some(_), Some(_)] => None,
                }
            }
        }
    }

    /// The keys of the weight and of what it is applied to.
    pub(super) fn keys(&self, dots: &[Dot], congruence: &Congruence<'_>) -> (Key, Key) {
        let operands = dots[self.dot].operands;
        let key = |operand: usize| congruence.key(operands[operand]);
        (key(self.weight_operand), key(1 - self.weight_operand))
    }
}
