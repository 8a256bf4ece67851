//! What keeps a product of the matrix unit right: a kernel that lacks any of it is found out, by the emulator's checker or
//! by its numbers.

use crate::harness::plan_of;
use crate::tcgen05::{NVFP4, Product, cases};
use tessera_emulator::{
    Fill, Global, Launch, Program, Swizzle, TensorElement, TensorMap, launch, ptx::Module,
};
use tessera_numerics::ScaleLayout;
use tessera_runtime::Bundle;
use tessera_runtime::bundle::{PTX_FILE, PtxKernel};
use tessera_targets::{Options, Target, compile};

/// A kernel, its text and its operands.
struct Kernel {
    code: PtxKernel,
    text: String,
    operands: Vec<Vec<u8>>,
    result_bytes: usize,
    /// Of its tensor maps.
    swizzle: Swizzle,
}

impl Kernel {
    /// Of more steps than there are stages, of several tiles, ragged everywhere, `k` elements summed over.
    fn new(k: usize) -> Self {
        let product = Product::plain(9, 130, k, NVFP4, ScaleLayout::Linear);
        let (cases, _) = cases(&[product]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kernels.tessera");
        let target: Target = "sm_100a".parse().unwrap();
        let writer = compile(&plan_of(&cases), &target, &Options::default()).unwrap();
        writer.write(&path).unwrap();
        let bundle = Bundle::open(&path).unwrap();
        Self {
            code: bundle.manifest().kernels[0].code.as_ptx().unwrap().clone(),
            text: std::fs::read_to_string(path.join(PTX_FILE)).unwrap(),
            operands: cases[0].inputs.iter().map(|x| x.bytes().to_vec()).collect(),
            result_bytes: 4 * 9 * 130,
            swizzle: Swizzle::B128,
        }
    }

    /// What the checker finds in a text, and the result, if all of it is written.
    fn run(&self, text: &str, seed: u64) -> (Vec<String>, Option<Vec<u8>>) {
        let program = Program::new(&Module::parse(text).unwrap()).unwrap();
        let mut memory = Global::new();
        let operands = self.operands.iter();
        let mut addresses: Vec<u64> = operands
            .map(|bytes| memory.allocate_with(bytes.clone()))
            .collect();
        let result = memory.allocate(self.result_bytes);
        addresses.push(result);
        let mut grid = Launch::new(&self.code.entry)
            .grid(self.code.grid)
            .block(self.code.block);
        grid.dynamic_shared = self.code.shared_bytes.into();
        grid.seed = seed;
        grid.step_limit = 1 << 20;
        let maps = self.code.tensor_maps.iter().map(|map| {
            let map = TensorMap {
                element: TensorElement::U8,
                address: addresses[map.buffer],
                dimensions: map.extents.clone(),
                strides: map.strides.clone(),
                box_dimensions: map.box_extents.clone(),
                swizzle: self.swizzle,
                fill: Fill::Zero,
            };
            map.encode().unwrap().to_vec()
        });
        let maps: Vec<_> = maps.collect();
        let grid = addresses.into_iter().fold(grid, Launch::u64);
        let grid = maps.into_iter().fold(grid, Launch::bytes);
        let report = launch(&program, &mut memory, &grid).unwrap();
        let findings = report.findings.iter().map(ToString::to_string);
        (
            findings.collect(),
            memory.read_bytes(result, self.result_bytes).ok(),
        )
    }

    /// That each text with something replaced is found out.
    fn check(&self, replacements: &[(&str, &str)]) {
        let (findings, expected) = self.run(&self.text, 0);
        assert_eq!(findings, [""; 0]);
        for (from, to) in replacements {
            assert!(self.text.contains(from), "{from}:\n{}", self.text);
            let text = self.text.replace(from, to);
            let is_found = (0..4).any(|seed| {
                let (findings, found) = self.run(&text, seed);
                !findings.is_empty() || found != expected
            });
            assert!(is_found, "'{to}' for '{from}'");
        }
    }
}

#[test]
fn a_kernel_that_lacks_something_is_found_out() {
    // Rows that are no multiple of 16 bytes are copied by threads.
    let kernel = Kernel::new(1616);
    assert!(kernel.code.tensor_maps.is_empty());
    let swizzled = (0x4000_4040_0001_0000u64).to_string();
    let otherwise_swizzled = (0x8000_4040_0001_0000u64).to_string();
    let scales = (0x0000_4008_0000_0000u64).to_string();
    let other_scales = (0x0000_4010_0000_0000u64).to_string();
    kernel.check(&[
        // Copies are not waited for long enough, or not fenced for the matrix unit.
        ("cp.async.wait_group 2;", "cp.async.wait_group 3;"),
        ("fence.proxy.async.shared::cta;", ""),
        // Stages never become empty; sums are never said to be done.
        ("tcgen05.commit", "// tcgen05.commit"),
        // Registers are used before they are loaded.
        ("tcgen05.wait::ld.sync.aligned;", ""),
        // Tensor memory is kept; scales stay where they are; mbarriers expect too few.
        ("tcgen05.dealloc", "// tcgen05.dealloc"),
        ("tcgen05.cp", "// tcgen05.cp"),
        ("], 128;", "], 96;"),
        // Another swizzling; scales read from other rows.
        (&swizzled, &otherwise_swizzled),
        (&scales, &other_scales),
        // Scales of E4M3 by blocks of 32 have no instruction.
        (".block16 ", ".block32 "),
    ]);
}

#[test]
fn a_kernel_with_wrong_copies_by_tensor_maps_is_found_out() {
    let mut kernel = Kernel::new(1632);
    assert_eq!(kernel.code.tensor_maps.len(), 2);
    // Tiles of 128 and of 16 rows of 128 bytes.
    kernel.check(&[
        // Fewer bytes are waited for, or more than come; or the copies are not waited for at all.
        ("], 18432;", "], 18304;"),
        ("], 18432;", "], 18560;"),
        ("mbarrier.expect_tx", "// mbarrier.expect_tx"),
        // One operand's stay out.
        ("cp.async.bulk.tensor.3d", "// cp.async.bulk.tensor.3d"),
    ]);
    let (_, expected) = kernel.run(&kernel.text, 0);
    kernel.swizzle = Swizzle::None;
    assert_ne!(kernel.run(&kernel.text, 0).1, expected);
}
