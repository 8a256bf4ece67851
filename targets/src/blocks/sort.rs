//! The sort family: sort and top_k, line by line.
//!
//! What is ordered are the positions in the line, 32-bit numbers in scratch memory, by merging from runs of one upward:
//! stable, and done after a fixed number of steps even where the comparator is no order. The elements follow at the end.

use super::Division;
use super::nest::{ceil_div, extent};
use crate::mlir::Emission;
use crate::mlir::elemental::Unsupported;
use crate::mlir::index::{self, Expression};
use crate::mlir::{Builder, IntegerPredicate, Value, scalar};
use tessera_ir::{CompareType, ComparisonDirection, ElementType, OpKind, Operation, Region};

/// Up to this many, the greatest are kept in a list into which each element is inserted.
const SHORT_LIST: usize = 32;

pub fn emit<'g>(emission: &mut Emission<'_, 'g>) -> Result<Division, Unsupported> {
    for operation in emission.kernel.body.operations() {
        let order = match &operation.op.kind {
            OpKind::Sort { comparator, .. } => Order::Comparator(comparator),
            OpKind::TopK { .. } => Order::Descending,
            _ => continue,
        };
        return Lines::new(emission, operation, order)?.emit(emission);
    }
    super::r#loop::emit(emission)
}

/// Which of two elements stands first.
enum Order<'g> {
    Comparator(&'g Region),
    Descending,
}

/// The lines that are ordered, each by itself.
struct Lines<'g> {
    operation: &'g Operation,
    order: Order<'g>,
    /// The shape of the operands, and the dimension along which lines lie.
    shape: &'g [usize],
    dimension: usize,
    /// How many elements of each line are wanted.
    wanted: usize,
}

/// A line: the indices before and after the dimension along which it lies.
struct Line {
    before: Vec<Expression>,
    after: Vec<Expression>,
}

impl Line {
    fn indices(&self, position: Expression) -> Vec<Expression> {
        let mut indices = self.before.clone();
        indices.push(position);
        indices.extend(self.after.iter().cloned());
        indices
    }
}

impl<'g> Lines<'g> {
    fn new(
        emission: &Emission<'_, 'g>,
        operation: &'g Operation,
        order: Order<'g>,
    ) -> Result<Self, Unsupported> {
        let shape = &emission
            .kernel
            .body
            .tensor_type(operation.op.operands[0])
            .shape[..];
        let (dimension, wanted) = match &operation.op.kind {
            OpKind::Sort { dimension, .. } => (*dimension, shape[*dimension]),
            OpKind::TopK { k } => (shape.len() - 1, *k),
            _ => return Err(Unsupported::new(operation, "is neither sort nor top_k")),
        };
        if shape[dimension] > i32::MAX as usize {
            return Err(Unsupported::new(
                operation,
                "orders lines of 2³¹ elements or more",
            ));
        }
        Ok(Self {
            operation,
            order,
            shape,
            dimension,
            wanted,
        })
    }

    fn length(&self) -> i64 {
        self.shape[self.dimension] as i64
    }

    fn emit(&self, emission: &mut Emission<'_, 'g>) -> Result<Division, Unsupported> {
        let mut outer = self.shape.to_vec();
        outer.remove(self.dimension);
        if outer.contains(&0) || self.length() == 0 || self.wanted == 0 {
            return Ok(Division::EMPTY);
        }
        let units = extent(&outer);
        let insert = matches!(self.order, Order::Descending) && self.wanted <= SHORT_LIST;
        emission.for_each_unit(units, 1, |emission, unit| {
            let mut before = index::delinearize(&unit, &outer);
            let after = before.split_off(self.dimension);
            let line = Line { before, after };
            let positions = if insert {
                self.insert(emission, &line)?
            } else {
                self.merge(emission, &line)?
            };
            emission.for_range(self.wanted as i64, None, |emission, number| {
                self.store(emission, &line, positions, number)
            })
        })?;
        let levels = (self.length() as f64).log2().ceil().max(1.0);
        let scratch = if insert {
            4 * self.wanted
        } else {
            8 * self.length() as usize
        };
        Ok(Division {
            scratch_bytes: scratch.next_multiple_of(64),
            ..Division::new(units, 10.0 * self.length() as f64 * levels)
        })
    }

    /// A number in a list of positions.
    fn load<'c>(b: &Builder<'c>, list: Value<'c>, number: Value<'c>) -> Value<'c> {
        let i32 = b.integer(32);
        let narrow = b.load(b.element_address(list, i32, number), i32);
        b.cast("arith.extui", narrow, b.i64())
    }

    fn put<'c>(b: &Builder<'c>, list: Value<'c>, number: Value<'c>, position: Value<'c>) {
        let i32 = b.integer(32);
        let narrow = b.cast("arith.trunci", position, i32);
        b.store(narrow, b.element_address(list, i32, number));
    }

    /// Whether the elements at position `first` of the line stand before those at `second`.
    fn stands_before<'c>(
        &self,
        emission: &mut Emission<'c, 'g>,
        line: &Line,
        first: Value<'c>,
        second: Value<'c>,
    ) -> Result<Value<'c>, Unsupported> {
        let last = self.length() - 1;
        let [first, second] = [first, second].map(|position| {
            let variable = emission.elemental.variable(position, 0, last);
            line.indices(Expression::variable(variable))
        });
        let mut arguments = Vec::new();
        for &operand in &self.operation.op.operands {
            for indices in [&first, &second] {
                arguments.push(emission.elemental.element(operand, indices)?);
            }
        }
        match &self.order {
            Order::Comparator(comparator) => {
                Ok(emission.elemental.apply(comparator, &arguments)?[0])
            }
            Order::Descending => {
                let operand = self.operation.op.operands[0];
                let element = emission.kernel.body.tensor_type(operand).element;
                let compare_type = if element.is_float() {
                    CompareType::TotalOrder
                } else if element.is_signed_integer() {
                    CompareType::Signed
                } else {
                    CompareType::Unsigned
                };
                let b = emission.elemental.builder();
                let greater = ComparisonDirection::Gt;
                let [x, y] = [arguments[0], arguments[1]];
                Ok(scalar::compare(&b, greater, compare_type, element, x, y))
            }
        }
    }

    /// Writes the results' elements of that number, which stand at the position of that number in the list.
    fn store<'c>(
        &self,
        emission: &mut Emission<'c, 'g>,
        line: &Line,
        positions: Value<'c>,
        number: Expression,
    ) -> Result<(), Unsupported> {
        let offset = emission.elemental.number(&number);
        let position = Self::load(&emission.elemental.builder(), positions, offset);
        let variable = emission.elemental.variable(position, 0, self.length() - 1);
        let from = line.indices(Expression::variable(variable));
        let to = line.indices(number);
        let mut elements = Vec::new();
        for &operand in &self.operation.op.operands {
            elements.push(emission.elemental.element(operand, &from)?);
        }
        if matches!(self.order, Order::Descending) {
            let result = self.operation.results().last();
            let element = result.map(|result| emission.kernel.body.tensor_type(result).element);
            let b = emission.elemental.builder();
            let element = element.unwrap_or(ElementType::I32);
            elements.push(scalar::convert(&b, ElementType::I64, element, position));
        }
        for (result, element) in self.operation.results().zip(elements) {
            emission.elemental.provide(result, to.clone(), element);
        }
        let numbers: Vec<usize> = (0..emission.results.len()).collect();
        emission.store_results(&numbers, &to)
    }

    /// Orders the positions of a line by merging; gives the list.
    fn merge<'c>(
        &self,
        emission: &mut Emission<'c, 'g>,
        line: &Line,
    ) -> Result<Value<'c>, Unsupported> {
        let length = self.length();
        let b = emission.elemental.builder();
        let first = emission.scratch;
        let second = b.element_address(first, b.integer(32), b.constant_i64(length));
        emission.for_range::<Unsupported>(length, None, |emission, position| {
            let position = emission.elemental.number(&position);
            Self::put(&emission.elemental.builder(), first, position, position);
            Ok(())
        })?;
        let (mut from, mut to) = (first, second);
        let mut width = 1;
        while width < length {
            let runs = ceil_div(length, 2 * width);
            emission.for_range(runs, None, |emission, run| {
                self.merge_two(emission, line, [from, to], &run.times(2 * width), width)
            })?;
            (from, to) = (to, from);
            width *= 2;
        }
        Ok(from)
    }

    /// Merges the runs of `width` at `start` and after it.
    fn merge_two<'c>(
        &self,
        emission: &mut Emission<'c, 'g>,
        line: &Line,
        [from, to]: [Value<'c>; 2],
        start: &Expression,
        width: i64,
    ) -> Result<(), Unsupported> {
        let start = emission.elemental.number(start);
        let b = emission.elemental.builder();
        let length = b.constant_i64(self.length());
        let bounded = |distance: i64| {
            let end = b.binary("arith.addi", start, b.constant_i64(distance));
            b.binary("arith.minsi", end, length)
        };
        let (middle, end) = (bounded(width), bounded(2 * width));
        let bounds = [start, end, b.constant_i64(1)];
        b.for_loop(bounds, &[start, middle], None, |inner, number, next| {
            emission.inside(inner, |emission| {
                let b = emission.elemental.builder();
                let less = |x, y| b.compare_integers(IntegerPredicate::Slt, x, y);
                let (left, right) = (next[0], next[1]);
                let (left_left, right_left) = (less(left, middle), less(right, end));
                let both = b.binary("arith.andi", left_left, right_left);
                let takes_right = b.if_else(
                    emission,
                    both,
                    &[b.integer(1)],
                    |emission, inner| {
                        emission.inside(inner, |emission| {
                            let b = emission.elemental.builder();
                            let [l, r] = [left, right].map(|at| Self::load(&b, from, at));
                            Ok(vec![self.stands_before(emission, line, r, l)?])
                        })
                    },
                    |_, _| Ok::<_, Unsupported>(vec![right_left]),
                )?[0];
                let source = b.select(takes_right, right, left);
                Self::put(&b, to, number, Self::load(&b, from, source));
                let step = b.cast("arith.extui", takes_right, b.i64());
                let other = b.binary("arith.subi", b.constant_i64(1), step);
                Ok(vec![
                    b.binary("arith.addi", left, other),
                    b.binary("arith.addi", right, step),
                ])
            })
        })?;
        Ok(())
    }

    /// The positions of the first elements of a line in order: each element goes into the list before the first that it
    /// stands before, and the last one drops out.
    fn insert<'c>(
        &self,
        emission: &mut Emission<'c, 'g>,
        line: &Line,
    ) -> Result<Value<'c>, Unsupported> {
        let list = emission.scratch;
        let wanted = self.wanted as i64;
        let b = emission.elemental.builder();
        let zero = b.constant_i64(0);
        let bounds = [zero, b.constant_i64(self.length()), b.constant_i64(1)];
        b.for_loop(bounds, &[zero], None, |inner, position, held| {
            emission.inside(inner, |emission| {
                let b = emission.elemental.builder();
                let held = held[0];
                // A full list makes room at its end, for who stands before the last.
                let full = b.compare_integers(IntegerPredicate::Eq, held, b.constant_i64(wanted));
                let last = b.select(full, b.constant_i64(wanted - 1), held);
                let enters = b.if_else(
                    emission,
                    full,
                    &[b.integer(1)],
                    |emission, inner| {
                        emission.inside(inner, |emission| {
                            let b = emission.elemental.builder();
                            let least = Self::load(&b, list, last);
                            Ok(vec![self.stands_before(emission, line, position, least)?])
                        })
                    },
                    |_, b| Ok::<_, Unsupported>(vec![b.constant_bool(true)]),
                )?[0];
                b.if_else(
                    emission,
                    enters,
                    &[],
                    |emission, inner| {
                        emission.inside(inner, |emission| {
                            self.insert_one(emission, line, list, position, last)?;
                            Ok(Vec::new())
                        })
                    },
                    |_, _| Ok::<_, Unsupported>(Vec::new()),
                )?;
                Ok::<_, Unsupported>(vec![b.binary("arith.addi", last, b.constant_i64(1))])
            })
        })?;
        Ok(list)
    }

    /// Moves those that `position` stands before one place on, beginning at `last`, and puts it into the gap.
    fn insert_one<'c>(
        &self,
        emission: &mut Emission<'c, 'g>,
        line: &Line,
        list: Value<'c>,
        position: Value<'c>,
        last: Value<'c>,
    ) -> Result<(), Unsupported> {
        let b = emission.elemental.builder();
        let gap = b.while_loop(
            emission,
            &[last],
            |emission, inner, gap| {
                emission.inside(inner, |emission| {
                    let b = emission.elemental.builder();
                    let zero = b.constant_i64(0);
                    let some = b.compare_integers(IntegerPredicate::Sgt, gap[0], zero);
                    let moves = b.if_else(
                        emission,
                        some,
                        &[b.integer(1)],
                        |emission, inner| {
                            emission.inside(inner, |emission| {
                                let b = emission.elemental.builder();
                                let before = b.binary("arith.subi", gap[0], b.constant_i64(1));
                                let other = Self::load(&b, list, before);
                                Ok(vec![self.stands_before(emission, line, position, other)?])
                            })
                        },
                        |_, b| Ok::<_, Unsupported>(vec![b.constant_bool(false)]),
                    )?;
                    Ok(moves[0])
                })
            },
            |emission, inner, gap| {
                emission.inside(inner, |emission| {
                    let b = emission.elemental.builder();
                    let before = b.binary("arith.subi", gap[0], b.constant_i64(1));
                    Self::put(&b, list, gap[0], Self::load(&b, list, before));
                    Ok::<_, Unsupported>(vec![before])
                })
            },
        )?;
        Self::put(&emission.elemental.builder(), list, gap[0], position);
        Ok(())
    }
}
