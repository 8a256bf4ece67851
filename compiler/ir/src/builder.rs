//! Building graphs by hand: one method an op.

use crate::Graph;

/// Builds a graph op by op.
#[derive(Debug)]
pub struct Builder {
    graph: Graph,
}

impl Builder {
    /// The graph built.
    pub fn finish(self) -> Graph {
        self.graph
    }
}
