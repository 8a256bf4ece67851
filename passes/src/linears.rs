//! The linears of a training step: which matrix products multiply activations by a parameter, and in which role.
//!
//! A step comes as one graph in which forward, backward and optimizer are plain ops. A *linear* is Y = X W with W made
//! of a parameter. Its three roles are the forward product Y = X W, *dgrad* dX = dY Wᵀ and *wgrad* dW = Xᵀ dY. They are
//! found by the flow of values alone; names serve only to speak of what was found:
//!
//! - The *state* of a step is its donated inputs whose new values come of the old ones element by element. What
//!   depends on other inputs *depends on the batch*.
//! - A product with an operand that is made of state alone, and one that depends on the batch, applies that state.
//! - A product of two operands that depend on the batch is a wgrad of it where its result flows into the state's new
//!   value, one of its operands X is multiplied by the state in a product whose result flows into the other operand,
//!   dY. That product is the forward; the one that multiplies dY by the same state is dgrad.
//! - State that has a wgrad is a parameter. Moments never meet the batch in a product, and a product of an optimizer's
//!   own matrices is no wgrad, for what it multiplies is not what the forward multiplied, or is itself a wgrad.
//!
//! - A matrix that the step takes and does not update is *frozen*. It has a forward and a dgrad, found by where results and
//!   gradients flow, and no wgrad.
//!
//! Values are followed through loops and branches, and are told to be the same through transposes, reshapes,
//! conversions, stacks that one loop writes and another reads, and computation that is done again in the backward.
//! Calls are not followed: the pass [`inline`](crate::inline) comes before.

mod adapters;
mod congruence;
mod explain;
mod flow;
mod frozen;
mod gradient;
mod matching;
mod optimizer;
mod products;
mod reason;
mod roles;
mod routing;
mod state;

pub(crate) use explain::{Counted, integer, rounds_of, step_of};
pub use explain::{Row, Subject, explain};
pub use routing::Routing;

use std::fmt;
use tessera_ir::{Graph, Location, Module, OpId, OpKind, Operation};

/// What the products of a step are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Linears {
    /// The linears, in the order of their forward products.
    pub linears: Vec<Linear>,
    /// The products of the linears, in the order of the program.
    pub products: Vec<Product>,
    /// All other products, in the order of the program.
    pub others: Vec<Other>,
}

impl Linears {
    /// A linear.
    ///
    /// # Panics
    /// The id is of another step's linears.
    pub fn linear(&self, id: LinearId) -> &Linear {
        &self.linears[id.0]
    }

    /// The products of a linear, in the order of the program.
    pub fn products_of(&self, id: LinearId) -> impl Iterator<Item = &Product> {
        let products = self.linear(id).products.iter();
        products.map(|&number| &self.products[number])
    }
}

/// The number of a linear in [`Linears::linears`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinearId(pub usize);

/// One use of a parameter as the matrix W of Y = X W. A parameter that is used on several X has a linear for each.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// The parameters' names joined by ` + `, the index in brackets where it is known, and from the second use of the
    /// same on `#2`, `#3`, …
    pub name: String,
    /// The parameters that W is made of, in the order of the inputs: one, unless the step computes W of several. Of a frozen
    /// one the inputs that it is made of.
    pub parameters: Vec<Parameter>,
    /// The part of a stacked parameter, where W is that and the step says which: a loop's rounds use one after another.
    pub index: Option<usize>,
    /// Whether the step does not update W: it has no wgrad.
    pub is_frozen: bool,
    /// The frozen linear whose result its own, or that of another adapter which is applied to it, is added to.
    pub adapts: Option<LinearId>,
    /// Whether it is a router, whose results decide about experts.
    pub routing: Option<Routing>,
    /// Where the forward product comes from.
    pub location: Location,
    /// Its products, as numbers in [`Linears::products`].
    pub products: Vec<usize>,
}

/// An input that a linear's weight is made of: donated and trained through the linear, or frozen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Parameter {
    /// The number among the step's inputs.
    pub input: usize,
    /// The name that the import kept, or else `argN`.
    pub name: String,
}

/// A matrix product that belongs to a linear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// The op, a `dot_general` or a `grouped_dot`.
    pub place: Place,
    /// The linear. Where the wgrads of several are one and the same op, it is the first of them; each lists the op.
    pub linear: LinearId,
    /// What it computes.
    pub role: Role,
    /// Whether an op before it computes the same, as under checkpointing.
    pub is_recomputed: bool,
    /// What the first operand is.
    pub lhs: Side,
    /// What the second operand is.
    pub rhs: Side,
    /// What the first and the second operand have in common with other products' operands.
    pub values: [ValueClass; 2],
    /// The sizes.
    pub dimensions: Dimensions,
}

/// Operands of one class are the same value in another layout or element type, computed again, or, in loops, at the parts
/// of one stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueClass(pub(super) usize);

/// What a product of a linear computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Y = X W.
    Forward,
    /// dX = dY Wᵀ.
    Dgrad,
    /// dW = Xᵀ dY.
    Wgrad,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Forward => "forward",
            Self::Dgrad => "dgrad",
            Self::Wgrad => "wgrad",
        })
    }
}

/// What an operand of a linear's product is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// X.
    Activation,
    /// W.
    Weight,
    /// dY.
    Gradient,
}

/// The sizes of a linear Y = X W: X is l × m, W is m × n, Y is l × n, for each of a batch of such products.
///
/// They are the same for the three roles where these are products of the same tensors: dgrad multiplies l × n by n × m,
/// wgrad m × l by l × n. (A step may multiply other ones: as JAX lowers a ragged product for CPUs, only its wgrad is a
/// batch of products.) Where several dimensions of a tensor play one part, the size is their product. Of a product that is no
/// linear's, l and n are what stays of the first and the second operand, m is summed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dimensions {
    /// How many products there are: the experts, say, for a batch of weights.
    pub batch: usize,
    /// The rows of X and Y: tokens.
    pub l: usize,
    /// The columns of X and rows of W: input features.
    pub m: usize,
    /// The columns of W and Y: output features.
    pub n: usize,
    /// Whether rows of X and Y are in groups, one for each of the batch: then l is that of all groups together.
    pub is_grouped: bool,
}

impl fmt::Display for Dimensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.batch != 1 && !self.is_grouped {
            write!(f, "{}·", self.batch)?;
        }
        write!(f, "{}×{}×{}", self.l, self.m, self.n)?;
        match (self.is_grouped, self.batch) {
            (false, _) => Ok(()),
            (true, 1) => f.write_str(" in 1 group"),
            (true, groups) => write!(f, " in {groups} groups"),
        }
    }
}

/// A `dot_general` or `grouped_dot` that is no linear's product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// The op.
    pub place: Place,
    /// Why not.
    pub reason: Reason,
    /// The sizes.
    pub dimensions: Dimensions,
}

/// Why a product is no linear's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// As in attention's scores and in what they weigh.
    Activations,
    /// As in attention's backward.
    ActivationsBackward,
    /// An operand is an input that the step gives no new value for.
    Input {
        /// The input.
        name: String,
    },
    /// An operand is made of state that no wgrad flows into.
    Untrained {
        /// The inputs.
        names: Vec<String>,
    },
    /// An operand is made of parameters, which have their gradient through other products.
    Stopped {
        /// The parameters.
        names: Vec<String>,
    },
    /// Neither operand depends on the batch.
    State {
        /// The inputs that they are made of.
        names: Vec<String>,
    },
    /// An operand is made of no input.
    Constant,
    /// An operand comes of parameters' gradients.
    AfterGradients,
    /// What it gives flows into new state, and into nothing else: no loss, and no product of a linear.
    IntoState,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Activations => {
                f.write_str("both operands are activations: no parameter is multiplied")
            }
            Self::ActivationsBackward => f.write_str(
                "the backward of a product of activations: no parameter is multiplied, and no parameter's gradient comes of it",
            ),
            Self::Input { name } => write!(
                f,
                "no parameter is multiplied: {name} is an input that the step does not update"
            ),
            Self::Untrained { names } => write!(
                f,
                "{} is multiplied, which the step does not train: no product of activations and gradients flows into its new value",
                names.join(" + ")
            ),
            Self::Stopped { names } => write!(
                f,
                "{} is multiplied, but no gradient of it comes of this product",
                names.join(" + ")
            ),
            Self::State { names } => write!(
                f,
                "both operands are made of {} alone: no activation is multiplied",
                names.join(" and ")
            ),
            Self::Constant => f.write_str("one operand is constant: no parameter is multiplied"),
            Self::AfterGradients => f.write_str(
                "parameters' gradients are multiplied: part of the optimizer, or of how a weight is made of parameters",
            ),
            Self::IntoState => f.write_str(
                "only new state comes of it, no loss and no linear's product: part of the optimizer, or the gradient of what no \
                 linear multiplies",
            ),
        }
    }
}

/// An op in a module: where in which graph.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The graph's name.
    pub graph: String,
    /// The loops and branches around the op, the outermost first: each an op, in the graph or in the region before it,
    /// and the number of its region, as [`OpKind::regions`] counts them.
    pub regions: Vec<(OpId, usize)>,
    /// The op, in the graph or in the last region.
    pub operation: OpId,
}

impl Place {
    /// The op at this place, or `None` where the module has none there.
    pub fn find<'m>(&self, module: &'m Module) -> Option<&'m Operation> {
        let graph = self.graph_of(module)?;
        graph.operations().get(self.operation.index())
    }

    /// The graph or region that the op stands in, or `None` where the module has none there.
    pub(crate) fn graph_of<'m>(&self, module: &'m Module) -> Option<&'m Graph> {
        let mut graph: &Graph = module.graph(&self.graph)?;
        for &(holder, region) in &self.regions {
            let holder = graph.operations().get(holder.index())?;
            graph = holder.op.kind.regions().into_iter().nth(region)?;
        }
        Some(graph)
    }
}

/// Why the linears of a module cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinearsError {
    /// There is no graph that is run.
    #[error(
        "expected a module with a graph @main or a single public graph, found {graphs} graphs and none of these"
    )]
    NoEntry {
        /// The number of graphs.
        graphs: usize,
    },
    /// A graph is called.
    #[error(
        "expected a step without calls, as the pass 'inline' leaves it, found a call of {callee}"
    )]
    Call {
        /// The graph called.
        callee: String,
        /// Where.
        location: Location,
    },
}

/// The linears of a step: of the module's entry, after `inline,canonicalise` and before `fuse`.
///
/// # Errors
/// The module has no entry, or the entry calls another graph.
pub fn find(module: &Module) -> Result<Linears, LinearsError> {
    let graphs = module.graphs().len();
    let entry = module.entry().ok_or(LinearsError::NoEntry { graphs })?;
    let flow = flow::Flow::new(entry);
    for &site in &flow.sites {
        let operation = flow.operation(site);
        if let OpKind::Call { callee, .. } = &operation.op.kind {
            return Err(LinearsError::Call {
                callee: callee.to_string(),
                location: operation.location.clone(),
            });
        }
    }
    Ok(matching::Step::new(flow).linears())
}
