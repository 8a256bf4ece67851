//! Bundles for a GPU, run on one: where `TESSERA_DEVICE=cuda:0` names it. Without it these tests say that they are
//! skipped, and prove nothing.

use crate::emulated::{KERNELS, branches, branching, counting, counts, takes_steps, training_step};
use crate::sample::*;
use tessera_runtime::bundle::{BundleWriter, Manifest};
use tessera_runtime::{Bundle, Device, Instance, Program, RunOptions};

/// The device to test, where there is one.
fn device() -> Option<Device> {
    match std::env::var("TESSERA_DEVICE") {
        Ok(text) => Some(text.parse().unwrap()),
        Err(_) => {
            eprintln!("SKIPPED: no GPU to test; TESSERA_DEVICE=cuda:0 names one");
            None
        }
    }
}

/// An instance of a bundle whose code every GPU since Ampere runs.
fn instance(manifest: Manifest, profile: bool) -> Option<Instance> {
    let device = device()?;
    let (bundle, _folder) = bundle(manifest, "sm_80");
    let program = Program::load_on(&bundle, &device).unwrap();
    let options = RunOptions {
        profile,
        ..RunOptions::default()
    };
    Some(program.instance(&options).unwrap())
}

fn bundle(mut manifest: Manifest, target: &str) -> (Bundle, tempfile::TempDir) {
    manifest.target.name = target.to_owned();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("step.tessera");
    BundleWriter::new(manifest)
        .ptx(KERNELS.replace("sm_90a", target))
        .constants(&[ones()])
        .write(&path)
        .unwrap();
    (Bundle::open(path).unwrap(), folder)
}

#[test]
fn a_gpu_takes_steps() {
    // The first as it is, those behind it as a graph.
    if let Some(mut instance) = instance(training_step(), false) {
        takes_steps(&mut instance);
    }
}

#[test]
fn a_gpu_takes_steps_kernel_by_kernel() {
    if let Some(mut instance) = instance(training_step(), true) {
        takes_steps(&mut instance);
        let profile = instance.profile().unwrap();
        assert_eq!(
            profile
                .kernels()
                .iter()
                .map(|kernel| kernel.launches)
                .sum::<u64>(),
            3 * 4
        );
    }
}

#[test]
fn a_gpu_goes_round_loops() {
    if let Some(mut instance) = instance(counting(), false) {
        counts(&mut instance);
    }
}

#[test]
fn a_gpu_takes_branches() {
    if let Some(mut instance) = instance(branching(), false) {
        branches(&mut instance);
    }
}

#[test]
fn a_gpu_is_told_what_it_does_not_run() {
    let Some(device) = device() else { return };
    // No GPU is both.
    let errors = ["sm_90a", "sm_120a"].map(|target| {
        let (bundle, _folder) = bundle(training_step(), target);
        Program::load_on(&bundle, &device)
            .err()
            .map(|error| error.to_string())
    });
    let refused = errors.iter().flatten().next().expect("a refusal");
    assert!(refused.contains(", which cuda:"), "{refused}");
    assert!(refused.contains("compute capability"), "{refused}");
}

#[test]
fn ptx_that_the_driver_does_not_translate_is_told_with_its_words() {
    let Some(device) = device() else { return };
    let mut manifest = training_step();
    manifest.target.name = "sm_80".to_owned();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("step.tessera");
    let text = KERNELS
        .replace("sm_90a", "sm_80")
        .replace("add.rn.f32", "add.up.f32");
    BundleWriter::new(manifest)
        .ptx(text)
        .constants(&[ones()])
        .write(&path)
        .unwrap();
    let error = Program::load_on(&Bundle::open(path).unwrap(), &device)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("add.up.f32") || error.contains("ptxas"),
        "{error}"
    );
}

#[test]
fn a_machine_without_a_driver_says_so() {
    let (bundle, _folder) = bundle(training_step(), "sm_80");
    let error = match Program::load_on(&bundle, &Device::Cuda(7)) {
        Err(error) => error.to_string(),
        Ok(_) => return eprintln!("SKIPPED: this machine has eight GPUs"),
    };
    // With a driver the message says which GPUs there are.
    let expected = [
        "cuda:7: there is no NVIDIA driver on this machine: its library, libcuda, is not found",
        "cuda:7: the driver finds no GPU",
        "cuda:7: there ",
    ];
    assert!(
        expected.iter().any(|text| error.starts_with(text)),
        "{error}"
    );
    let target = Device::Cuda(7).default_target().unwrap_err().to_string();
    assert_eq!(target, error);
}

#[test]
fn code_for_a_cpu_is_refused_before_a_gpu_is_looked_for() {
    let sample = Sample::write(step_manifest());
    let bundle = Bundle::open(sample.path()).unwrap();
    let error = Program::load_on(&bundle, &Device::Cuda(0))
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("made for cpu, which cuda:0 does not run; expected the device cpu"),
        "{error}"
    );
}
