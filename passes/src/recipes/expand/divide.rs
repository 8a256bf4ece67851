//! A step in pieces: loops over layers and batches of experts, cut where a recipe treats neighbours differently.
//!
//! A loop that runs n rounds becomes several, one after another, which have the same body and run n rounds together:
//! what one carries at its end the next begins with. A batch of products becomes products of its slices, their results
//! put together; of grouped products likewise, see [`groups`]. All of it is exact, bit by bit. The linears of the pieces are those of the step as it was, for a piece
//! computes what the whole did: nothing is searched for again.

mod groups;
mod rounds;

use super::division::{Cuts, Described};
use super::loops::Order;
use super::parts::{Stack, Unit, range_name};
use crate::linears::{Linear, LinearId, Linears, Place};
use crate::manager::PassFailure;
use crate::rebuild::Rebuild;
use groups::GroupSlices;
use rounds::Loop;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use tessera_ir::{
    Builder, Definition, Graph, Module, OpError, OpId, OpKind, Operation, Region, ValueId,
};

/// A step in pieces.
pub(super) struct Divided {
    pub module: Module,
    pub linears: Linears,
    /// Of each linear, by number, what it is of the step before.
    pub pieces: Vec<Piece>,
    /// Loops over some layers of several, by their places.
    pub loops: HashMap<Place, LoopPiece>,
}

/// A linear of the step as it was, or some of its layers, or some of its experts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Piece {
    pub linear: LinearId,
    /// Of each loop over layers.
    pub layers: Vec<Range<usize>>,
    /// Where not all experts are meant.
    pub experts: Option<Range<usize>>,
}

impl Piece {
    /// Its first layer: all are treated alike.
    pub fn unit(&self) -> Unit {
        Unit {
            linear: self.linear,
            layer: self.layers.iter().map(|range| range.start).collect(),
        }
    }

    /// The linear's name, with the numbers of the parts where these are not all.
    fn name(&self, described: &Described<'_>) -> String {
        let name = &described.linears.linear(self.linear).name;
        let sizes = described.parts.layers.stack(self.linear).sizes();
        let all = sizes.iter().map(|&size| 0..size);
        if self.experts.is_none() && all.eq(self.layers.iter().cloned()) {
            return name.clone();
        }
        let ranges = self.layers.iter().chain(&self.experts).cloned();
        range_name(name, &ranges.collect::<Vec<_>>())
    }
}

/// Some rounds of a loop over layers, as a loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LoopPiece {
    pub layers: Range<usize>,
    pub order: Order,
}

/// Cuts a step.
pub(super) fn divide(
    module: &Module,
    described: &Described<'_>,
    cuts: &Cuts,
) -> Result<Divided, PassFailure> {
    let linears = described.linears;
    let numbered = |(number, place)| (place, number);
    let products = linears.products.iter().map(|own| &own.place).enumerate();
    let others = linears.others.iter().map(|own| &own.place).enumerate();
    let divider = Divider {
        described,
        cuts,
        products: products.map(numbered).collect(),
        others: others.map(numbered).collect(),
    };
    let entry = module.entry().map(|entry| entry.name.as_str());
    let mut divided = Module::new(module.name.clone());
    let mut moved = Vec::new();
    for graph in module.graphs() {
        if Some(graph.name.as_str()) != entry {
            divided.insert(graph.clone());
            continue;
        }
        let (graph, own) = divider.graph(graph, &graph.name, &[], &[])?;
        moved = own;
        let name = graph.name.clone();
        moved
            .iter_mut()
            .for_each(|own| own.place.graph.clone_from(&name));
        divided.insert(graph);
    }
    let (linears, pieces, loops) = gathered(described, moved);
    Ok(Divided {
        module: divided,
        linears,
        pieces,
        loops,
    })
}

/// The linears of the pieces.
fn gathered(
    described: &Described<'_>,
    moved: Vec<Moved>,
) -> (Linears, Vec<Piece>, HashMap<Place, LoopPiece>) {
    let old = described.linears;
    let mut divided = Linears::default();
    let mut loops = HashMap::new();
    let mut of: BTreeMap<(usize, usize, usize), (Piece, Vec<usize>)> = BTreeMap::new();
    let mut owners: Vec<Piece> = Vec::new();
    for Moved { place, what } in moved {
        match what {
            What::Loop(piece) => {
                loops.insert(place, piece);
            }
            What::Other(number) => {
                let other = old.others[number].clone();
                divided
                    .others
                    .push(crate::linears::Other { place, ..other });
            }
            What::Product(number, layers, experts) => {
                let mut product = old.products[number].clone();
                product.place = place;
                if let Some(experts) = &experts {
                    product.dimensions.batch = experts.len();
                }
                // Several linears may have their wgrads in one op.
                for (linear, all) in old.linears.iter().enumerate() {
                    if !all.products.contains(&number) {
                        continue;
                    }
                    let piece = Piece {
                        linear: LinearId(linear),
                        layers: layers.clone(),
                        experts: experts.clone(),
                    };
                    let unit = described.parts.number(&piece.unit());
                    let expert = experts.as_ref().map_or(0, |range| range.start);
                    let own = of
                        .entry((unit, linear, expert))
                        .or_insert((piece.clone(), Vec::new()));
                    own.1.push(divided.products.len());
                    if product.linear.0 == linear {
                        owners.push(piece);
                    }
                }
                divided.products.push(product);
            }
        }
    }
    let pieces: Vec<Piece> = of.values().map(|(piece, _)| piece.clone()).collect();
    let ids: HashMap<&Piece, LinearId> = pieces.iter().zip((0..).map(LinearId)).collect();
    for (product, owner) in divided.products.iter_mut().zip(&owners) {
        product.linear = ids[owner];
    }
    let adapts = |piece: &Piece| {
        let linear = old.linear(piece.linear).adapts?;
        let same = Piece {
            linear,
            ..piece.clone()
        };
        let first = || pieces.iter().position(|own| own.linear == linear);
        (ids.get(&same).copied()).or_else(|| first().map(LinearId))
    };
    let linears = of.values().map(|(piece, products)| Linear {
        name: piece.name(described),
        adapts: adapts(piece),
        products: products.clone(),
        ..old.linear(piece.linear).clone()
    });
    divided.linears = linears.collect();
    (divided, pieces, loops)
}

/// Where something of the step has got to. While a region is being built the place is that in the region.
struct Moved {
    place: Place,
    what: What,
}

enum What {
    /// A product of a linear, by number, in those layers and of those experts.
    Product(usize, Vec<Range<usize>>, Option<Range<usize>>),
    /// Another product, by number.
    Other(usize),
    /// Rounds of a loop over layers.
    Loop(LoopPiece),
}

struct Divider<'a> {
    described: &'a Described<'a>,
    cuts: &'a Cuts,
    /// By their places in the step as it was.
    products: HashMap<&'a Place, usize>,
    others: HashMap<&'a Place, usize>,
}

/// A graph that is being built of pieces of another.
struct Pieces<'a> {
    rebuild: Rebuild<'a>,
    moved: Vec<Moved>,
    groups: GroupSlices,
}

impl<'a> Pieces<'a> {
    fn new(source: &'a Graph) -> Self {
        Self {
            rebuild: Rebuild::new(source),
            moved: Vec::new(),
            groups: GroupSlices::default(),
        }
    }

    /// Says what the op is that was appended last.
    fn last_is(&mut self, what: What) -> Result<(), PassFailure> {
        self.moved.push(Moved::at(last(&self.rebuild.graph)?, what));
        Ok(())
    }
}

/// The loops over layers around a graph, by their places in the step as it was, and the layers that they are at.
type Around = [(Place, Range<usize>)];

impl Divider<'_> {
    /// A graph, which stood in those regions, in pieces.
    fn graph(
        &self,
        source: &Graph,
        name: &str,
        regions: &[(OpId, usize)],
        around: &Around,
    ) -> Result<(Graph, Vec<Moved>), PassFailure> {
        let mut pieces = Pieces::new(source);
        for operation in source.operations() {
            let kind = &operation.op.kind;
            let Some(Definition::Result { op, .. }) =
                (operation.results().next()).map(|first| source.definition(first))
            else {
                pieces.rebuild.copy_as(operation, kind.clone())?;
                continue;
            };
            let place = Place {
                graph: name.to_owned(),
                regions: regions.to_vec(),
                operation: op,
            };
            match kind {
                OpKind::While { condition, body } => {
                    let own = Loop {
                        source,
                        operation,
                        condition,
                        body,
                        place,
                    };
                    self.while_loop(&mut pieces, &own, around)?;
                }
                OpKind::Case { branches } => {
                    let mut inside = Vec::new();
                    let mut rebuilt = Vec::with_capacity(branches.len());
                    for (number, branch) in branches.iter().enumerate() {
                        let regions = [regions, &[(op, number)]].concat();
                        let (graph, own) = self.graph(branch, name, &regions, around)?;
                        rebuilt.push(Region::new(graph));
                        inside.push((number, own));
                    }
                    let kind = OpKind::Case { branches: rebuilt };
                    pieces.rebuild.copy_as(operation, kind)?;
                    let holder = last(&pieces.rebuild.graph)?;
                    for (number, own) in inside {
                        let own = own.into_iter().map(|own| own.within(holder, number));
                        pieces.moved.extend(own);
                    }
                }
                _ => self.other(&mut pieces, operation, &place, around)?,
            }
        }
        Ok((pieces.rebuild.finish(), pieces.moved))
    }

    /// An op that holds no products: a product itself, perhaps.
    fn other(
        &self,
        pieces: &mut Pieces<'_>,
        operation: &Operation,
        place: &Place,
        around: &Around,
    ) -> Result<(), PassFailure> {
        if let Some(&number) = self.products.get(place) {
            return self.product(pieces, operation, number, around);
        }
        let kind = operation.op.kind.clone();
        pieces.rebuild.copy_as(operation, kind)?;
        match self.others.get(place) {
            Some(&number) => pieces.last_is(What::Other(number)),
            None => Ok(()),
        }
    }

    fn product(
        &self,
        pieces: &mut Pieces<'_>,
        operation: &Operation,
        number: usize,
        around: &Around,
    ) -> Result<(), PassFailure> {
        let Described { linears, parts, .. } = self.described;
        let linear = linears.products[number].linear;
        let layers = match parts.layers.stack(linear) {
            Stack::Whole(_) => Vec::new(),
            Stack::Divisible(_) => {
                let own = parts.layers.around(number).iter();
                let at = own.filter_map(|place| around.iter().find(|(own, _)| own == place));
                at.map(|(_, range)| range.clone()).collect()
            }
        };
        let ranges = (self.cuts).experts(parts.experts[linear.0], linear, &layers);
        let kind = &operation.op.kind;
        if ranges.len() < 2 {
            pieces.rebuild.copy_as(operation, kind.clone())?;
            return pieces.last_is(What::Product(number, layers, None));
        }
        let source = std::mem::replace(&mut pieces.rebuild.graph, Graph::new("", Vec::new()));
        let mut builder = Builder::continuing(source);
        builder.set_location(operation.location.clone());
        let operands = pieces.rebuild.values(&operation.op.operands);
        let (results, whole) = match kind {
            OpKind::GroupedDot { .. } => {
                (pieces.groups).products(&mut builder, kind, &operands, &ranges)?
            }
            _ => batches(&mut builder, kind, &operands, &ranges)?,
        };
        pieces.rebuild.graph = builder.into_graph();
        pieces.rebuild.set(operation.result(), whole);
        for (range, result) in ranges.into_iter().zip(results) {
            let Definition::Result { op, .. } = pieces.rebuild.graph.definition(result) else {
                return Err(PassFailure::internal("a product is an op's result"));
            };
            let what = What::Product(number, layers.clone(), Some(range));
            pieces.moved.push(Moved::at(op, what));
        }
        Ok(())
    }

    fn while_loop(
        &self,
        pieces: &mut Pieces<'_>,
        own: &Loop<'_>,
        around: &Around,
    ) -> Result<(), PassFailure> {
        let Pieces { rebuild, moved, .. } = pieces;
        let Place {
            graph: name,
            regions,
            operation: op,
        } = &own.place;
        let inside = |number| [&regions[..], &[(*op, number)]].concat();
        let layers = self.described.parts.layers.at(&own.place);
        let Some(layers) = layers else {
            let (condition, of_condition) = self.graph(own.condition, name, &inside(0), around)?;
            let (body, of_body) = self.graph(own.body, name, &inside(1), around)?;
            let kind = OpKind::While {
                condition: Region::new(condition),
                body: Region::new(body),
            };
            rebuild.copy_as(own.operation, kind)?;
            let holder = last(&rebuild.graph)?;
            let own = (of_condition.into_iter()).map(|own| own.within(holder, 0));
            moved.extend(own.chain(of_body.into_iter().map(|own| own.within(holder, 1))));
            return Ok(());
        };
        let mut ranges = self.cuts.layers(&layers);
        if layers.order == Order::Descending {
            ranges.reverse();
        }
        let mut carried: Option<Vec<ValueId>> = None;
        for layers_of_piece in ranges {
            let around = [around, &[(own.place.clone(), layers_of_piece.clone())]].concat();
            let (body, of_body) = self.graph(own.body, name, &inside(1), &around)?;
            let results = own.piece(rebuild, &layers, &layers_of_piece, carried.take(), body)?;
            carried = Some(results);
            let holder = last(&rebuild.graph)?;
            if layers_of_piece.len() < layers.layers {
                let piece = LoopPiece {
                    layers: layers_of_piece,
                    order: layers.order,
                };
                moved.push(Moved::at(holder, What::Loop(piece)));
            }
            moved.extend(of_body.into_iter().map(|own| own.within(holder, 1)));
        }
        let results = carried.into_iter().flatten();
        for (old, new) in own.operation.results().zip(results) {
            rebuild.set(old, new);
        }
        Ok(())
    }
}

impl Moved {
    fn at(operation: OpId, what: What) -> Self {
        let place = Place {
            graph: String::new(),
            regions: Vec::new(),
            operation,
        };
        Self { place, what }
    }

    /// The same, seen from the graph that the region's op stands in.
    fn within(mut self, holder: OpId, region: usize) -> Self {
        self.place.regions.insert(0, (holder, region));
        self
    }
}

/// The op that was appended last.
fn last(graph: &Graph) -> Result<OpId, PassFailure> {
    let last = graph.operations().last();
    let result = last.and_then(|operation| operation.results().next());
    match result.map(|result| graph.definition(result)) {
        Some(Definition::Result { op, .. }) => Ok(op),
        Some(Definition::Input(_)) | None => Err(PassFailure::internal(
            "an op that is put in pieces has results",
        )),
    }
}

/// The products of a batch's ranges, and their results put together.
fn batches(
    b: &mut Builder,
    kind: &OpKind,
    operands: &[ValueId],
    ranges: &[Range<usize>],
) -> Result<(Vec<ValueId>, ValueId), PassFailure> {
    let OpKind::DotGeneral {
        lhs_batching_dimensions,
        rhs_batching_dimensions,
        ..
    } = kind
    else {
        return Err(PassFailure::internal(
            "a batch of products is a dot_general",
        ));
    };
    let dimensions = [lhs_batching_dimensions[0], rhs_batching_dimensions[0]];
    let mut results = Vec::with_capacity(ranges.len());
    for range in ranges {
        let mut sliced = Vec::with_capacity(operands.len());
        for (&operand, dimension) in operands.iter().zip(dimensions) {
            sliced.push(slice(b, operand, dimension, range)?);
        }
        results.push(b.push_value(kind.clone(), sliced)?);
    }
    // A product's batch is the first dimension of its result.
    let whole = b.concatenate(&results, 0)?;
    Ok((results, whole))
}

/// A range of a tensor along one dimension.
fn slice(
    b: &mut Builder,
    operand: ValueId,
    dimension: usize,
    range: &Range<usize>,
) -> Result<ValueId, OpError> {
    let mut limits = b.graph().value_type(operand).shape().to_vec();
    let mut starts = vec![0; limits.len()];
    (starts[dimension], limits[dimension]) = (range.start, range.end);
    let strides = vec![1; starts.len()];
    b.slice(operand, &starts, &limits, &strides)
}

#[cfg(test)]
mod tests;
