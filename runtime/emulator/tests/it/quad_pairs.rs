//! `mma.m8n8k4` of f16 in every form, against the ISA's layouts of fragments and the products of the matrices
//! (PTX ISA 9.7.14.5.1).
//!
//! Numbers are small multiples of one half, so that every sum is exact and has one result whatever the order.

use super::fragments::{Noise, execute};
use super::modifiers::row::{Form, forms};
use half::f16;

/// `mma` of quad pairs as it is written. A's layout stands before B's.
pub const PRODUCTS: &[&str] = &[
    "mma.sync.aligned.m8n8k4[.row|.col][.row|.col][.f16.f16.f16.f16|.f32.f16.f16.f16|.f32.f16.f16.f32]",
];

/// Rows of numbers.
type Matrix = [[f64; 8]; 8];

/// The bits of a lane's number `i` of C or D, in its registers.
fn registers(kind: &str, lanes: impl Fn(usize, usize) -> f64) -> Vec<[u64; 32]> {
    if kind == "f32" {
        let of = |i| std::array::from_fn(|lane| u64::from((lanes(lane, i) as f32).to_bits()));
        return (0..8).map(of).collect();
    }
    let bits = |lane, i| u64::from(f16::from_f64(lanes(lane, i)).to_bits());
    let of = |i: usize| std::array::from_fn(|lane| bits(lane, 2 * i) | bits(lane, 2 * i + 1) << 16);
    (0..4).map(of).collect()
}

/// Row and column of a lane's number `i` of C and D, as the ISA has them.
fn of_c(kind: &str, lane: usize, i: usize) -> (usize, usize) {
    let behind = if lane < 16 { 0 } else { 4 };
    if kind == "f16" {
        return (lane % 4 + behind, i);
    }
    let x = (lane & 0b1) + (i & 0b10);
    (x + behind, (i & 0b100) + (lane & 0b10) + (i & 0b1))
}

/// Of which of the four products a lane is: 0 to 3 and 16 to 19 are of the first.
fn pair(lane: usize) -> usize {
    lane % 16 / 4
}

fn check(form: &Form, noise: &mut Noise) {
    let layouts: Vec<&String> = form
        .words
        .iter()
        .filter(|word| *word == "row" || *word == "col")
        .collect();
    let (a_layout, b_layout) = (layouts[0].as_str(), layouts[1].as_str());
    let (d_type, c_type) = (form.to(), form.of());
    let mut matrix = || -> Matrix {
        let mut number = || noise.below(9) as f64 / 2.0 - 2.0;
        std::array::from_fn(|_| std::array::from_fn(|_| number()))
    };
    // Of A the first four columns, of B the first four rows.
    let [a, b, c]: [[Matrix; 4]; 3] = std::array::from_fn(|_| std::array::from_fn(|_| matrix()));
    let halves = |at: &dyn Fn(usize, usize) -> f64| {
        let bits = |lane, i| u64::from(f16::from_f64(at(lane, i)).to_bits());
        let of =
            |i: usize| std::array::from_fn(|lane| bits(lane, 2 * i) | bits(lane, 2 * i + 1) << 16);
        (0..2).map(of).collect::<Vec<[u64; 32]>>()
    };
    let behind = |lane: usize| if lane < 16 { 0 } else { 4 };
    let a_registers = halves(&|lane, i| {
        let a = &a[pair(lane)];
        match a_layout {
            "row" => a[lane % 4 + behind(lane)][i],
            _ => a[i + behind(lane)][lane % 4],
        }
    });
    let b_registers = halves(&|lane, i| {
        let b = &b[pair(lane)];
        match b_layout {
            "row" => b[lane % 4][i + behind(lane)],
            _ => b[i][lane % 4 + behind(lane)],
        }
    });
    let c_registers = registers(c_type, |lane, i| {
        let (row, column) = of_c(c_type, lane, i);
        c[pair(lane)][row][column]
    });
    let wanted = registers(d_type, |lane, i| {
        let ((row, column), pair) = (of_c(d_type, lane, i), pair(lane));
        let products = (0..4).map(|k| a[pair][row][k] * b[pair][k][column]);
        c[pair][row][column] + products.sum::<f64>()
    });
    let operands = [a_registers, b_registers, c_registers];
    let found = execute(&form.text(), 32, &operands, wanted.len(), "");
    assert_eq!(found, wanted, "{}", form.text());
}

#[test]
fn products_of_quad_pairs() {
    let mut noise = Noise(3);
    for form in PRODUCTS.iter().flat_map(|pattern| forms(pattern)) {
        check(&form, &mut noise);
    }
}
