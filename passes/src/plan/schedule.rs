//! The order in which a graph's ops are done.

use petgraph::algo::has_path_connecting;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;
use std::collections::BTreeSet;
use tessera_ir::{Definition, Graph, OpKind, ValueId};

/// An order of a graph's ops, by their numbers, in which every op follows those it reads from. `heirs` says which of the
/// graph's results takes the place of each input, if one does.
///
/// Two orders are tried: the graph's own, and one that always takes the op next which leaves the least memory in use. The
/// one that needs less memory at its worst is taken, the graph's own if they are equal. In both, ops that only read an
/// input come before the one whose result takes its place.
pub(super) fn schedule(graph: &Graph, heirs: &[Option<usize>]) -> Vec<usize> {
    let dependences = Dependences::of(graph, heirs);
    let own = dependences.order(|(), number| (0, number), &mut (), |(), _| {});
    let mut memory = Memory::of(graph);
    let growth = |memory: &Memory<'_>, number| (memory.growth(number), number);
    let greedy = dependences.order(growth, &mut memory, Memory::run);
    if Memory::of(graph).peak(&greedy) < Memory::of(graph).peak(&own) {
        greedy
    } else {
        own
    }
}

/// Which op must wait for which.
struct Dependences {
    graph: DiGraph<(), ()>,
}

impl Dependences {
    fn of(graph: &Graph, heirs: &[Option<usize>]) -> Self {
        let operations = graph.operations();
        let mut dependences = DiGraph::with_capacity(operations.len(), 2 * operations.len());
        for _ in operations {
            dependences.add_node(());
        }
        for (number, operation) in operations.iter().enumerate() {
            let mut producers = BTreeSet::new();
            for &operand in &operation.op.operands {
                if let Definition::Result { op, .. } = graph.definition(operand) {
                    producers.insert(op.index());
                }
            }
            for producer in producers {
                dependences.add_edge(NodeIndex::new(producer), NodeIndex::new(number), ());
            }
        }
        let mut dependences = Self { graph: dependences };
        dependences.readers_first(graph, heirs);
        dependences
    }

    /// Lets an op whose result takes an input's place wait for the others that read that input.
    fn readers_first(&mut self, graph: &Graph, heirs: &[Option<usize>]) {
        let mut readers: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); graph.inputs().len()];
        for (number, operation) in graph.operations().iter().enumerate() {
            for &operand in &operation.op.operands {
                if let Definition::Input(input) = graph.definition(unviewed(graph, operand)) {
                    readers[input].insert(number);
                }
            }
        }
        for (readers, heir) in readers.iter().zip(heirs) {
            let Some(result) = heir.and_then(|heir| graph.results().get(heir)) else {
                continue;
            };
            let Definition::Result { op, .. } = graph.definition(unviewed(graph, result.value))
            else {
                continue;
            };
            let writer = NodeIndex::new(op.index());
            for &reader in readers.iter().filter(|&&reader| reader != op.index()) {
                let reader = NodeIndex::new(reader);
                if !has_path_connecting(&self.graph, writer, reader, None) {
                    self.graph.update_edge(reader, writer, ());
                }
            }
        }
    }

    /// The order that always takes the ready op of the least priority; each op taken may change the others'.
    fn order<S, P: Ord>(
        &self,
        priority: impl Fn(&S, usize) -> P,
        state: &mut S,
        mut take: impl FnMut(&mut S, usize),
    ) -> Vec<usize> {
        let count = self.graph.node_count();
        let mut waits: Vec<usize> = (0..count)
            .map(|n| {
                self.graph
                    .edges_directed(NodeIndex::new(n), petgraph::Incoming)
                    .count()
            })
            .collect();
        let mut ready: Vec<usize> = (0..count).filter(|&n| waits[n] == 0).collect();
        let mut order = Vec::with_capacity(count);
        while let Some(best) = (0..ready.len()).min_by_key(|&i| priority(state, ready[i])) {
            let number = ready.swap_remove(best);
            take(state, number);
            order.push(number);
            for edge in self.graph.edges(NodeIndex::new(number)) {
                let next = edge.target().index();
                waits[next] -= 1;
                if waits[next] == 0 {
                    ready.push(next);
                }
            }
        }
        order
    }
}

/// The value that a value is a view of.
fn unviewed(graph: &Graph, value: ValueId) -> ValueId {
    match graph.definition(value) {
        Definition::Result { op, index } => match &graph.operation(op).op.kind {
            OpKind::Reshape { .. } => unviewed(graph, graph.operation(op).op.operands[0]),
            OpKind::OptimizationBarrier {} => {
                unviewed(graph, graph.operation(op).op.operands[index])
            }
            _ => value,
        },
        Definition::Input(_) => value,
    }
}

/// How much memory the values that are still needed take.
struct Memory<'g> {
    graph: &'g Graph,
    /// The size of each value.
    bytes: Vec<i64>,
    /// What each value is a view of.
    roots: Vec<usize>,
    /// How many ops, not done yet, read each root; results of the graph are read for ever.
    readers: Vec<usize>,
    /// The roots that each op reads.
    operands: Vec<BTreeSet<usize>>,
}

impl<'g> Memory<'g> {
    fn of(graph: &'g Graph) -> Self {
        let roots: Vec<usize> = graph.values().map(|v| unviewed(graph, v).index()).collect();
        let mut readers = vec![0; roots.len()];
        let mut operands = Vec::with_capacity(graph.operations().len());
        for operation in graph.operations() {
            let read: BTreeSet<usize> = operation
                .op
                .operands
                .iter()
                .map(|o| roots[o.index()])
                .collect();
            for &root in &read {
                readers[root] += 1;
            }
            operands.push(read);
        }
        for result in graph.results() {
            readers[roots[result.value.index()]] += 1;
        }
        // Inputs are there anyway.
        for input in graph.input_values() {
            readers[input.index()] += 1;
        }
        let sizes = graph
            .values()
            .map(|value| graph.value_type(value).byte_size());
        Self {
            graph,
            bytes: sizes
                .map(|size| i64::try_from(size).unwrap_or(i64::MAX))
                .collect(),
            roots,
            readers,
            operands,
        }
    }

    fn made(&self, number: usize) -> i64 {
        let results = self.graph.operations()[number].results();
        let own = results.filter(|value| self.roots[value.index()] == value.index());
        own.map(|value| self.bytes[value.index()]).sum()
    }

    fn freed(&self, number: usize) -> i64 {
        let last = self.operands[number]
            .iter()
            .filter(|&&root| self.readers[root] == 1);
        last.map(|&root| self.bytes[root]).sum()
    }

    /// How much more memory is in use after an op than before.
    fn growth(&self, number: usize) -> i64 {
        self.made(number) - self.freed(number)
    }

    fn run(&mut self, number: usize) {
        for &root in &self.operands[number] {
            self.readers[root] -= 1;
        }
    }

    /// The most memory that is in use at once.
    fn peak(mut self, order: &[usize]) -> i64 {
        let (mut used, mut peak) = (0, 0);
        for &number in order {
            used += self.made(number);
            peak = peak.max(used);
            used -= self.freed(number);
            self.run(number);
        }
        peak
    }
}
