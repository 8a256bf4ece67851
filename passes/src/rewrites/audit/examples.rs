//! For each rule, random graphs that it applies to.

use tessera_ir::{
    Builder, DotDimensionNumbers, ElementType, Graph, Input, OpError, OpKind, QuantizeOperands,
    TensorType, ValueId,
};
use tessera_numerics::{
    BlockShape, Format, Quantization, Rounding, ScaleLayout, ScaleRule, ScaledType,
};

/// Numbers that look random and are the same each time: a linear congruential generator with Knuth's constants.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    /// A size of a dimension, from 1 to 5.
    fn size(&mut self) -> usize {
        1 + self.below(5)
    }

    fn flip(&mut self) -> bool {
        self.below(2) == 1
    }
}

type Example = fn(&mut Random) -> Result<Graph, OpError>;

pub(super) const EXAMPLES: &[(&str, Example)] = &[
    ("reshape of reshape", reshapes),
    ("transpose of transpose", transposes),
    ("broadcast of broadcast", broadcasts),
    ("elementwise of reshapes", elementwise_of_reshapes),
    ("elementwise of transposes", elementwise_of_transposes),
    ("elementwise of broadcasts", elementwise_of_broadcasts),
    ("reduction of reshape", reductions_of_reshape),
    ("reduction of transpose", reductions_of_transpose),
    ("hadamard of broadcast", hadamard_of_broadcast),
    ("product of transpose", products_of_transposes),
    ("transpose of product", transpose_of_product),
    ("product of reshape", products_of_reshapes),
    ("product of repeated rows", products_of_repeated_rows),
    (
        "product along repeated terms",
        products_along_repeated_terms,
    ),
    ("product with a product of low rank", products_with_low_rank),
    ("sum of repetition", sums_of_repetition),
    ("mean of repetition", means_of_repetition),
    ("outer product by broadcast", batched_outer_products),
    ("broadcast factors as outer product", broadcast_factors),
    (
        "product with an outer product",
        products_with_outer_products,
    ),
    ("thin products together", corrections),
    ("common factor of outer products", corrections),
    ("sum of thin products", outer_products),
    ("multiple of outer product", outer_products),
    ("stream of no randomness", streams),
    ("scaled product of transpose", scaled_products),
    ("product of numbers", products_of_numbers),
    ("numbers of quantised transpose", quantised_transposes),
    ("numbers of square blocks", square_blocks),
    ("quantisation in another order", other_orders),
];

fn f32s(shape: &[usize]) -> Input {
    Input::new(TensorType::new(ElementType::F32, shape))
}

/// A graph without results: the e-graph has all values.
fn finish(builder: Builder) -> Result<Graph, OpError> {
    Ok(builder.finish(Vec::<ValueId>::new()))
}

fn reshapes(random: &mut Random) -> Result<Graph, OpError> {
    let [a, b, c] = [(); 3].map(|()| random.size());
    let (mut g, [x, row]) = Builder::new("", [f32s(&[a, b, c]), f32s(&[b])]);
    let flat = g.reshape(x, &[a * b, c])?;
    g.reshape(flat, &[a, b * c])?;
    g.reshape(flat, &[a, b, c])?;
    let repeated = g.broadcast_in_dim(row, &[1], &[a, b, c])?;
    g.reshape(repeated, &[a, b, 1, c])?;
    g.reshape(repeated, &[a * b, c])?;
    finish(g)
}

fn transposes(random: &mut Random) -> Result<Graph, OpError> {
    let [a, b, c] = [(); 3].map(|()| random.size());
    let (mut g, [x, row]) = Builder::new("", [f32s(&[a, b, c]), f32s(&[b])]);
    let y = g.transpose(x, &[1, 2, 0])?;
    let back = g.transpose(y, &[2, 0, 1])?;
    g.transpose(back, &[0, 2, 1])?;
    g.transpose(y, &[2, 1, 0])?;
    let repeated = g.broadcast_in_dim(row, &[1], &[a, b, c])?;
    g.transpose(repeated, &[1, 0, 2])?;
    finish(g)
}

fn broadcasts(random: &mut Random) -> Result<Graph, OpError> {
    let [a, b, c] = [(); 3].map(|()| random.size());
    let (mut g, [x, matrix]) = Builder::new("", [f32s(&[b]), f32s(&[a, b])]);
    let once = g.broadcast_in_dim(x, &[1], &[a, b])?;
    g.broadcast_in_dim(once, &[0, 2], &[a, c, b])?;
    g.broadcast_in_dim(once, &[1, 0], &[b, a])?;
    g.broadcast_in_dim(matrix, &[0, 2], &[a, 1, b])?;
    g.broadcast_in_dim(matrix, &[0, 1], &[a, b])?;
    finish(g)
}

fn elementwise_of_reshapes(random: &mut Random) -> Result<Graph, OpError> {
    let [a, b, c] = [(); 3].map(|()| random.size());
    let (mut g, [x, y, row]) = Builder::new("", [f32s(&[a, b, c]), f32s(&[a, b, c]), f32s(&[c])]);
    let flat = TensorType::new(ElementType::F32, [a * b, c]);
    let (x, y) = (g.reshape(x, &flat.shape)?, g.reshape(y, &flat.shape)?);
    let row = g.broadcast_in_dim(row, &[1], &flat.shape)?;
    let half = g.splat(0.5, &flat)?;
    let difference = g.subtract(x, row)?;
    let product = g.multiply(difference, y)?;
    let scaled = g.multiply(product, half)?;
    g.exponential(scaled)?;
    finish(g)
}

fn elementwise_of_transposes(random: &mut Random) -> Result<Graph, OpError> {
    let [a, b, c] = [(); 3].map(|()| random.size());
    let (mut g, [x, y, row]) = Builder::new("", [f32s(&[a, b, c]), f32s(&[a, b, c]), f32s(&[c])]);
    let order = if random.flip() { [1, 2, 0] } else { [2, 1, 0] };
    let shape = order.map(|d| [a, b, c][d]);
    let (x, y) = (g.transpose(x, &order)?, g.transpose(y, &order)?);
    let place = order.iter().position(|&d| d == 2).unwrap_or(0);
    let row = g.broadcast_in_dim(row, &[place], &shape)?;
    let half = g.splat(0.5, &TensorType::new(ElementType::F32, shape))?;
    let difference = g.subtract(x, row)?;
    let product = g.multiply(difference, y)?;
    let scaled = g.multiply(product, half)?;
    g.abs(scaled)?;
    finish(g)
}

fn elementwise_of_broadcasts(random: &mut Random) -> Result<Graph, OpError> {
    let [a, b] = [(); 2].map(|()| 1 + random.size());
    let (mut g, [x, y, s]) = Builder::new("", [f32s(&[b]), f32s(&[b]), f32s(&[])]);
    let repeated = |g: &mut Builder, x| g.broadcast_in_dim(x, &[1], &[a, b]);
    let (x, y) = (repeated(&mut g, x)?, repeated(&mut g, y)?);
    let half = g.splat(0.5, &TensorType::new(ElementType::F32, [a, b]))?;
    let sum = g.add(x, y)?;
    let scaled = g.multiply(sum, half)?;
    g.negate(scaled)?;
    let s = g.broadcast_in_dim(s, &[], &[a, b])?;
    let t = g.multiply(s, half)?;
    g.subtract(t, s)?;
    finish(g)
}

fn reductions_of_reshape(random: &mut Random) -> Result<Graph, OpError> {
    let [a, b, c] = [(); 3].map(|()| random.size());
    let (mut g, [x]) = Builder::new("", [f32s(&[a, b, c])]);
    let flat = g.reshape(x, &[a * b, c])?;
    let all = g.reshape(x, &[a * b * c])?;
    let split = g.reshape(flat, &[a, b, 1, c])?;
    g.reduce_max(flat, &[0])?;
    g.reduce_sum(flat, &[0])?;
    g.reduce_sum(flat, &[1])?;
    g.reduce_max(all, &[0])?;
    g.reduce_sum(split, &[0, 2])?;
    g.column_mean(flat, &[0])?;
    g.column_mean(split, &[0, 1])?;
    finish(g)
}

fn reductions_of_transpose(random: &mut Random) -> Result<Graph, OpError> {
    let [a, b, c] = [(); 3].map(|()| random.size());
    let (mut g, [x]) = Builder::new("", [f32s(&[a, b, c])]);
    let y = g.transpose(x, &[2, 1, 0])?;
    g.reduce_max(y, &[0, 1, 2])?;
    g.reduce_max(y, &[1])?;
    g.reduce_sum(y, &[1])?;
    g.reduce_sum(y, &[0, 1])?;
    g.column_mean(y, &[2])?;
    g.column_mean(y, &[1, 2])?;
    let z = g.transpose(x, &[2, 0, 1])?;
    g.column_mean(z, &[1, 2])?;
    finish(g)
}

fn hadamard_of_broadcast(random: &mut Random) -> Result<Graph, OpError> {
    let [a, b] = [(); 2].map(|()| 1 + random.size());
    let (mut g, [mean]) = Builder::new("", [f32s(&[32])]);
    let signs: Vec<bool> = (0..16).map(|_| random.flip()).collect();
    let repeated = g.broadcast_in_dim(mean, &[1], &[a, 32, b])?;
    g.hadamard(repeated, 1, &signs)?;
    finish(g)
}

fn dot(
    g: &mut Builder,
    (lhs, rhs): (ValueId, ValueId),
    batching: (&[usize], &[usize]),
    contracting: (&[usize], &[usize]),
) -> Result<ValueId, OpError> {
    let dimensions = DotDimensionNumbers {
        lhs_batching: batching.0,
        rhs_batching: batching.1,
        lhs_contracting: contracting.0,
        rhs_contracting: contracting.1,
    };
    g.dot_general(lhs, rhs, &dimensions, ElementType::F32, ElementType::F32)
}

fn products_of_transposes(random: &mut Random) -> Result<Graph, OpError> {
    let [a, b, c, d] = [(); 4].map(|()| random.size());
    let (mut g, [x, y]) = Builder::new("", [f32s(&[a, b, c]), f32s(&[d, a, c])]);
    let (xt, yt) = (g.transpose(x, &[0, 2, 1])?, g.transpose(y, &[1, 2, 0])?);
    dot(&mut g, (xt, yt), (&[0], &[0]), (&[1], &[1]))?;
    dot(&mut g, (xt, yt), (&[], &[]), (&[0, 1], &[0, 1]))?;
    finish(g)
}

fn transpose_of_product(random: &mut Random) -> Result<Graph, OpError> {
    let [a, b, c, d] = [(); 4].map(|()| random.size());
    let (mut g, [x, y]) = Builder::new("", [f32s(&[a, b, c]), f32s(&[a, c, d])]);
    let z = dot(&mut g, (x, y), (&[0], &[0]), (&[2], &[1]))?;
    g.transpose(z, &[0, 2, 1])?;
    finish(g)
}

fn products_of_reshapes(random: &mut Random) -> Result<Graph, OpError> {
    let [a, b, c, d] = [(); 4].map(|()| 1 + random.size());
    let (mut g, [x, y, w]) = Builder::new("", [f32s(&[a, b, c]), f32s(&[a, b, d]), f32s(&[c, d])]);
    let (fx, fy) = (g.reshape(x, &[a * b, c])?, g.reshape(y, &[a * b, d])?);
    dot(&mut g, (fx, w), (&[], &[]), (&[1], &[0]))?;
    dot(&mut g, (fx, fy), (&[], &[]), (&[0], &[0]))?;
    finish(g)
}

fn products_of_repeated_rows(random: &mut Random) -> Result<Graph, OpError> {
    let [a, b, c, d] = [(); 4].map(|()| random.size());
    let (mut g, [mean, w, rows]) = Builder::new("", [f32s(&[c]), f32s(&[c, d]), f32s(&[1, c])]);
    let repeated = g.broadcast_in_dim(mean, &[1], &[a + 1, c])?;
    dot(&mut g, (repeated, w), (&[], &[]), (&[1], &[0]))?;
    dot(&mut g, (w, repeated), (&[], &[]), (&[0], &[1]))?;
    let repeated = g.broadcast_in_dim(rows, &[1, 2], &[a, b + 1, c])?;
    dot(&mut g, (repeated, w), (&[], &[]), (&[2], &[0]))?;
    let batched = g.broadcast_in_dim(w, &[1, 2], &[a, c, d])?;
    dot(&mut g, (repeated, batched), (&[0], &[0]), (&[2], &[1]))?;
    finish(g)
}

fn products_along_repeated_terms(random: &mut Random) -> Result<Graph, OpError> {
    let [a, b, c, d] = [(); 4].map(|()| random.size());
    let l = a + 1;
    let (mut g, [mean, gradient, deep]) =
        Builder::new("", [f32s(&[c]), f32s(&[l, d]), f32s(&[l, b, d])]);
    let repeated = g.broadcast_in_dim(mean, &[1], &[l, c])?;
    dot(&mut g, (repeated, gradient), (&[], &[]), (&[0], &[0]))?;
    dot(&mut g, (gradient, repeated), (&[], &[]), (&[0], &[0]))?;
    let repeated = g.broadcast_in_dim(mean, &[2], &[l, b, c])?;
    dot(&mut g, (repeated, deep), (&[], &[]), (&[0, 1], &[0, 1]))?;
    dot(&mut g, (deep, repeated), (&[1], &[1]), (&[0], &[0]))?;
    finish(g)
}

fn products_with_low_rank(random: &mut Random) -> Result<Graph, OpError> {
    let [m, n, p, e] = [(); 4].map(|()| 4 + random.size());
    let k = 1 + random.below(2);
    let inputs = [f32s(&[m, k]), f32s(&[k, n]), f32s(&[n, p]), f32s(&[p, m])];
    let (mut g, [a, b, c, d]) = Builder::new("", inputs);
    let low = g.matmul(a, b)?;
    g.matmul(low, c)?;
    g.matmul(d, low)?;
    dot(&mut g, (low, d), (&[], &[]), (&[0], &[1]))?;
    dot(&mut g, (c, low), (&[], &[]), (&[0], &[1]))?;
    dot(&mut g, (low, low), (&[], &[]), (&[0], &[0]))?;
    let a = g.broadcast_in_dim(a, &[1, 2], &[e, m, k])?;
    let b = g.broadcast_in_dim(b, &[1, 2], &[e, k, n])?;
    let c = g.broadcast_in_dim(c, &[1, 2], &[e, n, p])?;
    let low = dot(&mut g, (a, b), (&[0], &[0]), (&[2], &[1]))?;
    dot(&mut g, (low, c), (&[0], &[0]), (&[2], &[1]))?;
    dot(&mut g, (c, low), (&[0], &[0]), (&[1], &[2]))?;
    finish(g)
}

fn sums_of_repetition(random: &mut Random) -> Result<Graph, OpError> {
    let [a, b, c] = [(); 3].map(|()| 1 + random.size());
    let (mut g, [x]) = Builder::new("", [f32s(&[c])]);
    let repeated = g.broadcast_in_dim(x, &[1], &[a, c, b])?;
    g.reduce_sum(repeated, &[0])?;
    g.reduce_sum(repeated, &[0, 1])?;
    g.reduce_sum(repeated, &[0, 1, 2])?;
    finish(g)
}

fn means_of_repetition(random: &mut Random) -> Result<Graph, OpError> {
    // Powers of two, so that the mean of integers is exact.
    let [a, b, c] = [(); 3].map(|()| 2 << random.below(2));
    let (mut g, [x]) = Builder::new("", [f32s(&[c])]);
    let repeated = g.broadcast_in_dim(x, &[1], &[a, c, b])?;
    g.column_mean(repeated, &[0])?;
    g.column_mean(repeated, &[0, 1])?;
    finish(g)
}

fn outer_products(random: &mut Random) -> Result<Graph, OpError> {
    let [m, n] = [(); 2].map(|()| random.size());
    let inputs = [f32s(&[m]), f32s(&[m]), f32s(&[n]), f32s(&[n])];
    let (mut g, [a, b, c, d]) = Builder::new("", inputs);
    let outer = |g: &mut Builder, x, y| dot(g, (x, y), (&[], &[]), (&[], &[]));
    let (ac, bd) = (outer(&mut g, a, c)?, outer(&mut g, b, d)?);
    let (bc, ad) = (outer(&mut g, b, c)?, outer(&mut g, a, d)?);
    let half = g.splat(0.5, &TensorType::new(ElementType::F32, [m, n]))?;
    g.multiply(ac, half)?;
    g.add(ac, bd)?;
    g.add(ac, bc)?;
    g.add(ac, ad)?;
    finish(g)
}

fn batched_outer_products(random: &mut Random) -> Result<Graph, OpError> {
    let [e, m, n] = [(); 3].map(|()| random.size());
    let (mut g, [a, c]) = Builder::new("", [f32s(&[m, e]), f32s(&[e, n])]);
    dot(&mut g, (a, c), (&[1], &[0]), (&[], &[]))?;
    finish(g)
}

fn broadcast_factors(random: &mut Random) -> Result<Graph, OpError> {
    let [m, n] = [(); 2].map(|()| 1 + random.size());
    let (mut g, [a, b]) = Builder::new("", [f32s(&[m]), f32s(&[n])]);
    let a = g.broadcast_in_dim(a, &[0], &[m, n])?;
    let b = g.broadcast_in_dim(b, &[1], &[m, n])?;
    g.multiply(a, b)?;
    g.multiply(b, a)?;
    finish(g)
}

fn products_with_outer_products(random: &mut Random) -> Result<Graph, OpError> {
    let [m, n, p] = [(); 3].map(|()| random.size());
    let (mut g, [a, b, c, d]) =
        Builder::new("", [f32s(&[m]), f32s(&[n]), f32s(&[n, p]), f32s(&[p, m])]);
    let outer = dot(&mut g, (a, b), (&[], &[]), (&[], &[]))?;
    g.matmul(outer, c)?;
    g.matmul(d, outer)?;
    dot(&mut g, (outer, d), (&[], &[]), (&[0], &[1]))?;
    dot(&mut g, (c, outer), (&[], &[]), (&[0], &[1]))?;
    finish(g)
}

fn corrections(random: &mut Random) -> Result<Graph, OpError> {
    let [m, n] = [(); 2].map(|()| random.size());
    let inputs = [
        f32s(&[m, n]),
        f32s(&[m]),
        f32s(&[m]),
        f32s(&[n]),
        f32s(&[2, m]),
        f32s(&[2, n]),
    ];
    let (mut g, [product, a, b, c, d, e]) = Builder::new("", inputs);
    let first = dot(&mut g, (a, c), (&[], &[]), (&[], &[]))?;
    let second = dot(&mut g, (b, c), (&[], &[]), (&[], &[]))?;
    let third = dot(&mut g, (d, e), (&[], &[]), (&[0], &[0]))?;
    let mut sum = g.add(product, first)?;
    sum = g.add(second, sum)?;
    g.add(sum, third)?;
    finish(g)
}

fn scaled(shape: &[usize], axis: usize, blocks: BlockShape) -> Quantization {
    rounded(shape, axis, blocks, Rounding::NearestEven)
}

fn rounded(shape: &[usize], axis: usize, blocks: BlockShape, rounding: Rounding) -> Quantization {
    let scaled = ScaledType::new(shape, Format::Nvfp4, axis, blocks, ScaleLayout::Linear);
    Quantization::new(scaled.unwrap(), ScaleRule::Te, rounding).unwrap()
}

fn amax(g: &mut Builder, x: ValueId) -> Result<ValueId, OpError> {
    let magnitudes = g.abs(x)?;
    let rank = g.graph().tensor_type(x).rank();
    g.reduce_max(magnitudes, &(0..rank).collect::<Vec<_>>())
}

fn quantize(
    g: &mut Builder,
    x: ValueId,
    quantization: &Quantization,
    site: usize,
) -> Result<ValueId, OpError> {
    let amax = Some(amax(g, x)?);
    g.quantize(
        x,
        QuantizeOperands { amax, step: None },
        quantization,
        (3, site),
    )
}

fn streams(random: &mut Random) -> Result<Graph, OpError> {
    let [l, m] = [20 + random.size(), 16 + random.size()];
    let (mut g, [x]) = Builder::new("", [f32s(&[l, m])]);
    for site in 0..3 {
        quantize(&mut g, x, &scaled(&[l, m], 1, BlockShape::Vector), site)?;
    }
    finish(g)
}

fn scaled_products(random: &mut Random) -> Result<Graph, OpError> {
    let [l, m, n] = [(); 3].map(|()| 14 + random.size());
    let step = Input::new(TensorType::scalar(ElementType::Ui32));
    let inputs = [f32s(&[m, l]), f32s(&[m, n]), step, f32s(&[3, m, l])];
    let (mut g, [x, w, step, batched]) = Builder::new("", inputs);
    let rows = g.transpose(x, &[1, 0])?;
    let columns = quantize(&mut g, w, &scaled(&[m, n], 0, BlockShape::Vector), 0)?;
    let near = quantize(&mut g, rows, &scaled(&[l, m], 1, BlockShape::Vector), 1)?;
    g.scaled_dot(near, columns, ElementType::F32)?;
    let square = quantize(&mut g, rows, &scaled(&[l, m], 1, BlockShape::Square), 1)?;
    g.scaled_dot(columns, square, ElementType::F32)?;
    let random_bits = rounded(&[l, m], 1, BlockShape::Vector, Rounding::Stochastic);
    let operands = QuantizeOperands {
        amax: Some(amax(&mut g, rows)?),
        step: Some(step),
    };
    let random_bits = g.quantize(rows, operands, &random_bits, (3, 5))?;
    g.scaled_dot(random_bits, columns, ElementType::F32)?;
    let batched = g.transpose(batched, &[0, 2, 1])?;
    let lhs = quantize(
        &mut g,
        batched,
        &scaled(&[3, l, m], 2, BlockShape::Vector),
        1,
    )?;
    let kind = OpKind::ScaledDot {
        lhs_batching_dimensions: vec![0],
        rhs_batching_dimensions: vec![0],
        element: ElementType::F32,
    };
    g.push_value(kind, [lhs, lhs])?;
    finish(g)
}

fn quantised_transposes(random: &mut Random) -> Result<Graph, OpError> {
    let [l, m] = [(); 2].map(|()| 14 + random.size());
    let (mut g, [x]) = Builder::new("", [f32s(&[m, l])]);
    let rows = g.transpose(x, &[1, 0])?;
    for blocks in [BlockShape::Vector, BlockShape::Square] {
        let codes = quantize(&mut g, rows, &scaled(&[l, m], 1, blocks), 1)?;
        g.dequantize(codes, ElementType::F32)?;
    }
    finish(g)
}

fn square_blocks(random: &mut Random) -> Result<Graph, OpError> {
    let [l, m] = [(); 2].map(|()| 14 + random.size());
    let (mut g, [x]) = Builder::new("", [f32s(&[l, m])]);
    for axis in 0..2 {
        let codes = quantize(&mut g, x, &scaled(&[l, m], axis, BlockShape::Square), 1)?;
        g.dequantize(codes, ElementType::F32)?;
    }
    finish(g)
}

fn other_orders(random: &mut Random) -> Result<Graph, OpError> {
    let [l, m] = [(); 2].map(|()| 14 + random.size());
    let step = Input::new(TensorType::scalar(ElementType::Ui32));
    let (mut g, [x, step]) = Builder::new("", [f32s(&[l, m]), step]);
    let amax = Some(amax(&mut g, x)?);
    for axis in 0..2 {
        for layout in ScaleLayout::ALL {
            let square =
                ScaledType::new([l, m], Format::Nvfp4, axis, BlockShape::Square, layout).unwrap();
            for (rounding, step) in [
                (Rounding::NearestEven, None),
                (Rounding::Stochastic, Some(step)),
            ] {
                let how = Quantization::new(square.clone(), ScaleRule::Te, rounding).unwrap();
                g.quantize(x, QuantizeOperands { amax, step }, &how, (3, 1))?;
            }
        }
    }
    finish(g)
}

/// In a format that holds small integers as they are, so that both products are exact.
fn products_of_numbers(random: &mut Random) -> Result<Graph, OpError> {
    let [l, m, n] = [(); 3].map(|()| 30 + random.size());
    let (mut g, [x, w, batch]) = Builder::new("", [f32s(&[l, m]), f32s(&[m, n]), f32s(&[2, n, m])]);
    let mut numbers = |x: ValueId, shape: &[usize], axis: usize| {
        let (blocks, layout) = (BlockShape::Vector, ScaleLayout::Linear);
        let scaled = ScaledType::new(shape, Format::Mxfp4, axis, blocks, layout).unwrap();
        let how = Quantization::new(scaled, ScaleRule::Rceil, Rounding::NearestEven).unwrap();
        let codes = g.quantize(x, QuantizeOperands::default(), &how, (3, 1))?;
        g.dequantize(codes, ElementType::F32)
    };
    let (x, w) = (numbers(x, &[l, m], 1)?, numbers(w, &[m, n], 0)?);
    let batch = numbers(batch, &[2, n, m], 2)?;
    dot(&mut g, (x, w), (&[], &[]), (&[1], &[0]))?;
    dot(&mut g, (w, x), (&[], &[]), (&[0], &[1]))?;
    dot(&mut g, (batch, batch), (&[0], &[0]), (&[2], &[2]))?;
    dot(&mut g, (x, x), (&[], &[]), (&[0], &[0]))?;
    finish(g)
}
