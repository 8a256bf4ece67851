//! The roles: which products are a linear's forward, dgrad and wgrad.

use super::congruence::{Congruence, Key};
use super::flow::{Flow, Node};
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
    reached: Vec<bool>,
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
        let mut forwards: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for (&dot, matches) in &wgrads {
            for found in matches {
                forwards.entry(found.forward).or_default().insert(dot);
            }
        }
        // Uses are in the order of their first products, and so are the linears.
        let ids: HashMap<usize, LinearId> =
            forwards.keys().copied().zip((0..).map(LinearId)).collect();
        let mut roles = Roles::new(self);
        for (&dot, matches) in &wgrads {
            for found in matches {
                let id = ids[&found.forward];
                roles.apply(&self.uses[found.forward], id, Role::Forward);
                if let Some(dgrad) = found.dgrad {
                    roles.apply(&self.uses[dgrad], id, Role::Dgrad);
                }
                roles.wgrad(dot, id, found.activation_operand);
            }
        }
        let mut linears = Linears {
            linears: self.name(forwards.keys().copied(), &wgrads),
            ..Linears::default()
        };
        let gradients = Gradients::new(self, &wgrads);
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
            let matches = dot.map_or_else(Vec::new, |dot| self.matches(dot, state));
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
        let depend = operands
            .iter()
            .all(|&node| self.origins.depends_on_batch(node));
        if !depend || keys[0] == keys[1] {
            return Vec::new();
        }
        let mut matches = Vec::new();
        for activation_operand in [0, 1] {
            let gradient = operands[1 - activation_operand];
            for (forward, (&(weight, value), applied)) in self.uses.iter().enumerate() {
                if !applied.applications[0].states.contains(&state)
                    || applied.applications.iter().any(|a| a.dot == dot)
                {
                    continue;
                }
                let dgrad = self
                    .uses
                    .get_index_of(&(weight, keys[1 - activation_operand]));
                let dgrad = dgrad.filter(|&dgrad| dgrad != forward);
                let is_ordered =
                    self.comes_first(forward, dgrad, operands[activation_operand], gradient);
                let evidence = match (value == keys[activation_operand], dgrad) {
                    _ if !is_ordered => continue,
                    (true, Some(_)) => Evidence::Both,
                    (true, None) if self.is_applied_to(keys[1 - activation_operand]) => {
                        Evidence::SharedGradient
                    }
                    (true, None) => Evidence::Activation,
                    (false, Some(_)) => Evidence::Gradient,
                    (false, None) => continue,
                };
                matches.push(Match {
                    forward,
                    dgrad,
                    activation_operand,
                    evidence,
                });
            }
        }
        let best = matches.iter().map(|found| found.evidence).max();
        matches.retain(|found| Some(found.evidence) == best);
        matches
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
        if forward.reached[gradient] {
            return true;
        }
        match dgrad.map(|dgrad| &self.uses[dgrad]) {
            Some(dgrad) => !dgrad.reached[activation] && forward.first() < dgrad.first(),
            None => self.reports(forward),
        }
    }

    /// Whether a use's result flows into a result of the step that is no new state: the loss.
    fn reports(&self, found: &Use) -> bool {
        let entry = self.flow.frames[0].graph;
        let donated: BTreeSet<usize> = entry.inputs().iter().filter_map(|i| i.donate).collect();
        let results = (0..entry.results().len()).filter(|number| !donated.contains(number));
        let mut results = results.map(|number| self.flow.frame_result(0, number));
        results.any(|result| found.reached[result])
    }

    /// Whether some state is applied to that value.
    fn is_applied_to(&self, value: Key) -> bool {
        self.uses.keys().any(|&(_, applied_to)| applied_to == value)
    }

    /// The linears without their products.
    fn name(
        &self,
        forwards: impl Iterator<Item = usize>,
        wgrads: &BTreeMap<usize, Vec<Match>>,
    ) -> Vec<Linear> {
        let trained = self.trained(wgrads);
        let mut counts: HashMap<String, usize> = HashMap::new();
        let linears = forwards.map(|forward| {
            let found = &self.uses[forward];
            let (&(weight, _), _) = self.uses.get_index(forward).expect("forwards number uses");
            let states = found.applications[0].states.iter();
            let states: Vec<usize> = states.copied().filter(|s| trained.contains(s)).collect();
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
            Linear {
                name,
                parameters,
                index,
                location: self
                    .flow
                    .operation(self.dots[found.first()].site)
                    .location
                    .clone(),
                products: Vec::new(),
            }
        });
        linears.collect()
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

    /// Why a product is no linear's.
    fn reason(&self, number: usize, gradients: &Gradients) -> Reason {
        let dot = &self.dots[number];
        let names = |states: &[usize]| -> Vec<String> {
            let names = states.iter().map(|&state| self.parameter(state).name);
            names.collect()
        };
        if dot.operands.iter().any(|&node| gradients.parameters[node]) {
            return Reason::Optimizer;
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
        if dot.operands.iter().any(|&node| gradients.activations[node]) {
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
    activations: Vec<bool>,
    /// Of each node, whether a wgrad's result flows into it.
    parameters: Vec<bool>,
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

    fn apply(&mut self, found: &Use, id: LinearId, role: Role) {
        let applied_to = match role {
            Role::Forward | Role::Wgrad => Side::Activation,
            Role::Dgrad => Side::Gradient,
        };
        for application in &found.applications {
            let sides = arrange(application.weight_operand, Side::Weight, applied_to);
            self.set(application.dot, id, role, sides);
        }
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

    /// Whether a product before this one has the same role on the same operands, and is not in another branch.
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
                && operands(before) == operands(number)
                && !are_alternatives(step, before, number)
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

/// Whether two products are in different branches of one `case`.
fn are_alternatives(step: &Step<'_>, a: usize, b: usize) -> bool {
    let [a, b] = [a, b].map(|dot| place(&step.flow, step.dots[dot].site));
    let common = a.regions.iter().zip(&b.regions).take_while(|(a, b)| a == b);
    let parted = common.count();
    let (Some(a), Some(b)) = (a.regions.get(parted), b.regions.get(parted)) else {
        return false;
    };
    a.0 == b.0 && a.1 != b.1
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
