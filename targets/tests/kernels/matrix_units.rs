//! Products on GPUs' matrix units: that they run without a finding, and how near they are to the exact product.

use crate::emulated::{roundings_of_halves, run_on};
use crate::harness::{Case, Random, assert_within_roundings, numbers, plan_of};
use tessera_ir::plan::Family;
use tessera_ir::{
    Builder, DotDimensionNumbers, ElementType, Graph, Input, OpKind, ScaledTensor, ScaledType,
    Tensor, TensorType,
};
use tessera_numerics::{
    BlockShape, Format, Quantization, Rounding, ScaleLayout, ScaleRule, largest_magnitude,
};
use tessera_runtime::bundle::{BundleWriter, Tile};
use tessera_runtime::{Bundle, Device, Program, RunOptions};
use tessera_targets::{CodegenError, Options, compile};

/// A product of scaled tensors `[m, k]` and `[n, k]`.
#[derive(Clone, Copy, Debug)]
struct Shape {
    m: usize,
    n: usize,
    k: usize,
}

/// One of each: one block, one row, rows whose codes or scales are not aligned, and several tiles and steps.
const SHAPES: [Shape; 5] = [
    Shape { m: 1, n: 1, k: 16 },
    Shape {
        m: 1,
        n: 70,
        k: 144,
    },
    Shape { m: 33, n: 9, k: 37 },
    Shape {
        m: 80,
        n: 66,
        k: 320,
    },
    Shape {
        m: 3,
        n: 5,
        k: 1100,
    },
];

struct Operands {
    types: [ScaledType; 2],
    tensors: [ScaledTensor; 2],
}

impl Operands {
    fn random(random: &mut Random, shape: Shape, format: Format, layout: ScaleLayout) -> Self {
        let types = [shape.m, shape.n].map(|rows| {
            ScaledType::new([rows, shape.k], format, 1, BlockShape::Vector, layout).unwrap()
        });
        let tensors = types.clone().map(|scaled_type| {
            let x = random.tensor_of(ElementType::F32, scaled_type.shape(), |random| {
                let x = random.uniform();
                match random.word() % 8 {
                    0 => 0.0,
                    1 => x * 40.0,
                    _ => x,
                }
            });
            quantized(&scaled_type, &x.values::<f32>().unwrap())
        });
        Self { types, tensors }
    }

    fn body(&self) -> Graph {
        let inputs = self.types.clone().map(Input::new);
        let mut b = Builder::with_inputs("scaled_dot", inputs.into());
        let kind = OpKind::ScaledDot {
            lhs_batching_dimensions: vec![],
            rhs_batching_dimensions: vec![],
            element: ElementType::F32,
        };
        let operands = b.inputs();
        let result = b.push(kind, operands).unwrap();
        b.finish(result)
    }

    /// Each element of the product, and the sum of its terms' magnitudes.
    fn exact(&self) -> (Vec<f64>, Vec<f64>) {
        let [lhs, rhs] = &self.tensors;
        let scale = f64::from(lhs.tensor_scale()) * f64::from(rhs.tensor_scale());
        let numbers = |tensor: &ScaledTensor| -> Vec<f64> {
            let kind = tensor.scaled_type();
            let places =
                (0..kind.rows()).flat_map(|row| (0..kind.columns()).map(move |c| (row, c)));
            places
                .map(|(row, column)| tensor.unscaled_value(row, column))
                .collect()
        };
        let (k, m, n) = (
            self.types[0].columns(),
            self.types[0].rows(),
            self.types[1].rows(),
        );
        exact([&numbers(lhs), &numbers(rhs)], [m, n, k], scale)
    }

    fn case(&self) -> Case {
        let inputs = self.tensors.each_ref().map(bytes);
        Case::of(Family::Dot, self.body(), inputs.to_vec())
    }
}

/// Each element of a product of rows times a factor, and the sum of its terms' magnitudes.
fn exact([lhs, rhs]: [&[f64]; 2], [m, n, k]: [usize; 3], factor: f64) -> (Vec<f64>, Vec<f64>) {
    let terms = |row: usize, column: usize| {
        let (lhs, rhs) = (&lhs[row * k..][..k], &rhs[column * k..][..k]);
        lhs.iter().zip(rhs).map(move |(x, y)| x * y * factor)
    };
    let places = (0..m).flat_map(|row| (0..n).map(move |column| (row, column)));
    places
        .map(|(row, column)| {
            let size: f64 = terms(row, column).map(f64::abs).sum();
            (terms(row, column).sum::<f64>(), size)
        })
        .unzip()
}

fn bytes(tensor: &ScaledTensor) -> Tensor {
    Tensor::new(ElementType::Ui8, [tensor.bytes().len()], tensor.bytes()).unwrap()
}

fn quantized(scaled_type: &ScaledType, values: &[f32]) -> ScaledTensor {
    let rule = ScaleRule::default_for(scaled_type.format());
    let how = Quantization::new(scaled_type.clone(), rule, Rounding::NearestEven).unwrap();
    let amax = (scaled_type.format().has_tensor_scale()).then(|| largest_magnitude(values));
    tessera_numerics::quantize(values, &how, amax, None).unwrap()
}

/// The element in a row of lhs and of rhs as the matrix unit is said to make it: for each instruction of 64 products their
/// exact sum, and that of the instructions before, cut off to f32; then times each tensor scale in f32.
fn as_stated([lhs, rhs]: [&ScaledTensor; 2], row: usize, column: usize) -> f32 {
    let k = lhs.scaled_type().columns();
    let mut sum = 0f64;
    for first in (0..k).step_by(64) {
        for place in first..k.min(first + 64) {
            // Exact: all terms here are multiples of 2⁻²⁰ below 2³².
            sum += lhs.unscaled_value(row, place) * rhs.unscaled_value(column, place);
        }
        // f64 has 29 bits more than f32.
        sum = f64::from_bits(sum.to_bits() >> 29 << 29);
    }
    sum as f32 * lhs.tensor_scale() * rhs.tensor_scale()
}

#[test]
fn products_of_codes_round_once_an_instruction_on_sm_120() {
    let mut random = Random(51);
    for format in [Format::Nvfp4, Format::Mxfp4] {
        for layout in ScaleLayout::ALL {
            let all = SHAPES.map(|shape| Operands::random(&mut random, shape, format, layout));
            let cases = all.each_ref().map(Operands::case);
            let found = run_on(&cases, "sm_120a");
            for ((operands, shape), found) in all.iter().zip(SHAPES).zip(&found) {
                let found = found.values::<f32>().unwrap();
                for (place, found) in found.into_iter().enumerate() {
                    let (row, column) = (place / shape.n, place % shape.n);
                    let expected = as_stated(operands.tensors.each_ref(), row, column);
                    assert_eq!(
                        found.to_bits(),
                        expected.to_bits(),
                        "{format} {layout} {shape:?} at {row}, {column}: {found}, expected {expected}"
                    );
                }
            }
        }
    }
}

/// A result that has tiles enough of the largest size.
#[test]
fn large_tiles_round_as_small_ones_do() {
    let shape = Shape {
        m: 1000,
        n: 1500,
        k: 80,
    };
    let mut random = Random(55);
    let operands = Operands::random(&mut random, shape, Format::Nvfp4, ScaleLayout::Tiled128x4);
    let found = run_on(&[operands.case()], "sm_120a");
    let found = found[0].values::<f32>().unwrap();
    // A prime number of steps apart: places of every warp and fragment.
    for (place, found) in found.into_iter().enumerate().step_by(89) {
        let (row, column) = (place / shape.n, place % shape.n);
        let expected = as_stated(operands.tensors.each_ref(), row, column);
        assert_eq!(found.to_bits(), expected.to_bits(), "{row}, {column}");
    }
}

/// A product of nvfp4 of a shape.
pub fn nvfp4(m: usize, n: usize, k: usize) -> Case {
    let shape = Shape { m, n, k };
    Operands::random(&mut Random(56), shape, Format::Nvfp4, ScaleLayout::Linear).case()
}

/// One product of each format.
pub fn cases() -> Vec<Case> {
    let mut random = Random(52);
    let shape = Shape { m: 5, n: 9, k: 256 };
    let with_scales = Format::ALL.into_iter().filter(|f| f.block().is_some());
    with_scales
        .flat_map(|format| ScaleLayout::ALL.map(|layout| (format, layout)))
        .map(|(format, layout)| Operands::random(&mut random, shape, format, layout).case())
        .collect()
}

#[test]
fn products_of_every_format_are_within_their_roundings_on_every_kind_of_unit() {
    let mut random = Random(53);
    for target in ["sm_80", "sm_90a", "sm_120a"] {
        for layout in ScaleLayout::ALL {
            let formats = Format::ALL
                .into_iter()
                .filter(|f| f.block().is_some() || layout == ScaleLayout::Linear);
            let all: Vec<(Shape, Operands)> = formats
                .flat_map(|format| [SHAPES[1], SHAPES[2]].map(|shape| (format, shape)))
                .map(|(format, shape)| {
                    (shape, Operands::random(&mut random, shape, format, layout))
                })
                .collect();
            let cases: Vec<Case> = all.iter().map(|(_, operands)| operands.case()).collect();
            for ((shape, operands), found) in all.iter().zip(run_on(&cases, target)) {
                let (expected, sizes) = operands.exact();
                // The unit's, which are more than one for each product as other units have them, and two for the scales.
                let roundings = (roundings_of_halves(shape.k) + 2) as f64;
                let what = format!("{target} {} {shape:?}", operands.types[0]);
                assert_within_roundings(&numbers(&found), &expected, &sizes, roundings, &what);
            }
        }
    }
}

#[test]
fn products_of_halves_are_within_their_roundings_on_every_kind_of_unit() {
    let mut random = Random(54);
    let mut cases = Vec::new();
    for element in [ElementType::Bf16, ElementType::F16] {
        for Shape { m, n, k } in [SHAPES[1], SHAPES[2], SHAPES[3]] {
            let shapes = [[m, k], [n, k]];
            let tensors = shapes.map(|shape| random.tensor(element, &shape));
            let types = shapes.map(|shape| Input::new(TensorType::new(element, shape)));
            let mut b = Builder::with_inputs("dot", types.into());
            let [lhs, rhs] = b.inputs()[..] else {
                unreachable!("there are two inputs");
            };
            let dimensions = DotDimensionNumbers {
                lhs_batching: &[],
                rhs_batching: &[],
                lhs_contracting: &[1],
                rhs_contracting: &[1],
            };
            let f32 = ElementType::F32;
            let result = b.dot_general(lhs, rhs, &dimensions, f32, f32).unwrap();
            let body = b.finish([result]);
            let [x, y] = tensors.each_ref().map(numbers);
            let bounds = exact([&x, &y], [m, n, k], 1.0);
            let case = Case::of(Family::Dot, body, tensors.to_vec());
            cases.push((format!("{element} {m}x{n}x{k}"), k, bounds, case));
        }
    }
    let all: Vec<Case> = cases.iter().map(|(.., case)| case.clone()).collect();
    for target in ["sm_80", "sm_90a", "sm_120a"] {
        for ((what, k, (expected, sizes), _), found) in cases.iter().zip(run_on(&all, target)) {
            let roundings = roundings_of_halves(*k) as f64;
            let what = format!("{target} {what}");
            assert_within_roundings(&numbers(&found), expected, sizes, roundings, &what);
        }
    }
}

/// The name is the kernel's in its plan.
fn in_tiles(cases: &[Case], target: &str, tile: [u32; 2]) -> Result<BundleWriter, CodegenError> {
    let plan = plan_of(cases);
    let tiles = plan
        .kernels
        .iter()
        .map(|kernel| (kernel.name.clone(), tile));
    let options = Options {
        tiles: tiles.collect(),
        ..Options::default()
    };
    compile(&plan, &target.parse().unwrap(), &options)
}

/// A sum is made in the order of the contracted dimension, whatever the tile.
#[test]
fn the_tile_that_is_asked_for_changes_no_bit() {
    let mut random = Random(41);
    let shape = Shape {
        m: 150,
        n: 70,
        k: 192,
    };
    let layout = ScaleLayout::Linear;
    let case = Operands::random(&mut random, shape, Format::Nvfp4, layout).case();
    let folder = tempfile::tempdir().unwrap();
    for (target, tile) in [
        ("sm_80", [64, 16]),
        ("sm_90a", [64, 96]),
        ("sm_90a", [32, 128]),
        ("sm_100a", [128, 48]),
        ("sm_100a", [32, 128]),
        ("sm_120a", [128, 128]),
    ] {
        let cases = std::slice::from_ref(&case);
        let expected = run_on(cases, target);
        let writer = in_tiles(cases, target, tile).unwrap_or_else(|e| panic!("{target}: {e}"));
        let made = writer.manifest().kernels[0].code.as_ptx().unwrap().tile;
        assert_eq!(made.map(|made| [made.rows, made.columns]), Some(tile));
        let path = folder.path().join(format!("{target}-{tile:?}"));
        writer.write(&path).unwrap();
        let bundle = Bundle::open(&path).unwrap();
        let program = Program::load_on(&bundle, &Device::Emulator(None)).unwrap();
        let found = program.run(&case.inputs, &RunOptions::default()).unwrap();
        assert!(found == expected, "{target} in tiles of {tile:?}");
    }
}

#[test]
fn a_tile_that_a_unit_does_not_make_is_refused() {
    let shape = Shape {
        m: 64,
        n: 64,
        k: 64,
    };
    let layout = ScaleLayout::Linear;
    let case = [Operands::random(&mut Random(42), shape, Format::Nvfp4, layout).case()];
    let refusal = |target: &str, tile| in_tiles(&case, target, tile).err().unwrap().to_string();
    assert_eq!(
        refusal("sm_120a", [128, 64]),
        "kernel 'k0_scaled_dot': 'tsr.scaled_dot': is not made in tiles of 128x64: expected 128x128, 64x64, 16x64, 64x16"
    );
    assert_eq!(
        refusal("sm_100a", [128, 40]),
        "kernel 'k0_scaled_dot': 'tsr.scaled_dot': is not made in tiles of 128x40: expected 128 rows or columns by a \
         multiple of 16 up to 256; of pairs of CTAs 256 by a multiple of twice that"
    );
    assert_eq!(
        refusal("cpu", [64, 64]),
        "there are no tiles to choose for cpu: only GPUs' kernels are cut into them"
    );
    let options = Options {
        tiles: [("dot".to_owned(), [64, 64])].into(),
        ..Options::default()
    };
    let error = compile(&plan_of(&case), &"sm_80".parse().unwrap(), &options).err();
    assert_eq!(
        error.unwrap().to_string(),
        "there is no kernel 'dot' to choose a tile for: expected one of k0_scaled_dot"
    );
}

#[test]
fn the_manifest_says_how_a_product_is_cut() {
    let body = "func.func @dot(%x: !tsr.scaled<1024x512, nvfp4, axis = 1>, %y: !tsr.scaled<2048x512, nvfp4, axis = 1>) -> tensor<1024x2048xf32> {
      %0 = tsr.scaled_dot %x, %y {lhs_batching_dimensions = [], rhs_batching_dimensions = []} : (!tsr.scaled<1024x512, nvfp4, axis = 1>, !tsr.scaled<2048x512, nvfp4, axis = 1>) -> tensor<1024x2048xf32>
      return %0 : tensor<1024x2048xf32>
    }";
    let plan = plan_of(&[Case::new(Family::Dot, body, Vec::new())]);
    let tile = |target: &str| {
        let writer = compile(&plan, &target.parse().unwrap(), &Options::default()).unwrap();
        writer.manifest().kernels[0].code.as_ptx().unwrap().tile
    };
    let expected = |rows, columns, depth, stages| {
        Some(Tile {
            rows,
            columns,
            depth,
            stages,
        })
    };
    // Stages of 64 bytes of a row, or of 128 where warps load for others.
    assert_eq!(tile("sm_80"), expected(128, 128, 32, 2));
    assert_eq!(tile("sm_90a"), expected(128, 128, 64, 7));
    assert_eq!(tile("sm_100a"), expected(128, 128, 256, 2));
    assert_eq!(tile("sm_120a"), expected(128, 128, 128, 2));
}
