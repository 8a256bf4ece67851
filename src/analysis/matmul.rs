//! What a method costs the product of two operands.

use super::product::{View, product};
use super::{Column, Matrix, Method, Spectrum};
use rayon::prelude::*;
use serde::Serialize;
use tessera_numerics::QuantizerError;

/// An operand of a product.
#[derive(Clone, Copy, Debug)]
pub struct Operand<'a> {
    /// The tensor.
    pub matrix: &'a Matrix,
    /// The dimension that the product sums over, and that blocks run along. The left operand's is its last one, or the first
    /// of two; the right operand has two dimensions.
    pub axis: usize,
}

/// What a method costs the operands and their product.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProductError {
    /// The method or recipe.
    pub method: String,
    /// The relative errors of the left operand, the right one, and the product; nothing where the product is not
    /// quantised.
    #[serde(flatten)]
    pub errors: Option<Errors>,
    /// Why it is not quantised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
}

/// Relative errors in the Frobenius norm.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Errors {
    /// Of the left operand.
    pub lhs: f64,
    /// Of the right operand.
    pub rhs: f64,
    /// Of the product.
    pub product: f64,
}

/// Rows of the left operand that a thread multiplies at a time.
const ROWS: usize = 64;

/// The cost of each method for a product of the linear of that name; nothing where the exact product
/// is zero or not finite. `seed` is what the search for singular directions starts from.
///
/// # Errors
/// None that methods which exist have.
pub fn analyze_product(
    name: &str,
    [lhs, rhs]: [Operand<'_>; 2],
    columns: &[Column],
    seed: u64,
) -> Result<Option<Vec<ProductError>>, QuantizerError> {
    let matrices = [lhs.matrix, rhs.matrix];
    let methods: Vec<_> = columns
        .iter()
        .map(|column| column.methods_for_product(name, matrices))
        .collect();
    let [left, right] = [0, 1].map(|side| {
        let own = methods.iter().flatten();
        let rank = own.map(|methods: &[Method; 2]| methods[side].rank(matrices[side]));
        Spectrum::leading(matrices[side], rank.max().unwrap_or(0), seed)
    });
    let exact = multiply(lhs.matrix.values(), rhs.matrix.values(), [lhs, rhs]);
    let shape = [exact.len()];
    let Ok(exact) = Matrix::new(&shape, exact) else {
        return Ok(None);
    };
    let mut all = Vec::new();
    for (column, methods) in columns.iter().zip(methods) {
        let (errors, kept) = match methods {
            Ok([of_lhs, of_rhs]) => {
                let own_lhs = of_lhs.read_back(lhs.matrix, lhs.axis, &left)?;
                let own_rhs = of_rhs.read_back(rhs.matrix, rhs.axis, &right)?;
                let own = multiply(&own_lhs, &own_rhs, [lhs, rhs]);
                let errors = Errors {
                    lhs: lhs.matrix.relative_error(&own_lhs),
                    rhs: rhs.matrix.relative_error(&own_rhs),
                    product: exact.relative_error(&own),
                };
                (Some(errors), None)
            }
            Err(reason) => (None, Some(reason)),
        };
        all.push(ProductError {
            method: column.name().to_owned(),
            errors,
            kept,
        });
    }
    Ok(Some(all))
}

/// The product of numbers that stand for the operands', summed in f32 as steps sum it.
fn multiply(lhs: &[f32], rhs: &[f32], operands: [Operand<'_>; 2]) -> Vec<f32> {
    let [left, right] = operands;
    let rhs = View::new(rhs, right.matrix.rows(), right.matrix.columns());
    let rhs = match right.axis {
        0 => rhs,
        _ => rhs.transposed(),
    };
    let contracted = left.matrix.columns();
    if left.axis == 0 && left.matrix.shape().len() == 2 {
        let lhs = View::new(lhs, left.matrix.rows(), contracted);
        return product(lhs.transposed(), rhs);
    }
    let stretches = lhs.par_chunks(ROWS * contracted);
    let parts: Vec<Vec<f32>> = stretches
        .map(|rows| product(View::new(rows, rows.len() / contracted, contracted), rhs))
        .collect();
    parts.concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tessera_passes::linears::{Role, Side};

    fn matrix(shape: [usize; 2], of: impl Fn(usize, usize) -> f32) -> Matrix {
        let places = 0..shape[0] * shape[1];
        let values = places.map(|at| of(at / shape[1], at % shape[1]));
        Matrix::new(&shape, values.collect()).unwrap()
    }

    fn errors(lhs: &Matrix, rhs: &Matrix, axis: usize) -> Vec<ProductError> {
        let lhs = Operand {
            matrix: lhs,
            axis: 1,
        };
        let rhs = Operand { matrix: rhs, axis };
        let columns = Column::usual().unwrap();
        let all = analyze_product("w", [lhs, rhs], &columns, 0).unwrap();
        all.unwrap()
    }

    #[test]
    fn what_the_formats_hold_costs_nothing() {
        // Ones and twos: every plain method holds them and their sums exactly.
        let lhs = matrix([3, 32], |_, _| 1.0);
        let rhs = matrix([32, 5], |row, _| 1.0 + (row % 2) as f32);
        for error in &errors(&lhs, &rhs, 0)[..5] {
            let expected = Errors {
                lhs: 0.0,
                rhs: 0.0,
                product: 0.0,
            };
            assert_eq!(error.errors, Some(expected), "{}", error.method);
        }
    }

    #[test]
    fn a_weight_and_its_transpose_give_the_same_product() {
        let lhs = matrix([70, 48], |row, column| {
            (row as f32 * 1.3 + column as f32).sin()
        });
        let weight = |row: usize, column: usize| ((row * 7 + column * 3) as f32).cos();
        let inputs_first = errors(&lhs, &matrix([48, 20], weight), 0);
        let inputs_last = errors(
            &lhs,
            &matrix([20, 48], |row, column| weight(column, row)),
            1,
        );
        for (first, last) in inputs_first.iter().zip(&inputs_last) {
            let (first_errors, last_errors) = (first.errors.unwrap(), last.errors.unwrap());
            // The spectral split sees the matrix or its transpose, and what it rounds differs.
            if first.method != "nvfp4 spectral" {
                assert!((first_errors.product - last_errors.product).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn wgrad_sums_over_tokens() {
        // X = 1 (1, 2, 3)ᵀ and D of ones: XᵀD has rows of 4, 8 and 12, which every plain method holds.
        let x = matrix([4, 3], |_, column| (column + 1) as f32);
        let d = matrix([4, 5], |_, _| 1.0);
        let operands = [&x, &d].map(|matrix| Operand { matrix, axis: 0 });
        assert_eq!(
            multiply(x.values(), d.values(), operands),
            [[4.0; 5], [8.0; 5], [12.0; 5]].concat()
        );
        let recipe = tessera_passes::recipes::preset("nvfp4").unwrap();
        let columns = [Column::Recipe(Box::new(recipe), Side::Weight, Role::Wgrad)];
        let all = analyze_product("w", operands, &columns, 0).unwrap();
        // Three columns are fewer than a block has.
        assert!(all.unwrap()[0].kept.is_some());
    }

    #[test]
    fn a_recipe_treats_both_operands() {
        let lhs = matrix([64, 32], |row, column| {
            5.0 + ((row * 5 + column * 9) as f32).sin()
        });
        let rhs = matrix([32, 16], |row, column| ((row * 3 + column) as f32).cos());
        let recipe = tessera_passes::recipes::preset("averis").unwrap();
        let columns = [Column::Recipe(
            Box::new(recipe),
            Side::Weight,
            Role::Forward,
        )];
        let operands = [(&lhs, 1), (&rhs, 0)].map(|(matrix, axis)| Operand { matrix, axis });
        let all = analyze_product("w", operands, &columns, 0)
            .unwrap()
            .unwrap();
        let errors = all[0].errors.unwrap();
        // The activation is nearly all mean, which bf16 holds to 2⁻⁹; the weight has nothing but FP4.
        assert!(errors.lhs < 0.02 && errors.rhs > 0.05, "{errors:?}");
    }
}
