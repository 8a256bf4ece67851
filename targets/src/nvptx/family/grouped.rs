//! Products of groups of rows whose sizes are known when they run.
//!
//! Either the rows of the result are those of groups, each multiplied by a matrix of its group, and rows of no group are
//! zeros; or each group has a product, whose contracted elements are the group's. A CTA reads all sizes to find its tile:
//! it has rows of one group alone. Sizes that do not fit the rows end the kernel before anything is written.

use super::boxes::{Boxed, Major};
use super::dot::Factors;
use super::mma::Lines;
use super::part::{self, Part};
use super::scaled_dot::{Codes, times_tensor_scales};
use crate::blocks::ceil_div;
use crate::blocks::epilogue;
use crate::mlir::elemental::{Unsupported, stored_place};
use crate::mlir::index::Expression;
use crate::mlir::{Builder, Emission, IntegerPredicate, Value, scalar};
use tessera_ir::{Definition, ElementType, Graph, OpKind, Operation, Type, ValueId};
use tessera_numerics::Format;

/// A grouped_dot or grouped_scaled_dot.
pub struct GroupedProduct<'g> {
    operation: &'g Operation,
    operands: [Operand<'g>; 2],
    sizes: ValueId,
    groups: i64,
    accumulator: ElementType,
    element: ElementType,
}

struct Operand<'g> {
    value: ValueId,
    value_type: &'g Type,
    /// The dimension that is summed over.
    contracting: usize,
}

impl Operand<'_> {
    fn shape(&self) -> &[usize] {
        self.value_type.shape()
    }

    fn has_groups(&self) -> bool {
        self.shape().len() == 3
    }

    /// The dimension that is neither the groups' nor summed over.
    fn free(&self) -> usize {
        let first = usize::from(self.has_groups());
        2 * first + 1 - self.contracting
    }

    fn extent(&self, dimension: usize) -> i64 {
        self.shape()[dimension] as i64
    }
}

impl<'g> GroupedProduct<'g> {
    /// Of a dot kernel's body.
    pub fn of(graph: &'g Graph) -> Option<Self> {
        let operation = epilogue::product(graph)?;
        let [lhs, rhs, sizes] = operation.op.operands[..] else {
            return None;
        };
        let axis = |value| Some(graph.value_type(value).as_scaled()?.axis());
        let (contracting, accumulator, element) = match operation.op.kind {
            OpKind::GroupedDot {
                lhs_contracting_dimension,
                rhs_contracting_dimension,
                accumulator,
                element,
            } => (
                [lhs_contracting_dimension, rhs_contracting_dimension],
                accumulator,
                element,
            ),
            OpKind::GroupedScaledDot { element } => {
                ([axis(lhs)?, axis(rhs)?], ElementType::F32, element)
            }
            _ => return None,
        };
        let operand = |value, contracting| Operand {
            value,
            value_type: graph.value_type(value),
            contracting,
        };
        Some(Self {
            operation,
            operands: [operand(lhs, contracting[0]), operand(rhs, contracting[1])],
            sizes,
            groups: graph.tensor_type(sizes).shape[0] as i64,
            accumulator,
            element,
        })
    }

    /// The operands, if they are scaled tensors. A group's matrix is one of a batch.
    pub fn codes(&self) -> Option<[Codes<'g>; 2]> {
        let codes = |operand: &Operand<'g>| {
            let batching: &[usize] = if operand.has_groups() { &[0] } else { &[] };
            Some(Codes::new(operand.value_type.as_scaled()?, batching))
        };
        let [lhs, rhs] = &self.operands;
        Some([codes(lhs)?, codes(rhs)?])
    }

    /// The operands' formats, if they are scaled tensors.
    pub fn formats(&self) -> Option<[Format; 2]> {
        Some(self.codes()?.map(|own| own.scaled_type.format()))
    }

    /// The types of 16 bits that represent the operands, where these are not scaled tensors.
    pub fn halves(&self) -> [Option<ElementType>; 2] {
        let is_half =
            |element: &ElementType| matches!(element, ElementType::F16 | ElementType::Bf16);
        let element = |operand: &Operand<'_>| Some(operand.value_type.as_tensor()?.element);
        (self.operands.each_ref()).map(|operand| element(operand).filter(is_half))
    }

    /// How the operands lie in memory, where that is as 16-bit numbers and with equal distances.
    pub fn boxed(&self, graph: &Graph) -> [Option<Boxed>; 2] {
        let halves = self.halves();
        [0, 1].map(|number| {
            let operand = &self.operands[number];
            let Definition::Input(buffer) = graph.definition(operand.value) else {
                return None;
            };
            halves[number]?;
            Boxed::of_matrices(buffer, operand.shape(), operand.contracting)
        })
    }

    /// Those that are copied in pieces of lines: lines along which groups lie begin and end anywhere in a copy.
    pub fn lines(&self, graph: &Graph) -> Lines {
        let mut boxed = self.boxed(graph);
        let across = match self.is_by_rows() {
            true => [Some(Major::K), None],
            false => [Some(Major::Rows); 2],
        };
        for (boxed, across) in boxed.iter_mut().zip(across) {
            boxed.take_if(|boxed| across.is_some_and(|across| boxed.major != across));
        }
        Lines::new(boxed, &[self.groups as usize])
    }

    /// How many groups there are.
    pub fn groups(&self) -> i64 {
        self.groups
    }

    /// Whether groups are of rows, not of contracted elements.
    pub fn is_by_rows(&self) -> bool {
        self.operands[1].has_groups()
    }

    /// How many rows or contracted elements all groups have together at most.
    fn together(&self) -> i64 {
        let [lhs, _] = &self.operands;
        lhs.extent(if self.is_by_rows() {
            lhs.free()
        } else {
            lhs.contracting
        })
    }

    /// Goes through the groups with numbers that it carries, which `next` is given beside the group, where it begins and
    /// where it ends; then where the last group ends, and the numbers. Ends the kernel where sizes do not fit.
    fn through_groups<'c, const N: usize>(
        &self,
        emission: &mut Emission<'c, '_>,
        initial: [Value<'c>; N],
        next: impl Fn(&Builder<'c>, [Value<'c>; 3], &[Value<'c>]) -> [Value<'c>; N],
    ) -> Result<(Value<'c>, Vec<Value<'c>>), Unsupported> {
        let b = emission.elemental.builder();
        let zero = b.constant_i64(0);
        let bounds = [0, self.groups, 1].map(|n| b.constant_i64(n));
        let mut carried = vec![zero, b.constant_bool(true)];
        carried.extend(initial);
        let range = (0, (self.groups - 1).max(0));
        let last = emission.for_carried(bounds, range, &carried, |emission, group, carried| {
            let size = (emission.elemental).element(self.sizes, std::slice::from_ref(&group))?;
            let size = emission.elemental.index(size, ElementType::I32);
            let group = emission.elemental.number(&group);
            let b = emission.elemental.builder();
            let begin = carried[0];
            let end = b.binary("arith.addi", begin, size);
            let fits = b.compare_integers(IntegerPredicate::Sge, size, zero);
            let mut all = vec![end, b.binary("arith.andi", carried[1], fits)];
            all.extend(next(&b, [group, begin, end], &carried[2..]));
            Ok::<_, Unsupported>(all)
        })?;
        let all = b.constant_i64(self.together());
        let fits = b.compare_integers(IntegerPredicate::Sle, last[0], all);
        let fits = b.binary("arith.andi", fits, last[1]);
        b.if_else(
            emission,
            fits,
            &[],
            |_, _| Ok(Vec::new()),
            |_, inner| {
                inner.intrinsic_without_result("llvm.trap", &[]);
                Ok::<_, Unsupported>(Vec::new())
            },
        )?;
        Ok((last[0], last[2..].to_vec()))
    }

    /// How many tiles of rows of one group, and then of none, there are at most.
    pub fn most_tiles(&self, height: i64) -> i64 {
        // Each group, and what comes after the last, has less than a tile more than its rows.
        self.together() / height + self.groups + 1
    }

    /// How many tiles the groups' rows have, an `i64`. Ends the kernel where sizes do not fit.
    ///
    /// # Errors
    /// The sizes are none of the kernel's inputs.
    pub fn tiles<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        height: i64,
    ) -> Result<Value<'c>, Unsupported> {
        let zero = emission.elemental.builder().constant_i64(0);
        let next = |b: &Builder<'c>, [_, begin, end]: [Value<'c>; 3], carried: &[Value<'c>]| {
            [tiles_with(b, carried[0], [begin, end], height)]
        };
        let (_, found) = self.through_groups(emission, [zero], next)?;
        Ok(found[0])
    }

    /// The tile of rows of that number.
    ///
    /// # Errors
    /// The sizes are none of the kernel's inputs.
    pub fn tile<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        number: Value<'c>,
        height: i64,
    ) -> Result<RowTile<'c>, Unsupported> {
        let m = self.together();
        let b = emission.elemental.builder();
        let [zero, rows] = [0, m].map(|n| b.constant_i64(n));
        let first_of = |b: &Builder<'c>, begin, tiles| {
            let before = b.binary("arith.subi", number, tiles);
            let before = b.binary("arith.muli", before, b.constant_i64(height));
            b.binary("arith.addi", begin, before)
        };
        // Tiles of the groups before, then the tile's group, first row and the row to stop before.
        let initial = [zero, zero, rows, rows];
        let next = |b: &Builder<'c>, [group, begin, end]: [Value<'c>; 3], carried: &[Value<'c>]| {
            let tiles = tiles_with(b, carried[0], [begin, end], height);
            let begun = b.compare_integers(IntegerPredicate::Sge, number, carried[0]);
            let ended = b.compare_integers(IntegerPredicate::Sge, number, tiles);
            let choose = |x, y| b.select(begun, b.select(ended, y, x), y);
            [
                tiles,
                choose(group, carried[1]),
                choose(first_of(b, begin, carried[0]), carried[2]),
                choose(end, carried[3]),
            ]
        };
        let (end, found) = self.through_groups(emission, initial, next)?;
        let b = emission.elemental.builder();
        let is_of_none = b.compare_integers(IntegerPredicate::Sge, number, found[0]);
        let first = b.select(is_of_none, first_of(&b, end, found[0]), found[2]);
        let first = b.binary("arith.minsi", first, rows);
        let group = (emission.elemental).variable(found[1], 0, (self.groups - 1).max(0));
        let first = emission.elemental.variable(first, 0, m);
        Ok(RowTile {
            group: Expression::variable(group),
            first: Expression::variable(first),
            end: b.select(is_of_none, rows, found[3]),
            is_of_none,
        })
    }

    /// Groups' rows in tiles, a tile of rows of one group, and then the rows of none.
    fn part_of_rows<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        tile: [i64; 2],
    ) -> Result<(i64, Part<'c>), Unsupported> {
        let [_, _, n, k] = self.extents();
        let across = ceil_div(n, tile[1]);
        let ctas = self.most_tiles(tile[0]) * across;
        let cta = part::cta(emission, ctas);
        let number = emission.elemental.number(&cta.quotient(across));
        let own = self.tile(emission, number, tile[0])?;
        let b = emission.elemental.builder();
        let part = Part {
            batch: own.group,
            corner: [own.first, cta.remainder(across).times(tile[1])],
            rows_end: own.end,
            first: Expression::constant(0),
            end: b.select(own.is_of_none, b.constant_i64(0), b.constant_i64(k)),
        };
        Ok((ctas, part))
    }

    /// The product of each group in tiles.
    fn part_of_groups<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        tile: [i64; 2],
    ) -> Result<(i64, Part<'c>), Unsupported> {
        let (ctas, part) = Part::of_equal_tiles(emission, self.extents(), tile);
        let own = emission.elemental.number(&part.batch);
        let zero = emission.elemental.builder().constant_i64(0);
        let next = |b: &Builder<'c>, [group, begin, end]: [Value<'c>; 3], carried: &[Value<'c>]| {
            let is_own = b.compare_integers(IntegerPredicate::Eq, group, own);
            [
                b.select(is_own, begin, carried[0]),
                b.select(is_own, end, carried[1]),
            ]
        };
        let (_, found) = self.through_groups(emission, [zero; 2], next)?;
        let first = (emission.elemental).variable(found[0], 0, self.together());
        let part = Part {
            first: Expression::variable(first),
            end: found[1],
            ..part
        };
        Ok((ctas, part))
    }
}

/// A tile of rows of one group, or of none.
pub struct RowTile<'c> {
    pub group: Expression,
    /// The first row, and the row to stop before, an `i64`.
    pub first: Expression,
    pub end: Value<'c>,
    /// Its rows are zeros, if it has any.
    pub is_of_none: Value<'c>,
}

/// So many tiles and those of a group's rows.
fn tiles_with<'c>(
    b: &Builder<'c>,
    tiles: Value<'c>,
    [begin, end]: [Value<'c>; 2],
    height: i64,
) -> Value<'c> {
    let size = b.binary("arith.subi", end, begin);
    let size = b.binary("arith.maxsi", size, b.constant_i64(0));
    let padded = b.binary("arith.addi", size, b.constant_i64(height - 1));
    let count = b.binary("arith.divui", padded, b.constant_i64(height));
    b.binary("arith.addi", tiles, count)
}

impl Factors for GroupedProduct<'_> {
    fn operation(&self) -> &Operation {
        self.operation
    }

    fn extents(&self) -> [i64; 4] {
        let [lhs, rhs] = &self.operands;
        // Products that are parts of one result are no batch.
        let batches = if self.is_by_rows() { 1 } else { self.groups };
        [
            batches,
            lhs.extent(lhs.free()),
            rhs.extent(rhs.free()),
            lhs.extent(lhs.contracting),
        ]
    }

    fn part<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        tile: [i64; 2],
    ) -> Result<(i64, Part<'c>), Unsupported> {
        if self.is_by_rows() {
            self.part_of_rows(emission, tile)
        } else {
            self.part_of_groups(emission, tile)
        }
    }

    fn groups_of_rows(&self) -> Option<&GroupedProduct<'_>> {
        self.is_by_rows().then_some(self)
    }

    fn accumulator(&self) -> ElementType {
        self.accumulator
    }

    fn factor<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        operand: usize,
        [batch, free, contracted]: [&Expression; 3],
    ) -> Result<Value<'c>, Unsupported> {
        let own = &self.operands[operand];
        let mut indices = vec![batch.clone(); own.shape().len()];
        indices[own.free()] = free.clone();
        indices[own.contracting] = contracted.clone();
        match own.value_type {
            Type::Scaled(scaled_type) => {
                let (row, column) = stored_place(scaled_type, &indices);
                (emission.elemental).unscaled(self.operation, own.value, &row, &column)
            }
            Type::Tensor(tensor_type) => {
                let x = emission.elemental.element(own.value, &indices)?;
                let b = emission.elemental.builder();
                Ok(scalar::convert(
                    &b,
                    tensor_type.element,
                    self.accumulator,
                    x,
                ))
            }
        }
    }

    fn scaled<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        sums: &[Value<'c>],
    ) -> Result<Vec<Value<'c>>, Unsupported> {
        times_tensor_scales(emission, self.operation, sums)
    }

    fn write<'c>(
        &self,
        emission: &mut Emission<'c, '_>,
        sum: Value<'c>,
        [batch, row, column]: [&Expression; 3],
    ) -> Result<(), Unsupported> {
        let b = emission.elemental.builder();
        let rounded = scalar::convert(&b, self.accumulator, self.element, sum);
        let mut indices = vec![row.clone(), column.clone()];
        if !self.is_by_rows() {
            indices.insert(0, batch.clone());
        }
        epilogue::write(emission, self.operation, &indices, rounded)
    }
}
