//! Appending operations to a block.

use melior::{
    Context,
    dialect::llvm,
    ir::{
        Attribute, Block, BlockLike, BlockRef, Identifier, Location, Operation, Region, RegionLike,
        Type, ValueLike,
        attribute::{
            DenseI32ArrayAttribute, FloatAttribute, IntegerAttribute, StringAttribute,
            TypeAttribute,
        },
        operation::{OperationBuilder, OperationLike, OperationRef},
        r#type::IntegerType,
    },
};

/// An SSA value. It lives as long as the context: values never outlive the module that is being built.
pub type Value<'c> = melior::ir::Value<'c, 'c>;

/// How `arith.cmpi` compares; the discriminants are MLIR's.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "MLIR's names")]
pub enum IntegerPredicate {
    Eq = 0,
    Ne = 1,
    Slt = 2,
    Sle = 3,
    Sgt = 4,
    Sge = 5,
    Ult = 6,
    Ule = 7,
    Ugt = 8,
    Uge = 9,
}

/// How `arith.cmpf` compares; the discriminants are MLIR's. `O…` is false where an operand is NaN, `U…` true.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "MLIR's names")]
pub enum FloatPredicate {
    Oeq = 1,
    Ogt = 2,
    Oge = 3,
    Olt = 4,
    Ole = 5,
    Une = 13,
    Uno = 14,
}

/// Appends operations to the end of one block.
///
/// # Panics
/// Methods panic where an operation cannot be made at all: an unknown name, an attribute that does not parse. Both are
/// written in this crate, never taken from a user's program.
#[derive(Clone, Copy)]
pub struct Builder<'c> {
    context: &'c Context,
    location: Location<'c>,
    block: BlockRef<'c, 'c>,
}

impl<'c> Builder<'c> {
    /// A builder at the end of a new block of `region`, and the block's arguments.
    ///
    /// The region has to go into an operation of the module under construction before any of the values is used
    /// elsewhere.
    pub fn append_block(
        context: &'c Context,
        region: &Region<'c>,
        arguments: &[Type<'c>],
    ) -> (Self, Vec<Value<'c>>) {
        let location = Location::unknown(context);
        let arguments: Vec<_> = arguments.iter().map(|&t| (t, location)).collect();
        let block = region.append_block(Block::new(&arguments));
        // SAFETY: the block belongs to the region, which goes into an operation of the module under construction. A
        // builder only appends, so the block lives as long as the module, and every builder is gone before it is.
        let block: BlockRef<'c, 'c> = unsafe { BlockRef::from_raw(block.to_raw()) };
        let builder = Self {
            context,
            location,
            block,
        };
        let values = (0..arguments.len())
            .map(|i| block.argument(i).expect("the block has that many").into())
            .collect();
        (builder, values)
    }

    /// A further argument of the block.
    pub fn argument(&self, t: Type<'c>) -> Value<'c> {
        self.block.add_argument(t, self.location)
    }

    /// The context everything belongs to.
    pub fn context(&self) -> &'c Context {
        self.context
    }

    /// An attribute in MLIR's spelling.
    pub fn attribute(&self, text: &str) -> Attribute<'c> {
        Attribute::parse(self.context, text).unwrap_or_else(|| panic!("attribute '{text}'"))
    }

    /// The signless integer type of that many bits.
    pub fn integer(&self, bits: u32) -> Type<'c> {
        IntegerType::new(self.context, bits).into()
    }

    /// `i64`, the type of indices.
    pub fn i64(&self) -> Type<'c> {
        self.integer(64)
    }

    /// `f16`.
    pub fn f16(&self) -> Type<'c> {
        Type::float16(self.context)
    }

    /// `f32`.
    pub fn f32(&self) -> Type<'c> {
        Type::float32(self.context)
    }

    /// `f64`.
    pub fn f64(&self) -> Type<'c> {
        Type::float64(self.context)
    }

    /// `!llvm.ptr`.
    pub fn pointer(&self) -> Type<'c> {
        llvm::r#type::pointer(self.context, 0)
    }

    /// Appends an operation made elsewhere.
    pub fn append(&self, operation: Operation<'c>) -> OperationRef<'c, 'c> {
        self.block.append_operation(operation)
    }

    /// Appends any operation without regions.
    pub fn operation(
        &self,
        name: &str,
        operands: &[Value<'c>],
        results: &[Type<'c>],
        attributes: &[(&str, Attribute<'c>)],
    ) -> Vec<Value<'c>> {
        self.operation_with_regions(name, operands, results, attributes, Vec::new())
    }

    fn operation_with_regions(
        &self,
        name: &str,
        operands: &[Value<'c>],
        results: &[Type<'c>],
        attributes: &[(&str, Attribute<'c>)],
        regions: Vec<Region<'c>>,
    ) -> Vec<Value<'c>> {
        let attributes: Vec<_> = attributes
            .iter()
            .map(|(name, attribute)| (Identifier::new(self.context, name), *attribute))
            .collect();
        let operation = OperationBuilder::new(name, self.location)
            .add_operands(operands)
            .add_results(results)
            .add_attributes(&attributes)
            .add_regions_vec(regions)
            .build()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        self.append(operation).results().map(Into::into).collect()
    }

    /// An operation with one result.
    pub fn value(
        &self,
        name: &str,
        operands: &[Value<'c>],
        result: Type<'c>,
        attributes: &[(&str, Attribute<'c>)],
    ) -> Value<'c> {
        self.operation(name, operands, &[result], attributes)[0]
    }

    /// An operation of one operand whose type is the result's.
    pub fn unary(&self, name: &str, x: Value<'c>) -> Value<'c> {
        self.value(name, &[x], x.r#type(), &[])
    }

    /// An operation of two operands whose type is the result's.
    pub fn binary(&self, name: &str, x: Value<'c>, y: Value<'c>) -> Value<'c> {
        self.value(name, &[x, y], x.r#type(), &[])
    }

    /// An operation of one operand with a result of another type.
    pub fn cast(&self, name: &str, x: Value<'c>, result: Type<'c>) -> Value<'c> {
        self.value(name, &[x], result, &[])
    }

    /// A call of an LLVM intrinsic, named without its types.
    pub fn intrinsic(&self, name: &str, operands: &[Value<'c>], result: Type<'c>) -> Value<'c> {
        self.call_intrinsic(name, operands, &[result])[0]
    }

    /// A call of an LLVM intrinsic that gives nothing.
    pub fn intrinsic_without_result(&self, name: &str, operands: &[Value<'c>]) {
        self.call_intrinsic(name, operands, &[]);
    }

    fn call_intrinsic(
        &self,
        name: &str,
        operands: &[Value<'c>],
        results: &[Type<'c>],
    ) -> Vec<Value<'c>> {
        let segments = DenseI32ArrayAttribute::new(self.context, &[operands.len() as i32, 0]);
        let attributes = [
            ("intrin", StringAttribute::new(self.context, name).into()),
            ("operandSegmentSizes", segments.into()),
            (
                "op_bundle_sizes",
                DenseI32ArrayAttribute::new(self.context, &[]).into(),
            ),
        ];
        self.operation("llvm.call_intrinsic", operands, results, &attributes)
    }

    /// The same bits in another type of the same width.
    pub fn bitcast(&self, x: Value<'c>, result: Type<'c>) -> Value<'c> {
        if x.r#type() == result {
            return x;
        }
        self.cast("arith.bitcast", x, result)
    }

    /// `arith.cmpi`.
    pub fn compare_integers(
        &self,
        predicate: IntegerPredicate,
        x: Value<'c>,
        y: Value<'c>,
    ) -> Value<'c> {
        let predicate = IntegerAttribute::new(self.i64(), predicate as i64).into();
        self.value(
            "arith.cmpi",
            &[x, y],
            self.integer(1),
            &[("predicate", predicate)],
        )
    }

    /// `arith.cmpf`.
    pub fn compare_floats(
        &self,
        predicate: FloatPredicate,
        x: Value<'c>,
        y: Value<'c>,
    ) -> Value<'c> {
        let predicate = IntegerAttribute::new(self.i64(), predicate as i64).into();
        self.value(
            "arith.cmpf",
            &[x, y],
            self.integer(1),
            &[("predicate", predicate)],
        )
    }

    /// `condition ? x : y`.
    pub fn select(&self, condition: Value<'c>, x: Value<'c>, y: Value<'c>) -> Value<'c> {
        self.value("arith.select", &[condition, x, y], x.r#type(), &[])
    }

    /// An integer constant; the upper bits that the type has no room for are dropped.
    pub fn constant_integer(&self, t: Type<'c>, value: i64) -> Value<'c> {
        let value = IntegerAttribute::new(t, value).into();
        self.value("arith.constant", &[], t, &[("value", value)])
    }

    /// An `i64` constant.
    pub fn constant_i64(&self, value: i64) -> Value<'c> {
        self.constant_integer(self.i64(), value)
    }

    /// A constant of type `i1`.
    pub fn constant_bool(&self, value: bool) -> Value<'c> {
        self.constant_integer(self.integer(1), value.into())
    }

    /// A constant of a float type: `value` rounded to it.
    pub fn constant_float(&self, t: Type<'c>, value: f64) -> Value<'c> {
        if value.is_nan() || value.is_infinite() {
            return self.constant_non_finite(t, value);
        }
        let value = FloatAttribute::new(self.context, t, value).into();
        self.value("arith.constant", &[], t, &[("value", value)])
    }

    /// NaN and infinities by their bits, whose text form every MLIR reads back.
    fn constant_non_finite(&self, t: Type<'c>, value: f64) -> Value<'c> {
        let (bits, width) = if t == self.f32() {
            (i64::from((value as f32).to_bits()), 32)
        } else {
            (value.to_bits().cast_signed(), 64)
        };
        let bits = self.constant_integer(self.integer(width), bits);
        self.bitcast(bits, t)
    }

    /// The address of element `index` of an array at `base`.
    pub fn element_address(
        &self,
        base: Value<'c>,
        element: Type<'c>,
        index: Value<'c>,
    ) -> Value<'c> {
        // The index is the operand that follows the base.
        let dynamic = DenseI32ArrayAttribute::new(self.context, &[i32::MIN]).into();
        self.value(
            "llvm.getelementptr",
            &[base, index],
            self.pointer(),
            &[
                ("rawConstantIndices", dynamic),
                ("elem_type", TypeAttribute::new(element).into()),
                ("noWrapFlags", self.attribute("3 : i32")),
            ],
        )
    }

    /// The value at an address.
    pub fn load(&self, address: Value<'c>, t: Type<'c>) -> Value<'c> {
        self.value("llvm.load", &[address], t, &[])
    }

    /// Puts a value at an address.
    pub fn store(&self, value: Value<'c>, address: Value<'c>) {
        self.operation("llvm.store", &[value, address], &[], &[]);
    }

    /// `scf.for` from `lower` to `upper` (excluded) by `step`, over `i64`, with loop-carried values. `body` is given a
    /// builder, the counter and the carried values, and returns the next ones.
    ///
    /// # Errors
    /// What `body` returns.
    pub fn for_loop<E>(
        &self,
        bounds: [Value<'c>; 3],
        initial: &[Value<'c>],
        annotation: Option<Attribute<'c>>,
        body: impl FnOnce(Self, Value<'c>, &[Value<'c>]) -> Result<Vec<Value<'c>>, E>,
    ) -> Result<Vec<Value<'c>>, E> {
        let region = Region::new();
        let carried: Vec<Type<'c>> = initial.iter().map(|v| v.r#type()).collect();
        let mut types = vec![self.i64()];
        types.extend(&carried);
        let (inner, arguments) = Self::append_block(self.context, &region, &types);
        let next = body(inner, arguments[0], &arguments[1..])?;
        inner.operation("scf.yield", &next, &[], &[]);
        let mut operands = bounds.to_vec();
        operands.extend(initial);
        let attributes: Vec<_> = annotation
            .map(|annotation| ("llvm.loop_annotation", annotation))
            .into_iter()
            .collect();
        Ok(self.operation_with_regions("scf.for", &operands, &carried, &attributes, vec![region]))
    }

    /// `scf.if` whose branches yield values of one list of types. `state` is what both branches work on.
    ///
    /// # Errors
    /// What a branch returns.
    pub fn if_else<S, E>(
        &self,
        state: &mut S,
        condition: Value<'c>,
        results: &[Type<'c>],
        then: impl FnOnce(&mut S, Self) -> Result<Vec<Value<'c>>, E>,
        otherwise: impl FnOnce(&mut S, Self) -> Result<Vec<Value<'c>>, E>,
    ) -> Result<Vec<Value<'c>>, E> {
        let (then_region, else_region) = (Region::new(), Region::new());
        let (inner, _) = Self::append_block(self.context, &then_region, &[]);
        inner.operation("scf.yield", &then(state, inner)?, &[], &[]);
        let (inner, _) = Self::append_block(self.context, &else_region, &[]);
        inner.operation("scf.yield", &otherwise(state, inner)?, &[], &[]);
        let regions = vec![then_region, else_region];
        Ok(self.operation_with_regions("scf.if", &[condition], results, &[], regions))
    }

    /// `scf.while`: `condition` is given the carried values and says whether to go on; `body` gives the next ones.
    ///
    /// # Errors
    /// What `condition` or `body` returns.
    pub fn while_loop<S, E>(
        &self,
        state: &mut S,
        initial: &[Value<'c>],
        condition: impl FnOnce(&mut S, Self, &[Value<'c>]) -> Result<Value<'c>, E>,
        body: impl FnOnce(&mut S, Self, &[Value<'c>]) -> Result<Vec<Value<'c>>, E>,
    ) -> Result<Vec<Value<'c>>, E> {
        let types: Vec<Type<'c>> = initial.iter().map(|v| v.r#type()).collect();
        let (before, after) = (Region::new(), Region::new());
        let (inner, arguments) = Self::append_block(self.context, &before, &types);
        let mut operands = vec![condition(state, inner, &arguments)?];
        operands.extend(&arguments);
        inner.operation("scf.condition", &operands, &[], &[]);
        let (inner, arguments) = Self::append_block(self.context, &after, &types);
        let next = body(state, inner, &arguments)?;
        inner.operation("scf.yield", &next, &[], &[]);
        Ok(self.operation_with_regions("scf.while", initial, &types, &[], vec![before, after]))
    }
}
