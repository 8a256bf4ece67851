//! A kernel's function under construction: where its buffers are, and the loops around its elements.

use super::elemental::{Elemental, Source, Unsupported};
use super::index::{self, Expression};
use super::{Builder, Constants, IntegerPredicate, Value, scalar};
use melior::{
    Context,
    ir::{
        Region, ValueLike,
        attribute::{IntegerAttribute, TypeAttribute},
    },
};
use tessera_ir::{ElementType, ValueId, plan::Kernel};

/// What a kernel's function is given.
pub struct Frame<'c> {
    /// Where each operand is.
    pub operands: Vec<Value<'c>>,
    /// Where each result goes.
    pub results: Vec<Value<'c>>,
    /// Memory of this call's own; null unless the division asks for some.
    pub scratch: Value<'c>,
    /// The first block to do.
    pub begin: Value<'c>,
    /// The block to stop before.
    pub end: Value<'c>,
}

/// A kernel's function under construction.
pub struct Emission<'c, 'g> {
    /// The kernel.
    pub kernel: &'g Kernel,
    /// Computes elements of the body's values. Its builder is at the end of the function's first block at first.
    pub elemental: Elemental<'c, 'g>,
    /// Where each result goes.
    pub results: Vec<Value<'c>>,
    /// For each operand, the result that lies in its memory, if any.
    pub in_place: &'g [Option<usize>],
    /// Memory of this call's own; null unless the division asks for some.
    pub scratch: Value<'c>,
    /// The first block to do.
    pub begin: Value<'c>,
    /// The block to stop before.
    pub end: Value<'c>,
    /// For results that are the largest magnitudes of what is made of a product, by their numbers, where a thread has the
    /// largest so far: [stack arrays](Self::stack_array) of an i32, the magnitude's bits.
    pub magnitudes: Vec<(usize, Value<'c>)>,
}

impl<'c, 'g> Emission<'c, 'g> {
    /// A function of `kernel` to whose first block `builder` appends. The symbols of its constants begin with `symbol`.
    pub fn new(
        kernel: &'g Kernel,
        in_place: &'g [Option<usize>],
        builder: Builder<'c>,
        frame: Frame<'c>,
        symbol: &str,
    ) -> Self {
        let sources = (frame.operands.iter().zip(in_place))
            .map(|(&operand, result)| result.map_or(operand, |result| frame.results[result]))
            .map(Source::Memory)
            .collect();
        Self {
            kernel,
            elemental: Elemental::new(&kernel.body, sources, builder, Constants::new(symbol)),
            results: frame.results,
            in_place,
            scratch: frame.scratch,
            begin: frame.begin,
            end: frame.end,
            magnitudes: Vec::new(),
        }
    }

    /// The body's result values.
    pub fn result_values(&self) -> Vec<ValueId> {
        let results = self.kernel.body.results().iter();
        results.map(|result| result.value).collect()
    }

    /// The units of work of this call, where a block is `units_per_block` of all `units`: a loop over them.
    ///
    /// # Errors
    /// What `body` returns.
    pub fn for_each_unit<E>(
        &mut self,
        units: i64,
        units_per_block: i64,
        body: impl FnOnce(&mut Self, Expression) -> Result<(), E>,
    ) -> Result<(), E> {
        if units == 1 {
            // The runtime calls for a block at least.
            return body(self, Expression::constant(0));
        }
        let b = self.elemental.builder();
        let per_block = b.constant_i64(units_per_block);
        let [first, last] = [self.begin, self.end].map(|n| b.binary("arith.muli", n, per_block));
        let last = b.binary("arith.minsi", last, b.constant_i64(units));
        let bounds = [first, last, b.constant_i64(1)];
        self.for_bounds(bounds, (0, units - 1), None, body)
    }

    /// A loop over `0..extent`, a number known at compile time. A single iteration needs no loop, none no code.
    ///
    /// # Errors
    /// What `body` returns.
    pub fn for_range<E>(
        &mut self,
        extent: i64,
        annotation: Option<&str>,
        body: impl FnOnce(&mut Self, Expression) -> Result<(), E>,
    ) -> Result<(), E> {
        match extent {
            ..=0 => Ok(()),
            1 => body(self, Expression::constant(0)),
            _ => {
                let b = self.elemental.builder();
                let bounds = [0, extent, 1].map(|n| b.constant_i64(n));
                self.for_bounds(bounds, (0, extent - 1), annotation, body)
            }
        }
    }

    /// A loop over bounds (from, to, step) known at run time, whose counter is in `range` (both included).
    ///
    /// # Errors
    /// What `body` returns.
    pub fn for_bounds<E>(
        &mut self,
        bounds: [Value<'c>; 3],
        range: (i64, i64),
        annotation: Option<&str>,
        body: impl FnOnce(&mut Self, Expression) -> Result<(), E>,
    ) -> Result<(), E> {
        let b = self.elemental.builder();
        let annotation = annotation.map(|text| b.attribute(text));
        b.for_loop(bounds, &[], annotation, |inner, counter, _| {
            self.inside(inner, |this| {
                let variable = this.elemental.variable(counter, range.0, range.1);
                body(this, Expression::variable(variable)).map(|()| Vec::new())
            })
        })?;
        Ok(())
    }

    /// Does `body` where `number`, which is not negative, is below `count`; it is given the number.
    ///
    /// # Errors
    /// What `body` returns.
    pub fn when_below<E>(
        &mut self,
        number: Value<'c>,
        count: i64,
        body: impl FnOnce(&mut Self, Expression) -> Result<(), E>,
    ) -> Result<(), E> {
        self.value_below(number, count, &[], |this, number| {
            body(this, number).map(|()| Vec::new())
        })?;
        Ok(())
    }

    /// What `body` gives where `number`, which is not negative, is below `count`, and `otherwise` elsewhere.
    ///
    /// # Errors
    /// What `body` returns.
    pub fn value_below<E>(
        &mut self,
        number: Value<'c>,
        count: i64,
        otherwise: &[Value<'c>],
        body: impl FnOnce(&mut Self, Expression) -> Result<Vec<Value<'c>>, E>,
    ) -> Result<Vec<Value<'c>>, E> {
        let end = self.elemental.builder().constant_i64(count);
        self.value_before((number, count), end, otherwise, body)
    }

    /// What `body` gives where an expression, which is not negative, is below `count`, and `otherwise` elsewhere: without a
    /// branch where it always is. It is given the expression with the range that it then has.
    ///
    /// # Errors
    /// What `body` returns.
    pub fn value_within<E>(
        &mut self,
        expression: &Expression,
        count: i64,
        otherwise: &[Value<'c>],
        body: impl FnOnce(&mut Self, Expression) -> Result<Vec<Value<'c>>, E>,
    ) -> Result<Vec<Value<'c>>, E> {
        if expression.range().1 < count {
            return body(self, expression.clone());
        }
        let number = self.elemental.number(expression);
        self.value_below(number, count, otherwise, body)
    }

    /// Does `body` where both expressions, which are not negative, are below their counts, as
    /// [`value_within`](Self::value_within) does.
    ///
    /// # Errors
    /// What `body` returns.
    pub fn when_within<E>(
        &mut self,
        expressions: [&Expression; 2],
        counts: [i64; 2],
        body: impl FnOnce(&mut Self, [Expression; 2]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.value_within(expressions[0], counts[0], &[], |this, first| {
            this.value_within(expressions[1], counts[1], &[], |this, second| {
                body(this, [first, second]).map(|()| Vec::new())
            })
        })?;
        Ok(())
    }

    /// What `body` gives where `number`, which is not negative, is below `end`, which is `count` at most, and `otherwise`
    /// elsewhere.
    ///
    /// # Errors
    /// What `body` returns.
    pub fn value_before<E>(
        &mut self,
        (number, count): (Value<'c>, i64),
        end: Value<'c>,
        otherwise: &[Value<'c>],
        body: impl FnOnce(&mut Self, Expression) -> Result<Vec<Value<'c>>, E>,
    ) -> Result<Vec<Value<'c>>, E> {
        let b = self.elemental.builder();
        let before = b.compare_integers(IntegerPredicate::Slt, number, end);
        let types: Vec<_> = otherwise.iter().map(|value| value.r#type()).collect();
        let then = |this: &mut Self, inner: Builder<'c>| {
            this.inside(inner, |this| {
                let variable = this.elemental.variable(number, 0, count - 1);
                body(this, Expression::variable(variable))
            })
        };
        b.if_else(self, before, &types, then, |_, _| Ok(otherwise.to_vec()))
    }

    /// Does `body` where `number`, which is not negative, is below `end`, which is `count` at most; it is given the number.
    ///
    /// # Errors
    /// What `body` returns.
    pub fn when_before<E>(
        &mut self,
        number: (Value<'c>, i64),
        end: Value<'c>,
        body: impl FnOnce(&mut Self, Expression) -> Result<(), E>,
    ) -> Result<(), E> {
        self.value_before(number, end, &[], |this, number| {
            body(this, number).map(|()| Vec::new())
        })?;
        Ok(())
    }

    /// A loop over bounds (from, to, step) known at run time, whose counter is in `range` (both included), with values
    /// carried from one iteration to the next; the last ones.
    ///
    /// # Errors
    /// What `body` returns.
    pub fn for_carried<E>(
        &mut self,
        bounds: [Value<'c>; 3],
        range: (i64, i64),
        initial: &[Value<'c>],
        body: impl FnOnce(&mut Self, Expression, &[Value<'c>]) -> Result<Vec<Value<'c>>, E>,
    ) -> Result<Vec<Value<'c>>, E> {
        let b = self.elemental.builder();
        b.for_loop(bounds, initial, None, |inner, counter, carried| {
            self.inside(inner, |this| {
                let variable = this.elemental.variable(counter, range.0, range.1);
                body(this, Expression::variable(variable), carried)
            })
        })
    }

    /// Runs `body` with code appended by `builder`.
    ///
    /// # Errors
    /// What `body` returns.
    pub fn inside<T, E>(
        &mut self,
        builder: Builder<'c>,
        body: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        self.elemental.enter(builder);
        let result = body(self);
        self.elemental.leave();
        result
    }

    /// Memory on the stack for `count` elements in registers' form. To be called before any loop begins.
    pub fn stack_array(&self, count: i64, element: ElementType) -> Value<'c> {
        let b = self.elemental.builder();
        let t = scalar::accumulator_memory_type(&b, element);
        b.value(
            "llvm.alloca",
            &[b.constant_i64(count)],
            b.pointer(),
            &[
                ("elem_type", TypeAttribute::new(t).into()),
                ("alignment", IntegerAttribute::new(b.i64(), 64).into()),
            ],
        )
    }

    /// An element of a [stack array](Self::stack_array).
    pub fn load_accumulator(
        &mut self,
        array: Value<'c>,
        element: ElementType,
        index: &Expression,
    ) -> Value<'c> {
        let offset = self.elemental.number(index);
        let b = self.elemental.builder();
        let t = scalar::accumulator_memory_type(&b, element);
        let stored = b.load(b.element_address(array, t, offset), t);
        scalar::from_accumulator_memory(&b, stored, element)
    }

    /// Sets an element of a [stack array](Self::stack_array).
    pub fn store_accumulator(
        &mut self,
        x: Value<'c>,
        array: Value<'c>,
        element: ElementType,
        index: &Expression,
    ) {
        let offset = self.elemental.number(index);
        let b = self.elemental.builder();
        let t = scalar::accumulator_memory_type(&b, element);
        let stored = scalar::to_accumulator_memory(&b, x, element);
        b.store(stored, b.element_address(array, t, offset));
    }

    /// Counts a magnitude, an f32 that is not negative, among those of which a result is the largest; whether it is found.
    pub fn count_magnitude(&mut self, number: usize, x: Value<'c>) -> bool {
        let mut arrays = self.magnitudes.iter();
        let Some(&(_, array)) = arrays.find(|(result, _)| *result == number) else {
            return false;
        };
        let only = Expression::constant(0);
        let largest = self.load_accumulator(array, ElementType::I32, &only);
        let b = self.elemental.builder();
        let larger = b.binary("arith.maxsi", largest, b.bitcast(x, b.integer(32)));
        self.store_accumulator(larger, array, ElementType::I32, &only);
        true
    }

    /// Writes the elements of all results at `indices`. All are computed before the first is written: a result may lie
    /// where an operand does.
    ///
    /// # Errors
    /// An element cannot be computed here.
    pub fn store_results(
        &mut self,
        numbers: &[usize],
        indices: &[Expression],
    ) -> Result<(), Unsupported> {
        let values = self.result_values();
        let elements = (numbers.iter())
            .map(|&number| self.elemental.element(values[number], indices))
            .collect::<Result<Vec<_>, _>>()?;
        for (&number, element) in numbers.iter().zip(elements) {
            self.store_result(number, indices, element);
        }
        Ok(())
    }

    /// Writes an element of a result.
    pub fn store_result(&mut self, number: usize, indices: &[Expression], element: Value<'c>) {
        let value = self.result_values()[number];
        let tensor_type = self.kernel.body.tensor_type(value);
        let position = index::linearize(indices, &tensor_type.shape);
        let base = self.results[number];
        (self.elemental).store(element, base, tensor_type.element, &position);
    }
}

/// Tries `body` out on a function that is thrown away, and gives what it returns.
///
/// # Errors
/// What `body` returns.
pub fn try_out<'c, T>(
    context: &'c Context,
    kernel: &Kernel,
    in_place: &[Option<usize>],
    body: impl FnOnce(&mut Emission<'c, '_>) -> Result<T, Unsupported>,
) -> Result<T, Unsupported> {
    let region = Region::new();
    let (b, _) = Builder::append_block(context, &region, &[]);
    let null = b.value("llvm.mlir.zero", &[], b.pointer(), &[]);
    let zero = b.constant_i64(0);
    let frame = Frame {
        operands: vec![null; kernel.body.inputs().len()],
        results: vec![null; kernel.body.results().len()],
        scratch: null,
        begin: zero,
        end: zero,
    };
    body(&mut Emission::new(kernel, in_place, b, frame, ""))
}
