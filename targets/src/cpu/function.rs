//! The functions of a kernel as the bundle has them: buffers and a range of blocks.

use crate::blocks::Division;
use crate::mlir::elemental::Unsupported;
use crate::mlir::{Builder, Emission, Frame, Value};
use melior::{
    Context,
    dialect::llvm,
    ir::{
        Attribute, BlockLike, Identifier, Location, Module, Region, Type,
        attribute::{
            DenseI32ArrayAttribute, FlatSymbolRefAttribute, StringAttribute, TypeAttribute,
        },
    },
};
use tessera_ir::plan::Kernel;

/// The buffers that a function is given.
pub struct Buffers<'a> {
    /// For each of the first of them, the operand that it is; then come the results.
    pub operands: &'a [usize],
    /// The one behind these.
    pub own: Own,
}

/// What memory of its own a call is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    /// As much as its division says.
    Scratch,
    /// The elements of a product.
    Product,
    /// Room for the elements of a tensor.
    Tensor,
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
    buffers: &Buffers<'_>,
    body: impl FnOnce(&mut Emission<'c, '_>) -> Result<Division, Unsupported>,
) -> Result<Division, Unsupported> {
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
    let own = match buffers.own {
        Own::Scratch => Role::Scratch,
        Own::Product => Role::Read,
        Own::Tensor => Role::Written,
    };
    roles.extend([own, Role::Number, Role::Number]);
    let region = Region::new();
    let (b, values) = Builder::append_block(context, &region, &types(context, &roles));
    let frame = Frame {
        operands: values[..inputs].to_vec(),
        results: values[inputs..inputs + outputs].to_vec(),
        scratch: values[inputs + outputs],
        begin: values[inputs + outputs + 1],
        end: values[inputs + outputs + 2],
    };
    let mut emission = Emission::new(kernel, in_place, b, frame, symbol);
    let division = body(&mut emission)?;
    b.operation("llvm.return", &[], &[], &[]);
    let constants = emission.elemental.into_constants();
    let private = format!("{symbol}.body");
    function(context, module, &private, &roles, true, region);

    let region = Region::new();
    let parameters = [Role::Buffers, Role::Number, Role::Number];
    let (b, values) = Builder::append_block(context, &region, &types(context, &parameters));
    let place = |input: usize| {
        let place = buffers
            .operands
            .iter()
            .position(|&operand| operand == input);
        place.expect("every operand is among the buffers")
    };
    let given = buffers.operands.len();
    let mut arguments: Vec<Value<'c>> = ((0..inputs).map(place))
        .chain(given..given + outputs)
        .map(|number| load_pointer(&b, values[0], number))
        .collect();
    arguments.push(match division.scratch_bytes {
        0 if buffers.own == Own::Scratch => b.value("llvm.mlir.zero", &[], b.pointer(), &[]),
        _ => load_pointer(&b, values[0], given + outputs),
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
    constants.define(context, module);
    Ok(division)
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
