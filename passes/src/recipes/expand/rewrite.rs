//! Writing the step anew: products by what was decided, and what these need threaded through loops and branches.
//!
//! A loop around products that draw random bits or keep state gets, after its own carried values, a count of its rounds and
//! the state; after its own captured ones, the step, the counter and the round outside of it. A branch gets the last three
//! and the state, and all branches give the state back.

use super::Form;
use super::decision::{Decision, Decisions};
use super::emitter::{Emitter, Sites};
use super::product::ProductWriter;
use super::scope::{Scope, round_counter};
use super::state::{State, StateId};
use crate::linears::Place;
use crate::manager::PassFailure;
use tessera_ir::{
    Builder, Definition, ElementType, Graph, GraphResult, Input, Location, OpError, OpKind,
    Operation, Region, Tensor, Type, ValueId,
};

/// Writes a graph anew.
pub(super) struct Rewriter<'a> {
    pub decisions: &'a Decisions,
    pub sites: Sites,
    pub seed: u64,
    pub form: Form,
}

impl Rewriter<'_> {
    /// The graph of a module, with what the recipe keeps as further inputs and results after its own.
    pub fn entry(&mut self, source: &Graph) -> Result<Graph, PassFailure> {
        let place = Place {
            graph: source.name.clone(),
            regions: Vec::new(),
            operation: first_operation(source)?,
        };
        let uses_step = self.decisions.uses_step(&place);
        let states = self.decisions.states_within(&place);
        let mut added: Vec<&State> = Vec::new();
        let step = State::step();
        if uses_step {
            added.push(&step);
        }
        added.extend(states.iter().map(|&id| self.decisions.states.state(id)));

        let (own_inputs, own_results) = (source.inputs().len(), source.results().len());
        let mut inputs = source.inputs().to_vec();
        for (number, state) in added.iter().enumerate() {
            let input = Input::new(state.tensor_type.clone())
                .named(state.name.clone())
                .donated_to(own_results + number)
                .initialised(state.initialiser);
            inputs.push(input);
        }
        let b = Builder::with_inputs(source.name.clone(), inputs);
        let values = b.inputs();
        let (own, new) = values.split_at(own_inputs);
        let mut scope = Scope::default();
        let mut new = new.iter().copied();
        if uses_step {
            scope.step = new.next();
            scope.counter = scope.step;
        }
        scope.states = states.iter().copied().zip(new).collect();

        let e = Emitter::new(b, scope);
        let (mut e, mut results) = self.operations(source, &place, e, own)?;
        if let Some(step) = e.scope.step {
            e.b.set_location(Location::Unknown);
            let one = e.b.constant(Tensor::scalar(1u32))?;
            results.push(e.b.add(step, one)?);
        }
        results.extend(states.iter().map(|state| e.scope.states[state]));
        let names = source.results().iter().map(|result| result.name.clone());
        let names = names.chain(added.iter().map(|state| Some(state.name.clone())));
        let results = results.into_iter().zip(names);
        let mut graph =
            e.b.finish(results.map(|(value, name)| GraphResult { value, name }));
        graph.visibility = source.visibility;
        graph.location = source.location.clone();
        Ok(graph)
    }

    /// The ops of a graph, with values for its inputs; gives the graph and the values of its results.
    fn operations(
        &mut self,
        source: &Graph,
        place: &Place,
        mut e: Emitter,
        inputs: &[ValueId],
    ) -> Result<(Emitter, Vec<ValueId>), PassFailure> {
        let mut values: Vec<Option<ValueId>> = vec![None; source.value_count()];
        for (value, &new) in values.iter_mut().zip(inputs) {
            *value = Some(new);
        }
        let get = |values: &[Option<ValueId>], old: ValueId| {
            values[old.index()].expect("operands stand before their uses")
        };
        for operation in source.operations() {
            e.b.set_location(operation.location.clone());
            let operands: Vec<ValueId> = (operation.op.operands.iter())
                .map(|&old| get(&values, old))
                .collect();
            let Some(Definition::Result { op, .. }) =
                (operation.results().next()).map(|one| source.definition(one))
            else {
                // What gives nothing holds no product that anything uses.
                e.b.push(operation.op.kind.clone(), operands)?;
                continue;
            };
            let own = Place {
                operation: op,
                ..place.clone()
            };
            let results = match (&operation.op.kind, self.decisions.at(&own)) {
                (_, Some(Decision::Scaled(product))) => {
                    let tensors = [0, 1].map(|number| {
                        let layout = &product.operands[number].layout;
                        get(&values, layout.tensor)
                    });
                    let sizes = product.product.group_sizes;
                    let sizes = sizes.map(|sizes| get(&values, sizes));
                    let mut writer = ProductWriter {
                        e: &mut e,
                        sites: &mut self.sites,
                        seed: self.seed,
                        form: self.form,
                    };
                    vec![writer.write(product, tensors, sizes)?]
                }
                (kind, Some(Decision::Bf16)) => {
                    let result = source.tensor_type(operation.result()).element;
                    vec![bf16(&mut e, kind, &operands, result)?]
                }
                (OpKind::While { condition, body }, _) if self.changes(&own, 1) => {
                    self.while_loop(&mut e, &own, condition, body, &operands)?
                }
                (OpKind::Case { branches }, _)
                    if (0..branches.len()).any(|branch| self.changes(&own, branch)) =>
                {
                    self.case(&mut e, &own, branches, operation, &operands)?
                }
                (kind, _) => e.b.push(kind.clone(), operands)?,
            };
            for (old, new) in operation.results().zip(results) {
                values[old.index()] = Some(new);
            }
        }
        let results = source.results().iter();
        let results = results.map(|result| get(&values, result.value)).collect();
        Ok((e, results))
    }

    fn changes(&self, operation: &Place, region: usize) -> bool {
        self.decisions.changes(&within(operation, region))
    }

    fn while_loop(
        &mut self,
        e: &mut Emitter,
        own: &Place,
        condition: &Region,
        body: &Region,
        operands: &[ValueId],
    ) -> Result<Vec<ValueId>, PassFailure> {
        let inside = within(own, 1);
        let uses_step = self.decisions.uses_step(&inside);
        let states = self.decisions.states_within(&inside);
        let carried = body.results().len();
        let added = Added::to(e, uses_step, &states);
        let iteration = match uses_step {
            true => Some(e.b.constant(Tensor::scalar(0u32))?),
            false => None,
        };
        let new_carried: Vec<ValueId> = iteration
            .into_iter()
            .chain(added.states.iter().copied())
            .collect();
        let (own_carried, own_captured) = operands.split_at(carried);
        let captured = added.captured();
        let all = [own_carried, &new_carried, own_captured, &captured].concat();
        let types: Vec<Type> = all
            .iter()
            .map(|&value| e.b.graph().value_type(value).clone())
            .collect();
        // Where the loop's own values are among the new inputs.
        let shift = new_carried.len();
        let places: Vec<usize> = (0..operands.len())
            .map(|number| {
                if number < carried {
                    number
                } else {
                    number + shift
                }
            })
            .collect();

        let condition = rebuilt_condition(condition, &types, &places)?;

        let mut b = region_builder(&types);
        let inputs = b.inputs();
        let arguments: Vec<ValueId> = places.iter().map(|&place| inputs[place]).collect();
        let mut scope = Scope::default();
        let mut carried_inputs = inputs[carried..].iter().copied();
        let count = iteration.and_then(|_| carried_inputs.next());
        scope.states = states.iter().copied().zip(carried_inputs).collect();
        added.enter(&mut scope, &inputs[operands.len() + shift..]);
        if let Some(count) = count {
            let outside = scope.counter();
            scope.counter = Some(round_counter(&mut b, outside, count)?);
            if !states.is_empty() {
                scope.rounds.push(b.convert(count, ElementType::I32)?);
            }
        }
        let (mut e_body, mut results) =
            self.operations(body, &inside, Emitter::new(b, scope), &arguments)?;
        if let Some(count) = count {
            let one = e_body.b.constant(Tensor::scalar(1u32))?;
            results.push(e_body.b.add(count, one)?);
        }
        results.extend(states.iter().map(|state| e_body.scope.states[state]));
        let body = Region::new(e_body.b.finish(results));

        let results = e.b.push(OpKind::While { condition, body }, all)?;
        let first_state = carried + usize::from(iteration.is_some());
        for (state, &new) in states.iter().zip(&results[first_state..]) {
            e.scope.states.insert(*state, new);
        }
        Ok(results)
    }

    fn case(
        &mut self,
        e: &mut Emitter,
        own: &Place,
        branches: &[Region],
        operation: &Operation,
        operands: &[ValueId],
    ) -> Result<Vec<ValueId>, PassFailure> {
        let insides: Vec<Place> = (0..branches.len()).map(|one| within(own, one)).collect();
        let uses_step = insides.iter().any(|one| self.decisions.uses_step(one));
        let mut states: Vec<StateId> = insides
            .iter()
            .flat_map(|one| self.decisions.states_within(one))
            .collect();
        states.sort_unstable();
        states.dedup();
        let added = Added::to(e, uses_step, &states);
        let all = [operands, &added.captured(), &added.states].concat();
        let types: Vec<Type> = all[1..]
            .iter()
            .map(|&value| e.b.graph().value_type(value).clone())
            .collect();
        let own_captured = operands.len() - 1;
        let mut rebuilt = Vec::with_capacity(branches.len());
        for (branch, inside) in branches.iter().zip(&insides) {
            let b = region_builder(&types);
            let inputs = b.inputs();
            let mut scope = Scope::default();
            let rest = added.enter(&mut scope, &inputs[own_captured..]);
            scope.states = states.iter().copied().zip(rest.iter().copied()).collect();
            let e = Emitter::new(b, scope);
            let (e, mut results) = self.operations(branch, inside, e, &inputs[..own_captured])?;
            results.extend(states.iter().map(|state| e.scope.states[state]));
            rebuilt.push(Region::new(e.b.finish(results)));
        }
        let results = e.b.push(OpKind::Case { branches: rebuilt }, all)?;
        let own_results = operation.results().len();
        for (state, &new) in states.iter().zip(&results[own_results..]) {
            e.scope.states.insert(*state, new);
        }
        Ok(results)
    }
}

/// What a region gets from the graph around it.
struct Added {
    step: Option<ValueId>,
    counter: Option<ValueId>,
    rounds: Vec<ValueId>,
    states: Vec<ValueId>,
}

impl Added {
    fn to(e: &Emitter, uses_step: bool, states: &[StateId]) -> Self {
        Self {
            step: e.scope.step.filter(|_| uses_step),
            counter: e.scope.counter.filter(|_| uses_step),
            rounds: match states {
                [] => Vec::new(),
                _ => e.scope.rounds.clone(),
            },
            states: states.iter().map(|state| e.scope.states[state]).collect(),
        }
    }

    /// What stays the same within the region.
    fn captured(&self) -> Vec<ValueId> {
        let all = [self.step, self.counter].into_iter().flatten();
        all.chain(self.rounds.iter().copied()).collect()
    }

    /// Finds these among a region's inputs, and gives the inputs after them.
    fn enter<'v>(&self, scope: &mut Scope, inputs: &'v [ValueId]) -> &'v [ValueId] {
        let mut rest = inputs;
        let mut next = |present: Option<ValueId>| {
            present?;
            let (&first, others) = rest.split_first()?;
            rest = others;
            Some(first)
        };
        scope.step = next(self.step);
        scope.counter = next(self.counter);
        let (rounds, rest) = rest.split_at(self.rounds.len());
        scope.rounds = rounds.to_vec();
        rest
    }
}

/// A region of an op: as a place whose op is of no account.
fn within(operation: &Place, region: usize) -> Place {
    let mut place = operation.clone();
    place.regions.push((operation.operation, region));
    place
}

fn first_operation(graph: &Graph) -> Result<tessera_ir::OpId, PassFailure> {
    let definitions = graph.values().map(|value| graph.definition(value));
    let mut operations = definitions.filter_map(|definition| match definition {
        Definition::Result { op, .. } => Some(op),
        Definition::Input(_) => None,
    });
    operations
        .next()
        .ok_or_else(|| PassFailure::internal("a step with products has ops"))
}

fn region_builder(types: &[Type]) -> Builder {
    Builder::with_inputs("", types.iter().cloned().map(Input::new).collect())
}

/// A condition that takes more values than it looks at.
fn rebuilt_condition(source: &Graph, types: &[Type], places: &[usize]) -> Result<Region, OpError> {
    let inputs = types.iter().cloned().map(Input::new).collect();
    let mut graph = Graph::new("", inputs);
    let values: Vec<ValueId> = graph.input_values().collect();
    let arguments: Vec<ValueId> = places.iter().map(|&place| values[place]).collect();
    let results = graph.splice(source, &arguments, Location::clone)?;
    graph.set_result_values(results);
    Ok(Region::new(graph))
}

/// The product of both operands in bfloat16, summed in f32; of 16 bits that they have already, as it is.
fn bf16(
    e: &mut Emitter,
    kind: &OpKind,
    operands: &[ValueId],
    result: ElementType,
) -> Result<ValueId, OpError> {
    let element = |value: ValueId| e.b.graph().tensor_type(value).element;
    if operands[..2]
        .iter()
        .all(|&value| element(value) == ElementType::F16)
    {
        return e.b.push_value(kind.clone(), operands.to_vec());
    }
    let mut narrow = Vec::with_capacity(operands.len());
    let (factors, rest) = operands.split_at(2);
    for &operand in factors {
        let is_narrow = e.b.graph().tensor_type(operand).element == ElementType::Bf16;
        let key = (operand, ElementType::Bf16);
        let made = match e.made.numbers.get(&key) {
            _ if is_narrow => operand,
            Some(&made) => made,
            None => e.b.convert(operand, ElementType::Bf16)?,
        };
        e.made.numbers.insert(key, made);
        narrow.push(made);
    }
    let mut kind = kind.clone();
    narrow.extend_from_slice(rest);
    if let OpKind::DotGeneral {
        accumulator,
        element,
        ..
    }
    | OpKind::GroupedDot {
        accumulator,
        element,
        ..
    } = &mut kind
    {
        (*accumulator, *element) = (ElementType::F32, ElementType::F32);
    }
    let product = e.b.push_value(kind, narrow)?;
    match result {
        ElementType::F32 => Ok(product),
        element => e.b.convert(product, element),
    }
}
