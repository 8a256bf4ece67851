//! Attention's kernels on GPUs: forward and backward of a softmax between two products, as JAX writes it, from and to tensors of
//! [batch, sequence, heads, width]. Scores are f32; of 16-bit operands, weights are rounded to their type.

use crate::emulated::{roundings_of_halves, run_on};
use crate::harness::{Case, Random, interpret, numbers};
use tessera_ir::plan::Family;
use tessera_ir::{ElementType, Tensor};

/// What is asked of attention.
#[derive(Clone, Copy, Debug)]
struct Shape {
    batch: usize,
    heads: usize,
    rows: usize,
    columns: usize,
    width: usize,
    element: ElementType,
    mask: Mask,
}

/// Which scores are −∞.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mask {
    None,
    /// Of columns behind the row.
    Causal,
    /// Those of the row's own column, too: the first row has no other.
    Strict,
}

/// A kernel's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The largest score of each row, and the sum of exponentials.
    Softmax,
    /// Weights by values.
    Values,
    /// The same, the weights on the right.
    ValuesByWeights,
    /// What the gradient of the weights adds to that of their row's sum.
    RowSum,
    /// The gradients of queries, keys and values.
    Queries,
    Keys,
    ValuesGradient,
}

const ENDS: [End; 7] = [
    End::Softmax,
    End::Values,
    End::ValuesByWeights,
    End::RowSum,
    End::Queries,
    End::Keys,
    End::ValuesGradient,
];

impl Shape {
    fn of_queries(&self) -> [usize; 4] {
        [self.batch, self.rows, self.heads, self.width]
    }

    fn of_keys(&self) -> [usize; 4] {
        [self.batch, self.columns, self.heads, self.width]
    }

    fn of_rows(&self) -> [usize; 3] {
        [self.batch, self.heads, self.rows]
    }

    fn scale(&self) -> f64 {
        // As the body's f32 has it.
        f64::from(1.0 / (self.width as f32).sqrt())
    }

    fn is_masked(&self, row: usize, column: usize) -> bool {
        match self.mask {
            Mask::None => false,
            Mask::Causal => row < column,
            Mask::Strict => row <= column,
        }
    }

    /// A kernel's body in the text form.
    fn body(&self, end: End) -> String {
        let Self {
            batch: b,
            heads: h,
            rows: t,
            columns: s,
            width: d,
            element,
            mask,
        } = *self;
        let e = element.name();
        let (queries, keys) = (
            format!("tensor<{b}x{t}x{h}x{d}x{e}>"),
            format!("tensor<{b}x{s}x{h}x{d}x{e}>"),
        );
        let (scores, rows) = (
            format!("tensor<{b}x{h}x{t}x{s}xf32>"),
            format!("tensor<{b}x{h}x{t}xf32>"),
        );
        let weights = format!("tensor<{b}x{h}x{t}x{s}x{e}>");
        let product = |name: &str, [lhs, rhs]: [&str; 2], types: [&str; 2]| {
            format!(
                "%{name} = tsr.dot_general %{lhs}, %{rhs} {{lhs_batching_dimensions = [0, 2], rhs_batching_dimensions = [0, 2], lhs_contracting_dimensions = [3], rhs_contracting_dimensions = [3], accumulator = f32}} : ({}, {}) -> {scores}\n",
                types[0], types[1]
            )
        };
        let repeated = |name: &str, of: &str| {
            format!(
                "%{name} = tsr.broadcast_in_dim %{of} {{broadcast_dimensions = [0, 1, 2]}} : ({rows}) -> {scores}\n"
            )
        };
        let splat = |name: &str, number: &str| {
            format!(
                "%{name}_one = tsr.constant {{value = dense<{number}>}} : tensor<f32>
                 %{name} = tsr.broadcast_in_dim %{name}_one {{broadcast_dimensions = []}} : (tensor<f32>) -> {scores}\n"
            )
        };
        let reduce = |name: &str, of: &str, init: &str, function: &str| {
            format!(
                "%{name} = tsr.reduce %{of}, %{init} {{dimensions = [3]}} : ({scores}, tensor<f32>) -> {rows} {{
                 ^body(%a: tensor<f32>, %b: tensor<f32>):
                   %t = tsr.{function} %a, %b : tensor<f32>
                   tsr.return %t : tensor<f32>
                 }}\n"
            )
        };
        let mut lines = splat("scale", &format!("{:?}", self.scale()));
        lines += &splat("least", "0xFF800000");
        lines += &splat("zero", "0.0");
        lines += &product("s", ["q", "k"], [&queries, &keys]);
        lines += &format!("%scaled = tsr.multiply %s, %scale : {scores}\n");
        let x = if mask == Mask::None {
            "scaled"
        } else {
            let direction = if mask == Mask::Causal { "GE" } else { "GT" };
            lines += &format!(
                "%i = tsr.iota {{dimension = 0}} : tensor<{t}x{s}xi32>
                 %j = tsr.iota {{dimension = 1}} : tensor<{t}x{s}xi32>
                 %seen = tsr.compare %i, %j {{direction = {direction}, compare_type = SIGNED}} : (tensor<{t}x{s}xi32>, tensor<{t}x{s}xi32>) -> tensor<{t}x{s}xi1>
                 %is_seen = tsr.broadcast_in_dim %seen {{broadcast_dimensions = [2, 3]}} : (tensor<{t}x{s}xi1>) -> tensor<{b}x{h}x{t}x{s}xi1>
                 %x = tsr.select %is_seen, %scaled, %least : (tensor<{b}x{h}x{t}x{s}xi1>, {scores}, {scores}) -> {scores}\n"
            );
            "x"
        };
        if end == End::Softmax {
            lines += &reduce("m", x, "least_one", "maximum");
            lines += &repeated("ms", "m");
            lines += &format!("%difference = tsr.subtract %{x}, %ms : {scores}\n");
            lines += &format!("%e = tsr.exponential %difference : {scores}\n");
            lines += &reduce("l", "e", "zero_one", "add");
            return format!(
                "func.func @softmax(%q: {queries}, %k: {keys}) -> ({rows}, {rows}) {{\n{lines}return %m, %l : {rows}, {rows}\n}}"
            );
        }
        lines += &repeated("ms", "m");
        lines += &repeated("ls", "l");
        lines += &format!("%difference = tsr.subtract %{x}, %ms : {scores}\n");
        lines += &format!("%e = tsr.exponential %difference : {scores}\n");
        lines += &format!("%p = tsr.divide %e, %ls : {scores}\n");
        let rounded = |of: &str| match element {
            ElementType::F32 => (String::new(), of.to_owned()),
            _ => (
                format!("%{of}_rounded = tsr.convert %{of} : ({scores}) -> {weights}\n"),
                format!("{of}_rounded"),
            ),
        };
        // The last product: of weights and an operand, what is contracted of both, on which side the weights are.
        let last = |of: &str, by: &str, (of_weights, left): (usize, bool)| {
            let (line, weights_name) = rounded(of);
            let by_type = if matches!(by, "k" | "v") {
                &keys
            } else {
                &queries
            };
            let free = if of_weights == 3 { t } else { s };
            let (operands, types, batches, contracting, shape, permutation) = match left {
                true => (
                    format!("%{weights_name}, %{by}"),
                    format!("{weights}, {by_type}"),
                    ["[0, 1]", "[0, 2]"],
                    [of_weights, 1],
                    [b, h, free, d],
                    "[0, 2, 1, 3]",
                ),
                false => (
                    format!("%{by}, %{weights_name}"),
                    format!("{by_type}, {weights}"),
                    ["[0, 2]", "[0, 1]"],
                    [1, of_weights],
                    [b, h, d, free],
                    "[0, 3, 1, 2]",
                ),
            };
            let shape = shape.map(|n| n.to_string()).join("x");
            let result = format!("tensor<{b}x{free}x{h}x{d}x{e}>");
            let text = format!(
                "{line}%product = tsr.dot_general {operands} {{lhs_batching_dimensions = {}, rhs_batching_dimensions = {}, lhs_contracting_dimensions = [{}], rhs_contracting_dimensions = [{}], accumulator = f32}} : ({types}) -> tensor<{shape}x{e}>
                 %moved = tsr.transpose %product {{permutation = {permutation}}} : (tensor<{shape}x{e}>) -> {result}
                 return %moved : {result}\n",
                batches[0], batches[1], contracting[0], contracting[1]
            );
            (result, text)
        };
        let of_gradients = product("dp", ["do", "v"], [&queries, &keys]);
        let gradient = {
            let delta = repeated("deltas", "delta");
            format!(
                "{of_gradients}{delta}%apart = tsr.subtract %dp, %deltas : {scores}
                 %weighted = tsr.multiply %p, %apart : {scores}
                 %ds = tsr.multiply %weighted, %scale : {scores}\n"
            )
        };
        let (name, (result, text)) = match end {
            End::Softmax => unreachable!("returned above"),
            End::Values => ("values", last("p", "v", (3, true))),
            End::ValuesByWeights => ("values_by_weights", last("p", "v", (3, false))),
            End::ValuesGradient => ("values_gradient", last("p", "do", (2, false))),
            End::RowSum => {
                lines += &of_gradients;
                lines += &format!("%terms = tsr.multiply %p, %dp : {scores}\n");
                lines += &reduce("sum", "terms", "zero_one", "add");
                ("row_sum", (rows.clone(), format!("return %sum : {rows}\n")))
            }
            End::Queries => {
                lines += &gradient;
                ("queries", last("ds", "k", (3, true)))
            }
            End::Keys => {
                lines += &gradient;
                ("keys", last("ds", "q", (2, true)))
            }
        };
        let parameters = match end {
            End::Softmax => unreachable!("returned above"),
            End::Values | End::ValuesByWeights => format!("%v: {keys}"),
            End::ValuesGradient => format!("%do: {queries}"),
            End::RowSum => format!("%v: {keys}, %do: {queries}"),
            End::Queries | End::Keys => format!("%v: {keys}, %do: {queries}, %delta: {rows}"),
        };
        format!(
            "func.func @{name}(%q: {queries}, %k: {keys}, %m: {rows}, %l: {rows}, {parameters}) -> {result} {{\n{lines}{text}}}"
        )
    }
}

/// The tensors of an attention, and the numbers that its kernels' errors are bounded with.
struct Attention {
    shape: Shape,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gradient: Tensor,
    m: Tensor,
    l: Tensor,
    delta: Tensor,
}

impl Attention {
    fn new(shape: Shape, random: &mut Random) -> Self {
        let mut tensor =
            |shape: &[usize], element| random.tensor_of(element, shape, Random::uniform);
        let element = shape.element;
        let [q, gradient] = [(); 2].map(|()| tensor(&shape.of_queries(), element));
        let [k, v] = [(); 2].map(|()| tensor(&shape.of_keys(), element));
        let softmax = Case::new(
            Family::Attention,
            &shape.body(End::Softmax),
            vec![q.clone(), k.clone()],
        );
        let statistics = interpret(&softmax.kernel.body, &softmax.inputs);
        // Of rows of which all is masked, weights are to be zeros, not NaN.
        let [m, l] = [(0, 0.0), (1, 1.0)].map(|(number, otherwise)| {
            let finite = |x: f64| if x.is_finite() { x as f32 } else { otherwise };
            let own: Vec<f32> = numbers(&statistics[number])
                .into_iter()
                .map(finite)
                .collect();
            Tensor::from_values(shape.of_rows(), &own).unwrap()
        });
        let delta = tensor(&shape.of_rows(), ElementType::F32);
        Self {
            shape,
            q,
            k,
            v,
            gradient,
            m,
            l,
            delta,
        }
    }

    fn case(&self, end: End) -> Case {
        let mut inputs = vec![&self.q, &self.k];
        match end {
            End::Softmax => {}
            End::Values | End::ValuesByWeights => inputs.extend([&self.m, &self.l, &self.v]),
            End::ValuesGradient => inputs.extend([&self.m, &self.l, &self.gradient]),
            End::RowSum => inputs.extend([&self.m, &self.l, &self.v, &self.gradient]),
            End::Queries | End::Keys => {
                inputs.extend([&self.m, &self.l, &self.v, &self.gradient, &self.delta]);
            }
        }
        let inputs = inputs.into_iter().cloned().collect();
        Case::new(Family::Attention, &self.shape.body(end), inputs)
    }
}

const UNIT: f64 = 1.0 / (1u64 << 24) as f64;

/// How many roundings of the sum of its terms' magnitudes two sums of so many products are apart at most: the kernel's, by matrix
/// units or one by one, and the interpreter's.
fn roundings(shape: &Shape, contracted: usize) -> f64 {
    let of_kernel = match shape.element {
        ElementType::F32 => contracted,
        _ => roundings_of_halves(contracted),
    };
    (of_kernel + contracted) as f64
}

/// How far two numbers of about that size, rounded to an element type, can be apart where they were not.
fn last_place(element: ElementType, size: f64) -> f64 {
    match element {
        ElementType::Bf16 => size * 2f64.powi(-7),
        ElementType::F16 => (size * 2f64.powi(-10)).max(2f64.powi(-24)),
        _ => size * 2f64.powi(-23),
    }
}

/// A number and how far it may be off.
#[derive(Clone, Copy, Debug, Default)]
struct Bounded {
    number: f64,
    bound: f64,
}

/// A batch element's numbers in exact arithmetic, with bounds of what the kernel and the interpreter make of them.
struct Model<'a> {
    of: &'a Attention,
    batch: usize,
    head: usize,
    tensors: Numbers,
}

#[derive(Clone)]
struct Numbers {
    q: Vec<f64>,
    k: Vec<f64>,
    v: Vec<f64>,
    gradient: Vec<f64>,
    m: Vec<f64>,
    l: Vec<f64>,
    delta: Vec<f64>,
}

impl Model<'_> {
    /// A row of a tensor of [batch, sequence, heads, width].
    fn row<'t>(&self, tensor: &'t [f64], at: usize, length: usize) -> &'t [f64] {
        let Shape { heads, width, .. } = self.of.shape;
        let first = ((self.batch * length + at) * heads + self.head) * width;
        &tensor[first..first + width]
    }

    fn of_row(&self, tensor: &[f64], row: usize) -> f64 {
        let Shape { heads, rows, .. } = self.of.shape;
        tensor[(self.batch * heads + self.head) * rows + row]
    }

    /// A sum of products.
    fn product(&self, x: &[f64], y: &[f64]) -> Bounded {
        let terms = || x.iter().zip(y).map(|(x, y)| x * y);
        let size: f64 = terms().map(f64::abs).sum();
        Bounded {
            number: terms().sum(),
            bound: roundings(&self.of.shape, x.len()) * UNIT * size,
        }
    }

    /// A score, scaled; two roundings more.
    fn score(&self, row: usize, column: usize) -> Option<Bounded> {
        let shape = &self.of.shape;
        if shape.is_masked(row, column) {
            return None;
        }
        let q = self.row(&self.tensors.q, row, shape.rows);
        let k = self.row(&self.tensors.k, column, shape.columns);
        let product = self.product(q, k);
        let number = product.number * shape.scale();
        Some(Bounded {
            number,
            bound: product.bound * shape.scale() + 2.0 * UNIT * number.abs(),
        })
    }

    /// exp(x − m) / l. The difference is rounded, and exp and the quotient are within two units in the last place, by kernel and
    /// interpreter.
    fn weight(&self, row: usize, column: usize) -> Bounded {
        let Some(x) = self.score(row, column) else {
            return Bounded::default();
        };
        let [m, l] = [&self.tensors.m, &self.tensors.l].map(|own| self.of_row(own, row));
        let difference = x.number - m;
        let number = difference.exp() / l;
        let off = x.bound + (2.0 * difference.abs() + 16.0) * UNIT;
        Bounded {
            number,
            bound: number * off.exp_m1(),
        }
    }

    /// The gradient of a weight.
    fn of_weight(&self, row: usize, column: usize) -> Bounded {
        let shape = &self.of.shape;
        let gradient = self.row(&self.tensors.gradient, row, shape.rows);
        let v = self.row(&self.tensors.v, column, shape.columns);
        self.product(gradient, v)
    }

    /// The gradient of a score: w (dw − δ) scale, four roundings by both.
    fn of_score(&self, row: usize, column: usize) -> Bounded {
        let delta = self.of_row(&self.tensors.delta, row);
        let (w, dw) = (self.weight(row, column), self.of_weight(row, column));
        let scale = self.of.shape.scale();
        let apart = (dw.number - delta).abs();
        let number = w.number * (dw.number - delta) * scale;
        let off = w.bound * (apart + dw.bound) + w.number * dw.bound;
        Bounded {
            number,
            bound: off * scale + 8.0 * UNIT * w.number * scale * (apart + delta.abs()),
        }
    }

    /// A sum of weights, rounded to the element type, by numbers.
    fn weighted(&self, terms: &[(Bounded, f64)]) -> Bounded {
        let element = self.of.shape.element;
        let (mut sum, mut size, mut off) = (0.0, 0.0, 0.0);
        for (weight, by) in terms {
            let rounded = match element {
                ElementType::F32 => 0.0,
                _ if weight.number == 0.0 => 0.0,
                _ => last_place(element, weight.number.abs()),
            };
            sum += weight.number * by;
            size += (weight.number.abs() + weight.bound + rounded) * by.abs();
            off += (weight.bound + rounded) * by.abs();
        }
        let bound = off + roundings(&self.of.shape, terms.len()) * UNIT * size;
        Bounded {
            number: sum,
            bound: bound + last_place(element, sum.abs() + bound),
        }
    }

    /// The results of a kernel at a place of its rows, or of its columns where it sums over rows.
    fn results(&self, end: End, at: usize) -> Vec<Bounded> {
        let Shape {
            rows,
            columns,
            width,
            ..
        } = self.of.shape;
        let of_columns = |tensor: &Vec<f64>, weight: &dyn Fn(usize) -> Bounded| {
            self.sums(columns, width, weight, &|j| self.row(tensor, j, columns))
        };
        let of_rows = |tensor: &Vec<f64>, weight: &dyn Fn(usize) -> Bounded| {
            self.sums(rows, width, weight, &|i| self.row(tensor, i, rows))
        };
        match end {
            End::Softmax => self.statistics(at),
            End::Values | End::ValuesByWeights => {
                of_columns(&self.tensors.v, &|j| self.weight(at, j))
            }
            End::Queries => of_columns(&self.tensors.k, &|j| self.of_score(at, j)),
            End::Keys => of_rows(&self.tensors.q, &|i| self.of_score(i, at)),
            End::ValuesGradient => of_rows(&self.tensors.gradient, &|i| self.weight(i, at)),
            End::RowSum => {
                let (mut sum, mut size, mut off) = (0.0, 0.0, 0.0);
                for j in 0..columns {
                    let (w, dw) = (self.weight(at, j), self.of_weight(at, j));
                    sum += w.number * dw.number;
                    size += w.number * dw.number.abs();
                    off += w.bound * (dw.number.abs() + dw.bound) + w.number * dw.bound;
                }
                // Each product is rounded, and so are sums of so many, by kernel and interpreter.
                let bound = off + 2.0 * (columns + 2) as f64 * UNIT * size;
                vec![Bounded { number: sum, bound }]
            }
        }
    }

    fn sums<'t>(
        &self,
        length: usize,
        width: usize,
        weight: &dyn Fn(usize) -> Bounded,
        by: &dyn Fn(usize) -> &'t [f64],
    ) -> Vec<Bounded> {
        let weights: Vec<Bounded> = (0..length).map(weight).collect();
        let of = |c: usize| {
            let terms: Vec<_> = (0..length).map(|j| (weights[j], by(j)[c])).collect();
            self.weighted(&terms)
        };
        (0..width).map(of).collect()
    }

    /// The largest score, and the sum of exponentials of the distances to it.
    ///
    /// Each exponential is off by what score and largest score are, the rounding of the difference and its own. In the kernel it is
    /// multiplied by exp(old − new) up to once a tile and twice when threads' sums are put together: the differences are those
    /// between score and largest in parts, and each factor is off by three roundings and its product by one.
    fn statistics(&self, row: usize) -> Vec<Bounded> {
        let columns = self.of.shape.columns;
        let scores: Vec<Bounded> = (0..columns).filter_map(|j| self.score(row, j)).collect();
        let largest = scores
            .iter()
            .map(|x| x.number)
            .fold(f64::NEG_INFINITY, f64::max);
        let off = scores.iter().map(|x| x.bound).fold(0.0, f64::max);
        let tiles = columns.div_ceil(64) as f64;
        let mut sum = Bounded::default();
        for x in &scores {
            let difference = (x.number - largest).abs();
            let relative =
                x.bound + 3.0 * off + (4.0 * difference + 16.0 + 4.0 * (tiles + 2.0)) * UNIT;
            let term = (x.number - largest).exp();
            sum.number += term;
            sum.bound += term * relative.exp_m1();
        }
        sum.bound += 2.0 * columns as f64 * UNIT * (sum.number + sum.bound);
        let largest = Bounded {
            number: largest,
            bound: off,
        };
        vec![largest, sum]
    }
}

/// That what was found of each kernel is as near to the interpreter's as the bounds say.
fn check(attention: &Attention, ends: &[End], found: &[Tensor], what: &str) {
    let shape = attention.shape;
    let all = |tensor| numbers(tensor);
    let tensors = Numbers {
        q: all(&attention.q),
        k: all(&attention.k),
        v: all(&attention.v),
        gradient: all(&attention.gradient),
        m: all(&attention.m),
        l: all(&attention.l),
        delta: all(&attention.delta),
    };
    let mut found = found.iter();
    for &end in ends {
        let case = attention.case(end);
        let expected = interpret(&case.kernel.body, &case.inputs);
        let expected: Vec<Vec<f64>> = expected.iter().map(numbers).collect();
        let own: Vec<Vec<f64>> = expected
            .iter()
            .map(|_| numbers(found.next().unwrap()))
            .collect();
        let length = match end {
            End::Keys | End::ValuesGradient => shape.columns,
            _ => shape.rows,
        };
        for (batch, head) in (0..shape.batch).flat_map(|b| (0..shape.heads).map(move |h| (b, h))) {
            let model = Model {
                of: attention,
                batch,
                head,
                tensors: tensors.clone(),
            };
            for at in 0..length {
                let results = model.results(end, at);
                for (number, result) in results.iter().enumerate() {
                    let of_rows = (batch * shape.heads + head) * length + at;
                    let (tensor, place) = match end {
                        End::Softmax => (number, of_rows),
                        End::RowSum => (0, of_rows),
                        _ => {
                            let row = (batch * length + at) * shape.heads + head;
                            (0, row * shape.width + number)
                        }
                    };
                    let (found, expected) = (own[tensor][place], expected[tensor][place]);
                    let is_near = (found - expected).abs() <= result.bound
                        || found == expected
                        || found.is_nan() && expected.is_nan();
                    assert!(
                        is_near,
                        "{what}, {end:?}, {batch}, {head}, {at}, {number} of {shape:?}: {found}, expected {expected} ± {}",
                        result.bound
                    );
                }
            }
        }
    }
}

fn shape(
    [batch, heads]: [usize; 2],
    [rows, columns, width]: [usize; 3],
    element: ElementType,
    mask: Mask,
) -> Shape {
    Shape {
        batch,
        heads,
        rows,
        columns,
        width,
        element,
        mask,
    }
}

/// Runs every kernel of attentions in the emulator of a target.
fn check_all(attentions: &[Attention], target: &str) {
    let cases = attentions
        .iter()
        .flat_map(|own| ENDS.map(|end| own.case(end)));
    let found = run_on(&cases.collect::<Vec<_>>(), target);
    // A softmax has two results.
    for (own, found) in attentions.iter().zip(found.chunks(ENDS.len() + 1)) {
        check(own, &ENDS, found, target);
    }
}

/// Kernels of bf16 that have one result, of more than one tile either way, with the bytes of their results.
pub fn of_many_tiles() -> [(Case, usize); 3] {
    let (rows, columns, width) = (66, 70, 40);
    let own = Attention::new(
        shape(
            [1, 1],
            [rows, columns, width],
            ElementType::Bf16,
            Mask::Causal,
        ),
        &mut Random(74),
    );
    [
        (End::Values, rows * width * 2),
        (End::RowSum, rows * 4),
        (End::Keys, columns * width * 2),
    ]
    .map(|(end, bytes)| (own.case(end), bytes))
}

/// Kernels of all kinds, of the greatest width in one CTA among them, for whom it is enough to compile them.
pub fn kernels() -> Vec<Case> {
    let mut random = Random(73);
    let shapes = [
        ([1, 2], [70, 130, 256], ElementType::F32),
        ([2, 3], [37, 63, 40], ElementType::F16),
        ([1, 2], [70, 130, 256], ElementType::Bf16),
    ];
    let attentions = shapes.map(|(batch, extents, element)| {
        Attention::new(shape(batch, extents, element, Mask::Causal), &mut random)
    });
    let cases = attentions
        .iter()
        .flat_map(|own| ENDS.map(|end| own.case(end)));
    cases.collect()
}

const ELEMENTS: [ElementType; 3] = [ElementType::F32, ElementType::Bf16, ElementType::F16];

#[test]
fn forward_and_backward_of_every_type_on_every_kind_of_target() {
    let mut random = Random(70);
    let attentions: Vec<Attention> = (ELEMENTS.into_iter())
        .map(|element| shape([2, 3], [37, 63, 16], element, Mask::Causal))
        .map(|shape| Attention::new(shape, &mut random))
        .collect();
    for target in ["sm_80", "sm_90a", "sm_100a", "sm_120a"] {
        check_all(&attentions, target);
    }
}

/// One row, one column; rows, columns and widths that are no multiples of a tile or an instruction; several tiles either way.
#[test]
fn attention_of_any_size() {
    let mut random = Random(71);
    let mut attentions = Vec::new();
    for element in ELEMENTS {
        for (extents, mask) in [
            ([1, 1, 8], Mask::None),
            ([1, 130, 24], Mask::None),
            ([65, 1, 16], Mask::Causal),
            ([65, 130, 40], Mask::None),
            ([37, 63, 128], Mask::Causal),
        ] {
            attentions.push(Attention::new(
                shape([1, 1], extents, element, mask),
                &mut random,
            ));
        }
        attentions.push(Attention::new(
            shape([1, 2], [65, 63, 64], element, Mask::Causal),
            &mut random,
        ));
    }
    check_all(&attentions, "sm_90a");
}

/// The first row, and as many rows of a tile as there are columns, have no score: the largest is −∞ and the sum of exponentials no
/// number, by definition; of weights that are zeros, nothing is added.
#[test]
fn rows_that_are_masked_as_a_whole() {
    let mut random = Random(72);
    let attentions: Vec<Attention> = (ELEMENTS.into_iter())
        .map(|element| shape([1, 2], [37, 66, 8], element, Mask::Strict))
        .map(|shape| Attention::new(shape, &mut random))
        .collect();
    for own in &attentions {
        let case = own.case(End::Softmax);
        let expected = interpret(&case.kernel.body, &case.inputs);
        let [m, l] = [0, 1].map(|n| numbers(&expected[n])[0]);
        assert!(m == f64::NEG_INFINITY && l.is_nan());
    }
    check_all(&attentions, "sm_120a");
}

/// The largest of nothing is −∞, sums of nothing are zeros; and of rows of nothing there is none.
#[test]
fn attention_to_nothing() {
    let mut random = Random(75);
    for element in [ElementType::F32, ElementType::Bf16] {
        for extents in [[5, 0, 8], [0, 5, 8]] {
            let own = Attention::new(shape([1, 2], extents, element, Mask::None), &mut random);
            let cases = ENDS.map(|end| own.case(end));
            let expected = cases
                .iter()
                .flat_map(|case| interpret(&case.kernel.body, &case.inputs));
            assert_eq!(
                run_on(&cases, "sm_90a"),
                expected.collect::<Vec<_>>(),
                "{extents:?}"
            );
        }
    }
}

/// Scores of ∞ and −∞, and of NaN: what is made of their rows is what the definition says, whatever tile they are in.
#[test]
fn a_softmax_of_what_is_not_finite() {
    let mut random = Random(76);
    for element in [ElementType::F32, ElementType::Bf16] {
        let mut own = Attention::new(shape([1, 1], [4, 140, 8], element, Mask::None), &mut random);
        let mut q = numbers(&own.q);
        // Row 1: ∞ times the first number of each key, of either sign. Row 2: NaN. Row 3: −∞, as these are all positive there.
        q[8] = f64::INFINITY;
        q[16] = f64::NAN;
        q[25] = f64::NEG_INFINITY;
        let mut k = numbers(&own.k);
        k.chunks_mut(8)
            .for_each(|key| key[1] = key[1].abs() + 0.125);
        for (tensor, numbers) in [(&mut own.q, q), (&mut own.k, k)] {
            let shape = tensor.shape().to_vec();
            let mut numbers = numbers.into_iter();
            *tensor = random.tensor_of(element, &shape, |_| numbers.next().unwrap());
        }
        let case = own.case(End::Softmax);
        let found = run_on(std::slice::from_ref(&case), "sm_90a");
        let [m, l] = [0, 1].map(|n| numbers(&found[n]));
        assert!(m[0].is_finite() && l[0] >= 1.0, "{m:?}, {l:?}");
        assert!(m[1] == f64::INFINITY && l[1].is_nan(), "{m:?}, {l:?}");
        assert!(m[2].is_nan() && l[2].is_nan(), "{m:?}, {l:?}");
        assert!(m[3] == f64::NEG_INFINITY && l[3].is_nan(), "{m:?}, {l:?}");
        let expected = interpret(&case.kernel.body, &case.inputs);
        for (found, expected) in [m, l].iter().zip(expected) {
            for (x, y) in found[1..].iter().zip(&numbers(&expected)[1..]) {
                assert!(x == y || x.is_nan() && y.is_nan(), "{x}, expected {y}");
            }
        }
    }
}
