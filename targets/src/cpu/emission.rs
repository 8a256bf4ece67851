//! A kernel's function: its signature, its parameters, and how its work is divided.

use super::family::nest::Range;
use crate::mlir::elemental::{Constants, Elemental, Source, Unsupported};
use crate::mlir::index::Expression;
use crate::mlir::{Builder, Value, scalar};
use melior::{
    Context,
    dialect::llvm,
    ir::{
        Attribute, BlockLike, Identifier, Location, Module, Region, Type,
        attribute::{
            DenseElementsAttribute, DenseI32ArrayAttribute, FlatSymbolRefAttribute,
            IntegerAttribute, StringAttribute, TypeAttribute,
        },
        operation::OperationBuilder,
    },
};
use tessera_ir::{ElementType, ValueId, plan::Kernel};

/// How a kernel's work is divided into blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Division {
    /// Independent parts, numbered from 0.
    pub blocks: u64,
    /// The least number of blocks that are worth a thread of their own.
    pub grain: u64,
    /// Bytes of memory of its own that a call needs.
    pub scratch_bytes: usize,
}

impl Division {
    /// Nothing to do: no result has an element.
    pub const EMPTY: Self = Self {
        blocks: 0,
        grain: 1,
        scratch_bytes: 0,
    };

    /// So many blocks, each of so many nanoseconds by a rough estimate.
    pub fn new(blocks: i64, nanoseconds: f64) -> Self {
        /// Below this, waking a thread costs more than it brings.
        const THREAD_NANOSECONDS: f64 = 20_000.0;
        let grain = (THREAD_NANOSECONDS / nanoseconds.max(1.0)).ceil();
        Self {
            blocks: blocks.max(0).cast_unsigned(),
            grain: (grain as u64).max(1),
            scratch_bytes: 0,
        }
    }
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
}

impl<'c, 'g> Emission<'c, 'g> {
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

    /// A loop over the numbers of `lower..upper` that are in the range.
    ///
    /// # Errors
    /// What `body` returns.
    pub fn for_part<E>(
        &mut self,
        lower: i64,
        upper: i64,
        range: &Range,
        body: impl FnOnce(&mut Self, Expression) -> Result<(), E>,
    ) -> Result<(), E> {
        if upper <= lower {
            return Ok(());
        }
        if upper - lower == 1 && matches!(range, Range::All) {
            return body(self, Expression::constant(lower));
        }
        let b = self.elemental.builder();
        let [mut first, mut last, step] = [lower, upper, 1].map(|n| b.constant_i64(n));
        if let Range::Chunk { number, length } = range {
            let start = self.elemental.number(&number.times(*length));
            let b = self.elemental.builder();
            let end = b.binary("arith.addi", start, b.constant_i64(*length));
            if lower > 0 {
                first = b.binary("arith.maxsi", start, first);
            } else {
                first = start;
            }
            last = b.binary("arith.minsi", end, last);
        }
        self.for_bounds([first, last, step], (lower, upper - 1), None, body)
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
        let position = crate::mlir::index::linearize(indices, &tensor_type.shape);
        let base = self.results[number];
        (self.elemental).store(element, base, tensor_type.element, &position);
    }
}

/// Builds the functions of a kernel: `symbol`, which has the bundle's signature, and a private one that `body` fills,
/// whose parameters are the buffers, promised not to overlap.
///
/// # Errors
/// What `body` returns.
pub fn build<'c>(
    context: &'c Context,
    module: &Module<'c>,
    kernel: &Kernel,
    in_place: &[Option<usize>],
    symbol: &str,
    body: impl FnOnce(&mut Emission<'c, '_>) -> Result<Division, Unsupported>,
) -> Result<Division, Unsupported> {
    let region = Region::new();
    let (division, constants) = fill(context, &region, kernel, in_place, symbol, body)?;
    let inputs = kernel.body.inputs().len();
    let outputs = kernel.body.results().len();
    let mut roles: Vec<Role> = (in_place.iter())
        .map(|result| {
            if result.is_some() {
                Role::Unused
            } else {
                Role::Read
            }
        })
        .collect();
    roles.extend((0..outputs).map(|_| Role::Written));
    roles.extend([Role::Scratch, Role::Number, Role::Number]);
    let private = format!("{symbol}.body");
    function(context, module, &private, &roles, true, region);

    let region = Region::new();
    let parameters = [Role::Buffers, Role::Number, Role::Number];
    let (b, values) = Builder::append_block(context, &region, &types(context, &parameters));
    let mut arguments: Vec<Value<'c>> = (0..inputs + outputs)
        .map(|number| load_pointer(&b, values[0], number))
        .collect();
    arguments.push(match division.scratch_bytes {
        0 => b.value("llvm.mlir.zero", &[], b.pointer(), &[]),
        _ => load_pointer(&b, values[0], inputs + outputs),
    });
    arguments.extend([values[1], values[2]]);
    let segments = DenseI32ArrayAttribute::new(context, &[arguments.len() as i32, 0]);
    b.operation(
        "llvm.call",
        &arguments,
        &[],
        &[
            (
                "callee",
                FlatSymbolRefAttribute::new(context, &private).into(),
            ),
            ("operandSegmentSizes", segments.into()),
            (
                "op_bundle_sizes",
                DenseI32ArrayAttribute::new(context, &[]).into(),
            ),
        ],
    );
    b.operation("llvm.return", &[], &[], &[]);
    function(context, module, symbol, &parameters, false, region);
    for (name, tensor) in constants.symbols() {
        global(context, module, &name, tensor.bytes());
    }
    Ok(division)
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
    Ok(fill(context, &region, kernel, in_place, "", body)?.0)
}

fn fill<'c, T>(
    context: &'c Context,
    region: &Region<'c>,
    kernel: &Kernel,
    in_place: &[Option<usize>],
    symbol: &str,
    body: impl FnOnce(&mut Emission<'c, '_>) -> Result<T, Unsupported>,
) -> Result<(T, Constants), Unsupported> {
    let inputs = kernel.body.inputs().len();
    let pointers = inputs + kernel.body.results().len() + 1;
    let mut roles = vec![Role::Read; pointers];
    roles.extend([Role::Number, Role::Number]);
    let (b, values) = Builder::append_block(context, region, &types(context, &roles));
    let results = values[inputs..pointers - 1].to_vec();
    let mut operands = values[..inputs].to_vec();
    for (operand, result) in in_place.iter().enumerate() {
        if let Some(result) = result {
            operands[operand] = results[*result];
        }
    }
    let sources = operands.into_iter().map(Source::Memory).collect();
    let constants = Constants::new(symbol);
    let mut emission = Emission {
        kernel,
        elemental: Elemental::new(&kernel.body, sources, b, constants),
        results,
        in_place,
        scratch: values[pointers - 1],
        begin: values[pointers],
        end: values[pointers + 1],
    };
    let result = body(&mut emission)?;
    b.operation("llvm.return", &[], &[], &[]);
    Ok((result, emission.elemental.into_constants()))
}

/// What a parameter is for; this decides what LLVM is promised.
#[derive(Clone, Copy)]
enum Role {
    Read,
    Written,
    Unused,
    Scratch,
    Buffers,
    Number,
}

fn types<'c>(context: &'c Context, roles: &[Role]) -> Vec<Type<'c>> {
    let pointer = llvm::r#type::pointer(context, 0);
    let number = melior::ir::r#type::IntegerType::new(context, 64).into();
    let of = |role: &Role| {
        if matches!(role, Role::Number) {
            number
        } else {
            pointer
        }
    };
    roles.iter().map(of).collect()
}

fn load_pointer<'c>(b: &Builder<'c>, buffers: Value<'c>, number: usize) -> Value<'c> {
    let address = b.element_address(buffers, b.pointer(), b.constant_i64(number as i64));
    b.load(address, b.pointer())
}

fn function<'c>(
    context: &'c Context,
    module: &Module<'c>,
    name: &str,
    roles: &[Role],
    private: bool,
    region: Region<'c>,
) {
    let promises: Vec<&str> = roles
        .iter()
        .map(|role| match role {
            Role::Read => "{llvm.noalias, llvm.nonnull, llvm.noundef, llvm.readonly}",
            Role::Written | Role::Buffers => "{llvm.noalias, llvm.nonnull, llvm.noundef}",
            Role::Scratch => "{llvm.noalias, llvm.noundef, llvm.align = 64 : i64}",
            Role::Unused | Role::Number => "{llvm.noundef}",
        })
        .collect();
    let attribute = |text: &str| {
        Attribute::parse(context, text).expect("the attribute is written in this file")
    };
    let mut attributes = vec![
        (
            "arg_attrs",
            attribute(&format!("[{}]", promises.join(", "))),
        ),
        ("no_unwind", Attribute::unit(context)),
    ];
    if private {
        attributes.push(("linkage", attribute("#llvm.linkage<internal>")));
    }
    let attributes: Vec<_> = attributes
        .into_iter()
        .map(|(name, attribute)| (Identifier::new(context, name), attribute))
        .collect();
    let void = llvm::r#type::void(context);
    let signature = llvm::r#type::function(void, &types(context, roles), false);
    module.body().append_operation(llvm::func(
        context,
        StringAttribute::new(context, name),
        TypeAttribute::new(signature),
        region,
        &attributes,
        Location::unknown(context),
    ));
}

/// A constant array of bytes.
fn global<'c>(context: &'c Context, module: &Module<'c>, name: &str, bytes: &[u8]) {
    let attribute = |text: &str| {
        Attribute::parse(context, text).expect("the attribute is written in this file")
    };
    let i8 = melior::ir::r#type::IntegerType::new(context, 8).into();
    let array = llvm::r#type::array(i8, bytes.len() as u32);
    let tensor = melior::ir::r#type::RankedTensorType::new(&[bytes.len() as u64], i8, None);
    let value = DenseElementsAttribute::u8_values(tensor.into(), bytes);
    let attributes = [
        ("sym_name", StringAttribute::new(context, name).into()),
        ("global_type", TypeAttribute::new(array).into()),
        ("constant", Attribute::unit(context)),
        ("linkage", attribute("#llvm.linkage<internal>")),
        ("value", value.into()),
        ("alignment", attribute("64 : i64")),
        ("addr_space", attribute("0 : i32")),
    ]
    .map(|(name, attribute)| (Identifier::new(context, name), attribute));
    let operation = OperationBuilder::new("llvm.mlir.global", Location::unknown(context))
        .add_attributes(&attributes)
        .add_regions([Region::new()])
        .build()
        .expect("the attributes are those of a global");
    module.body().append_operation(operation);
}
