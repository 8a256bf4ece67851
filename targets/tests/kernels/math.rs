//! The errors of the mathematical functions, against references of more digits, or of other makers.

use crate::harness::{Case, Random, numbers, run};
use tessera_ir::plan::Family;
use tessera_ir::{Binary, Graph, Input, Location, OpKind, Tensor, TensorType, Unary};

/// A function, its reference in f64, and the error allowed in units in the last place: what `mlir::math` says.
type Function = (Unary, fn(f64) -> f64, f64);

/// The last column is for f32, where the reference has 29 digits more.
const F32: &[Function] = &[
    (Unary::Cbrt, f64::cbrt, 1.0),
    (Unary::Cosine, f64::cos, 1.0),
    (Unary::Erf, libm::erf, 2.0),
    (Unary::Erfc, libm::erfc, 1.0),
    (Unary::Exponential, f64::exp, 1.0),
    (Unary::ExponentialMinusOne, f64::exp_m1, 2.0),
    (Unary::Log, f64::ln, 1.0),
    (Unary::LogPlusOne, f64::ln_1p, 1.0),
    (Unary::Logistic, |x| 1.0 / (1.0 + (-x).exp()), 3.0),
    (Unary::Sine, f64::sin, 1.0),
    (Unary::Tan, f64::tan, 1.0),
    (Unary::Tanh, f64::tanh, 3.0),
];

/// One digit more for the references, which are within a unit of their own.
const F64: &[Function] = &[
    (Unary::Cbrt, f64::cbrt, 2.0),
    (Unary::Cosine, f64::cos, 2.0),
    (Unary::Erf, libm::erf, 3.0),
    (Unary::Erfc, libm::erfc, 5.0),
    (Unary::Exponential, f64::exp, 2.0),
    (Unary::ExponentialMinusOne, f64::exp_m1, 3.0),
    (Unary::Log, f64::ln, 2.0),
    (Unary::LogPlusOne, f64::ln_1p, 2.0),
    (Unary::Sine, f64::sin, 2.0),
    (Unary::Tan, f64::tan, 3.0),
    (Unary::Tanh, f64::tanh, 4.0),
];

fn functions(name: &str, functions: &[Function], x: &Tensor) -> Case {
    let input = Input::new(TensorType::new(x.element(), x.shape()));
    let mut graph = Graph::new(name, vec![input]);
    let x_value = graph.input_values().next().unwrap();
    let results: Vec<_> = (functions.iter())
        .map(|(function, _, _)| {
            graph
                .push_value(OpKind::Unary(*function), [x_value], Location::Unknown)
                .unwrap()
        })
        .collect();
    graph.set_result_values(results);
    Case::of(Family::Loop, graph, vec![x.clone()])
}

/// |found − exact| in units of the last place of `exact`; 0 where both are NaN or the same infinity.
fn error(found: f64, exact: f64, digits: i32, least: i32) -> f64 {
    if found == exact || found.is_nan() && exact.is_nan() {
        return 0.0;
    }
    if !found.is_finite() || found.is_nan() != exact.is_nan() {
        // Infinite where it should be the largest number and half a unit: an overflow that rounding makes.
        return f64::INFINITY;
    }
    let exponent = if exact == 0.0 {
        least
    } else {
        exact.abs().log2().floor() as i32
    };
    (found - exact).abs() / f64::from(exponent.max(least) - digits).exp2()
}

/// The largest error of a function over all arguments, and where.
fn worst(
    found: &[f64],
    arguments: &[f64],
    exact: impl Fn(f64) -> f64,
    digits: i32,
    least: i32,
) -> (f64, f64) {
    let mut worst = (0.0, 0.0);
    for (&y, &x) in found.iter().zip(arguments) {
        let error = error(y, exact(x), digits, least);
        if error > worst.0 {
            worst = (error, x);
        }
    }
    worst
}

#[test]
fn f32_functions_are_as_accurate_as_they_say() {
    // Every 4099th of all numbers, NaN among them, and all those near 1.
    let mut bits: Vec<u32> = (0..=u32::MAX / 4099).map(|i| i * 4099).collect();
    bits.extend((0..40_000).map(|i| 0x3f80_0000 - 20_000 + i));
    let values: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
    let x = Tensor::from_values([values.len()], &values).unwrap();
    let results = run(&[functions("f32", F32, &x)]);
    // From half a unit above the largest number on, the nearest f32 is infinite.
    let overflow = f64::from(f32::MAX) * (1.0 + 2f64.powi(-25));
    for ((function, reference, allowed), result) in F32.iter().zip(results) {
        let exact = |x: f64| {
            let y = reference(x);
            if y.abs() >= overflow {
                y * f64::INFINITY
            } else {
                y
            }
        };
        let worst = worst(&numbers(&result), &numbers(&x), exact, 23, -126);
        println!("{:24} {:.3} at {:e}", function.name(), worst.0, worst.1);
        assert!(worst.0 <= *allowed, "{function:?}: {worst:?}");
    }
}

#[test]
fn f64_functions_are_as_accurate_as_they_say() {
    let mut random = Random(61);
    let mut values: Vec<f64> = (0..100_000)
        .map(|_| f64::from_bits(random.word()))
        .collect();
    // Where functions change, and where their pieces meet.
    for scale in [1e-3, 0.5, 1.0, 2.0, 6.0, 30.0, 700.0, 1e5, 1e7] {
        values.extend((0..20_000).map(|_| random.uniform() * scale));
    }
    values.extend((0..20_000).map(|_| 1.0 + random.uniform() * 1e-5));
    let x = Tensor::from_values([values.len()], &values).unwrap();
    let results = run(&[functions("f64", F64, &x)]);
    for ((function, reference, allowed), result) in F64.iter().zip(results) {
        let worst = worst(&numbers(&result), &values, reference, 52, -1022);
        println!("{:24} {:.3} at {:e}", function.name(), worst.0, worst.1);
        assert!(worst.0 <= *allowed, "{function:?}: {worst:?}");
    }
}

/// Functions of two numbers, where the result is neither infinite nor subnormal too often.
#[test]
fn functions_of_two_numbers_are_as_accurate_as_they_say() {
    let mut random = Random(62);
    let count = 300_000;
    let size = |random: &mut Random| (random.uniform() * 20.0).exp2();
    let mut bases: Vec<f64> = (0..count).map(|_| size(&mut random)).collect();
    for base in bases.iter_mut().step_by(3) {
        *base = 1.0 + random.uniform() * 1e-3;
    }
    let exponents: Vec<f64> = (bases.iter())
        .map(|base| random.uniform() * 700.0 / base.ln().abs().max(1e-6))
        .collect();
    let [x, y] = [&bases, &exponents].map(|values| {
        let narrow: Vec<f32> = values.iter().map(|&v| v as f32).collect();
        [
            Tensor::from_values([count], values).unwrap(),
            Tensor::from_values([count], &narrow).unwrap(),
        ]
    });
    for (which, digits, least, allowed) in [(0, 52, -1022, [2.0, 3.0]), (1, 23, -126, [1.0, 1.0])] {
        let (x, y) = (&x[which], &y[which]);
        let types = [x, y].map(|t| Input::new(TensorType::new(t.element(), t.shape())));
        let mut graph = Graph::new("two", types.to_vec());
        let operands: Vec<_> = graph.input_values().collect();
        let results = [Binary::Power, Binary::Atan2].map(|f| {
            graph
                .push_value(OpKind::Binary(f), operands.clone(), Location::Unknown)
                .unwrap()
        });
        graph.set_result_values(results);
        let found = run(&[Case::of(Family::Loop, graph, vec![x.clone(), y.clone()])]);
        let (x, y) = (numbers(x), numbers(y));
        for (number, reference) in [f64::powf as fn(f64, f64) -> f64, f64::atan2]
            .into_iter()
            .enumerate()
        {
            let mut largest: (f64, f64, f64) = (0.0, 0.0, 0.0);
            for (i, found) in numbers(&found[number]).into_iter().enumerate() {
                let exact = reference(x[i], y[i]);
                // An f32 result may be out of its range.
                let overflows = digits == 23 && exact.abs() >= f64::from(f32::MAX);
                let error = if overflows {
                    0.0
                } else {
                    error(found, exact, digits, least)
                };
                if error > largest.0 {
                    largest = (error, x[i], y[i]);
                }
            }
            println!("{number} {digits} {largest:?}");
            assert!(largest.0 <= allowed[number], "{number}: {largest:?}");
        }
    }
}

/// erf⁻¹ has no reference elsewhere: values computed with 40 digits.
#[test]
fn the_inverse_error_function_gives_back_the_argument() {
    let expected = ERF_INV;
    let arguments: Vec<f64> = expected.iter().map(|(x, _)| *x).collect();
    let x = Tensor::from_values([arguments.len()], &arguments).unwrap();
    let found = run(&[functions("erf_inv", &[(Unary::ErfInv, |x| x, 0.0)], &x)]);
    for (found, (x, exact)) in numbers(&found[0]).into_iter().zip(expected) {
        let error = error(found, *exact, 52, -1022);
        assert!(
            error <= 4.0,
            "erf_inv {x}: {found} is {error} units from {exact}"
        );
    }
}

/// Pairs (x, erf⁻¹ x).
const ERF_INV: &[(f64, f64)] = &[
    (1e-300, 8.86226925452758e-301),
    (1e-20, 8.86226925452758e-21),
    (1e-05, 8.862269254759594e-06),
    (0.01, 0.008862501280950598),
    (0.1, 0.08885599049425769),
    (0.25, 0.2253120550121781),
    (0.4999999, 0.4769361649459939),
    (0.5, 0.4769362762044699),
    (0.75, 0.8134198475976185),
    (0.9, 1.1630871536766743),
    (0.95, 1.3859038243496777),
    (0.97, 1.5344856217777179),
    (0.99, 1.8213863677184494),
    (0.995, 1.984872612615532),
    (0.998, 2.1851242191330043),
    (0.9985, 2.2448402503847205),
    (0.999, 2.3267537655135246),
    (0.99999, 3.123413274341571),
    (0.9999999, 3.7665625816384707),
    (0.99999999, 4.052237243268763),
    (0.999999995, 4.134575075280277),
    (0.9999999999, 4.572824958544925),
    (0.999999999999, 5.042031898572696),
    (0.99999999999999, 5.4725525174145355),
    (0.9999999999999999, 5.8635847487551676),
    (-0.3, -0.2724627147267543),
    (-0.9990234375, -2.331467773621948),
];
