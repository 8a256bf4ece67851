//! Products of scaled tensors on Hopper's warpgroup-level matrix unit, run in the emulator with its checker on: codes decoded
//! to bf16 on the chip, of every format, layout of scales, edge of tiles and number of steps.

use crate::emulated::{roundings_of_halves, run_on};
use crate::harness::{Case, Random, assert_within_roundings, interpret, numbers};
use crate::ptx::ptx;
use crate::scaled::quantized;
use crate::tcgen05::{NVFP4, Product, cases};
use crate::wgmma::check_machine_code;
use tessera_ir::ElementType;
use tessera_numerics::{Format, ScaleLayout};

use ScaleLayout::{Linear, Tiled128x4};

const MXFP4: [Format; 2] = [Format::Mxfp4; 2];

fn check(products: &[Product]) {
    let (cases, sizes) = cases(products);
    for (product, case) in products.iter().zip(&cases) {
        let text = ptx(std::slice::from_ref(case), "sm_90a");
        let is_own = text.contains("wgmma.mma_async") && text.contains("fence.proxy.async");
        assert!(is_own, "{}: {text}", product.name());
    }
    let found = run_on(&cases, "sm_90a");
    for (((product, case), sizes), found) in products.iter().zip(&cases).zip(&sizes).zip(&found) {
        let expected = numbers(&interpret(&case.kernel.body, &case.inputs)[0]);
        // The unit's sums, three roundings for the tensor scales, and the interpreter's one.
        let k = product.types()[0].columns();
        let roundings = (roundings_of_halves(k) + 4) as f64;
        let name = product.name();
        assert_within_roundings(&numbers(found), &expected, sizes, roundings, &name);
    }
}

#[test]
fn products_of_four_bits() {
    check(&[
        // One block, one row and one column.
        Product::plain(1, 1, 16, NVFP4, Linear),
        Product::plain(1, 1, 32, MXFP4, Linear),
        // Rows of 24 bytes, whose last block is not whole; two tiles down.
        Product::plain(130, 7, 40, NVFP4, Linear),
        Product::plain(7, 130, 40, NVFP4, Tiled128x4),
        Product::plain(20, 140, 224, MXFP4, Linear),
        Product::plain(70, 100, 128, MXFP4, Tiled128x4),
        // More steps than stages, the last a part of one.
        Product::plain(9, 33, 656, NVFP4, Linear),
    ]);
}

#[test]
fn products_of_six_and_eight_bits() {
    let [e2m3, e3m2] = [Format::Mxfp6E2m3, Format::Mxfp6E3m2];
    let [e4m3, e5m2] = [Format::Fp8E4m3, Format::Fp8E5m2];
    check(&[
        Product::plain(40, 70, 96, [e2m3, e3m2], Linear),
        Product::plain(10, 20, 160, [e3m2, Format::Mxfp4], Tiled128x4),
        Product::plain(70, 20, 144, [e4m3, e5m2], Linear),
        Product::plain(17, 20, 80, [e5m2, e5m2], Linear),
    ]);
}

#[test]
fn products_whose_rows_are_of_several_dimensions() {
    let product = |lhs, rhs, layout| Product {
        lhs,
        rhs,
        formats: NVFP4,
        layout,
    };
    check(&[
        // Axes that are the first, and lie between others.
        product((&[40, 17], 0, &[]), (&[3, 40, 6], 1, &[]), Linear),
        // Batches first, and in another order among others.
        product((&[3, 9, 40], 2, &[0]), (&[3, 40, 11], 1, &[0]), Tiled128x4),
        product(
            (&[2, 6, 3, 64], 3, &[2, 0]),
            (&[3, 64, 2, 5], 1, &[0, 2]),
            Linear,
        ),
        // Of 300 tiles the first CTAs have three.
        product((&[300, 70, 16], 2, &[0]), (&[300, 1, 16], 2, &[0]), Linear),
    ]);
}

/// Codes of one block scale each, and tensor scales that are powers of two: sums are exact, and each bit is the
/// interpreter's.
#[test]
fn sums_that_are_exact() {
    // 6 · 1.75 is 448 · 6 · 2⁻⁸, the largest code times the largest scale.
    for (formats, unit, largest) in [
        (NVFP4, 1.75, 6.0),
        (MXFP4, 1.0, 6.0),
        ([Format::Mxfp6E2m3; 2], 1.0, 7.5),
    ] {
        let product = Product::plain(40, 48, 160, formats, Linear);
        let types = product.types();
        let mut random = Random(81);
        let operands = types.clone().map(|scaled| {
            let mut place = 0;
            let x = random.tensor_of(ElementType::F32, scaled.shape(), |random| {
                place += 1;
                match place % 16 {
                    1 => unit * largest,
                    _ => {
                        unit * [0.0, 0.5, -1.0, 1.5, -2.0, 3.0, 4.0, -6.0]
                            [random.word() as usize % 8]
                    }
                }
            });
            quantized(&scaled, &x)
        });
        let case = product.case(operands.to_vec());
        let found = &run_on(std::slice::from_ref(&case), "sm_90a")[0];
        let expected = &interpret(&case.kernel.body, &case.inputs)[0];
        assert!(found == expected, "{}", product.name());
    }
}

/// Scales or codes that bf16 does not represent, or rows of codes that are no whole words, are left to other units.
#[test]
fn operands_that_are_not_decoded() {
    for (formats, k) in [([Format::Mxfp8E4m3; 2], 64), ([Format::Fp8E4m3; 2], 40)] {
        let product = Product::plain(64, 64, k, formats, Linear);
        let text = ptx(&[product.case(Vec::new())], "sm_90a");
        assert!(!text.contains("wgmma"), "{}", product.name());
    }
}

#[test]
fn the_assembler_keeps_products_asynchronous_and_spills_nothing() {
    let large = |formats, layout| Product::plain(4096, 4096, 4096, formats, layout);
    let products = [
        large(NVFP4, Linear),
        large(NVFP4, Tiled128x4),
        large(MXFP4, Linear),
        large([Format::Mxfp6E2m3, Format::Mxfp6E3m2], Linear),
        Product::plain(4001, 4103, 1000, NVFP4, Linear),
        Product::plain(4, 4096, 4096, NVFP4, Linear),
    ];
    let cases: Vec<Case> = products.iter().map(|own| own.case(Vec::new())).collect();
    check_machine_code(
        &cases,
        &["HGMMA.64x256x16.F32.BF16", "HMUL2.BF16", "USETMAXREG"],
    );
}
