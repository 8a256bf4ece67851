//! What keeps a product of the matrix unit right: a kernel that lacks any of it is found out, by the emulator's checker or
//! by its numbers.

use crate::harness::plan_of;
use crate::tcgen05::{NVFP4, Product, cases};
use tessera_emulator::{Global, Launch, Program, launch, ptx::Module};
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
}

impl Kernel {
    /// Of more steps than there are stages, of several tiles, ragged everywhere.
    fn new() -> Self {
        let product = Product::plain(9, 130, 1616, NVFP4, ScaleLayout::Linear);
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
        let grid = addresses.into_iter().fold(grid, Launch::u64);
        let report = launch(&program, &mut memory, &grid).unwrap();
        let findings = report.findings.iter().map(ToString::to_string);
        (
            findings.collect(),
            memory.read_bytes(result, self.result_bytes).ok(),
        )
    }
}

#[test]
fn a_kernel_that_lacks_something_is_found_out() {
    let kernel = Kernel::new();
    let (findings, expected) = kernel.run(&kernel.text, 0);
    assert_eq!(findings, [""; 0]);
    let swizzled = (0x4000_4040_0001_0000u64).to_string();
    let otherwise_swizzled = (0x8000_4040_0001_0000u64).to_string();
    let scales = (0x0000_4008_0000_0000u64).to_string();
    let other_scales = (0x0000_4010_0000_0000u64).to_string();
    for (from, to) in [
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
        // The scales of E4M3 taken for those of E8M0 or the other way about have no instruction.
        (".block16 ", ".block32 "),
    ] {
        assert!(kernel.text.contains(from), "{from}:\n{}", kernel.text);
        let text = kernel.text.replace(from, to);
        let is_found = (0..4).any(|seed| {
            let (findings, found) = kernel.run(&text, seed);
            !findings.is_empty() || found != expected
        });
        assert!(is_found, "'{to}' for '{from}'");
    }
}
