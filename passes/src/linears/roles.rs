//! The roles: what each product of a step is to the linears, once their wgrads are known.

use super::flow::NodeSet;
use super::matching::{Match, Step};
use super::products::{Application, Dot, place};
use super::{Dimensions, LinearId, Linears, Other, Place, Product, Role, Side};
use std::collections::{BTreeMap, BTreeSet};

impl Step<'_> {
    /// The linears, and why the other products are none's.
    pub(super) fn linears(&self) -> Linears {
        let wgrads = self.of_activations(self.wgrads());
        let gradients = Gradients::new(self, &wgrads);
        let trained = self.forwards(&wgrads, &gradients);
        let frozen = self.frozen_forwards(&wgrads, &trained, &gradients);
        let mut forwards = [trained, frozen].concat();
        forwards.sort();
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
        let serving = self.serving(roles.known.keys().copied());
        let mut linears = Linears {
            linears: self.name(&forwards, &wgrads),
            ..Linears::default()
        };
        for (number, dot) in self.dots.iter().enumerate() {
            let place = place(&self.flow, dot.site);
            let Some((product, shared)) = roles.product(number, place.clone()) else {
                linears.others.push(Other {
                    place,
                    reason: self.reason(number, &gradients, &serving),
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

    /// All that flows into a product of a linear, or into a result of the step that is no new state.
    fn serving(&self, products: impl Iterator<Item = usize>) -> NodeSet {
        let operands = products.flat_map(|number| self.dots[number].operands);
        self.flow.reaching(operands.chain(self.reported()))
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
}

/// What comes of gradients.
pub(super) struct Gradients {
    /// Of each node, whether a linear's dY flows into it.
    pub(super) activations: NodeSet,
    /// Of each node, whether a wgrad's result flows into it.
    pub(super) parameters: NodeSet,
    /// The states that have wgrads.
    pub(super) trained: BTreeSet<usize>,
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
            trained: wgrads.values().flatten().map(|m| m.state).collect(),
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
            values: (self.step.dots[number].operands)
                .map(|node| self.step.congruence.key(node).class()),
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
        is_grouped: sizes.is_grouped,
    }
}
