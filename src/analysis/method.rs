//! Ways of quantising an operand, each as it would be done in a step: what is split off, what is rotated, what is rounded.

use super::energy::mean_share;
use super::product::{View, product};
use super::{Matrix, Spectrum};
use crate::checkpoint::{decode, product_for, scaled};
use tessera_numerics::{
    Format, Quantization, QuantizerError, RandomStream, Rounding, ScaleLayout, ScaleRule,
    ScaledType, hadamard, inverse_hadamard, largest_magnitude, random_signs,
    transformer_engine_signs,
};
use tessera_passes::linears::{Role, Side};
use tessera_passes::recipes::{
    Hadamard, HighPrecision, KeptReason, MeanSplit, OperandPrecision, OperandRecipe, ProductRecipe,
    Recipe, Refusal, Scaling, Signs, SpectralSplit,
};

/// A column of the report: the same method for every tensor, or what a recipe has for it.
#[derive(Clone, Debug)]
pub enum Column {
    /// One method for all, and what it does with a weight in a product.
    Method {
        /// Of the tensor, or of a product's left operand.
        own: Box<Method>,
        /// Of a product's right operand.
        weight: Box<Method>,
    },
    /// What a recipe does with this operand of this product of the linear whose name the tensor has.
    Recipe(Box<Recipe>, Side, Role),
}

/// A way of quantising an operand.
#[derive(Clone, Debug)]
pub struct Method {
    name: String,
    operand: OperandRecipe,
    hadamard: Option<Hadamard>,
    seed: u64,
}

/// The presets that the usual methods with splits are taken from, with the names that they have here.
const USUAL_PRESETS: [(&str, &str); 2] = [("nvfp4 centred", "averis"), ("nvfp4 spectral", "metis")];

impl Column {
    /// What is looked at where no recipe is named: nvfp4 by each of its rules, mxfp4 and mxfp8; and nvfp4 centred as
    /// activations are by `averis`, with the spectral split of `metis`, and rotated by a Hadamard transform of 16.
    ///
    /// # Errors
    /// None: the combinations exist.
    pub fn usual() -> Result<Vec<Self>, Refusal> {
        let mut columns = Vec::new();
        let alike = |own: Method| Self::Method {
            weight: Box::new(own.clone()),
            own: Box::new(own),
        };
        for rule in [ScaleRule::Te, ScaleRule::Torchao, ScaleRule::FourOverSix] {
            let own = Scaling::new(
                Format::Nvfp4,
                tessera_numerics::BlockShape::Vector,
                rule,
                Rounding::NearestEven,
            )?;
            columns.push(alike(Method::plain(format!("nvfp4 {rule}"), own)?));
        }
        for format in [Format::Mxfp4, Format::Mxfp8E4m3] {
            let own = Method::plain(format.to_string(), Scaling::plain(format))?;
            columns.push(alike(own));
        }
        for (name, preset) in USUAL_PRESETS {
            let recipe = tessera_passes::recipes::preset(preset);
            let recipe = recipe.expect("the preset is one of those there are");
            let product = recipe.products().get(Role::Forward);
            let [(_, own), (_, weight)] = product.operands();
            let [own, weight] = [own, weight].map(|operand| {
                Box::new(Method {
                    name: name.to_owned(),
                    operand: *operand,
                    hadamard: None,
                    seed: 0,
                })
            });
            columns.push(Self::Method { own, weight });
        }
        let mut rotated =
            Method::plain("nvfp4 hadamard".to_owned(), Scaling::plain(Format::Nvfp4))?;
        rotated.hadamard = Some(Hadamard::new(16, Signs::Fixed)?);
        columns.push(alike(rotated));
        Ok(columns)
    }

    /// The heading.
    pub fn name(&self) -> &str {
        match self {
            Self::Method { own, .. } => &own.name,
            Self::Recipe(recipe, ..) => recipe.name(),
        }
    }

    /// The method for a tensor of that name, or why the recipe keeps it in high precision.
    pub(super) fn method_for(&self, name: &str, matrix: &Matrix) -> Result<Method, String> {
        match self {
            Self::Method { own, .. } => Ok(own.as_ref().clone()),
            Self::Recipe(recipe, side, role) => {
                let smallest = matrix.rows().min(matrix.columns());
                let product = product_for(recipe, name, smallest, *role);
                let product = product.map_err(|reason| reason.to_string())?;
                Method::of_recipe(recipe, product, *side, matrix)
            }
        }
    }

    /// The methods for the two operands of a product of the linear of that name, the recipe's in the order of the role's
    /// formula, or why it keeps the product in high precision.
    pub(super) fn methods_for_product(
        &self,
        name: &str,
        [left, right]: [&Matrix; 2],
    ) -> Result<[Method; 2], String> {
        match self {
            Self::Method { own, weight } => Ok([own.as_ref().clone(), weight.as_ref().clone()]),
            Self::Recipe(recipe, _, role) => {
                let sizes = [left.rows(), left.columns(), right.rows(), right.columns()];
                let smallest = sizes.into_iter().min().unwrap_or(0);
                let product = product_for(recipe, name, smallest, *role);
                let product = product.map_err(|reason| reason.to_string())?;
                let [lhs, rhs] = Side::of(*role);
                Ok([
                    Method::of_recipe(recipe, product, lhs, left)?,
                    Method::of_recipe(recipe, product, rhs, right)?,
                ])
            }
        }
    }
}

/// The quantised pieces of one operand draw their random bits from streams of their own.
#[derive(Clone, Copy)]
enum Site {
    Rest,
    Mean,
    Left,
    Right,
}

impl Method {
    /// Numbers quantised, and nothing else.
    fn plain(name: String, scaling: Scaling) -> Result<Self, Refusal> {
        let precision = OperandPrecision::Scaled(scaling);
        Ok(Self {
            name,
            operand: OperandRecipe::new(Side::Activation, precision, None, None)?,
            hadamard: None,
            seed: 0,
        })
    }

    /// What a recipe's product does with one of its operands.
    fn of_recipe(
        recipe: &Recipe,
        product: &ProductRecipe,
        side: Side,
        matrix: &Matrix,
    ) -> Result<Self, String> {
        let (rows, columns) = (matrix.rows(), matrix.columns());
        let operand = product.operand(side);
        let operand = operand.ok_or_else(|| format!("{} has no {side}", product.role().name()))?;
        if let Some(split) = operand.spectral() {
            let (rank, smaller) = (split.rank_of(rows, columns), rows.min(columns));
            if 2 * rank > smaller {
                return Err(KeptReason::Rank { rank, smaller }.to_string());
            }
        }
        Ok(Self {
            name: recipe.name().to_owned(),
            operand: *operand,
            hadamard: product.hadamard().copied(),
            seed: recipe.seed(),
        })
    }

    /// The number of leading directions of the tensor itself that the method asks for.
    pub(super) fn rank(&self, matrix: &Matrix) -> usize {
        match (self.operand.spectral(), self.operand.mean()) {
            (Some(split), None) => split.rank_of(matrix.rows(), matrix.columns()),
            _ => 0,
        }
    }

    /// M̂: what is read back of the method's parts, added up, row-major. Blocks run along `axis`. `spectrum` is the
    /// tensor's.
    ///
    /// # Errors
    /// None that a method which exists has.
    pub(super) fn read_back(
        &self,
        matrix: &Matrix,
        axis: usize,
        spectrum: &Spectrum,
    ) -> Result<Vec<f32>, QuantizerError> {
        let mut rest = matrix.values().to_vec();
        let mut read_back = vec![0.0; rest.len()];
        let mut is_centred = false;
        if let Some(split) = self.operand.mean().filter(|split| pays(split, matrix)) {
            self.take_mean(matrix, split, &mut rest, &mut read_back)?;
            is_centred = true;
        }
        if let Some(split) = self.operand.spectral() {
            let rank = split.rank_of(matrix.rows(), matrix.columns());
            let of_rest;
            let spectrum = if is_centred {
                // What is all mean leaves nothing to take apart.
                match Matrix::new(matrix.shape(), rest.clone()) {
                    Ok(rest) => of_rest = Spectrum::leading(&rest, rank, self.seed),
                    Err(_) => return Ok(read_back),
                }
                &of_rest
            } else {
                spectrum
            };
            self.take_directions(matrix, (split, rank), spectrum, &mut rest, &mut read_back)?;
        }
        let rest = match self.hadamard {
            None => self.round(
                &rest,
                matrix.shape(),
                axis,
                Site::Rest,
                self.operand.precision(),
            )?,
            Some(transform) => self.rotate_and_round(&rest, matrix.shape(), axis, transform)?,
        };
        add(&mut read_back, &rest);
        Ok(read_back)
    }

    /// Averis: `M = 1 μ + R`, μ rounded first, so that the sum is exact before R is rounded (arXiv 2603.10444, §5).
    fn take_mean(
        &self,
        matrix: &Matrix,
        split: &MeanSplit,
        rest: &mut [f32],
        read_back: &mut [f32],
    ) -> Result<(), QuantizerError> {
        let columns = matrix.columns();
        let mean: Vec<f32> = matrix.mean().iter().map(|&mean| mean as f32).collect();
        let part = self.operand.part(split.precision);
        let rounded = self.round(&mean, &[1, columns], 1, Site::Mean, part)?;
        for row in rest.chunks_exact_mut(columns) {
            row.iter_mut()
                .zip(&rounded)
                .for_each(|(value, mean)| *value -= mean);
        }
        read_back
            .chunks_exact_mut(columns)
            .for_each(|row| add(row, &rounded));
        Ok(())
    }

    /// Metis: `M = U S Vᵀ + R`, U and V rounded each by itself, with blocks along their long sides, S in f32
    /// (arXiv 2509.00404, §4).
    fn take_directions(
        &self,
        matrix: &Matrix,
        (split, rank): (&SpectralSplit, usize),
        spectrum: &Spectrum,
        rest: &mut [f32],
        read_back: &mut [f32],
    ) -> Result<(), QuantizerError> {
        let (rows, columns) = (matrix.rows(), matrix.columns());
        let right: Vec<f32> = spectrum
            .directions(rank)
            .iter()
            .map(|&one| one as f32)
            .collect();
        let rank = right.len() / columns;
        let transposed = |right| View::new(right, rank, columns).transposed();
        let projected = product(View::new(rest, rows, columns), transposed(&right));
        let taken = product(
            View::new(&projected, rows, rank),
            View::new(&right, rank, columns),
        );
        rest.iter_mut()
            .zip(&taken)
            .for_each(|(rest, taken)| *rest -= taken);

        let lengths = lengths(&projected, rank);
        let mut left = projected;
        for row in left.chunks_exact_mut(rank) {
            let each = row.iter_mut().zip(&lengths);
            each.for_each(|(value, &length)| *value /= if length > 0.0 { length } else { 1.0 });
        }
        let part = self.operand.part(split.factors());
        let mut left = self.round(&left, &[rows, rank], 0, Site::Left, part)?;
        let right = self.round(&right, &[rank, columns], 1, Site::Right, part)?;
        for row in left.chunks_exact_mut(rank) {
            row.iter_mut()
                .zip(&lengths)
                .for_each(|(value, length)| *value *= length);
        }
        let left = View::new(&left, rows, rank);
        add(read_back, &product(left, View::new(&right, rank, columns)));
        Ok(())
    }

    /// Rotated along the axis, rounded, and rotated back. Rows are padded with zeros to whole blocks of the transform.
    fn rotate_and_round(
        &self,
        values: &[f32],
        shape: &[usize],
        axis: usize,
        transform: Hadamard,
    ) -> Result<Vec<f32>, QuantizerError> {
        let size = transform.size();
        let signs = match transform.signs() {
            Signs::Fixed => transformer_engine_signs().to_vec(),
            Signs::Random | Signs::RandomPerStep => {
                random_signs(size, self.seed, 0).expect("transforms have the sizes that there are")
            }
        };
        let (columns, after) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
        let padded = transform.padded(columns);
        let place =
            |row: usize, column: usize| (row / after * columns + column) * after + row % after;
        let rows = values.len() / columns;
        let mut stored = vec![0.0; rows * padded];
        for (row, target) in stored.chunks_exact_mut(padded).enumerate() {
            for (column, value) in target[..columns].iter_mut().enumerate() {
                *value = values[place(row, column)];
            }
        }
        hadamard(&mut stored, size, &signs).expect("rows are whole blocks of the transform");
        let mut stored_shape = shape.to_vec();
        stored_shape.remove(axis);
        stored_shape.push(padded);
        let (last, precision) = (stored_shape.len() - 1, self.operand.precision());
        let mut rounded = self.round(&stored, &stored_shape, last, Site::Rest, precision)?;
        inverse_hadamard(&mut rounded, size, &signs).expect("rows are whole blocks still");
        let mut result = vec![0.0; values.len()];
        for (row, source) in rounded.chunks_exact(padded).enumerate() {
            for (column, &value) in source[..columns].iter().enumerate() {
                result[place(row, column)] = value;
            }
        }
        Ok(result)
    }

    /// Numbers stored so and read back.
    fn round(
        &self,
        values: &[f32],
        shape: &[usize],
        axis: usize,
        site: Site,
        precision: OperandPrecision,
    ) -> Result<Vec<f32>, QuantizerError> {
        let scaling = match precision {
            OperandPrecision::High(HighPrecision::F32) => return Ok(values.to_vec()),
            OperandPrecision::High(HighPrecision::Bf16) => {
                let rounded = values
                    .iter()
                    .map(|&value| half::bf16::from_f32(value).to_f32());
                return Ok(rounded.collect());
            }
            OperandPrecision::Scaled(scaling) => scaling,
        };
        let own = ScaledType::new(
            shape,
            scaling.format(),
            axis,
            scaling.blocks(),
            ScaleLayout::Linear,
        );
        let own = own.expect("the axis is the shape's, and the scaling is one that exists");
        let own = Quantization::new(own, scaling.rule(), scaling.rounding())
            .expect("the scaling is one that exists");
        let stream = own.rounding().is_random().then_some(RandomStream {
            seed: self.seed,
            step: 0,
            site: site as u32,
        });
        let tensor = scaled(values, &own, largest_magnitude(values), stream)?;
        Ok(decode(&tensor))
    }
}

/// Whether the split centres this tensor: always, or where its gate says so.
fn pays(split: &MeanSplit, matrix: &Matrix) -> bool {
    let gate = split.gate;
    gate.is_none_or(|gate| mean_share(matrix) >= gate.threshold().get())
}

fn add(sum: &mut [f32], values: &[f32]) {
    sum.iter_mut()
        .zip(values)
        .for_each(|(sum, value)| *sum += value);
}

/// The norms of a matrix's columns.
fn lengths(values: &[f32], columns: usize) -> Vec<f32> {
    let mut squares = vec![0.0; columns];
    for row in values.chunks_exact(columns) {
        for (square, &value) in squares.iter_mut().zip(row) {
            *square += f64::from(value).powi(2);
        }
    }
    squares
        .iter()
        .map(|square: &f64| square.sqrt() as f32)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Uncorrelated numbers, about normal: sums of four uniform ones, with the variance 1/3.
    fn noise(count: usize) -> Vec<f32> {
        let words = (0..count as u32).map(|i| {
            tessera_numerics::philox::philox_4x32_10([i, 0, 0, 1], [5, 0])
                .map(|word| word as f32 / u32::MAX as f32 - 0.5)
        });
        words.map(|four| four.iter().sum()).collect()
    }

    fn errors(matrix: &Matrix, axis: usize) -> std::collections::BTreeMap<String, f64> {
        let spectrum = Spectrum::leading(matrix, 8, 0);
        let columns = Column::usual().unwrap();
        let each = columns.iter().map(|column| {
            let method = column.method_for("x", matrix).unwrap();
            let read_back = method.read_back(matrix, axis, &spectrum).unwrap();
            let error = matrix.relative_error(&read_back);
            (column.name().to_owned(), error)
        });
        each.collect()
    }

    #[test]
    fn the_usual_methods_have_names_of_their_own() {
        let columns = Column::usual().unwrap();
        let names: Vec<&str> = columns.iter().map(Column::name).collect();
        assert_eq!(
            names,
            [
                "nvfp4 te",
                "nvfp4 torchao",
                "nvfp4 four_over_six",
                "mxfp4",
                "mxfp8_e4m3",
                "nvfp4 centred",
                "nvfp4 spectral",
                "nvfp4 hadamard",
            ]
        );
    }

    #[test]
    fn a_plain_method_loses_what_quantising_loses() {
        let values = noise(32 * 48);
        let own = ScaledType::new(
            [32, 48],
            Format::Mxfp4,
            0,
            tessera_numerics::BlockShape::Vector,
            ScaleLayout::Linear,
        );
        let own = Quantization::new(own.unwrap(), ScaleRule::Rceil, Rounding::NearestEven);
        let tensor = tessera_numerics::quantize(&values, &own.unwrap(), None, None).unwrap();
        let expected = crate::checkpoint::Loss::of(&tensor, &values).relative;
        let matrix = Matrix::new(&[32, 48], values).unwrap();
        // The two add the same f64 in another order.
        assert!((errors(&matrix, 0)["mxfp4"] - expected).abs() < 1e-12);
    }

    #[test]
    fn centring_pays_where_the_mean_holds_most_of_the_energy() {
        let mut values = noise(64 * 48);
        for row in values.chunks_exact_mut(48) {
            for (column, value) in row.iter_mut().enumerate() {
                *value += 4.0 * (column as f32).sin();
            }
        }
        let errors = errors(&Matrix::new(&[64, 48], values).unwrap(), 1);
        // The noise is a fifth of the mean; the rest is quantised as badly as anything, a mean in bf16 costs 2⁻⁹.
        assert!(
            errors["nvfp4 centred"] < 0.4 * errors["nvfp4 te"],
            "{errors:?}"
        );
    }

    /// A column of the usual ones, and what it reads back.
    fn read_back(matrix: &Matrix, axis: usize, name: &str) -> Vec<f32> {
        let columns = Column::usual().unwrap();
        let column = columns.iter().find(|column| column.name() == name).unwrap();
        let method = column.method_for("x", matrix).unwrap();
        let spectrum = Spectrum::leading(matrix, 8, 0);
        method.read_back(matrix, axis, &spectrum).unwrap()
    }

    #[test]
    fn a_spectral_split_spares_what_lies_beside_the_leading_direction() {
        // One direction a hundred times as strong as the noise in each other one: M = σ u vᵀ + N.
        let (rows, columns) = (128, 64);
        let unit = |count: usize, frequency: f32| {
            let values: Vec<f32> = (0..count).map(|i| (i as f32 * frequency).sin()).collect();
            let norm = values.iter().map(|x| x * x).sum::<f32>().sqrt();
            values.into_iter().map(|x| x / norm).collect::<Vec<f32>>()
        };
        let (u, v) = (unit(rows, 2.1), unit(columns, 0.7));
        let mut values = noise(rows * columns);
        for (at, value) in values.iter_mut().enumerate() {
            *value = 0.01 * *value + 40.0 * u[at / columns] * v[at % columns];
        }
        let matrix = Matrix::new(&[rows, columns], values).unwrap();
        // (I − u uᵀ) (M̂ − M) (I − v vᵀ): the error in what is neither in u nor in v.
        let beside = |name: &str| {
            let back = read_back(&matrix, 1, name);
            let mut error: Vec<f32> = back
                .iter()
                .zip(matrix.values())
                .map(|(back, own)| back - own)
                .collect();
            for row in error.chunks_exact_mut(columns) {
                let part: f32 = row.iter().zip(&v).map(|(e, v)| e * v).sum();
                row.iter_mut().zip(&v).for_each(|(e, v)| *e -= part * v);
            }
            for column in 0..columns {
                let part: f32 = (0..rows)
                    .map(|row| error[row * columns + column] * u[row])
                    .sum();
                (0..rows).for_each(|row| error[row * columns + column] -= part * u[row]);
            }
            error.iter().map(|e| f64::from(e * e)).sum::<f64>().sqrt()
        };
        // Whole, M is rounded with an error of some percent of σ, nearly all of it beside u and v. Split, the error there is
        // that of the noise, and of σ the product of both factors' errors: some percent of some percent.
        let (split, whole) = (beside("nvfp4 spectral"), beside("nvfp4 te"));
        assert!(split < 0.25 * whole, "{split} split, {whole} whole");
    }

    #[test]
    fn rotating_loses_nothing_that_is_on_the_grid_when_rotated() {
        // Rotated, each block of 16 holds every code's number, so that its scale is 1: what is rounded is on the grid.
        const GRID: [f32; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];
        let mut values: Vec<f32> = (0..64 * 48)
            .map(|at: usize| {
                GRID[at * 5 % 8]
                    * if (at / 8).is_multiple_of(2) {
                        1.0
                    } else {
                        -1.0
                    }
            })
            .collect();
        inverse_hadamard(&mut values, 16, &transformer_engine_signs()).unwrap();
        let errors = errors(&Matrix::new(&[64, 48], values).unwrap(), 1);
        // Both transforms are four steps of f32 additions and a factor that is exact.
        let rounding = 10.0 * f64::from(f32::EPSILON);
        assert!(errors["nvfp4 hadamard"] < rounding, "{errors:?}");
        assert!(errors["nvfp4 te"] > 0.01, "{errors:?}");
    }

    #[test]
    fn rotated_rows_of_no_whole_number_of_blocks_keep_their_numbers() {
        // Rows of 40 are three blocks with a tail of 8. Were all of E2M1's steps as wide as its widest, errors would lie
        // evenly within a sixth of their block's largest number, with a root mean square of 1 / (6 · √3) of it; of sixteen
        // normal numbers that is 1.8 times theirs: 0.17.
        let matrix = Matrix::new(&[40, 40], noise(40 * 40)).unwrap();
        for axis in 0..2 {
            assert!(errors(&matrix, axis)["nvfp4 hadamard"] < 0.17);
        }
    }

    #[test]
    fn a_recipe_treats_each_operand_as_it_says() {
        let recipe = tessera_passes::recipes::preset("averis").unwrap();
        let matrix = Matrix::new(&[16, 32], noise(512)).unwrap();
        let method = |side, role| {
            let column = Column::Recipe(Box::new(recipe.clone()), side, role);
            column.method_for("x", &matrix).unwrap()
        };
        assert!(
            method(Side::Activation, Role::Forward)
                .operand
                .mean()
                .is_some()
        );
        assert!(method(Side::Weight, Role::Forward).operand.mean().is_none());
        let gradient = method(Side::Gradient, Role::Wgrad).operand.precision();
        let rounding = gradient.scaling().map(Scaling::rounding);
        assert_eq!(rounding, Some(Rounding::Stochastic));
    }
}
