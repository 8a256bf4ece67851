//! What is said of products: the linears' names, and why a product is no linear's.

use super::flow::NodeSet;
use super::matching::{Match, Step};
use super::products::Dot;
use super::roles::Gradients;
use super::{Linear, Parameter, Reason};
use std::collections::{BTreeMap, BTreeSet, HashMap};

impl Step<'_> {
    /// The linears without their products.
    pub(super) fn name(
        &self,
        forwards: &[Vec<usize>],
        wgrads: &BTreeMap<usize, Vec<Match>>,
    ) -> Vec<Linear> {
        let mut counts: HashMap<String, usize> = HashMap::new();
        let routings = self.routings(forwards);
        let linears = forwards.iter().zip(routings).map(|(uses, routing)| {
            let found = &self.uses[uses[0]];
            let (weight, _) = self.keys(uses[0]);
            let matches = wgrads.values().flatten();
            let matches = matches.filter(|found| uses.contains(&found.forward));
            let mut states: BTreeSet<usize> = matches.map(|found| found.state).collect();
            let is_frozen = states.is_empty();
            if is_frozen {
                states.extend(&found.applications[0].states);
            }
            let parameters: Vec<Parameter> = states.iter().map(|&s| self.parameter(s)).collect();
            let shown = self.congruence.shown(weight);
            let is_shown = |state: &usize| Some(self.states[*state].before) == shown;
            let index = self.congruence.index(weight);
            let index = index.filter(|_| states.len() == 1 && states.iter().all(is_shown));
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
                is_frozen,
                adapts: None,
                routing,
                location: first.location.clone(),
                products: Vec::new(),
            }
        });
        let mut linears: Vec<Linear> = linears.collect();
        self.find_adapters(&mut linears, forwards);
        linears
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

    /// Why a product is no linear's; `serving` is what flows into products of linears and into losses.
    pub(super) fn reason(&self, number: usize, gradients: &Gradients, serving: &NodeSet) -> Reason {
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
        if !serving.contains(dot.result) {
            return Reason::IntoState;
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

    /// The name of the input of the step that an operand is, whole if there is one, else a part of it: rows that are looked up
    /// are activations where the other operand is a matrix of parameters.
    fn input_operand(&self, dot: &Dot) -> Option<String> {
        let entry = self.flow.frames[0].graph;
        let inputs: Vec<(bool, usize)> = dot
            .operands
            .iter()
            .filter_map(|&node| {
                let shown = self.congruence.shown(self.congruence.key(node))?;
                let mut inputs = entry.input_values();
                let input = inputs.position(|input| self.flow.node(0, input) == shown)?;
                let elements = |node| self.flow.shape(node).iter().product::<usize>();
                Some((elements(node) == elements(shown), input))
            })
            .collect();
        let whole = inputs.iter().find(|(is_whole, _)| *is_whole);
        let found = whole.or(inputs.first());
        found.map(|&(_, input)| self.input_name(input))
    }
}
