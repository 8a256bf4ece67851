//! The value of any fused op at given indices.
//!
//! A kernel asks for the elements of its results; an op's element is computed from those of its operands, at the same
//! indices for elementwise ops and at others for index ops, down to the kernel's inputs, which are loads. Each element
//! is computed once in a scope (a loop body, a branch), and found again in the scopes inside it. What a family computes
//! in its own way, a reduction say, it [provides](Elemental::provide).

mod index_ops;
mod scaled;

pub use index_ops::index_vector;
pub use scaled::{logical_indices, scale_place, stored_place};

use super::index::{self, Atom, Expression, Variable};
use super::{Builder, Constants, IntegerPredicate, Value, scalar};
use melior::ir::{Type, ValueLike, attribute::FlatSymbolRefAttribute};
use std::collections::HashMap;
use tessera_ir::{Definition, ElementType, Graph, Location, OpKind, Operation, Tensor, ValueId};

/// An op that cannot be computed where it is asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'tsr.{op}': {reason}")]
pub struct Unsupported {
    /// The op's name.
    pub op: &'static str,
    /// Why.
    pub reason: String,
    /// Where the op comes from.
    pub location: Location,
}

impl Unsupported {
    /// An error about an op.
    pub fn new(operation: &Operation, reason: impl Into<String>) -> Self {
        Self {
            op: operation.op.kind.name(),
            reason: reason.into(),
            location: operation.location.clone(),
        }
    }
}

/// Where the elements of a graph's input are.
#[derive(Clone, Copy)]
pub enum Source<'c> {
    /// In memory, dense and row-major, from this address on.
    Memory(Value<'c>),
    /// In a register: the only element of a scalar.
    Register(Value<'c>),
}

/// What was asked for, to choose loops by.
#[derive(Debug, Default)]
pub struct Trace {
    /// The positions read in memory.
    pub positions: Vec<Expression>,
    /// Pairs (expression, bound) where it was not known at compile time whether the expression reaches the bound.
    pub undecided: Vec<(Expression, i64)>,
}

/// Values known in one block and the blocks inside it.
struct Scope<'c> {
    builder: Builder<'c>,
    elements: HashMap<(ValueId, Vec<Expression>), Value<'c>>,
    expressions: HashMap<Expression, Value<'c>>,
    variables: HashMap<u32, Value<'c>>,
    starts: HashMap<(ValueId, Vec<Expression>, i64), Expression>,
}

impl<'c> Scope<'c> {
    fn new(builder: Builder<'c>) -> Self {
        Self {
            builder,
            elements: HashMap::new(),
            expressions: HashMap::new(),
            variables: HashMap::new(),
            starts: HashMap::new(),
        }
    }
}

/// Computes elements of a graph's values.
pub struct Elemental<'c, 'g> {
    graph: &'g Graph,
    sources: Vec<Source<'c>>,
    scopes: Vec<Scope<'c>>,
    next_variable: u32,
    constants: Constants,
    /// What was asked for so far.
    pub trace: Trace,
}

/// Whether a condition holds.
enum Decision<'c> {
    Always,
    Never,
    Dynamic(Value<'c>),
}

impl<'c, 'g> Elemental<'c, 'g> {
    /// For the elements of `graph`, whose inputs are at `sources`; code is appended by `builder`.
    pub fn new(
        graph: &'g Graph,
        sources: Vec<Source<'c>>,
        builder: Builder<'c>,
        constants: Constants,
    ) -> Self {
        debug_assert_eq!(graph.inputs().len(), sources.len());
        Self {
            graph,
            sources,
            scopes: vec![Scope::new(builder)],
            next_variable: 0,
            constants,
            trace: Trace::default(),
        }
    }

    /// The graph whose elements are computed.
    pub fn graph(&self) -> &'g Graph {
        self.graph
    }

    /// The constants that the module has to hold.
    pub fn into_constants(self) -> Constants {
        self.constants
    }

    /// The builder of the innermost scope.
    pub fn builder(&self) -> Builder<'c> {
        self.scope().builder
    }

    fn scope(&self) -> &Scope<'c> {
        self.scopes
            .last()
            .expect("the outermost scope is never left")
    }

    fn scope_mut(&mut self) -> &mut Scope<'c> {
        (self.scopes.last_mut()).expect("the outermost scope is never left")
    }

    /// Begins a scope: code is appended by `builder` from now on, in a block inside the current one.
    pub fn enter(&mut self, builder: Builder<'c>) {
        self.scopes.push(Scope::new(builder));
    }

    /// Ends the innermost scope; what is known in it is forgotten.
    pub fn leave(&mut self) {
        debug_assert!(self.scopes.len() > 1, "the outermost scope stays");
        self.scopes.pop();
    }

    fn inside<T>(
        &mut self,
        builder: Builder<'c>,
        body: impl FnOnce(&mut Self) -> Result<T, Unsupported>,
    ) -> Result<T, Unsupported> {
        self.enter(builder);
        let result = body(self);
        self.leave();
        result
    }

    /// A new variable with a value known in the current scope.
    pub fn variable(&mut self, value: Value<'c>, lower: i64, upper: i64) -> Variable {
        let number = self.next_variable;
        self.next_variable += 1;
        self.scope_mut().variables.insert(number, value);
        Variable {
            number,
            lower,
            upper,
        }
    }

    /// Says that a value's element at these indices is known, in the current scope.
    pub fn provide(&mut self, value: ValueId, indices: Vec<Expression>, element: Value<'c>) {
        self.scope_mut().elements.insert((value, indices), element);
    }

    /// The element of `value` at `indices`, in a register.
    ///
    /// # Errors
    /// It needs an op that is neither elementwise nor an index op, at a place where it was not provided.
    pub fn element(
        &mut self,
        value: ValueId,
        indices: &[Expression],
    ) -> Result<Value<'c>, Unsupported> {
        let key = (value, indices.to_vec());
        let known = self.scopes.iter().rev().find_map(|s| s.elements.get(&key));
        if let Some(&known) = known {
            return Ok(known);
        }
        let element = self.compute(value, indices)?;
        self.scope_mut().elements.insert(key, element);
        Ok(element)
    }

    fn compute(
        &mut self,
        value: ValueId,
        indices: &[Expression],
    ) -> Result<Value<'c>, Unsupported> {
        let graph = self.graph;
        let tensor_type = graph.tensor_type(value);
        debug_assert_eq!(tensor_type.rank(), indices.len());
        let number = match graph.definition(value) {
            Definition::Input(number) => number,
            Definition::Result { op, index } => {
                return self.compute_op(graph.operation(op), index, indices);
            }
        };
        match self.sources[number] {
            Source::Register(element) => Ok(element),
            Source::Memory(base) => {
                let position = index::linearize(indices, &tensor_type.shape);
                Ok(self.load(base, tensor_type.element, position))
            }
        }
    }

    /// Where an input of the graph is in memory, if it is.
    pub fn address_of_input(&self, number: usize) -> Option<Value<'c>> {
        match self.sources[number] {
            Source::Memory(base) => Some(base),
            Source::Register(_) => None,
        }
    }

    /// The element at a position of an array.
    pub fn load(
        &mut self,
        base: Value<'c>,
        element: ElementType,
        position: Expression,
    ) -> Value<'c> {
        let address = self.address(base, element, &position);
        self.trace.positions.push(position);
        scalar::load(&self.builder(), address, element)
    }

    /// Writes the element at a position of an array.
    pub fn store(
        &mut self,
        x: Value<'c>,
        base: Value<'c>,
        element: ElementType,
        position: &Expression,
    ) {
        let address = self.address(base, element, position);
        scalar::store(&self.builder(), x, address, element);
    }

    /// The address of the element at a position of an array.
    pub fn address(
        &mut self,
        base: Value<'c>,
        element: ElementType,
        position: &Expression,
    ) -> Value<'c> {
        let offset = self.number(position);
        let b = self.builder();
        b.element_address(base, scalar::memory_type(&b, element), offset)
    }

    fn compute_op(
        &mut self,
        operation: &'g Operation,
        result: usize,
        indices: &[Expression],
    ) -> Result<Value<'c>, Unsupported> {
        let operands = &operation.op.operands;
        let element = |i: usize| self.graph.tensor_type(operands[i]).element;
        match &operation.op.kind {
            OpKind::Unary(function) => {
                let (function, element) = (*function, element(0));
                let x = self.element(operands[0], indices)?;
                Ok(scalar::unary(&self.builder(), function, element, x))
            }
            OpKind::Binary(function) => {
                let (function, element) = (*function, element(0));
                let x = self.element(operands[0], indices)?;
                let y = self.element(operands[1], indices)?;
                Ok(scalar::binary(&self.builder(), function, element, x, y))
            }
            OpKind::Compare {
                direction,
                compare_type,
            } => {
                let element = element(0);
                let x = self.element(operands[0], indices)?;
                let y = self.element(operands[1], indices)?;
                let b = self.builder();
                Ok(scalar::compare(
                    &b,
                    *direction,
                    *compare_type,
                    element,
                    x,
                    y,
                ))
            }
            OpKind::Select {} => {
                let predicate = self.element_or_scalar(operands[0], indices)?;
                let x = self.element(operands[1], indices)?;
                let y = self.element(operands[2], indices)?;
                Ok(self.builder().select(predicate, x, y))
            }
            OpKind::Clamp {} => {
                let element = element(0);
                let lower = self.element_or_scalar(operands[0], indices)?;
                let x = self.element(operands[1], indices)?;
                let upper = self.element_or_scalar(operands[2], indices)?;
                Ok(scalar::clamp(&self.builder(), element, lower, x, upper))
            }
            OpKind::Convert { element: to } => {
                let (from, to) = (element(0), *to);
                let x = self.element(operands[0], indices)?;
                Ok(scalar::convert(&self.builder(), from, to, x))
            }
            OpKind::Dequantize { element } => self.dequantized(operation, *element, indices),
            OpKind::OptimizationBarrier {} => self.element(operands[result], indices),
            OpKind::Constant { value } => Ok(self.constant(value, indices)),
            OpKind::BitcastConvert { .. }
            | OpKind::Iota { .. }
            | OpKind::BroadcastInDim { .. }
            | OpKind::Reshape { .. }
            | OpKind::Transpose { .. }
            | OpKind::Slice { .. }
            | OpKind::DynamicSlice { .. }
            | OpKind::Pad { .. }
            | OpKind::Concatenate { .. }
            | OpKind::Reverse { .. }
            | OpKind::Gather { .. } => self.index_op(operation, indices),
            OpKind::DynamicUpdateSlice {}
            | OpKind::Reduce { .. }
            | OpKind::ReduceWindow { .. }
            | OpKind::DotGeneral { .. }
            | OpKind::Scatter { .. }
            | OpKind::Sort { .. }
            | OpKind::TopK { .. }
            | OpKind::Quantize { .. }
            | OpKind::Relayout { .. }
            | OpKind::ScaledDot { .. }
            | OpKind::GroupedDot { .. }
            | OpKind::GroupedScaledDot { .. }
            | OpKind::ColumnMean { .. }
            | OpKind::Hadamard { .. }
            | OpKind::Orthonormalize {}
            | OpKind::SubspaceIterate { .. }
            | OpKind::While { .. }
            | OpKind::Case { .. }
            | OpKind::Call { .. } => Err(Unsupported::new(
                operation,
                "cannot be computed element by element where this kernel needs it",
            )),
        }
    }

    /// The element at these indices, or the only one of a scalar.
    fn element_or_scalar(
        &mut self,
        value: ValueId,
        indices: &[Expression],
    ) -> Result<Value<'c>, Unsupported> {
        match self.graph.tensor_type(value).rank() {
            0 => self.element(value, &[]),
            _ => self.element(value, indices),
        }
    }

    /// An element of a constant: the element itself where all are equal or the place is known, otherwise a load.
    fn constant(&mut self, value: &Tensor, indices: &[Expression]) -> Value<'c> {
        let element = value.element();
        let b = self.builder();
        let mut parts = value.bytes().chunks_exact(element.size());
        let position = index::linearize(indices, value.shape());
        if let Some(position) = position.as_constant() {
            let mut parts = parts.clone();
            if let Some(bytes) = usize::try_from(position).ok().and_then(|i| parts.nth(i)) {
                return scalar::constant_bytes(&b, element, bytes);
            }
        }
        if let Some(first) = parts.next()
            && parts.all(|part| part == first)
        {
            return scalar::constant_bytes(&b, element, first);
        }
        let symbol = FlatSymbolRefAttribute::new(b.context(), &self.constants.symbol(value));
        let name = [("global_name", symbol.into())];
        let base = b.value("llvm.mlir.addressof", &[], b.pointer(), &name);
        self.load(base, element, position)
    }

    /// The results of a graph of scalars applied to values in registers.
    ///
    /// # Errors
    /// The graph holds an op that is neither elementwise nor an index op.
    pub fn apply(
        &mut self,
        region: &Graph,
        arguments: &[Value<'c>],
    ) -> Result<Vec<Value<'c>>, Unsupported> {
        let sources = arguments.iter().copied().map(Source::Register).collect();
        let constants = std::mem::take(&mut self.constants);
        let mut inner = Elemental::new(region, sources, self.builder(), constants);
        let results = (region.results().iter())
            .map(|result| inner.element(result.value, &[]))
            .collect();
        self.constants = inner.into_constants();
        results
    }

    /// An index expression's value, an `i64`.
    pub fn number(&mut self, expression: &Expression) -> Value<'c> {
        let known = |scope: &Scope<'c>| scope.expressions.get(expression).copied();
        if let Some(known) = self.scopes.iter().rev().find_map(known) {
            return known;
        }
        let mut terms: Vec<&(Atom, i64)> = expression.terms().iter().collect();
        // Outer counters first: what does not change in a loop is then one value that can leave it.
        terms.sort_by_key(|(atom, _)| atom.depth());
        let mut sum: Option<Value<'c>> = None;
        for (atom, coefficient) in terms {
            let atom = self.atom(atom);
            let b = self.builder();
            let term = match coefficient {
                1 => atom,
                _ => b.binary("arith.muli", atom, b.constant_i64(*coefficient)),
            };
            sum = Some(sum.map_or(term, |sum| b.binary("arith.addi", sum, term)));
        }
        let b = self.builder();
        let value = match (sum, expression.offset()) {
            (Some(sum), 0) => sum,
            (Some(sum), offset) => b.binary("arith.addi", sum, b.constant_i64(offset)),
            (None, offset) => b.constant_i64(offset),
        };
        (self.scope_mut().expressions).insert(expression.clone(), value);
        value
    }

    fn atom(&mut self, atom: &Atom) -> Value<'c> {
        match atom {
            Atom::Variable(variable) => (self.scopes.iter().rev())
                .find_map(|scope| scope.variables.get(&variable.number).copied())
                .expect("a variable is used in its scope only"),
            Atom::Quotient(inner, divisor) => self.divide(inner, *divisor, true),
            Atom::Remainder(inner, divisor) => self.divide(inner, *divisor, false),
        }
    }

    /// Quotient or remainder. Vector units divide 32-bit numbers by constants well and 64-bit ones badly.
    fn divide(&mut self, x: &Expression, divisor: i64, quotient: bool) -> Value<'c> {
        let (lower, upper) = x.range();
        let value = self.number(x);
        let b = self.builder();
        let name = if quotient {
            "arith.divui"
        } else {
            "arith.remui"
        };
        if lower >= 0 && u32::try_from(upper).is_ok() && u32::try_from(divisor).is_ok() {
            let i32 = b.integer(32);
            let narrow = b.cast("arith.trunci", value, i32);
            let divided = b.binary(name, narrow, b.constant_integer(i32, divisor));
            return b.cast("arith.extui", divided, b.i64());
        }
        let divisor = b.constant_i64(divisor);
        if lower >= 0 {
            return b.binary(name, value, divisor);
        }
        // Toward zero, and one less where that left a negative rest.
        let rest = b.binary("arith.remsi", value, divisor);
        let below = b.compare_integers(IntegerPredicate::Slt, rest, b.constant_i64(0));
        if quotient {
            let truncated = b.binary("arith.divsi", value, divisor);
            let correction = b.cast("arith.extsi", below, b.i64());
            return b.binary("arith.addi", truncated, correction);
        }
        b.select(below, b.binary("arith.addi", rest, divisor), rest)
    }

    /// Whether `expression` ≥ `bound`.
    fn reaches(&mut self, expression: &Expression, bound: i64) -> Decision<'c> {
        let (lower, upper) = expression.range();
        if lower >= bound {
            return Decision::Always;
        }
        if upper < bound {
            return Decision::Never;
        }
        self.trace.undecided.push((expression.clone(), bound));
        let value = self.number(expression);
        let b = self.builder();
        let bound = b.constant_i64(bound);
        Decision::Dynamic(b.compare_integers(IntegerPredicate::Sge, value, bound))
    }

    /// The first value where all conditions hold, else the second. Only the one that is chosen is computed.
    fn choose(
        &mut self,
        conditions: Vec<Decision<'c>>,
        result: Type<'c>,
        then: impl FnOnce(&mut Self) -> Result<Value<'c>, Unsupported>,
        otherwise: impl FnOnce(&mut Self) -> Result<Value<'c>, Unsupported>,
    ) -> Result<Value<'c>, Unsupported> {
        let b = self.builder();
        let mut all: Option<Value<'c>> = None;
        for condition in conditions {
            match condition {
                Decision::Never => return otherwise(self),
                Decision::Always => {}
                Decision::Dynamic(x) => {
                    all = Some(all.map_or(x, |all| b.binary("arith.andi", all, x)));
                }
            }
        }
        let Some(condition) = all else {
            return then(self);
        };
        let values = b.if_else(
            self,
            condition,
            &[result],
            |this, inner| this.inside(inner, |this| Ok(vec![then(this)?])),
            |this, inner| this.inside(inner, |this| Ok(vec![otherwise(this)?])),
        )?;
        Ok(values[0])
    }

    /// The element `value[indices]`, an integer that says where a slice starts: held in `0..=last`, as an index.
    ///
    /// # Errors
    /// As [`element`](Self::element).
    pub fn start(
        &mut self,
        value: ValueId,
        indices: &[Expression],
        last: i64,
    ) -> Result<Expression, Unsupported> {
        if last == 0 {
            return Ok(Expression::constant(0));
        }
        let key = (value, indices.to_vec(), last);
        if let Some(known) = self.scopes.iter().rev().find_map(|s| s.starts.get(&key)) {
            return Ok(known.clone());
        }
        let element = self.graph.tensor_type(value).element;
        let raw = self.element(value, indices)?;
        let clamped = self.clamp_index(raw, element, last);
        let start = Expression::variable(self.variable(clamped, 0, last));
        self.scope_mut().starts.insert(key, start.clone());
        Ok(start)
    }

    /// An integer of any type held in `0..=last`, as an `i64`.
    pub fn clamp_index(&self, raw: Value<'c>, element: ElementType, last: i64) -> Value<'c> {
        let b = self.builder();
        let wide = self.index(raw, element);
        let last = b.constant_i64(last);
        if element.is_signed_integer() {
            let positive = b.binary("arith.maxsi", wide, b.constant_i64(0));
            b.binary("arith.minsi", positive, last)
        } else {
            b.binary("arith.minui", wide, last)
        }
    }

    /// An integer of any type as an `i64` of the same value; of `ui64`, the same bits.
    pub fn index(&self, raw: Value<'c>, element: ElementType) -> Value<'c> {
        let b = self.builder();
        if raw.r#type() == b.i64() {
            raw
        } else if element.is_signed_integer() {
            b.cast("arith.extsi", raw, b.i64())
        } else {
            b.cast("arith.extui", raw, b.i64())
        }
    }
}
