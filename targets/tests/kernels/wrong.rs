//! A kernel's text with something in it that is wrong: that the emulator's checker finds it, or that the numbers show it.

use crate::harness::{Case, plan_of};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use tessera_emulator::{
    Fill, Finding, Global, Launch, Program, Swizzle, TensorElement, TensorMap, launch, ptx::Module,
};
use tessera_runtime::Bundle;
use tessera_runtime::bundle::{PTX_FILE, PtxKernel};
use tessera_targets::{Options, Target, compile};

/// A kernel, its text and its operands.
pub struct Kernel {
    pub code: PtxKernel,
    pub text: String,
    operands: Vec<Vec<u8>>,
    result_bytes: usize,
    /// Of its tensor maps.
    pub swizzle: Swizzle,
}

impl Kernel {
    /// Of a case for a target, with a result of so many bytes.
    pub fn new(case: &Case, target: &str, result_bytes: usize) -> Self {
        Self::compiled(case, target, result_bytes, None)
    }

    /// The same in tiles of so many rows and columns.
    pub fn in_tiles(case: &Case, target: &str, result_bytes: usize, tile: [u32; 2]) -> Self {
        Self::compiled(case, target, result_bytes, Some(tile))
    }

    fn compiled(case: &Case, target: &str, result_bytes: usize, tile: Option<[u32; 2]>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kernels.tessera");
        let target: Target = target.parse().unwrap();
        let plan = plan_of(std::slice::from_ref(case));
        let options = Options {
            tiles: (tile.into_iter())
                .map(|tile| (plan.kernels[0].name.clone(), tile))
                .collect(),
            ..Options::default()
        };
        let writer = compile(&plan, &target, &options).unwrap();
        writer.write(&path).unwrap();
        let bundle = Bundle::open(&path).unwrap();
        Self {
            code: bundle.manifest().kernels[0].code.as_ptx().unwrap().clone(),
            text: std::fs::read_to_string(path.join(PTX_FILE)).unwrap(),
            operands: case.inputs.iter().map(|x| x.bytes().to_vec()).collect(),
            result_bytes,
            swizzle: Swizzle::B128,
        }
    }

    /// What the checker finds in a text, and the result, if all of it is written.
    pub fn run(&self, text: &str, seed: u64) -> (Vec<Finding>, Option<Vec<u8>>) {
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
            .block(self.code.block)
            .cluster(self.code.cluster);
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
        let found = memory.read_bytes(result, self.result_bytes).ok();
        (report.findings, found)
    }

    /// That the text as it is has no finding and one result in so many orders of warps.
    pub fn check_silence(&self, orders: u64) {
        let (_, expected) = self.run(&self.text, 0);
        assert!(expected.is_some());
        let next = AtomicU64::new(0);
        let check = || {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= orders {
                    return;
                }
                let (findings, found) = self.run(&self.text, seed);
                assert_eq!(findings, [], "seed {seed}");
                assert!(found == expected, "seed {seed}");
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..std::thread::available_parallelism().map_or(1, usize::from) {
                scope.spawn(check);
            }
            check();
        });
    }

    /// That each text with something replaced, wherever it stands, is found out by what is said to show it, in one of four
    /// orders of warps.
    pub fn check(&self, defects: &[Defect<'_>]) {
        let (findings, expected) = self.run(&self.text, 0);
        assert_eq!(findings, []);
        let mut missed = Vec::new();
        for (from, to, shown) in defects {
            assert!(self.text.contains(from), "{from}:\n{}", self.text);
            let text = self.text.replace(from, to);
            let lines: Vec<&str> = text.lines().collect();
            let runs: Vec<_> = (0..4).map(|seed| self.run(&text, seed)).collect();
            let findings = runs.iter().flat_map(|(findings, _)| findings);
            let found: BTreeSet<(&str, String)> = findings
                .map(|found| {
                    let line = lines[found.place.line as usize - 1];
                    (line, found.kind.to_string())
                })
                .collect();
            let is_shown = match shown {
                Shown::Found(what, line) => found
                    .iter()
                    .any(|(at, own)| own.contains(what) && at.contains(line)),
                Shown::Numbers => {
                    found.is_empty() && runs.iter().any(|(_, found)| *found != expected)
                }
            };
            if !is_shown {
                missed.push(format!(
                    "'{to}' for '{from}': expected {shown:?}, found {found:#?}"
                ));
            }
        }
        assert!(missed.is_empty(), "{}", missed.join("\n"));
    }
}

/// Findings of races, of proxies, of waits, of values.
pub const RACE: &str = "nothing orders it behind line";
pub const PROXY: &str = "a fence.proxy.async is missing between it and line";
pub const NEVER: &str = "waits for ever for an mbarrier's phase";
pub const UNDEFINED: &str = "a value that was never written is left in";

/// What is replaced, by what, and what shows it.
pub type Defect<'d> = (&'d str, &'d str, Shown<'d>);

/// What shows a defect.
#[derive(Clone, Copy, Debug)]
pub enum Shown<'d> {
    /// A finding that says this, at a line with this in it.
    Found(&'d str, &'d str),
    /// Nothing but the result, which is another one.
    Numbers,
}
