//! The roles: which products are a linear's forward, dgrad and wgrad.

use super::congruence::{Congruence, Key};
use super::flow::{Flow, Node, NodeSet};
use super::gradient::Walk;
use super::products::{Application, Dot, Origins, dots, place};
use super::state::{State, states};
use super::{
    Dimensions, Linear, LinearId, Linears, Other, Parameter, Place, Product, Reason, Role, Side,
};
use indexmap::IndexMap;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The linears of a step.
pub(super) fn linears(mut flow: Flow<'_>) -> Linears {
    let states = states(&mut flow);
    let dots = dots(&flow);
    let congruence = Congruence::of(&flow);
    let origins = Origins::new(&flow, &states, &dots);
    let applications = dots.iter().enumerate();
    let applications = applications
        .filter_map(|(number, dot)| Application::of(number, dot, &origins, &congruence, &states));
    let mut uses = IndexMap::<_, Use>::new();
    for application in applications {
        let keys = application.keys(&dots, &congruence);
        uses.entry(keys).or_default().applications.push(application);
    }
    for found in uses.values_mut() {
        let results = found.applications.iter().map(|a| dots[a.dot].result);
        found.reached = flow.reachable(results);
    }
    let step = Step {
        flow,
        states,
        dots,
        congruence,
        origins,
        uses,
    };
    step.linears()
}

/// The products that apply one weight to one value: the first, and those that compute it again.
#[derive(Default)]
struct Use {
    applications: Vec<Application>,
    /// Of each node, whether a result of these flows into it.
    reached: NodeSet,
}

impl Use {
    /// The number of the first product.
    fn first(&self) -> usize {
        self.applications[0].dot
    }
}

/// A step and what is known of it before roles are.
struct Step<'a> {
    flow: Flow<'a>,
    states: Vec<State>,
    dots: Vec<Dot>,
    congruence: Congruence<'a>,
    origins: Origins,
    /// By the keys of weight and value, in the order of their first products.
    uses: IndexMap<(Key, Key), Use>,
}

/// That a product is the wgrad of a use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Match {
    /// The use that is the forward, by number.
    forward: usize,
    /// The use that is dgrad.
    dgrad: Option<usize>,
    /// The operand of the wgrad that is X.
    activation_operand: usize,
    evidence: Evidence,
}

/// How much speaks for a match, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Evidence {
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

impl Step<'_> {
    fn linears(&self) -> Linears {
        let wgrads = self.wgrads();
        let gradients = Gradients::new(self, &wgrads);
        let forwards = self.forwards(&wgrads, &gradients);
        let mut roles = Roles::new(self);
        for (id, uses) in (0..).map(LinearId).zip(&forwards) {
            let applications = self.presumed_dgrad(uses, &wgrads, &forwards, &gradients);
            applications.for_each(|a| roles.apply(a, id, Role::Dgrad));
            let applications = uses
                .iter()
                .flat_map(|&found| &self.uses[found].applications);
            applications.for_each(|a| roles.apply(a, id, Role::Forward));
            for (&dot, matches) in &wgrads {
                let matches = matches.iter().filter(|found| uses.contains(&found.forward));
                for found in matches {
                    roles.wgrad(dot, id, found.activation_operand);
                    let dgrad = found.dgrad.map(|dgrad| &self.uses[dgrad].applications);
                    // Another branch's dgrad is of the linear whose wgrad stands there.
                    let dgrads = dgrad.into_iter().flatten();
                    let dgrads = dgrads.filter(|a| !self.are_alternatives(a.dot, dot));
                    dgrads.for_each(|a| roles.apply(a, id, Role::Dgrad));
                }
            }
        }
        let mut linears = Linears {
            linears: self.name(&forwards, &gradients),
            ..Linears::default()
        };
        for (number, dot) in self.dots.iter().enumerate() {
            let place = place(&self.flow, dot.site);
            let Some((product, shared)) = roles.product(number, place.clone()) else {
                linears.others.push(Other {
                    place,
                    reason: self.reason(number, &gradients),
                    dimensions: dot.sizes.plain(),
                });
                continue;
            };
            for id in shared {
                linears.linears[id.0].products.push(linears.products.len());
            }
            linears.products.push(product);
        }
        linears
    }

    /// The uses that are forwards, those of one linear together, the linears in the order of their first products.
    fn forwards(
        &self,
        wgrads: &BTreeMap<usize, Vec<Match>>,
        gradients: &Gradients,
    ) -> Vec<Vec<usize>> {
        let matched: BTreeSet<usize> = wgrads.values().flatten().map(|m| m.forward).collect();
        let used: BTreeSet<usize> = wgrads.values().flatten().filter_map(|m| m.dgrad).collect();
        let is_left = |number: &usize| {
            let value = self.value(*number);
            !matched.contains(number)
                && !used.contains(number)
                && !gradients.activations.contains(value)
        };
        let left: Vec<usize> = (0..self.uses.len()).filter(is_left).collect();
        let mut forwards: Vec<Vec<usize>> = matched.iter().map(|&m| vec![m]).collect();
        for number in left {
            if let Some(again) = self.computed_again(number, &forwards, gradients) {
                forwards[again].push(number);
            }
        }
        forwards.iter_mut().for_each(|uses| uses.sort_unstable());
        forwards.sort();
        forwards
    }

    /// Of a use without a wgrad the linear that computes it again in the backward, on another X as far as is known, and
    /// has the wgrad: the first one of the same weight, after it, that has no such use yet and that no result of the
    /// step but new state comes of. Inside a loop that the backward runs a second time, that is all there is to see.
    fn computed_again(
        &self,
        number: usize,
        forwards: &[Vec<usize>],
        gradients: &Gradients,
    ) -> Option<usize> {
        let (&(weight, _), found) = self.uses.get_index(number)?;
        forwards.iter().position(|uses| {
            let &[again] = &uses[..] else {
                return false;
            };
            let is_same = self
                .uses
                .get_index(again)
                .is_some_and(|(&(w, _), _)| w == weight);
            is_same
                && again > number
                && !self.reports(&self.uses[again], Some(gradients))
                && self.dots[self.uses[again].first()].sizes == self.dots[found.first()].sizes
        })
    }

    /// The dgrad of a linear that has none, for all that is known, where another dY is multiplied than in the wgrad: one
    /// that is rounded along another dimension, say. It has the forward's sizes, its dY comes of the forward's result,
    /// and no loss comes of it.
    fn presumed_dgrad<'s>(
        &'s self,
        uses: &[usize],
        wgrads: &'s BTreeMap<usize, Vec<Match>>,
        forwards: &'s [Vec<usize>],
        gradients: &Gradients,
    ) -> impl Iterator<Item = &'s Application> + use<'s> {
        let matches = || wgrads.values().flatten();
        let has_dgrad = matches().any(|m| m.dgrad.is_some() && uses.contains(&m.forward));
        let forward = &self.uses[uses[0]];
        let sizes = self.application_sizes(forward);
        let found = (0..self.uses.len()).find(|&number| {
            let found = &self.uses[number];
            let [l, m, n] = self.application_sizes(found);
            !has_dgrad
                && self.is_same_part(uses[0], number)
                && [l, n, m] == sizes
                && !forwards.iter().flatten().any(|&other| other == number)
                && !matches().any(|m| m.dgrad == Some(number))
                && forward.reached.contains(self.value(number))
                && !self.reports(found, Some(gradients))
        });
        let found = found.map(|number| &self.uses[number].applications);
        found.into_iter().flatten()
    }

    /// Of what a use multiplies: what stays of the value, what is summed over, what stays of the weight.
    fn application_sizes(&self, found: &Use) -> [usize; 3] {
        let application = &found.applications[0];
        let sizes = self.dots[application.dot].sizes;
        let weight = application.weight_operand;
        [sizes.free[1 - weight], sizes.contracted, sizes.free[weight]]
    }

    /// Whether two uses apply the same part of the same state.
    fn is_same_part(&self, a: usize, b: usize) -> bool {
        let states = |number: usize| &self.uses[number].applications[0].states;
        let index = |number: usize| self.congruence.index(self.keys(number).0);
        states(a) == states(b) && index(a) == index(b)
    }

    /// What a use applies the weight to, in its first product.
    fn value(&self, number: usize) -> Node {
        let application = &self.uses[number].applications[0];
        self.dots[application.dot].operands[1 - application.weight_operand]
    }

    /// The products that are wgrads, with the uses they are wgrads of.
    fn wgrads(&self) -> BTreeMap<usize, Vec<Match>> {
        let by_result = self.dots.iter().enumerate();
        let by_result: HashMap<Node, usize> = by_result
            .map(|(number, dot)| (dot.result, number))
            .collect();
        let mut found: BTreeMap<usize, Vec<Match>> = BTreeMap::new();
        for state in self.applied_states() {
            for (dot, matches) in self.wgrads_of(state, &by_result) {
                found.entry(dot).or_default().extend(matches);
            }
        }
        for matches in found.values_mut() {
            let best = matches.iter().map(|found| found.evidence).max();
            matches.retain(|found| Some(found.evidence) == best);
            matches.sort_by_key(|found| found.forward);
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
    fn wgrads_of(
        &self,
        state: usize,
        by_result: &HashMap<Node, usize>,
    ) -> Vec<(usize, Vec<Match>)> {
        let matched = self.met(state, by_result, |dot| self.matches(dot, state));
        if !matched.is_empty() {
            return matched;
        }
        self.met(state, by_result, |dot| self.presumed(dot, state))
    }

    /// The products on the way back from a state's new value, and their matches; the way ends at those that have some.
    fn met(
        &self,
        state: usize,
        by_result: &HashMap<Node, usize>,
        matches: impl Fn(usize) -> Vec<Match>,
    ) -> Vec<(usize, Vec<Match>)> {
        let applied = self.applied_states();
        let others = applied.iter().filter(|&&other| other != state);
        let others: BTreeSet<Node> = others.map(|&other| self.states[other].after).collect();
        let mut found = Vec::new();
        let mut walk = Walk::from(&self.flow, self.states[state].after);
        while let Some(node) = walk.next() {
            if others.contains(&node) {
                continue;
            }
            let dot = by_result.get(&node).copied();
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
            uses.filter_map(move |forward| self.candidate(forward, operands, activation_operand))
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

    /// What speaks for a use being the forward to a product of these operands.
    fn candidate(
        &self,
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
    fn reports(&self, found: &Use, gradients: Option<&Gradients>) -> bool {
        let entry = self.flow.frames[0].graph;
        let donated: BTreeSet<usize> = entry.inputs().iter().filter_map(|i| i.donate).collect();
        let results = (0..entry.results().len()).filter(|number| !donated.contains(number));
        let mut results = results.map(|number| self.flow.frame_result(0, number));
        results.any(|result| {
            found.reached.contains(result)
                && gradients.is_none_or(|known| !known.parameters.contains(result))
        })
    }

    /// Whether some state is applied to that value.
    fn is_applied_to(&self, value: Key) -> bool {
        self.uses.keys().any(|&(_, applied_to)| applied_to == value)
    }

    /// The linears without their products.
    fn name(&self, forwards: &[Vec<usize>], gradients: &Gradients) -> Vec<Linear> {
        let mut counts: HashMap<String, usize> = HashMap::new();
        let linears = forwards.iter().map(|uses| {
            let found = &self.uses[uses[0]];
            let (weight, _) = self.keys(uses[0]);
            let states = found.applications[0].states.iter().copied();
            let states: Vec<usize> = states.filter(|s| gradients.trained.contains(s)).collect();
            let parameters: Vec<Parameter> = states.iter().map(|&s| self.parameter(s)).collect();
            let index = match (self.congruence.shown(weight), &states[..]) {
                (Some(shown), [state]) if shown == self.states[*state].before => {
                    self.congruence.index(weight)
                }
                _ => None,
            };
            let names: Vec<&str> = parameters.iter().map(|p| p.name.as_str()).collect();
            let mut name = names.join(" + ");
            if let Some(index) = index {
                name = format!("{name}[{index}]");
            }
            let count = counts.entry(name.clone()).or_default();
            *count += 1;
            if *count > 1 {
                name = format!("{name}#{count}");
            }
            let first = self.flow.operation(self.dots[found.first()].site);
            Linear {
                name,
                parameters,
                index,
                location: first.location.clone(),
                products: Vec::new(),
            }
        });
        linears.collect()
    }

    /// The keys of a use: of its weight and of what that is applied to.
    fn keys(&self, number: usize) -> (Key, Key) {
        let (&keys, _) = self
            .uses
            .get_index(number)
            .expect("uses are numbered from 0 on");
        keys
    }

    /// The states that have wgrads.
    fn trained(&self, wgrads: &BTreeMap<usize, Vec<Match>>) -> BTreeSet<usize> {
        let forwards = wgrads.values().flatten().map(|found| found.forward);
        let applications = forwards.flat_map(|forward| &self.uses[forward].applications);
        applications
            .flat_map(|a| a.states.iter().copied())
            .collect()
    }

    fn parameter(&self, state: usize) -> Parameter {
        let input = self.states[state].input;
        Parameter {
            input,
            name: self.input_name(input),
        }
    }

    fn input_name(&self, input: usize) -> String {
        let inputs = self.flow.frames[0].graph.inputs();
        inputs[input]
            .name
            .clone()
            .unwrap_or_else(|| format!("arg{input}"))
    }

    /// Whether two products are in different branches of one `case`.
    fn are_alternatives(&self, a: usize, b: usize) -> bool {
        let [a, b] = [a, b].map(|dot| place(&self.flow, self.dots[dot].site));
        let common = a.regions.iter().zip(&b.regions).take_while(|(a, b)| a == b);
        let parted = common.count();
        let (Some(a), Some(b)) = (a.regions.get(parted), b.regions.get(parted)) else {
            return false;
        };
        a.0 == b.0 && a.1 != b.1
    }

    /// Why a product is no linear's.
    fn reason(&self, number: usize, gradients: &Gradients) -> Reason {
        let dot = &self.dots[number];
        let names = |states: &[usize]| -> Vec<String> {
            let names = states.iter().map(|&state| self.parameter(state).name);
            names.collect()
        };
        if dot
            .operands
            .iter()
            .any(|&node| gradients.parameters.contains(node))
        {
            return Reason::AfterGradients;
        }
        let depends = dot.operands.map(|node| self.origins.depends_on_batch(node));
        let of_state = [0, 1].map(|operand| self.origins.state(number, operand));
        let is_constant = [0, 1].map(|operand| !depends[operand] && of_state[operand].is_empty());
        if is_constant.contains(&true) {
            return Reason::Constant;
        }
        if depends == [false, false] {
            let both: BTreeSet<usize> = of_state.concat().into_iter().collect();
            let both: Vec<usize> = both.into_iter().collect();
            return Reason::State {
                names: names(&both),
            };
        }
        let mut applications = self.uses.values().flat_map(|found| &found.applications);
        if let Some(application) = applications.find(|application| application.dot == number) {
            let names = names(&application.states);
            let is_trained = |state| gradients.trained.contains(state);
            return if application.states.iter().any(is_trained) {
                Reason::Stopped { names }
            } else {
                Reason::Untrained { names }
            };
        }
        if let Some(name) = self.input_operand(dot) {
            return Reason::Input { name };
        }
        if dot
            .operands
            .iter()
            .any(|&node| gradients.activations.contains(node))
        {
            Reason::ActivationsBackward
        } else {
            Reason::Activations
        }
    }

    /// The name of the input of the step that an operand is.
    fn input_operand(&self, dot: &Dot) -> Option<String> {
        let entry = self.flow.frames[0].graph;
        let inputs = dot.operands.iter().find_map(|&node| {
            let shown = self.congruence.shown(self.congruence.key(node))?;
            let mut inputs = entry.input_values();
            inputs.position(|input| self.flow.node(0, input) == shown)
        });
        inputs.map(|input| self.input_name(input))
    }
}

/// What comes of gradients.
struct Gradients {
    /// Of each node, whether a linear's dY flows into it.
    activations: NodeSet,
    /// Of each node, whether a wgrad's result flows into it.
    parameters: NodeSet,
    /// The states that have wgrads.
    trained: BTreeSet<usize>,
}

impl Gradients {
    fn new(step: &Step<'_>, wgrads: &BTreeMap<usize, Vec<Match>>) -> Self {
        let gradients = wgrads.iter().flat_map(|(&dot, matches)| {
            let operands = step.dots[dot].operands;
            matches
                .iter()
                .map(move |found| operands[1 - found.activation_operand])
        });
        let results = wgrads.keys().map(|&dot| step.dots[dot].result);
        Self {
            activations: step.flow.reachable(gradients),
            parameters: step.flow.reachable(results),
            trained: step.trained(wgrads),
        }
    }
}

/// The roles of products, as they become known.
struct Roles<'s, 'a> {
    step: &'s Step<'a>,
    /// Of each product its role, the linears it has it for, and what its operands are.
    known: BTreeMap<usize, (Role, BTreeSet<LinearId>, [Side; 2])>,
}

impl<'s, 'a> Roles<'s, 'a> {
    fn new(step: &'s Step<'a>) -> Self {
        Self {
            step,
            known: BTreeMap::new(),
        }
    }

    fn set(&mut self, dot: usize, id: LinearId, role: Role, sides: [Side; 2]) {
        let (_, linears, _) = self
            .known
            .entry(dot)
            .or_insert((role, BTreeSet::new(), sides));
        linears.insert(id);
    }

    fn apply(&mut self, application: &Application, id: LinearId, role: Role) {
        let applied_to = match role {
            Role::Forward | Role::Wgrad => Side::Activation,
            Role::Dgrad => Side::Gradient,
        };
        let sides = arrange(application.weight_operand, Side::Weight, applied_to);
        self.set(application.dot, id, role, sides);
    }

    fn wgrad(&mut self, dot: usize, id: LinearId, activation_operand: usize) {
        let sides = arrange(activation_operand, Side::Activation, Side::Gradient);
        self.set(dot, id, Role::Wgrad, sides);
    }

    /// A product and all linears it belongs to, if it belongs to one.
    fn product(
        &self,
        number: usize,
        place: Place,
    ) -> Option<(Product, impl Iterator<Item = LinearId> + use<'_, 's, 'a>)> {
        let (role, linears, [lhs, rhs]) = self.known.get(&number)?;
        let product = Product {
            place,
            linear: *linears.first()?,
            role: *role,
            is_recomputed: self.is_recomputed(number),
            lhs: *lhs,
            rhs: *rhs,
            dimensions: dimensions(&self.step.dots[number], *role, *lhs),
        };
        Some((product, linears.iter().copied()))
    }

    /// Whether a product before this one computes the same for the same linear, and is not in another branch. The
    /// forwards of a linear all compute the same.
    fn is_recomputed(&self, number: usize) -> bool {
        let step = self.step;
        let operands = |number: usize| {
            let mut keys = step.dots[number]
                .operands
                .map(|node| step.congruence.key(node));
            keys.sort();
            keys
        };
        let (role, linears, _) = &self.known[&number];
        let mut before = self.known.range(..number);
        before.any(|(&before, (role_before, linears_before, _))| {
            role == role_before
                && linears == linears_before
                && (*role == Role::Forward || operands(before) == operands(number))
                && !step.are_alternatives(before, number)
        })
    }
}

/// Two sides, `this` at operand `number`.
fn arrange(number: usize, this: Side, that: Side) -> [Side; 2] {
    if number == 0 {
        [this, that]
    } else {
        [that, this]
    }
}

/// The sizes of a linear's product under the linear's names.
fn dimensions(dot: &Dot, role: Role, lhs: Side) -> Dimensions {
    let sizes = dot.sizes;
    let [of_first, of_second] = match (role, lhs) {
        (Role::Forward, Side::Activation)
        | (Role::Dgrad, Side::Gradient)
        | (Role::Wgrad, Side::Activation) => sizes.free,
        (Role::Forward | Role::Dgrad | Role::Wgrad, _) => [sizes.free[1], sizes.free[0]],
    };
    let (l, m, n) = match role {
        Role::Forward => (of_first, sizes.contracted, of_second),
        Role::Dgrad => (of_first, of_second, sizes.contracted),
        Role::Wgrad => (sizes.contracted, of_first, of_second),
    };
    Dimensions {
        batch: sizes.batch,
        l,
        m,
        n,
    }
}
