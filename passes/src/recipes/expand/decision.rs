//! What becomes of each product of a step, decided before anything is rewritten; the pass and `recipe explain` share it.

use super::divide::Divided;
use super::division::Described;
use super::loops::{Order, Surroundings};
use super::matrix::{Axis, Layout, MatrixProduct, matrix_product};
use super::notes::{Note, in_vain, notes};
use super::outcome::{Expanded, Kept, Outcome, Row, StayReason};
use super::state::{Owner, Rounds, StateId, StatePurpose, StateUse, States, Subject};
use crate::linears::{LinearId, Linears, Place, Product, Role, Side, ValueClass};
use crate::recipes::{
    HighPrecision, LinearProduct, MeanSplit, OperandRecipe, ProductRecipe, Recipe, Signs,
    SpectralSplit, Treatment,
};
use std::collections::HashMap;
use std::ops::Range;
use tessera_ir::{ElementType, Graph, Module, OpId, OpKind, Operation, ValueId};

/// What products that compute the same have in common: the linear, the role, the graph and the way into its regions.
type Repeated = (LinearId, Role, String, Vec<(OpId, usize)>);

/// What becomes of every product of a step.
pub(super) struct Decisions {
    by_place: HashMap<Place, Decision>,
    /// The number of the first product of each linear and role in a graph or region.
    first: HashMap<Repeated, usize>,
    /// What is said of the linears' products, in the order of [`crate::linears::explain`].
    pub rows: Vec<Row>,
    /// What the step gets to keep.
    pub states: States,
    /// What the recipe asks for in vain.
    pub notes: Vec<Note>,
    /// Of activations and gradients the first that is the same.
    same: HashMap<ValueClass, ValueClass>,
}

/// What becomes of a product.
pub(super) enum Decision {
    /// Scaled operands.
    Scaled(Box<ScaledProduct>),
    /// Both operands in bfloat16, summed in f32.
    Bf16,
    /// Nothing.
    Untouched,
}

/// A product as it is decided about.
struct OfWhich<'a> {
    product: &'a Product,
    /// As in [`ScaledProduct`].
    number: usize,
    /// The number of the weight.
    weight: usize,
    /// Where not all experts are meant.
    experts: Option<Range<usize>>,
}

/// A product with at least one scaled operand.
pub(super) struct ScaledProduct {
    /// Its number among the step's products, in the order of the program, with those that are computed again after all others:
    /// what random signs are drawn for. Recomputation leaves the others their numbers.
    pub number: usize,
    /// The number of the product before it, in the same round of the same loops, that this one computes again.
    pub repeats: Option<usize>,
    pub recipe: ProductRecipe,
    pub product: MatrixProduct,
    /// In the op's order.
    pub operands: [ScaledOperand; 2],
    /// Of the op's result.
    pub element: ElementType,
}

/// An operand of such a product.
pub(super) struct ScaledOperand {
    pub recipe: OperandRecipe,
    pub layout: Layout,
    /// The dimension summed over.
    pub contracted: Axis,
    /// The switch of a gated mean.
    pub gate: Option<StateUse>,
    /// The basis of a spectral split.
    pub basis: Option<StateUse>,
}

impl ScaledProduct {
    /// Whether it asks for the number of the step.
    fn uses_step(&self) -> bool {
        let draws_signs =
            (self.recipe.hadamard()).is_some_and(|own| own.signs() == Signs::RandomPerStep);
        draws_signs || self.operands.iter().any(ScaledOperand::uses_step)
    }
}

impl ScaledOperand {
    fn uses_step(&self) -> bool {
        let scaling = self.recipe.precision();
        let is_random = |scaling: &crate::recipes::Scaling| scaling.rounding().is_random();
        let rounds_at_random = scaling.scaling().is_some_and(is_random);
        rounds_at_random || self.gate.is_some() || self.basis.is_some()
    }

    fn states(&self) -> impl Iterator<Item = StateId> {
        [&self.gate, &self.basis]
            .into_iter()
            .flatten()
            .map(|state| state.id)
    }
}

impl Decisions {
    /// Decides about a step in pieces; `described` is the step before.
    pub fn new(divided: &Divided, described: &Described<'_>, recipe: &Recipe) -> Self {
        let Divided {
            module, linears, ..
        } = divided;
        let mut decisions = Self {
            by_place: HashMap::new(),
            first: HashMap::new(),
            rows: Vec::new(),
            states: States::default(),
            notes: notes(described, recipe),
            same: same(linears),
        };
        let mut outcomes: HashMap<&Place, Outcome> = HashMap::new();
        let mut next = 0;
        let mut next_again = linears.products.iter().filter(|p| !p.is_recomputed).count();
        for product in &linears.products {
            let counter = match product.is_recomputed {
                true => &mut next_again,
                false => &mut next,
            };
            let number = *counter;
            *counter += 1;
            let piece = &divided.pieces[product.linear.0];
            let unit = piece.unit();
            let names = described.names(&unit, piece.experts.as_ref().map(|own| own.start));
            let asked = LinearProduct {
                sizes: product.dimensions,
                ..described.asked(product, &unit, &names)
            };
            let position = described.parts.position(described.parts.number(&unit));
            let subject = OfWhich {
                product,
                number,
                weight: position.weight,
                experts: piece.experts.clone(),
            };
            let outcome = decisions.decide(divided, &asked, &subject, recipe);
            outcomes.insert(&product.place, outcome);
        }
        for row in crate::linears::explain(module, linears) {
            let crate::linears::Subject::Linear { .. } = row.subject else {
                continue;
            };
            if let Some(outcome) = outcomes.get(&row.place) {
                let outcome = outcome.clone();
                decisions.rows.push(Row { row, outcome });
            }
        }
        decisions.notes.extend(in_vain(recipe, &decisions.rows));
        decisions
    }

    /// What becomes of the op at a place, if it is a linear's product.
    pub fn at(&self, place: &Place) -> Option<&Decision> {
        self.by_place.get(place)
    }

    /// The products with scaled operands within a region: a graph's name and the way into it.
    fn within<'s>(&'s self, region: &'s Place) -> impl Iterator<Item = &'s ScaledProduct> {
        self.by_place.iter().filter_map(move |(place, decision)| {
            let is_within =
                place.graph == region.graph && place.regions.starts_with(&region.regions);
            match decision {
                Decision::Scaled(product) if is_within => Some(&**product),
                _ => None,
            }
        })
    }

    /// Whether the region has products that change.
    pub fn changes(&self, region: &Place) -> bool {
        self.by_place.iter().any(|(place, decision)| {
            place.graph == region.graph
                && place.regions.starts_with(&region.regions)
                && !matches!(decision, Decision::Untouched)
        })
    }

    /// Whether the region asks for the number of the step.
    pub fn uses_step(&self, region: &Place) -> bool {
        self.within(region).any(ScaledProduct::uses_step)
    }

    /// The state that the region asks for, in order.
    pub fn states_within(&self, region: &Place) -> Vec<StateId> {
        let operands = self
            .within(region)
            .flat_map(|product| product.operands.iter());
        let mut states: Vec<StateId> = operands.flat_map(ScaledOperand::states).collect();
        states.sort_unstable();
        states.dedup();
        states
    }

    fn decide(
        &mut self,
        divided: &Divided,
        asked: &LinearProduct<'_>,
        subject: &OfWhich<'_>,
        recipe: &Recipe,
    ) -> Outcome {
        let place = &subject.product.place;
        let kept = |precision, reason: StayReason| {
            let decision = match precision {
                Some(HighPrecision::Bf16) => Decision::Bf16,
                Some(HighPrecision::F32) | None => Decision::Untouched,
            };
            (decision, Outcome::Kept(Kept { precision, reason }))
        };
        let (decision, outcome) = match region(&divided.module, place) {
            Err(reason) => kept(None, reason),
            Ok((graph, operation)) => {
                match (fitness(graph, operation), recipe.for_product(asked)) {
                    (Err(reason), _) => kept(None, reason),
                    (Ok(_), Treatment::Kept { precision, reason }) => {
                        kept(Some(precision), StayReason::Recipe(reason))
                    }
                    (Ok(element), Treatment::Quantised(own)) => {
                        let is_grouped = matches!(operation.op.kind, OpKind::GroupedDot { .. });
                        let left_out = match is_grouped {
                            true => super::grouped::left_out(own),
                            false => Vec::new(),
                        };
                        match self.scaled(divided, graph, subject, own, element) {
                            Ok(scaled) => {
                                let expanded = Expanded::of(&scaled.recipe, left_out);
                                let decision = Decision::Scaled(Box::new(scaled));
                                (decision, Outcome::Scaled(expanded))
                            }
                            Err(reason) => kept(Some(recipe.keep().precision), reason),
                        }
                    }
                }
            }
        };
        self.by_place.insert(place.clone(), decision);
        outcome
    }

    fn scaled(
        &mut self,
        divided: &Divided,
        graph: &Graph,
        subject: &OfWhich<'_>,
        recipe: &ProductRecipe,
        element: ElementType,
    ) -> Result<ScaledProduct, StayReason> {
        let Divided {
            module,
            linears,
            loops,
            ..
        } = divided;
        let (product, number) = (subject.product, subject.number);
        let matrices = matrix_product(graph, product).ok_or(StayReason::Form)?;
        let recipe = &match matrices.group_sizes {
            Some(_) => recipe.for_groups(),
            None => *recipe,
        };
        let sides = [product.lhs, product.rhs];
        let own = |side: Side| recipe.operand(side).ok_or(StayReason::Form);
        let recipes = [*own(sides[0])?, *own(sides[1])?];
        let keeps_state = |own: &OperandRecipe| {
            own.spectral().is_some() || own.mean().is_some_and(|mean| mean.gate.is_some())
        };
        let around = match recipes.iter().any(keeps_state) {
            true => {
                let around = Surroundings::of(module, &product.place, loops);
                Some(around.ok_or(StayReason::Rounds)?)
            }
            false => None,
        };
        for number in [0, 1] {
            let layout = &matrices.operands[number];
            let shape = layout.shape(graph.value_type(layout.tensor).shape());
            let [.., rows, columns] = shape[..] else {
                return Err(StayReason::Form);
            };
            if let Some(split) = recipes[number].spectral() {
                let rank = split.rank_of(rows, columns);
                if 2 * rank > rows.min(columns) {
                    let smaller = rows.min(columns);
                    let reason = crate::recipes::KeptReason::Rank { rank, smaller };
                    return Err(StayReason::Recipe(reason));
                }
            }
        }
        let operands = [0, 1].map(|number| {
            let own = recipes[number];
            let layout = matrices.operands[number].clone();
            let shape = layout.shape(graph.value_type(layout.tensor).shape());
            let met = around.as_ref().map(|around| {
                let own = match sides[number] {
                    Side::Weight => Subject::Weight(subject.weight),
                    Side::Activation | Side::Gradient => {
                        let own = product.values[number];
                        Subject::Value(*self.same.get(&own).unwrap_or(&own))
                    }
                };
                let (mut owner, parts) = owner(own, module, &product.place, around, layout.tensor);
                owner.experts.clone_from(&subject.experts);
                (owner, parts)
            });
            let mut state = |purpose: StatePurpose| {
                let (owner, parts) = met.as_ref()?;
                let linear = &linears.linear(product.linear).name;
                let name = format!("{linear}.{}", sides[number]);
                let (id, refreshes) = self.states.get(owner, &shape, purpose, &name);
                let parts = parts.clone();
                Some(StateUse {
                    id,
                    parts,
                    refreshes,
                })
            };
            let gated: Option<MeanSplit> = own.mean().copied().filter(|mean| mean.gate.is_some());
            let spectral: Option<SpectralSplit> = own.spectral().copied();
            let gate = gated.and_then(|mean| state(StatePurpose::Gate(mean)));
            let mean = own.mean().copied();
            let basis = spectral.and_then(|split| state(StatePurpose::Basis(mean, split)));
            ScaledOperand {
                recipe: own,
                layout,
                contracted: matrices.contracted[number],
                gate,
                basis,
            }
        });
        let place = &product.place;
        let (graph, regions) = (place.graph.clone(), place.regions.clone());
        let same = (product.linear, product.role, graph, regions);
        let first = *self.first.entry(same).or_insert(number);
        Ok(ScaledProduct {
            number,
            repeats: (product.is_recomputed && first != number).then_some(first),
            recipe: *recipe,
            product: matrices,
            operands,
            element,
        })
    }
}

/// Of the classes of activations and gradients the first that stands for the same operand of a linear: a layer that is
/// computed again may compute its activation in another loop, which then is another value as far as can be told.
fn same(linears: &Linears) -> HashMap<ValueClass, ValueClass> {
    let mut same: HashMap<ValueClass, ValueClass> = HashMap::new();
    let mut firsts: HashMap<(LinearId, Side), ValueClass> = HashMap::new();
    for product in &linears.products {
        for (own, side) in product.values.into_iter().zip([product.lhs, product.rhs]) {
            if side == Side::Weight {
                continue;
            }
            let own = *same.entry(own).or_insert(own);
            let first = *firsts.entry((product.linear, side)).or_insert(own);
            let first = same[&first];
            for class in same.values_mut().filter(|class| **class == own) {
                *class = first;
            }
        }
    }
    same
}

/// Which operand it is that may have state, and which part of its stack each loop around is at.
fn owner(
    subject: Subject,
    module: &Module,
    place: &Place,
    around: &Surroundings,
    tensor: ValueId,
) -> (Owner, Vec<Option<(usize, Order)>>) {
    let regions = &place.regions;
    let is_branch = |depth: &usize| {
        let mut holder = place.clone();
        (holder.operation, _) = regions[*depth];
        holder.regions.truncate(*depth);
        let holder = holder.find(module);
        holder.is_some_and(|holder| matches!(holder.op.kind, OpKind::Case { .. }))
    };
    let branches: Vec<usize> = (0..regions.len()).filter(is_branch).collect();
    let bodies = (0..regions.len()).filter(|depth| !branches.contains(depth));
    let mut rounds = Vec::new();
    let mut parts = Vec::new();
    for (loop_number, (own, depth)) in around.loops.iter().zip(bodies).enumerate() {
        if !around.varies(tensor, loop_number) {
            parts.push(None);
            continue;
        }
        rounds.push(match own.order {
            Some(_) => Rounds::Parts(own.first, own.rounds),
            None => Rounds::Own(regions[..=depth].to_vec(), own.rounds),
        });
        parts.push(Some((own.rounds, own.order.unwrap_or(Order::Ascending))));
    }
    let owner = Owner {
        subject,
        experts: None,
        rounds,
        branch: branches
            .last()
            .map_or_else(Vec::new, |&last| regions[..=last].to_vec()),
    };
    (owner, parts)
}

/// The graph that an op stands in, and the op.
fn region<'m>(module: &'m Module, place: &Place) -> Result<(&'m Graph, &'m Operation), StayReason> {
    let mut graph: &Graph = module.graph(&place.graph).ok_or(StayReason::Form)?;
    for &(holder, number) in &place.regions {
        let holder = graph.operations().get(holder.index());
        let kind = &holder.ok_or(StayReason::Form)?.op.kind;
        match kind {
            OpKind::While { .. } if number == 0 => return Err(StayReason::Condition),
            OpKind::While { .. } | OpKind::Case { .. } => {}
            _ => return Err(StayReason::Form),
        }
        graph = kind
            .regions()
            .into_iter()
            .nth(number)
            .ok_or(StayReason::Form)?;
    }
    let operation = graph.operations().get(place.operation.index());
    Ok((graph, operation.ok_or(StayReason::Form)?))
}

/// The element type of a product whose operands can be given another precision.
fn fitness(graph: &Graph, operation: &Operation) -> Result<ElementType, StayReason> {
    let element = |value: ValueId| graph.value_type(value).as_tensor().map(|t| t.element);
    // Behind the two that are multiplied, a grouped product has the sizes of its groups.
    let values = operation.op.operands.iter().copied().take(2);
    for value in values.chain([operation.result()]) {
        match element(value) {
            Some(ElementType::F16 | ElementType::Bf16 | ElementType::F32) => {}
            Some(other) => return Err(StayReason::Element(other)),
            None => return Err(StayReason::Form),
        }
        if graph.value_type(value).is_empty() {
            return Err(StayReason::Empty);
        }
    }
    element(operation.result()).ok_or(StayReason::Form)
}
