//! What the verifier reports.

use crate::rules::{Constraint, OpError, list};
use crate::{Location, ScaledType, Type, ValueId};
use std::fmt;

/// A module that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// No graph can be run.
    #[error("the module has no entry: expected a graph @main, or one public graph")]
    NoEntry,
    /// A graph without a name.
    #[error("a graph of the module has no name")]
    UnnamedGraph {
        /// Where the graph comes from.
        location: Location,
    },
    /// An op breaks one of its constraints.
    #[error("{site}: {error}")]
    Op {
        /// The op.
        site: OpSite,
        /// The constraint broken.
        error: OpError,
    },
    /// The result types that an op carries are not those that follow from it.
    #[error(
        "{site}: 'tsr.{op}' must give ({}), found ({})",
        list(expected),
        list(found)
    )]
    ResultTypes {
        /// The op.
        site: OpSite,
        /// Its name without the dialect.
        op: &'static str,
        /// The types that follow from the op and its operands.
        expected: Vec<Type>,
        /// The types its results have in the graph.
        found: Vec<Type>,
    },
    /// An input that no memory can hold.
    #[error("@{graph}: input {input} is larger than the address space: {value_type}")]
    InputSize {
        /// The graph.
        graph: String,
        /// The input's number.
        input: usize,
        /// Its type.
        value_type: Type,
        /// Where it comes from.
        location: Location,
    },
    /// A graph that can be run takes or gives a scaled tensor, whose storage is the program's own affair.
    #[error("@{graph}: {role} {number} of a public graph must be a tensor, found {found}")]
    ScaledBoundary {
        /// The graph.
        graph: String,
        /// `input` or `result`.
        role: &'static str,
        /// The input's or result's number.
        number: usize,
        /// Its type.
        found: ScaledType,
        /// Where the graph comes from.
        location: Location,
    },
    /// A graph gives back what it does not define.
    #[error("@{graph}: result {result} must be a value of the graph, found value {}", .value.index())]
    UndefinedResult {
        /// The graph.
        graph: String,
        /// The result's number.
        result: usize,
        /// The value it is said to be.
        value: ValueId,
        /// Where the graph comes from.
        location: Location,
    },
    /// An input is donated where it cannot be.
    #[error("@{graph}: input {input} {problem}")]
    Donation {
        /// The graph.
        graph: String,
        /// The input's number.
        input: usize,
        /// Why it cannot be donated so.
        problem: DonationProblem,
        /// Where the input comes from.
        location: Location,
    },
    /// Graphs that call one another in a circle, or one that calls itself.
    #[error(
        "a graph must not call itself, found a circle of calls among {}",
        names(graphs)
    )]
    Recursion {
        /// The graphs, in the module's order.
        graphs: Vec<String>,
        /// Where the first comes from.
        location: Location,
    },
}

/// Why an input cannot be donated as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DonationProblem {
    /// Memory is given away by who runs a module, and its private graphs are not run.
    #[error("is donated, expected none of a private graph")]
    Private,
    /// The graph has fewer results.
    #[error("is donated to result {result}, expected one of the {results} result(s)")]
    NoSuchResult {
        /// The result's number.
        result: usize,
        /// The number of results.
        results: usize,
    },
    /// Input and result need different memory.
    #[error("of type {expected} is donated to result {result}, which has type {found}")]
    Type {
        /// The result's number.
        result: usize,
        /// The input's type.
        expected: Type,
        /// The result's type.
        found: Type,
    },
    /// The result has memory already.
    #[error("is donated to result {result}, to which input {other} is donated already")]
    Twice {
        /// The result's number.
        result: usize,
        /// The other input's number.
        other: usize,
    },
}

impl VerifyError {
    /// Where what is wrong comes from.
    pub fn location(&self) -> &Location {
        match self {
            Self::NoEntry => &Location::Unknown,
            Self::Op { site, .. } | Self::ResultTypes { site, .. } => &site.location,
            Self::UnnamedGraph { location }
            | Self::InputSize { location, .. }
            | Self::ScaledBoundary { location, .. }
            | Self::UndefinedResult { location, .. }
            | Self::Donation { location, .. }
            | Self::Recursion { location, .. } => location,
        }
    }

    /// The name of the graph with the defect (the first, of several); none where it is the module's.
    pub fn graph(&self) -> Option<&str> {
        match self {
            Self::NoEntry | Self::UnnamedGraph { .. } => None,
            Self::Op { site, .. } | Self::ResultTypes { site, .. } => Some(&site.graph),
            Self::InputSize { graph, .. }
            | Self::ScaledBoundary { graph, .. }
            | Self::UndefinedResult { graph, .. }
            | Self::Donation { graph, .. } => Some(graph),
            Self::Recursion { graphs, .. } => graphs.first().map(String::as_str),
        }
    }

    /// The constraint of an op that is broken, where it is one.
    pub fn constraint(&self) -> Option<Constraint> {
        match self {
            Self::Op { error, .. } => Some(error.constraint),
            Self::NoEntry
            | Self::UnnamedGraph { .. }
            | Self::ResultTypes { .. }
            | Self::InputSize { .. }
            | Self::ScaledBoundary { .. }
            | Self::UndefinedResult { .. }
            | Self::Donation { .. }
            | Self::Recursion { .. } => None,
        }
    }
}

/// Which op of a module: `@main, op 3, region 1, op 0`, all counted from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpSite {
    /// The name of the graph of the module that holds the op, itself or in a region.
    pub graph: String,
    /// The op's number in that graph; where it is in a region of that op, the region's number and the op's there; and so
    /// on.
    pub path: Vec<usize>,
    /// Where the op comes from.
    pub location: Location,
}

impl fmt::Display for OpSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}", self.graph)?;
        for (depth, number) in self.path.iter().enumerate() {
            let what = ["op", "region"][depth % 2];
            write!(f, ", {what} {number}")?;
        }
        Ok(())
    }
}

fn names(graphs: &[String]) -> String {
    let names: Vec<_> = graphs.iter().map(|name| format!("@{name}")).collect();
    names.join(", ")
}
