//! All figures of one tensor.

use super::{Column, Energy, Matrix, Range, Spectrum};
use serde::Serialize;
use tessera_numerics::QuantizerError;

/// The figures of a tensor.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Its name.
    pub tensor: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// The dimension that blocks run along.
    pub axis: usize,
    /// Shares of the energy.
    pub energy: Energy,
    /// Magnitudes, in powers of two.
    pub range: Range,
    /// An entry a method, in the order asked for.
    pub errors: Vec<MethodError>,
}

/// What a method costs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MethodError {
    /// The method or recipe.
    pub method: String,
    /// ‖M − M̂‖ / ‖M‖; nothing where the tensor is not quantised.
    pub relative_error: Option<f64>,
    /// Why it is not quantised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
}

/// The figures of a tensor of that name, with blocks along `axis`. `seed` is what the search for singular directions
/// starts from.
///
/// # Errors
/// None that methods which exist have.
pub fn analyze(
    name: &str,
    matrix: &Matrix,
    axis: usize,
    columns: &[Column],
    seed: u64,
) -> Result<Report, QuantizerError> {
    let methods: Vec<_> = columns
        .iter()
        .map(|column| column.method_for(name, matrix))
        .collect();
    let ranks = methods.iter().flatten().map(|method| method.rank(matrix));
    let rank = ranks.fold(Energy::rank(matrix), usize::max);
    let spectrum = Spectrum::leading(matrix, rank, seed);
    let mut errors = Vec::new();
    for (column, method) in columns.iter().zip(methods) {
        let (relative_error, kept) = match method {
            Ok(method) => {
                let read_back = method.read_back(matrix, axis, &spectrum)?;
                (Some(matrix.relative_error(&read_back)), None)
            }
            Err(reason) => (None, Some(reason)),
        };
        errors.push(MethodError {
            method: column.name().to_owned(),
            relative_error,
            kept,
        });
    }
    Ok(Report {
        tensor: name.to_owned(),
        shape: matrix.shape().to_vec(),
        axis,
        energy: Energy::of(matrix, &spectrum),
        range: Range::of(matrix, axis),
        errors,
    })
}
