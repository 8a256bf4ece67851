//! Products of scaled tensors on the matrix unit of sm_100a, run in the emulator with its checker on: every kind of
//! instruction, layout of scales, edge of tiles and number of steps.

use crate::harness::{Case, Random, assert_within_roundings, interpret, loaded, numbers};
use crate::ptx::{assembled, ptx, tools};
use crate::scaled::{ordinary, quantized};
use std::process::Command;
use tessera_ir::plan::Family;
use tessera_ir::{Builder, ElementType, Graph, Input, OpKind, ScaledType, Tensor};
use tessera_numerics::{BlockShape, Format, ScaleLayout};
use tessera_runtime::bundle::CUBIN_FILE;
use tessera_runtime::{Device, RunOptions};

/// A product of scaled tensors: shape, axis and batching dimensions of each.
pub struct Product {
    pub lhs: (&'static [usize], usize, &'static [usize]),
    pub rhs: (&'static [usize], usize, &'static [usize]),
    pub formats: [Format; 2],
    pub layout: ScaleLayout,
}

impl Product {
    /// Of `m` rows by `n` columns.
    pub fn plain(m: usize, n: usize, k: usize, formats: [Format; 2], layout: ScaleLayout) -> Self {
        let shape = |rows| &*Box::leak(Box::new([rows, k]));
        Self {
            lhs: (shape(m), 1, &[]),
            rhs: (shape(n), 1, &[]),
            formats,
            layout,
        }
    }

    pub fn types(&self) -> [ScaledType; 2] {
        let scaled = |(shape, axis, _): (&[usize], usize, _), format| {
            ScaledType::new(shape, format, axis, BlockShape::Vector, self.layout).unwrap()
        };
        [
            scaled(self.lhs, self.formats[0]),
            scaled(self.rhs, self.formats[1]),
        ]
    }

    pub fn body(&self) -> Graph {
        let mut b = Builder::with_inputs("scaled_dot", self.types().map(Input::new).into());
        let kind = OpKind::ScaledDot {
            lhs_batching_dimensions: self.lhs.2.to_vec(),
            rhs_batching_dimensions: self.rhs.2.to_vec(),
            element: ElementType::F32,
        };
        let operands = b.inputs();
        let result = b.push(kind, operands).unwrap();
        b.finish(result)
    }

    pub fn case(&self, operands: Vec<Tensor>) -> Case {
        Case::of(Family::Dot, self.body(), operands)
    }

    pub fn name(&self) -> String {
        let Self { lhs, rhs, .. } = self;
        format!("{:?} {} {lhs:?} {rhs:?}", self.formats, self.layout)
    }
}

/// How far a sum may be from the exact one, in roundings of 2⁻²⁴ of the sum of magnitudes.
///
/// One instruction takes 32 bytes of a row. Those of 4 bits are added exactly and cut off towards zero once, which is two
/// roundings to nearest. Those of mixed formats are cut off each 25 bits below the largest of 32 and what was there,
/// half a rounding, before the sum is. Then come three roundings for the tensor scales, and the interpreter's one.
fn roundings(types: &[ScaledType; 2]) -> f64 {
    let is_packed = |scaled: &ScaledType| scaled.format().element().bits() == 4;
    let (depth, each) = if types.iter().all(is_packed) {
        (64, 2.0)
    } else {
        (32, 33.0 / 2.0 + 2.0)
    };
    types[0].columns().div_ceil(depth) as f64 * each + 4.0
}

/// The products as cases, and of each the sums of magnitudes.
pub fn cases(products: &[Product]) -> (Vec<Case>, Vec<Vec<f64>>) {
    let mut random = Random(23);
    let mut cases = Vec::new();
    let mut sizes = Vec::new();
    for product in products {
        let types = product.types();
        let operands = types.clone().map(|one| ordinary(&mut random, one.shape()));
        let bytes = |f: fn(f32) -> f32| -> Vec<Tensor> {
            let each = types.iter().zip(&operands).map(|(scaled, x)| {
                let values: Vec<f32> = x.values::<f32>().unwrap().into_iter().map(f).collect();
                let x = Tensor::from_values(scaled.shape(), &values).unwrap();
                quantized(scaled, &x)
            });
            each.collect()
        };
        // Rounding to nearest is symmetric: the magnitudes' codes are the codes' magnitudes.
        sizes.push(numbers(&interpret(&product.body(), &bytes(f32::abs))[0]));
        cases.push(product.case(bytes(|x| x)));
    }
    (cases, sizes)
}

fn check(products: &[Product]) {
    let (cases, sizes) = cases(products);
    let (program, inputs) = loaded(&cases, "sm_100a", &Device::Emulator(None));
    let found = program.run(&inputs, &RunOptions::default());
    let found = found.unwrap_or_else(|error| panic!("{error}"));
    for (((product, case), sizes), found) in products.iter().zip(&cases).zip(&sizes).zip(&found) {
        let expected = numbers(&interpret(&case.kernel.body, &case.inputs)[0]);
        let roundings = roundings(&product.types());
        let name = product.name();
        assert_within_roundings(&numbers(found), &expected, sizes, roundings, &name);
    }
}

pub const NVFP4: [Format; 2] = [Format::Nvfp4; 2];
pub const MXFP4: [Format; 2] = [Format::Mxfp4; 2];

#[test]
fn products_of_four_bits() {
    use ScaleLayout::{Linear, Tiled128x4};
    check(&[
        // One block, one row and one column.
        Product::plain(1, 1, 16, NVFP4, Linear),
        Product::plain(1, 1, 32, MXFP4, Linear),
        // Two tiles down; rows of 8 bytes more than a multiple of 16; scales that are no whole words; columns that are no
        // whole block.
        Product::plain(130, 7, 40, NVFP4, Linear),
        Product::plain(130, 7, 40, NVFP4, Tiled128x4),
        // A step of two words of two scales, and one of one.
        Product::plain(20, 140, 224, MXFP4, Linear),
        Product::plain(20, 140, 128, MXFP4, Tiled128x4),
        // Three words of scales of a row, which threads are no multiple of.
        Product::plain(150, 70, 192, NVFP4, Linear),
        Product::plain(150, 70, 144, NVFP4, Tiled128x4),
        // More steps than stages, the last a part of one; rows of whole words of scales.
        Product::plain(9, 33, 1344, NVFP4, Linear),
        Product::plain(9, 33, 1360, NVFP4, Tiled128x4),
        // Columns of a tile that have two tiles of scales.
        Product::plain(200, 129, 64, NVFP4, Linear),
        Product::plain(145, 200, 288, MXFP4, Tiled128x4),
    ]);
}

#[test]
fn products_whose_scales_are_copied_in_whole_tiles() {
    let tiled = |m, n, k, formats| Product::plain(m, n, k, formats, ScaleLayout::Tiled128x4);
    let products = [
        // Two blocks; a part of a tile of scales along K.
        tiled(1, 1, 32, NVFP4),
        tiled(130, 7, 96, NVFP4),
        tiled(20, 140, 128, MXFP4),
        // More steps than stages, the last a part of one.
        tiled(9, 33, 1376, NVFP4),
        tiled(129, 130, 1376, MXFP4),
        // Columns of a tile that have two tiles of scales; of one tile across, and of two that begin at multiples of 128.
        tiled(200, 129, 64, NVFP4),
        tiled(256, 512, 64, NVFP4),
        tiled(30, 140, 288, [Format::Mxfp8E4m3, Format::Mxfp8E5m2]),
    ];
    for product in &products {
        let text = ptx(&[product.case(Vec::new())], "sm_100a");
        assert!(
            text.contains("cp.async.bulk.shared::cluster.global"),
            "{text}"
        );
        assert!(!text.contains("cp.async.ca"), "{text}");
    }
    check(&products);
    let batched = |lhs, rhs| Product {
        lhs,
        rhs,
        formats: NVFP4,
        layout: ScaleLayout::Tiled128x4,
    };
    check(&[batched((&[3, 128, 96], 2, &[0]), (&[3, 256, 96], 2, &[0]))]);
}

/// Rows of a batch that begin inside tiles of scales, and tiles of columns that do: threads load what they need of each row.
#[test]
fn scales_whose_tiles_are_cut_are_loaded_by_threads() {
    let layout = ScaleLayout::Tiled128x4;
    let of_batch = Product {
        lhs: (&[3, 20, 96], 2, &[0]),
        rhs: (&[3, 20, 96], 2, &[0]),
        formats: NVFP4,
        layout,
    };
    let products = [of_batch, Product::plain(300, 300, 96, NVFP4, layout)];
    for product in &products {
        let text = ptx(&[product.case(Vec::new())], "sm_100a");
        assert!(!text.contains("cp.async.bulk.shared"), "{text}");
    }
    check(&products);
}

/// The codes and scales are the same, and the order of the sums is: so are the bits.
#[test]
fn both_layouts_of_scales_give_the_same_bits() {
    use ScaleLayout::{Linear, Tiled128x4};
    for (m, n, k) in [(1, 1, 32), (130, 7, 96), (20, 260, 1376), (150, 140, 288)] {
        let found = [Linear, Tiled128x4].map(|layout| {
            let (cases, _) = cases(&[Product::plain(m, n, k, NVFP4, layout)]);
            let (program, inputs) = loaded(&cases, "sm_100a", &Device::Emulator(None));
            program.run(&inputs, &RunOptions::default()).unwrap()
        });
        assert_eq!(found[0], found[1], "{m}x{n}x{k}");
    }
}

#[test]
fn products_of_eight_six_and_four_bits() {
    use ScaleLayout::{Linear, Tiled128x4};
    let [e2m3, e3m2] = [Format::Mxfp6E2m3, Format::Mxfp6E3m2];
    let [e4m3, e5m2] = [Format::Mxfp8E4m3, Format::Mxfp8E5m2];
    check(&[
        Product::plain(1, 3, 32, [e4m3, e4m3], Linear),
        Product::plain(40, 130, 288, [e4m3, e5m2], Linear),
        Product::plain(17, 20, 600, [e5m2, e4m3], Tiled128x4),
        Product::plain(130, 10, 96, [e2m3, e3m2], Linear),
        Product::plain(10, 20, 160, [e3m2, e4m3], Tiled128x4),
        Product::plain(10, 20, 160, [Format::Mxfp4, e4m3], Linear),
        Product::plain(10, 20, 64, [e2m3, Format::Mxfp4], Linear),
    ]);
}

#[test]
fn products_whose_rows_are_of_several_dimensions() {
    let [linear, tiled] = [ScaleLayout::Linear, ScaleLayout::Tiled128x4];
    let product = |lhs, rhs, layout| Product {
        lhs,
        rhs,
        formats: NVFP4,
        layout,
    };
    check(&[
        // Axes that are the first, and lie between others.
        product((&[40, 17], 0, &[]), (&[3, 40, 6], 1, &[]), linear),
        // Batches first, and in another order among others.
        product((&[3, 9, 40], 2, &[0]), (&[3, 40, 11], 1, &[0]), tiled),
        product(
            (&[2, 6, 3, 64], 3, &[2, 0]),
            (&[3, 64, 2, 5], 1, &[0, 2]),
            linear,
        ),
        product((&[130, 2, 64], 2, &[1]), (&[2, 20, 64], 2, &[0]), tiled),
    ]);
}

#[test]
fn more_tiles_than_processors() {
    // Of 300 tiles the first CTAs have three, whose sums take turns in two buffers.
    let product = |lhs, rhs| Product {
        lhs,
        rhs,
        formats: NVFP4,
        layout: ScaleLayout::Linear,
    };
    check(&[
        product((&[300, 1, 16], 2, &[0]), (&[300, 1, 16], 2, &[0])),
        // Two tiles of three steps in four stages.
        product((&[150, 1, 528], 2, &[0]), (&[150, 1, 528], 2, &[0])),
    ]);
}

/// A product of each kind, with the instruction it is, in PTX and in machine code.
fn kinds() -> [(Product, &'static str, &'static str); 3] {
    let large = |formats| Product::plain(1000, 1100, 1120, formats, ScaleLayout::Linear);
    [
        (large(NVFP4), "kind::mxf4nvf4.block_scale", "UTCOMMA"),
        (large(MXFP4), "kind::mxf4.block_scale", "UTCOMMA"),
        (
            large([Format::Mxfp6E2m3, Format::Mxfp8E5m2]),
            "kind::mxf8f6f4.block_scale",
            "UTCQMMA",
        ),
    ]
}

const TARGETS: [&str; 3] = ["sm_100a", "sm_100f", "sm_103a"];

#[test]
fn each_kind_is_the_matrix_units() {
    for target in TARGETS {
        for (product, expected, _) in kinds() {
            let text = ptx(&[product.case(Vec::new())], target);
            assert!(text.contains(expected), "{target}: {text}");
        }
    }
    // Codes that go to shared memory as they lie are copied by tensor maps, one for each operand.
    let [(of_four, ..), _, (of_six_and_eight, ..)] = kinds();
    for (product, maps) in [(of_four, 2), (of_six_and_eight, 1)] {
        let text = ptx(&[product.case(Vec::new())], "sm_100a");
        assert_eq!(
            text.matches("cp.async.bulk.tensor.3d").count(),
            maps,
            "{text}"
        );
    }
    let all = kinds().map(|(product, ..)| product.case(Vec::new()));
    let text = ptx(&all, "sm_90a");
    assert!(!text.contains("tcgen05"), "{text}");
}

#[test]
fn the_assembler_makes_the_instruction_of_each_kind_and_spills_nothing() {
    let (Some(assembler), Some(nvdisasm)) = tools() else {
        eprintln!(
            "SKIPPED: no ptxas on PATH, under CUDA_HOME or in a virtual environment, or no nvdisasm beside it"
        );
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("product");
    for target in TARGETS {
        for (product, _, expected) in kinds() {
            let manifest = assembled(&assembler, &[product.case(Vec::new())], target, &bundle);
            for kernel in &manifest.kernels {
                let resources = kernel.code.as_ptx().unwrap().resources.unwrap();
                assert_eq!(resources.spill_store_bytes, 0, "{target}: {resources:?}");
            }
            let cubin = bundle.join(CUBIN_FILE);
            let output = Command::new(&nvdisasm).arg(cubin).output().unwrap();
            let machine_code = String::from_utf8_lossy(&output.stdout);
            for expected in [expected, "UTMALDG.3D", "UTCCP"] {
                assert!(machine_code.contains(expected), "{target}: no {expected}");
            }
        }
    }
}
