//! Loops over layers: which loops go through the parts of stacked weights, and which of them stand around a product.
//!
//! A loop goes through layers where a round takes a weight out of a stack of as many parts as it has rounds, one part
//! after another, forwards or backwards. All loops that a linear's products run in go through the same layers, and so do
//! all linears in one of these: together they are a *family*.

use super::super::loops::{Order, order_of};
use crate::linears::{Counted, LinearId, Linears, Place, Product, Role, Side};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use tessera_ir::{Definition, Graph, Module, OpKind, Operation, ValueId};

/// A loop over layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct LayerLoop {
    /// How many layers.
    pub layers: usize,
    pub order: Order,
    /// The number of its family.
    pub family: usize,
}

impl LayerLoop {
    /// The rounds in which the loop is at those layers.
    pub fn rounds_of(&self, layers: &Range<usize>) -> Range<usize> {
        match self.order {
            Order::Ascending => layers.clone(),
            Order::Descending => self.layers - layers.end..self.layers - layers.start,
        }
    }
}

/// Which layers a linear is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Stack {
    /// Those of the loops around its forward product, the outermost first: how many each of them goes through. None
    /// where it runs in no such loop.
    Divisible(Vec<usize>),
    /// Those of loops that cannot be parted: its products do not all run in loops over the same layers.
    Whole(Vec<usize>),
}

impl Stack {
    /// How many layers each loop goes through.
    pub fn sizes(&self) -> &[usize] {
        match self {
            Self::Divisible(sizes) | Self::Whole(sizes) => sizes,
        }
    }
}

/// The loops over layers of a step.
#[derive(Debug, Default)]
pub(in super::super) struct Layers {
    /// By the place of the op.
    loops: BTreeMap<Place, LayerLoop>,
    /// Of each linear, by number.
    stacks: Vec<Stack>,
    /// Of each product of a divisible linear, by number, the loops that go through the linear's layers.
    around: Vec<Vec<Place>>,
}

impl Layers {
    /// Finds them.
    pub fn of(module: &Module, linears: &Linears) -> Self {
        let selected = linears.products.iter().map(|product| {
            let operand = [product.lhs, product.rhs]
                .iter()
                .position(|&side| side == Side::Weight)?;
            selections(module, &product.place, operand)
        });
        let selected: Vec<Option<Vec<Selection>>> = selected.collect();
        let mut found: BTreeMap<Place, Found> = BTreeMap::new();
        for own in selected.iter().flatten().flatten() {
            let entry = found.entry(own.place.clone()).or_insert(Found {
                layers: own.layers,
                order: Some(own.order),
            });
            entry.order = entry.order.filter(|&order| order == own.order);
        }
        for place in (linears.products.iter().map(|own| &own.place))
            .chain(linears.others.iter().map(|own| &own.place))
        {
            // What a condition computes is not computed again by the condition of a part of the loop.
            for depth in (0..place.regions.len()).filter(|&depth| place.regions[depth].1 == 0) {
                if let Some(own) = found.get_mut(&holder(place, depth)) {
                    own.order = None;
                }
            }
        }
        let around = (linears.products.iter().zip(&selected))
            .map(|(product, own)| around(product, own.as_deref(), linears, &selected, &found));
        let around: Vec<Vec<Place>> = around.collect();

        let mut stacks = Vec::with_capacity(linears.linears.len());
        let mut families = Families::default();
        for linear in &linears.linears {
            let mut products = linear.products.iter();
            let is_forward = |&&number: &&usize| linears.products[number].role == Role::Forward;
            let sizes = |number: usize| -> Vec<usize> {
                let own = around[number].iter();
                own.map(|place| found[place].layers).collect()
            };
            let forward = products.clone().find(is_forward);
            let own = forward.map_or_else(Vec::new, |&number| sizes(number));
            let is_sound = products.all(|&number| {
                sizes(number) == own && around[number].iter().all(|p| found[p].order.is_some())
            });
            for &number in &linear.products {
                let first = forward.map_or(&[][..], |&first| &around[first]);
                if first.len() == around[number].len() {
                    let pairs = first.iter().zip(&around[number]);
                    pairs.for_each(|(a, b)| families.join(a, b));
                }
            }
            stacks.push(match is_sound {
                true => Stack::Divisible(own),
                false => Stack::Whole(own),
            });
        }
        let loops = found.into_iter().filter_map(|(place, own)| {
            let family = families.number(&place);
            let layers = own.layers;
            let order = own.order?;
            Some((
                place,
                LayerLoop {
                    layers,
                    order,
                    family,
                },
            ))
        });
        Self {
            loops: loops.collect(),
            stacks,
            around,
        }
        .without_torn_families(linears)
    }

    /// A family one of whose linears cannot be parted stays whole, for its loops are the others' too.
    fn without_torn_families(mut self, linears: &Linears) -> Self {
        loop {
            let torn: BTreeSet<usize> = (linears.linears.iter().zip(&self.stacks))
                .filter(|(_, stack)| matches!(stack, Stack::Whole(_)))
                .flat_map(|(linear, _)| &linear.products)
                .flat_map(|&number| &self.around[number])
                .filter_map(|place| Some(self.loops.get(place)?.family))
                .collect();
            self.loops.retain(|_, own| !torn.contains(&own.family));
            let mut is_changed = false;
            for (linear, stack) in linears.linears.iter().zip(&mut self.stacks) {
                let mut around = linear.products.iter().flat_map(|&n| &self.around[n]);
                if let Stack::Divisible(sizes) = stack
                    && around.any(|place| !self.loops.contains_key(place))
                {
                    *stack = Stack::Whole(std::mem::take(sizes));
                    is_changed = true;
                }
            }
            if !is_changed {
                return self;
            }
        }
    }

    /// The layers of a linear.
    pub fn stack(&self, linear: LinearId) -> &Stack {
        &self.stacks[linear.0]
    }

    /// The loop over layers at a place, if it can be parted.
    pub fn at(&self, place: &Place) -> Option<LayerLoop> {
        self.loops.get(place).copied()
    }

    /// The loops around a product, by number, that go through its linear's layers.
    pub fn around(&self, product: usize) -> &[Place] {
        &self.around[product]
    }

    /// The families of the loops that go through a linear's layers, of each the number.
    pub fn families(&self, linears: &Linears, linear: LinearId) -> Vec<usize> {
        let first = linears.linear(linear).products.first();
        let places = first.map_or(&[][..], |&number| self.around(number));
        places
            .iter()
            .filter_map(|place| Some(self.at(place)?.family))
            .collect()
    }
}

/// What is known of a loop as it is found: no order where two weights are taken in different ones.
struct Found {
    layers: usize,
    order: Option<Order>,
}

/// That a loop takes a weight out of a stack, a layer in each round.
struct Selection {
    place: Place,
    layers: usize,
    order: Order,
}

/// The loops that go through a product's layers. What multiplies a weight shows them; wgrad runs in those loops around it
/// that go through the layers of another of the linear's products, or else of any.
fn around(
    product: &Product,
    own: Option<&[Selection]>,
    linears: &Linears,
    selected: &[Option<Vec<Selection>>],
    found: &BTreeMap<Place, Found>,
) -> Vec<Place> {
    if let Some(own) = own {
        return own.iter().map(|own| own.place.clone()).collect();
    }
    let holders = (0..product.place.regions.len()).map(|depth| holder(&product.place, depth));
    let holders: Vec<Place> = holders.filter(|place| found.contains_key(place)).collect();
    let products = linears.linear(product.linear).products.iter();
    let shown: BTreeSet<&Place> = products
        .filter_map(|&number| selected[number].as_ref())
        .flatten()
        .map(|own| &own.place)
        .collect();
    if holders.iter().any(|place| shown.contains(place)) {
        let is_shown = |place: &Place| shown.contains(place);
        return holders.into_iter().filter(is_shown).collect();
    }
    holders
}

/// The op that holds the region at a depth of a place.
pub(in super::super) fn holder(place: &Place, depth: usize) -> Place {
    Place {
        graph: place.graph.clone(),
        regions: place.regions[..depth].to_vec(),
        operation: place.regions[depth].0,
    }
}

/// The loops around a product that take the weight, its operand of that number, out of stacks; the outermost first.
fn selections(module: &Module, place: &Place, operand: usize) -> Option<Vec<Selection>> {
    let mut graphs: Vec<&Graph> = vec![module.graph(&place.graph)?];
    let mut holders: Vec<&Operation> = Vec::new();
    for &(operation, region) in &place.regions {
        let holder = graphs.last()?.operations().get(operation.index())?;
        graphs.push(holder.op.kind.regions().into_iter().nth(region)?);
        holders.push(holder);
    }
    let mut open = vec![place.find(module)?.op.operands[operand]];
    let mut found = Vec::new();
    for depth in (0..holders.len()).rev() {
        let (outside, holder, inside) = (graphs[depth], holders[depth], graphs[depth + 1]);
        let (inputs, slices) = made_of(inside, open);
        let offset = match &holder.op.kind {
            OpKind::While { .. } => {
                let counted = Counted::of(outside, holder);
                let rounds = counted.and_then(|own| usize::try_from(own.rounds).ok());
                let order = rounds.and_then(|rounds| {
                    let orders = slices
                        .iter()
                        .flat_map(|slice| orders(outside, holder, inside, slice, rounds));
                    let orders: BTreeSet<Option<Order>> = orders.collect();
                    let order = orders.iter().next().copied().flatten();
                    Some((rounds, order.filter(|_| orders.len() == 1)?))
                });
                if let Some((layers, order)) = order {
                    let place = self::holder(place, depth);
                    found.push(Selection {
                        place,
                        layers,
                        order,
                    });
                }
                0
            }
            // A branch's inputs are what the op has after the index.
            _ => 1,
        };
        open = inputs
            .into_iter()
            .filter_map(|number| holder.op.operands.get(number + offset).copied())
            .collect();
    }
    found.reverse();
    Some(found)
}

/// The inputs of a graph that values are made of, and the slices on the way to them. Where a slice begins is not followed.
fn made_of(graph: &Graph, mut open: Vec<ValueId>) -> (BTreeSet<usize>, Vec<&Operation>) {
    let mut seen = vec![false; graph.value_count()];
    let (mut inputs, mut slices) = (BTreeSet::new(), Vec::new());
    while let Some(value) = open.pop() {
        if std::mem::replace(&mut seen[value.index()], true) {
            continue;
        }
        if let Definition::Input(number) = graph.definition(value) {
            inputs.insert(number);
        } else if let Some(operation) = graph.defining_operation(value) {
            match &operation.op.kind {
                OpKind::DynamicSlice { .. } => {
                    slices.push(operation);
                    open.push(operation.op.operands[0]);
                }
                _ => open.extend(&operation.op.operands),
            }
        }
    }
    (inputs, slices)
}

/// In which orders the rounds of a loop are at the parts of what a slice takes one part of, along each dimension that has
/// as many parts as there are rounds.
fn orders(
    outside: &Graph,
    holder: &Operation,
    body: &Graph,
    slice: &Operation,
    rounds: usize,
) -> Vec<Option<Order>> {
    let OpKind::DynamicSlice { slice_sizes } = &slice.op.kind else {
        return Vec::new();
    };
    let stack = body.value_type(slice.op.operands[0]).shape();
    let starts = &slice.op.operands[1..];
    let dimensions = starts.iter().zip(slice_sizes).zip(stack);
    dimensions
        .filter(|&((&start, &size), &parts)| {
            size == 1 && parts == rounds && crate::linears::integer(body, start).is_none()
        })
        .map(|((&start, _), _)| order_of(outside, holder, body, start, rounds))
        .collect()
}

/// Loops that go through the same layers, joined pair by pair.
#[derive(Default)]
struct Families {
    numbers: HashMap<Place, usize>,
    next: usize,
}

impl Families {
    fn number(&mut self, place: &Place) -> usize {
        if let Some(&number) = self.numbers.get(place) {
            return number;
        }
        self.numbers.insert(place.clone(), self.next);
        self.next += 1;
        self.next - 1
    }

    fn join(&mut self, a: &Place, b: &Place) {
        let (a, b) = (self.number(a), self.number(b));
        for number in self.numbers.values_mut().filter(|number| **number == b) {
            *number = a;
        }
    }
}
