//! Which products are wgrads, and of which forwards and dgrads.

use super::congruence::{Congruence, Key};
use super::flow::{Flow, Node, NodeSet};
use super::frozen;
use super::gradient::Walk;
use super::products::{Application, Dot, Origins, dots, place};
use super::roles::Gradients;
use super::state::{State, states};
use indexmap::IndexMap;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The products that apply one weight to one value: the first, and those that compute it again.
#[derive(Default)]
pub(super) struct Use {
    pub(super) applications: Vec<Application>,
    /// Of each node, whether a result of these flows into it.
    pub(super) reached: NodeSet,
}

impl Use {
    /// The number of the first product.
    pub(super) fn first(&self) -> usize {
        self.applications[0].dot
    }
}

/// A step and what is known of it before roles are.
pub(super) struct Step<'a> {
    pub(super) flow: Flow<'a>,
    pub(super) states: Vec<State>,
    pub(super) dots: Vec<Dot>,
    pub(super) congruence: Congruence<'a>,
    pub(super) origins: Origins,
    /// By the keys of weight and value, in the order of their first products.
    pub(super) uses: IndexMap<(Key, Key), Use>,
}

/// That a product is the wgrad of a use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Match {
    /// The state whose new value the wgrad flows into, by number.
    pub(super) state: usize,
    /// The use that is the forward, by number.
    pub(super) forward: usize,
    /// The use that is dgrad.
    pub(super) dgrad: Option<usize>,
    /// The operand of the wgrad that is X.
    pub(super) activation_operand: usize,
    pub(super) evidence: Evidence,
}

/// What the ways back from new values lead to.
struct Ways {
    /// The products, by the nodes of their results.
    by_result: HashMap<Node, usize>,
    /// The states that are applied to what depends on the batch, by the nodes of their new values.
    after: HashMap<Node, usize>,
}

/// How much speaks for a match, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Evidence {
    /// The forward's result flows into one operand and not into the other, and the result is of the weight's size.
    Flow,
    /// The forward multiplies another X, which the wgrad's may be computed again from; dgrad multiplies the dY.
    Gradient,
    /// The forward multiplies the X; another weight's dgrad multiplies the dY.
    SharedGradient,
    /// The forward multiplies the X, nothing multiplies the dY.
    Activation,
    /// The forward multiplies the X, and dgrad the dY.
    Both,
}

impl<'a> Step<'a> {
    /// What is known of the step with that flow.
    pub(super) fn new(mut flow: Flow<'a>) -> Self {
        let mut states = states(&mut flow);
        let dots = dots(&flow);
        let undonated = frozen::undonated(&flow, &states, &dots);
        states.extend(undonated);
        let congruence = Congruence::of(&flow);
        let origins = Origins::new(&flow, &states, &dots);
        let applications = dots.iter().enumerate();
        let applications = applications.filter_map(|(number, dot)| {
            Application::of(number, dot, &origins, &congruence, &states)
        });
        let mut uses = IndexMap::<_, Use>::new();
        for application in applications {
            let keys = application.keys(&dots, &congruence);
            uses.entry(keys).or_default().applications.push(application);
        }
        for found in uses.values_mut() {
            let results = found.applications.iter().map(|a| dots[a.dot].result);
            found.reached = flow.reachable(results);
        }
        Self {
            flow,
            states,
            dots,
            congruence,
            origins,
            uses,
        }
    }

    /// Of what a use multiplies: what stays of the value, what is summed over, what stays of the weight.
    pub(super) fn application_sizes(&self, found: &Use) -> [usize; 3] {
        let application = &found.applications[0];
        let sizes = self.dots[application.dot].sizes;
        let weight = application.weight_operand;
        [sizes.free[1 - weight], sizes.contracted, sizes.free[weight]]
    }

    /// Whether two uses apply the same part of the same state.
    pub(super) fn is_same_part(&self, a: usize, b: usize) -> bool {
        let states = |number: usize| &self.uses[number].applications[0].states;
        let index = |number: usize| self.congruence.index(self.keys(number).0);
        states(a) == states(b) && index(a) == index(b)
    }

    /// What a use applies the weight to, in its first product.
    pub(super) fn value(&self, number: usize) -> Node {
        let application = &self.uses[number].applications[0];
        self.dots[application.dot].operands[1 - application.weight_operand]
    }

    /// The products that are wgrads, with the uses they are wgrads of.
    pub(super) fn wgrads(&self) -> BTreeMap<usize, Vec<Match>> {
        let by_result = self.dots.iter().enumerate();
        let by_result: HashMap<Node, usize> = by_result
            .map(|(number, dot)| (dot.result, number))
            .collect();
        let mut found: BTreeMap<usize, Vec<Match>> = BTreeMap::new();
        let applied = self.applied_states();
        let after = applied
            .iter()
            .map(|&state| (self.states[state].after, state));
        let after: HashMap<Node, usize> = after.collect();
        let ways = Ways { by_result, after };
        for &state in &applied {
            for (dot, matches) in self.wgrads_of(state, &ways) {
                found.entry(dot).or_default().extend(matches);
            }
        }
        for matches in found.values_mut() {
            let best = matches.iter().map(|found| found.evidence).max();
            matches.retain(|found| Some(found.evidence) == best);
            matches.sort_by_key(|found| (found.forward, found.state));
            matches.dedup();
        }
        found
    }

    /// The states that are applied to what depends on the batch.
    fn applied_states(&self) -> BTreeSet<usize> {
        let applications = self.uses.values().flat_map(|found| &found.applications);
        applications
            .flat_map(|a| a.states.iter().copied())
            .collect()
    }

    /// The wgrads whose results flow into a state's new value, and what they match. The way back does not lead through
    /// the new values of other parameters, as an average of parameters over steps would have it.
    fn wgrads_of(&self, state: usize, ways: &Ways) -> Vec<(usize, Vec<Match>)> {
        let matched = self.met(state, ways, |dot| self.matches(dot, state));
        if !matched.is_empty() {
            return matched;
        }
        self.met(state, ways, |dot| self.presumed(dot, state))
    }

    /// The products on the way back from a state's new value, and their matches; the way ends at those that have some.
    fn met(
        &self,
        state: usize,
        ways: &Ways,
        matches: impl Fn(usize) -> Vec<Match>,
    ) -> Vec<(usize, Vec<Match>)> {
        let mut found = Vec::new();
        let mut walk = Walk::from(&self.flow, self.states[state].after);
        while let Some(node) = walk.next() {
            if ways.after.get(&node).is_some_and(|&other| other != state) {
                continue;
            }
            let dot = ways.by_result.get(&node).copied();
            let mut matches = dot.map_or_else(Vec::new, &matches);
            if let Some(part) = walk.part(node) {
                self.keep_part(&mut matches, part);
            }
            match dot {
                Some(dot) if !matches.is_empty() => found.push((dot, matches)),
                _ => walk.follow(node),
            }
        }
        found
    }

    /// The uses of a state that a product may be the wgrad of.
    fn matches(&self, dot: usize, state: usize) -> Vec<Match> {
        let operands = self.dots[dot].operands;
        let keys = operands.map(|node| self.congruence.key(node));
        let mut depend = operands
            .iter()
            .map(|&node| self.origins.depends_on_batch(node));
        if !depend.all(|depends| depends) || keys[0] == keys[1] {
            return Vec::new();
        }
        let candidates = [0, 1].into_iter().flat_map(|activation_operand| {
            let uses = self.uses_of(state, dot);
            uses.filter_map(move |forward| {
                self.candidate(state, forward, operands, activation_operand)
            })
        });
        let mut matches: Vec<Match> = candidates.collect();
        let best = matches.iter().map(|found| found.evidence).max();
        matches.retain(|found| Some(found.evidence) == best);
        if best == Some(Evidence::Gradient) {
            // Of several X that the wgrad's may be computed again from, the nearest.
            let last = matches.iter().map(|found| found.forward).max();
            matches.retain(|found| Some(found.forward) == last);
        }
        matches
    }

    /// The use of a state that a product is the wgrad of for all that is known, where what it multiplies is computed
    /// again in another way than before: the last one whose result flows into one operand, dY, and not into the other.
    fn presumed(&self, dot: usize, state: usize) -> Vec<Match> {
        let Dot {
            operands, result, ..
        } = self.dots[dot];
        let mut depend = operands
            .iter()
            .map(|&node| self.origins.depends_on_batch(node));
        if !depend.all(|depends| depends) {
            return Vec::new();
        }
        let matches = self.uses_of(state, dot).filter_map(|forward| {
            let found = &self.uses[forward];
            let application = &found.applications[0];
            let weight = self.dots[application.dot].operands[application.weight_operand];
            let flows = operands.map(|node| found.reached.contains(node));
            let activation_operand = match flows {
                [false, true] => 0,
                [true, false] => 1,
                [true, true] | [false, false] => return None,
            };
            (self.flow.len(weight) == self.flow.len(result)).then_some(Match {
                state,
                forward,
                dgrad: None,
                activation_operand,
                evidence: Evidence::Flow,
            })
        });
        matches.last().into_iter().collect()
    }

    /// The uses of a state, but not one that is that product.
    fn uses_of(&self, state: usize, dot: usize) -> impl Iterator<Item = usize> {
        let uses = self.uses.values().enumerate();
        let uses = uses.filter(move |(_, found)| {
            found.applications[0].states.contains(&state)
                && found.applications.iter().all(|a| a.dot != dot)
        });
        uses.map(|(number, _)| number)
    }

    /// What speaks for a use of a state being the forward to a product of these operands.
    fn candidate(
        &self,
        state: usize,
        forward: usize,
        operands: [Node; 2],
        activation_operand: usize,
    ) -> Option<Match> {
        let activation = operands[activation_operand];
        let gradient = operands[1 - activation_operand];
        let dgrad = self.dgrad(forward, self.congruence.key(gradient));
        if !self.comes_first(forward, dgrad, activation, gradient) {
            return None;
        }
        let is_activation = self.keys(forward).1 == self.congruence.key(activation);
        let evidence = match (is_activation, dgrad) {
            (true, Some(_)) => Evidence::Both,
            (true, None) if self.is_applied_to(self.congruence.key(gradient)) => {
                Evidence::SharedGradient
            }
            (true, None) => Evidence::Activation,
            (false, Some(_)) => Evidence::Gradient,
            (false, None) => return None,
        };
        Some(Match {
            state,
            forward,
            dgrad,
            activation_operand,
            evidence,
        })
    }

    /// The use that multiplies that dY by a forward's weight, or by one that is computed of the same part of the same
    /// state in another way: rounded along another dimension, say.
    fn dgrad(&self, forward: usize, gradient: Key) -> Option<usize> {
        let (weight, _) = self.keys(forward);
        let exact = self.uses.get_index_of(&(weight, gradient));
        let similar = || {
            let mut uses = 0..self.uses.len();
            uses.find(|&other| self.keys(other).1 == gradient && self.is_same_part(forward, other))
        };
        exact.or_else(similar).filter(|&dgrad| dgrad != forward)
    }

    /// Keeps the uses of that part of a stacked parameter, if there are some among them.
    fn keep_part(&self, matches: &mut Vec<Match>, part: usize) {
        let is_of_part = |found: &Match| {
            let (&(weight, _), _) = self.uses.get_index(found.forward)?;
            (self.congruence.index(weight)? == part).then_some(())
        };
        if matches.iter().any(|found| is_of_part(found).is_some()) {
            matches.retain(|found| is_of_part(found).is_some());
        }
    }

    /// Whether a use can be the forward to that dY: its result flows there. Where a loss is linear in the result it does
    /// not; then the order of the program tells the forward from dgrad, or that the loss comes of it.
    fn comes_first(
        &self,
        forward: usize,
        dgrad: Option<usize>,
        activation: Node,
        gradient: Node,
    ) -> bool {
        let forward = &self.uses[forward];
        if forward.reached.contains(gradient) {
            return true;
        }
        match dgrad.map(|dgrad| &self.uses[dgrad]) {
            Some(dgrad) => !dgrad.reached.contains(activation) && forward.first() < dgrad.first(),
            None => self.reports(forward, None),
        }
    }

    /// Whether a use's result flows into a result of the step that is no new state: the loss. Where gradients are known,
    /// what comes of the parameters' gradients, as their norm, is no loss either.
    pub(super) fn reports(&self, found: &Use, gradients: Option<&Gradients>) -> bool {
        self.reported().any(|result| {
            found.reached.contains(result)
                && gradients.is_none_or(|known| !known.parameters.contains(result))
        })
    }

    /// The results of the step that are no new state.
    pub(super) fn reported(&self) -> impl Iterator<Item = Node> {
        let entry = self.flow.frames[0].graph;
        let donated: BTreeSet<usize> = entry.inputs().iter().filter_map(|i| i.donate).collect();
        let results = (0..entry.results().len()).filter(move |number| !donated.contains(number));
        results.map(|number| self.flow.frame_result(0, number))
    }

    /// Whether some state is applied to that value.
    fn is_applied_to(&self, value: Key) -> bool {
        self.uses.keys().any(|&(_, applied_to)| applied_to == value)
    }

    /// The keys of a use: of its weight and of what that is applied to.
    pub(super) fn keys(&self, number: usize) -> (Key, Key) {
        let (&keys, _) = self
            .uses
            .get_index(number)
            .expect("uses are numbered from 0 on");
        keys
    }

    /// Whether two products are in different branches of one `case`.
    pub(super) fn are_alternatives(&self, a: usize, b: usize) -> bool {
        let [a, b] = [a, b].map(|dot| place(&self.flow, self.dots[dot].site));
        let common = a.regions.iter().zip(&b.regions).take_while(|(a, b)| a == b);
        let parted = common.count();
        let (Some(a), Some(b)) = (a.regions.get(parted), b.regions.get(parted)) else {
            return false;
        };
        a.0 == b.0 && a.1 != b.1
    }
}
