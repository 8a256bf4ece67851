//! The entry of a kernel: its parameters are the addresses of its operands, then of its results, then, where it asks for
//! any, of memory of its own.

use super::{GpuTarget, Grid, family};
use crate::mlir::elemental::Unsupported;
use crate::mlir::{Builder, Emission, Frame};
use crate::units::Unit;
use melior::{
    Context,
    dialect::llvm,
    ir::{
        Attribute, BlockLike, Identifier, Location, Module, Region, Type,
        attribute::{StringAttribute, TypeAttribute},
    },
};
use tessera_ir::plan::Family;

/// What is said of a parameter that is a tensor map: 128 bytes that are read where the launch put them.
const TENSOR_MAP: &str =
    "{llvm.byval = !llvm.array<128 x i8>, llvm.align = 128 : i64, nvvm.grid_constant}";

/// Builds the unit's entry for a target.
///
/// # Errors
/// The kernel holds what its family cannot do.
pub fn build<'c>(
    context: &'c Context,
    module: &Module<'c>,
    unit: &Unit<'_>,
    target: GpuTarget,
) -> Result<Grid, Unsupported> {
    let inputs = unit.kernel.body.inputs().len();
    let outputs = unit.kernel.body.results().len();
    let tile = unit.tile.map(|tile| tile.map(i64::from));
    let region = Region::new();
    let pointer = llvm::r#type::pointer(context, 0);
    let parameters: Vec<Type<'c>> = vec![pointer; inputs + outputs];
    let (b, values) = Builder::append_block(context, &region, &parameters);
    let zero = b.constant_i64(0);
    let frame = Frame {
        operands: values[..inputs].to_vec(),
        results: values[inputs..].to_vec(),
        scratch: b.value("llvm.mlir.zero", &[], b.pointer(), &[]),
        begin: zero,
        end: zero,
    };
    let mut emission = Emission::new(unit.kernel, &unit.in_place, b, frame, &unit.symbol);
    let kernel = family::emit(&mut emission, (target, tile), &unit.symbol)?;
    emission
        .elemental
        .builder()
        .operation("llvm.return", &[], &[], &[]);
    emission.elemental.into_constants().define(context, module);
    kernel.shared.define(context, module);

    let attribute = |text: &str| {
        Attribute::parse(context, text).expect("the attribute is written in this file")
    };
    // The family has added to the function's block: the address of the workspace, then tensor maps by value.
    let workspaces = usize::from(kernel.grid.workspace_bytes > 0);
    let maps = kernel.grid.tensor_maps.len();
    let parameters = vec![pointer; inputs + outputs + workspaces + maps];
    let promises: Vec<&str> = (unit.in_place.iter())
        .map(|result| match result {
            // Its memory is reached by the result's address alone.
            Some(_) => "{llvm.noundef}",
            None => {
                "{llvm.noalias, llvm.nonnull, llvm.noundef, llvm.readonly, llvm.align = 64 : i64}"
            }
        })
        .chain(
            (0..outputs + workspaces)
                .map(|_| "{llvm.noalias, llvm.nonnull, llvm.noundef, llvm.align = 64 : i64}"),
        )
        .chain((0..maps).map(|_| TENSOR_MAP))
        .collect();
    let threads = format!("array<i32: {}, 1, 1>", kernel.grid.threads);
    let mut attributes = vec![
        (
            "arg_attrs",
            attribute(&format!("[{}]", promises.join(", "))),
        ),
        ("no_unwind", Attribute::unit(context)),
        ("nvvm.kernel", Attribute::unit(context)),
        ("nvvm.maxntid", attribute(&threads)),
    ];
    if kernel.grid.cluster > 1 {
        let cluster = format!("array<i32: {}, 1, 1>", kernel.grid.cluster);
        attributes.push(("nvvm.cluster_dim", attribute(&cluster)));
    }
    let keeps_many = matches!(unit.kernel.family, Family::Quantize | Family::Attention);
    if kernel.grid.shared_bytes > 0 || keeps_many {
        // Shared memory says how many CTAs an SM has, and a thread that quantises has a block in registers, or one of attention
        // its sums: these need not be few, as they are by themselves.
        attributes.push(("nvvm.minctasm", attribute("1 : i32")));
    }
    let attributes: Vec<_> = (attributes.into_iter())
        .map(|(name, attribute)| (Identifier::new(context, name), attribute))
        .collect();
    let void = llvm::r#type::void(context);
    let signature = llvm::r#type::function(void, &parameters, false);
    module.body().append_operation(llvm::func(
        context,
        StringAttribute::new(context, &unit.symbol),
        TypeAttribute::new(signature),
        region,
        &attributes,
        Location::unknown(context),
    ));
    Ok(kernel.grid)
}
