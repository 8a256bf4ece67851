//! Kernels for GPUs, run in the emulator with its checker on.

use crate::harness::{Case, plan_of};
use tessera_emulator::ptx::Module;
use tessera_emulator::{Global, Launch, Program, launch};
use tessera_ir::Tensor;
use tessera_runtime::bundle::Place;
use tessera_runtime::bundle::{Bundle, PTX_FILE, Step};
use tessera_targets::{Options, Target, compile};

/// The target that the cases are compiled for: the oldest with all that these families use.
const TARGET: &str = "sm_90a";

/// The results of every kernel, one after the other.
pub fn run(cases: &[Case]) -> Vec<Tensor> {
    let plan = plan_of(cases);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kernels.tessera");
    let target: Target = TARGET.parse().unwrap();
    let writer = compile(&plan, &target, &Options::default()).unwrap_or_else(|e| panic!("{e}"));
    writer.write(&path).unwrap();
    let bundle = Bundle::open(&path).unwrap();
    let text = std::fs::read_to_string(path.join(PTX_FILE)).unwrap();
    let module = Module::parse(&text).unwrap_or_else(|e| panic!("{e}"));
    let program = Program::new(&module).unwrap_or_else(|e| panic!("{e}"));
    run_schedule(bundle.manifest(), &program, cases)
}

fn run_schedule(
    manifest: &tessera_runtime::Manifest,
    program: &Program,
    cases: &[Case],
) -> Vec<Tensor> {
    let mut memory = Global::new();
    let mut inputs = cases.iter().flat_map(|case| &case.inputs);
    let mut results = vec![None; manifest.results.len()];
    let inputs: Vec<u64> = (manifest.inputs.iter())
        .map(|input| {
            let address = memory.allocate_with(inputs.next().unwrap().bytes().to_vec());
            if let Some(result) = input.donate {
                results[result] = Some(address);
            }
            address
        })
        .collect();
    let results: Vec<u64> = (manifest.results.iter().zip(results))
        .map(|(result, address)| {
            address.unwrap_or_else(|| memory.allocate(result.tensor_type.bytes().unwrap()))
        })
        .collect();
    let address = |buffer: &usize| match manifest.buffers[*buffer].place {
        Place::Input(number) => inputs[number],
        Place::Result(number) => results[number],
        Place::Constant(_) | Place::Arena(_) => panic!("a test's plan has neither"),
    };
    for step in &manifest.schedule {
        let Step::Launch {
            kernel,
            operands,
            results,
        } = step
        else {
            panic!("a test's plan only launches")
        };
        let kernel = manifest.kernels[*kernel].code.as_ptx().unwrap();
        if kernel.grid.contains(&0) {
            continue;
        }
        let mut what = Launch::new(&kernel.entry)
            .grid(kernel.grid)
            .block(kernel.block);
        for buffer in operands.iter().chain(results) {
            what = what.u64(address(buffer));
        }
        let report = launch(program, &mut memory, &what).unwrap();
        assert!(
            report.findings.is_empty(),
            "{}: {:?}",
            kernel.entry,
            report.findings
        );
        assert!(report.completed, "{}", kernel.entry);
    }
    (manifest.results.iter().zip(results))
        .map(|(result, address)| {
            let bytes = result.tensor_type.bytes().unwrap();
            let bytes = memory
                .read_bytes(address, bytes)
                .unwrap_or_else(|e| panic!("{e}"));
            let t = &result.tensor_type;
            Tensor::new(t.element_type, t.shape.clone(), bytes).unwrap()
        })
        .collect()
}
