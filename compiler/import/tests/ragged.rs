//! Grouped products in the two forms that JAX prints: CHLO's op, and the composite of an exported module.

use tessera_import::import;
use tessera_ir::Module;

/// A function of `x`, `w` and the group sizes whose result is that op.
fn imported(op: &str) -> Result<Module, String> {
    let source = format!(
        "module @grouped {{
           func.func public @main(%arg0: tensor<8x4xf32>, %arg1: tensor<3x4x5xf32>, %arg2: tensor<3xi32>) -> tensor<8x5xf32> {{
             %0 = {op} : (tensor<8x4xf32>, tensor<3x4x5xf32>, tensor<3xi32>) -> tensor<8x5xf32>
             return %0 : tensor<8x5xf32>
           }}
         }}"
    );
    import(&source, "step.mlir").map_err(|error| error.message)
}

fn op(numbers: &str) -> String {
    format!(
        "\"chlo.ragged_dot\"(%arg0, %arg1, %arg2) <{{precision_config = [#chlo<precision DEFAULT>, #chlo<precision DEFAULT>], ragged_dot_dimension_numbers = #chlo.ragged_dot<{numbers}>}}>"
    )
}

const NUMBERS: &str = "lhs_contracting_dimensions = [1], rhs_contracting_dimensions = [1], lhs_ragged_dimensions = [0], rhs_group_dimensions = [0]";

#[test]
fn a_composite_is_the_op_that_it_stands_for() {
    let composite = "stablehlo.composite \"chlo.ragged_dot\" %arg0, %arg1, %arg2 {composite_attributes = {precision_config = [\"DEFAULT\", \"DEFAULT\"], ragged_dot_dimension_numbers = [dense<> : tensor<0xi64>, dense<> : tensor<0xi64>, dense<1> : tensor<1xi64>, dense<1> : tensor<1xi64>, dense<0> : tensor<1xi64>, dense<0> : tensor<1xi64>]}, decomposition = @unused, version = 1 : i32}";
    let module = imported(composite).unwrap();
    let entry = module.entry().unwrap();
    let ops: Vec<_> = entry
        .operations()
        .iter()
        .map(|o| o.op.kind.name())
        .collect();
    assert_eq!(ops, ["grouped_dot"]);
    assert_eq!(imported(&op(NUMBERS)).unwrap(), module);
}

#[test]
fn what_is_no_such_product_is_refused() {
    let error = |numbers: &str| imported(&op(numbers)).unwrap_err();
    assert_eq!(
        error(&format!(
            "lhs_batching_dimensions = [0], rhs_batching_dimensions = [0], {NUMBERS}"
        )),
        "'chlo.ragged_dot': a grouped product with batching dimensions is not supported"
    );
    assert_eq!(
        error(
            "lhs_contracting_dimensions = [1], rhs_contracting_dimensions = [1], lhs_ragged_dimensions = [1], rhs_group_dimensions = []"
        ),
        "'chlo.ragged_dot': a grouped product of such operands is not supported"
    );
    assert_eq!(
        error(&NUMBERS.replace(
            "rhs_contracting_dimensions = [1]",
            "rhs_contracting_dimensions = [2]"
        )),
        "'chlo.ragged_dot' (T3): contracting dimensions must have one size, found 4 and 5"
    );
}
