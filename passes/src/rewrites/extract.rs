//! Choosing one node for each class: the cheapest program, with what is shared counted once.
//!
//! The best choice is hard to find (NP-hard, as shared terms make it a set cover), so the search starts with the source
//! program and takes steps that make it cheaper; what it gives costs never more than the source. A step lets one class
//! use another of its nodes, or lets all classes that could use a value which the program lacks use it together: sharing
//! pays only when all do. What a step brings in is improved before the step is judged. Everything goes in the order of
//! classes and of nodes, so equal costs are decided by the ops themselves and two runs choose the same.

use super::analysis::EGraph;
use super::cost::CostModel;
use super::language::Node;
use egg::{Id, Language};
use std::collections::HashMap;
use tessera_ir::Type;

/// How often all classes are tried at most; each time makes the program cheaper.
const MAX_SWEEPS: usize = 16;

/// How many classes that a step brings in are improved before it is judged.
const MAX_FRESH: usize = 64;

/// A node of a class that could be chosen.
#[derive(Debug)]
struct Candidate {
    node: Node,
    /// Its time in picoseconds, and one more, so that of equally fast programs the one of fewer ops is cheaper.
    cost: u64,
    /// Its operands' classes, each once.
    children: Vec<usize>,
}

/// A program chosen from an e-graph.
#[derive(Debug)]
pub(super) struct Program {
    chosen: HashMap<Id, Node>,
}

impl Program {
    /// The node chosen for a class, `None` where the program does not need the class.
    pub(super) fn node(&self, class: Id) -> Option<&Node> {
        self.chosen.get(&class)
    }

    /// All nodes chosen, in no order.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.chosen.values()
    }
}

/// The program that gives the values `roots`. `source` has the nodes of the source program with their classes, in its
/// order. The first one of a class needs classes that come first in the source before it, so these do for a start.
pub(super) fn extract(
    egraph: &EGraph,
    roots: &[Id],
    source: &[(Id, Node)],
    model: &dyn CostModel,
) -> Program {
    let mut ids: Vec<Id> = egraph.classes().map(|class| class.id).collect();
    ids.sort_unstable();
    let numbers: HashMap<Id, usize> = ids.iter().zip(0..).map(|(&id, n)| (id, n)).collect();
    let candidates: Vec<Vec<Candidate>> = ids
        .iter()
        .map(|&id| candidates(egraph, id, &numbers, model))
        .collect();
    let mut chosen: Vec<Option<usize>> = vec![None; ids.len()];
    for (id, node) in source {
        let number = numbers[&egraph.find(*id)];
        if chosen[number].is_none() {
            let node = canonical(egraph, node);
            chosen[number] = candidates[number].iter().position(|c| c.node == node);
        }
    }
    let mut search = Search {
        references: vec![0; ids.len()],
        total: 0,
        fresh: Vec::new(),
        seen: vec![0; ids.len()],
        stamp: 0,
        candidates,
        chosen,
    };
    for root in roots {
        search.retain(numbers[&egraph.find(*root)]);
    }
    search.improve();
    let used = (0..ids.len()).filter(|&class| search.references[class] > 0);
    let chosen = used.map(|class| {
        let candidate = search.candidate(class).expect(CHOSEN);
        (ids[class], candidate.node.clone())
    });
    Program {
        chosen: chosen.collect(),
    }
}

const CHOSEN: &str =
    "what a program uses has a node, for its nodes' operands had one when they were chosen";

/// A node with the classes that its operands are in now.
pub(super) fn canonical(egraph: &EGraph, node: &Node) -> Node {
    let mut node = node.clone();
    node.update_children(|id| egraph.find(id));
    node
}

fn candidates(
    egraph: &EGraph,
    id: Id,
    numbers: &HashMap<Id, usize>,
    model: &dyn CostModel,
) -> Vec<Candidate> {
    let mut nodes: Vec<Node> = egraph[id]
        .nodes
        .iter()
        .map(|n| canonical(egraph, n))
        .collect();
    nodes.sort_unstable();
    nodes.dedup();
    let nodes = nodes.into_iter();
    let nodes = nodes.filter(|node| !node.children().contains(&id));
    nodes
        .map(|node| {
            let mut children: Vec<usize> = node.children().iter().map(|c| numbers[c]).collect();
            children.sort_unstable();
            children.dedup();
            let cost = node_time(egraph, id, &node, model) + 1;
            Candidate {
                node,
                cost,
                children,
            }
        })
        .collect()
}

fn node_time(egraph: &EGraph, class: Id, node: &Node, model: &dyn CostModel) -> u64 {
    let (kind, operands) = match node {
        Node::Value(_) | Node::Result { .. } => return 0,
        Node::Op(op) => (&op.kind, &op.operands),
        Node::Opaque { number, operands } => (&egraph.analysis.opaque[*number], operands),
    };
    let operands: Vec<&Type> = operands
        .iter()
        .map(|&operand| egraph[operand].data.value_type())
        .collect();
    model.time(&model.cost(kind, &operands, &egraph[class].data.types))
}

/// A program on its way to a cheaper one.
struct Search {
    candidates: Vec<Vec<Candidate>>,
    /// Which candidate each class uses. Along what is chosen no class needs itself.
    chosen: Vec<Option<usize>>,
    /// How many roots and chosen nodes of the program use each class.
    references: Vec<usize>,
    /// What the program costs.
    total: u64,
    /// The classes that the program uses since [`Search::try_steps`] began and did not before.
    fresh: Vec<usize>,
    /// The number of the last walk that came by each class.
    seen: Vec<u32>,
    stamp: u32,
}

impl Search {
    fn candidate(&self, class: usize) -> Option<&Candidate> {
        self.chosen[class].map(|number| &self.candidates[class][number])
    }

    /// Uses a class once more.
    fn retain(&mut self, class: usize) {
        let mut pending = vec![class];
        while let Some(class) = pending.pop() {
            self.references[class] += 1;
            if self.references[class] == 1 {
                let number = self.chosen[class].expect(CHOSEN);
                let candidate = &self.candidates[class][number];
                self.total += candidate.cost;
                pending.extend(&candidate.children);
                self.fresh.push(class);
            }
        }
    }

    /// Uses a class once less.
    fn release(&mut self, class: usize) {
        let mut pending = vec![class];
        while let Some(class) = pending.pop() {
            self.references[class] -= 1;
            if self.references[class] == 0 {
                let number = self.chosen[class].expect(CHOSEN);
                let candidate = &self.candidates[class][number];
                self.total -= candidate.cost;
                pending.extend(&candidate.children);
            }
        }
    }

    fn improve(&mut self) {
        for _ in 0..MAX_SWEEPS {
            let before = self.total;
            self.choose_unused();
            for class in 0..self.candidates.len() {
                for number in 0..self.candidates[class].len() {
                    self.try_steps(&[(class, number)]);
                }
            }
            self.choose_unused();
            let users = self.possible_users();
            for (class, users) in users.iter().enumerate() {
                if self.references[class] == 0 && users.len() > 1 {
                    self.try_steps(users);
                }
            }
            if self.total == before {
                return;
            }
        }
    }

    /// Chooses for the classes that the program does not use what would cost least beside the program. A class gets its
    /// node in the first round in which one has all operands, so that none needs itself.
    fn choose_unused(&mut self) {
        let mut beside: Vec<Option<u64>> = vec![None; self.candidates.len()];
        for (class, beside) in beside.iter_mut().enumerate() {
            if self.references[class] > 0 {
                *beside = Some(0);
            } else {
                self.chosen[class] = None;
            }
        }
        let mut waiting: Vec<usize> = (0..self.candidates.len())
            .filter(|&class| self.references[class] == 0)
            .collect();
        loop {
            let mut found = Vec::new();
            for &class in &waiting {
                let candidates = self.candidates[class].iter().enumerate();
                let possible = candidates.filter_map(|(number, candidate)| {
                    let children = candidate.children.iter();
                    let children: Option<Vec<u64>> = children.map(|&c| beside[c]).collect();
                    let children = children?.into_iter();
                    let cost = children.fold(candidate.cost, u64::saturating_add);
                    Some((cost, number))
                });
                if let Some((cost, number)) = possible.min() {
                    found.push((class, cost, number));
                }
            }
            if found.is_empty() {
                return;
            }
            for (class, cost, number) in found {
                beside[class] = Some(cost);
                self.chosen[class] = Some(number);
            }
            waiting.retain(|&class| beside[class].is_none());
        }
    }

    /// For each class that the program does not use, the first candidate of each class used that would use it.
    fn possible_users(&self) -> Vec<Vec<(usize, usize)>> {
        let mut users = vec![Vec::new(); self.candidates.len()];
        for (class, candidates) in self.candidates.iter().enumerate() {
            if self.references[class] == 0 {
                continue;
            }
            for (number, candidate) in candidates.iter().enumerate() {
                for &child in &candidate.children {
                    let known = users[child].last().map(|&(user, _)| user);
                    if self.references[child] == 0 && known != Some(class) {
                        users[child].push((class, number));
                    }
                }
            }
        }
        users
    }

    /// Takes those steps, each a class with a candidate, if that makes the program cheaper. What the program comes to use
    /// by them was chosen beside another program, so that is improved before the costs are compared.
    fn try_steps(&mut self, steps: &[(usize, usize)]) {
        let before = self.total;
        self.fresh.clear();
        let mut taken = Vec::with_capacity(steps.len());
        for &(class, number) in steps {
            taken.extend(self.step(class, number));
        }
        if self.total >= before && self.fresh.len() <= MAX_FRESH {
            for class in std::mem::take(&mut self.fresh) {
                for number in 0..self.candidates[class].len() {
                    let cost = self.total;
                    if let Some((_, old)) = self.step(class, number) {
                        if self.total < cost {
                            taken.push((class, old));
                        } else {
                            self.switch(class, old);
                        }
                    }
                }
            }
        }
        if self.total >= before {
            for (class, old) in taken.into_iter().rev() {
                self.switch(class, old);
            }
        }
    }

    /// Lets a class that the program uses have another candidate, where it may, and gives the class with the old one.
    fn step(&mut self, class: usize, number: usize) -> Option<(usize, usize)> {
        let old = self.chosen[class]?;
        let is_step = self.references[class] > 0 && old != number;
        (is_step && self.is_possible(class, number)).then(|| {
            self.switch(class, number);
            (class, old)
        })
    }

    fn switch(&mut self, class: usize, number: usize) {
        let old = self.chosen[class].expect(CHOSEN);
        for child in self.candidates[class][number].children.clone() {
            self.retain(child);
        }
        self.total += self.candidates[class][number].cost;
        self.total -= self.candidates[class][old].cost;
        self.chosen[class] = Some(number);
        for child in self.candidates[class][old].children.clone() {
            self.release(child);
        }
    }

    /// Whether a class may use a candidate: all that this needs is there, and does not need the class.
    fn is_possible(&mut self, class: usize, number: usize) -> bool {
        self.stamp += 1;
        let mut pending = self.candidates[class][number].children.clone();
        while let Some(next) = pending.pop() {
            if next == class {
                return false;
            }
            if self.seen[next] == self.stamp {
                continue;
            }
            self.seen[next] = self.stamp;
            match self.candidate(next) {
                Some(candidate) => pending.extend(&candidate.children),
                None => return false,
            }
        }
        true
    }
}
