//! Where values flow: the values of a graph and of all graphs inside it, as nodes joined across loops and branches.

use std::collections::HashMap;
use std::ops::Range;
use tessera_ir::{Definition, Graph, OpId, OpKind, Operation, ValueId};

/// A value of one of the graphs: of the entry, of a loop's body, of a branch.
pub(super) type Node = usize;

/// Some of the nodes of a flow.
#[derive(Clone, Debug, Default)]
pub(super) struct NodeSet(Vec<u64>);

impl NodeSet {
    /// None of so many nodes.
    pub(super) fn new(node_count: usize) -> Self {
        Self(vec![0; node_count.div_ceil(64)])
    }

    pub(super) fn contains(&self, node: Node) -> bool {
        self.0[node / 64] >> (node % 64) & 1 == 1
    }

    /// Adds a node and says whether it is new.
    pub(super) fn insert(&mut self, node: Node) -> bool {
        let is_new = !self.contains(node);
        self.0[node / 64] |= 1 << (node % 64);
        is_new
    }
}

/// A graph and where it stands: the entry, or a region of an op.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub(super) graph: &'a Graph,
    /// The frame and op that hold it, and the region's number; `None` for the entry.
    pub(super) parent: Option<(usize, OpId, usize)>,
    /// The node of the graph's first value; those of the others follow.
    first: Node,
}

/// An op in its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Site {
    pub(super) frame: usize,
    pub(super) operation: OpId,
}

/// All values of a graph and of the loops and branches in it.
///
/// The graphs that loops and branches hold are frames; those of reducers, comparators and scatters are part of their
/// ops. What decides how often a loop runs, or which branch, is not followed: it says when, not what.
#[derive(Debug)]
pub(super) struct Flow<'a> {
    pub(super) frames: Vec<Frame<'a>>,
    /// Every op, in the order of the program; those of a loop or branch after the op that holds them.
    pub(super) sites: Vec<Site>,
    children: HashMap<(usize, OpId), Vec<usize>>,
    /// Of each loop and `case` the nodes of the graphs that it holds, all that is in these included.
    inside: HashMap<(usize, OpId), Range<Node>>,
    /// Of each node its frame and the value it is there.
    values: Vec<(usize, ValueId)>,
    /// Inputs of loops that stand for a parameter from step to step: nothing is followed from outside into them.
    cut: Vec<bool>,
    successors: Vec<Vec<Node>>,
}

impl<'a> Flow<'a> {
    /// The flow of a graph.
    pub(super) fn new(entry: &'a Graph) -> Self {
        let mut flow = Self {
            frames: Vec::new(),
            sites: Vec::new(),
            children: HashMap::new(),
            inside: HashMap::new(),
            values: Vec::new(),
            cut: Vec::new(),
            successors: Vec::new(),
        };
        flow.add(entry, None);
        flow.cut = vec![false; flow.node_count()];
        flow.connect();
        flow
    }

    fn add(&mut self, graph: &'a Graph, parent: Option<(usize, OpId, usize)>) -> usize {
        let frame = self.frames.len();
        let first = self.values.len();
        self.frames.push(Frame {
            graph,
            parent,
            first,
        });
        self.values
            .extend(graph.values().map(|value| (frame, value)));
        for operation in operation_ids(graph) {
            self.sites.push(Site { frame, operation });
            let kind = &graph.operation(operation).op.kind;
            if matches!(kind, OpKind::While { .. } | OpKind::Case { .. }) {
                let start = self.values.len();
                let regions = kind.regions().into_iter().enumerate();
                let children = regions
                    .map(|(number, region)| self.add(region, Some((frame, operation, number))));
                let children = children.collect();
                self.children.insert((frame, operation), children);
                let inside = start..self.values.len();
                self.inside.insert((frame, operation), inside);
            }
        }
        frame
    }

    /// Says that those inputs of loops begin anew in each of the loop's rounds.
    pub(super) fn cut(&mut self, nodes: &[Node]) {
        for &node in nodes {
            self.cut[node] = true;
        }
        self.connect();
    }

    fn connect(&mut self) {
        let mut successors = vec![Vec::new(); self.node_count()];
        for node in 0..self.node_count() {
            for source in self.sources(node) {
                successors[source].push(node);
            }
        }
        self.successors = successors;
    }

    pub(super) fn node_count(&self) -> usize {
        self.values.len()
    }

    pub(super) fn node(&self, frame: usize, value: ValueId) -> Node {
        self.frames[frame].first + value.index()
    }

    /// The node's frame and value.
    pub(super) fn value(&self, node: Node) -> (usize, ValueId) {
        self.values[node]
    }

    pub(super) fn operation(&self, site: Site) -> &'a Operation {
        self.frames[site.frame].graph.operation(site.operation)
    }

    /// The ops of a frame, in order.
    pub(super) fn operations(&self, frame: usize) -> impl Iterator<Item = OpId> + use<'a> {
        operation_ids(self.frames[frame].graph)
    }

    /// The nodes of an op's operands.
    pub(super) fn operands(&self, site: Site) -> impl Iterator<Item = Node> + use<'_, 'a> {
        let operands = self.operation(site).op.operands.iter();
        operands.map(move |&operand| self.node(site.frame, operand))
    }

    /// The node of an op's result.
    pub(super) fn result(&self, site: Site, index: usize) -> Node {
        self.node(site.frame, self.operation(site).result()) + index
    }

    /// The op that gives a node, and which of its results that is.
    pub(super) fn definition(&self, node: Node) -> Option<(Site, usize)> {
        let (frame, value) = self.value(node);
        match self.frames[frame].graph.definition(value) {
            Definition::Input(_) => None,
            Definition::Result {
                op: operation,
                index,
            } => Some((Site { frame, operation }, index)),
        }
    }

    /// The frames of the graphs that a loop or `case` holds.
    pub(super) fn children(&self, site: Site) -> &[usize] {
        self.children
            .get(&(site.frame, site.operation))
            .map_or(&[], Vec::as_slice)
    }

    /// The nodes of the graphs that a loop or `case` holds, and of those in them: those of two equal ops go together in
    /// order.
    pub(super) fn inside(&self, site: Site) -> Range<Node> {
        let inside = self.inside.get(&(site.frame, site.operation));
        inside.cloned().unwrap_or_default()
    }

    /// The node of a frame's result.
    pub(super) fn frame_result(&self, frame: usize, index: usize) -> Node {
        let result = &self.frames[frame].graph.results()[index];
        self.node(frame, result.value)
    }

    /// What a node's value comes from.
    pub(super) fn sources(&self, node: Node) -> Vec<Node> {
        match self.definition(node) {
            None => self.input_sources(node),
            Some((site, index)) => match &self.operation(site).op.kind {
                OpKind::While { .. } => {
                    let body = self.children(site)[1];
                    let start = self.operands(site).nth(index);
                    start
                        .into_iter()
                        .chain([self.frame_result(body, index)])
                        .collect()
                }
                OpKind::Case { .. } => {
                    let branches = self.children(site).iter();
                    branches
                        .map(|&branch| self.frame_result(branch, index))
                        .collect()
                }
                OpKind::OptimizationBarrier {} => {
                    self.operands(site).nth(index).into_iter().collect()
                }
                _ => self.operands(site).collect(),
            },
        }
    }

    /// What the input of a frame comes from: nothing for the entry's.
    fn input_sources(&self, node: Node) -> Vec<Node> {
        let (frame, value) = self.value(node);
        let Some((site, _)) = self.holder(frame) else {
            return Vec::new();
        };
        if self.cut[node] {
            return Vec::new();
        }
        let number = value.index();
        match &self.operation(site).op.kind {
            OpKind::Case { .. } => self.operands(site).nth(number + 1).into_iter().collect(),
            _ => {
                let body = self.children(site)[1];
                let mut sources: Vec<Node> = self.operands(site).nth(number).into_iter().collect();
                if number < self.frames[body].graph.results().len() {
                    sources.push(self.frame_result(body, number));
                }
                sources
            }
        }
    }

    /// The op that holds a frame, and the region's number.
    pub(super) fn holder(&self, frame: usize) -> Option<(Site, usize)> {
        let (frame, operation, region) = self.frames[frame].parent?;
        Some((Site { frame, operation }, region))
    }

    /// All that those nodes flow into, themselves included.
    pub(super) fn reachable(&self, from: impl IntoIterator<Item = Node>) -> NodeSet {
        self.reachable_within(from, |_| true)
    }

    /// All that those nodes flow into by way of nodes that `admits` holds for.
    pub(super) fn reachable_within(
        &self,
        from: impl IntoIterator<Item = Node>,
        admits: impl Fn(Node) -> bool,
    ) -> NodeSet {
        let mut reached = NodeSet::new(self.node_count());
        let mut open: Vec<Node> = from.into_iter().collect();
        while let Some(node) = open.pop() {
            if admits(node) && reached.insert(node) {
                open.extend(&self.successors[node]);
            }
        }
        reached
    }

    /// What comes of a node at once.
    pub(super) fn successors(&self, node: Node) -> &[Node] {
        &self.successors[node]
    }

    /// All that flows into those nodes, themselves included.
    pub(super) fn reaching(&self, to: impl IntoIterator<Item = Node>) -> NodeSet {
        let mut reaching = NodeSet::new(self.node_count());
        let mut open: Vec<Node> = to.into_iter().collect();
        while let Some(node) = open.pop() {
            if reaching.insert(node) {
                open.extend(self.sources(node));
            }
        }
        reaching
    }

    /// The number of elements of a node's value.
    pub(super) fn len(&self, node: Node) -> usize {
        self.shape(node).iter().product()
    }

    /// The dimensions of a node's value.
    pub(super) fn shape(&self, node: Node) -> &'a [usize] {
        let (frame, value) = self.value(node);
        self.frames[frame].graph.value_type(value).shape()
    }
}

/// The ids of a graph's ops that have results, in order.
fn operation_ids<'a>(graph: &'a Graph) -> impl Iterator<Item = OpId> + use<'a> {
    let firsts = graph.operations().iter().filter_map(|o| o.results().next());
    firsts.filter_map(|first| match graph.definition(first) {
        Definition::Result { op, .. } => Some(op),
        Definition::Input(_) => None,
    })
}
