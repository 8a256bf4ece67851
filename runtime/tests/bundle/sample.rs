//! Small bundles for the tests to write, damage and run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use tempfile::TempDir;
use tessera_numerics::ElementType::{self, F32, I1, I32};
use tessera_numerics::Tensor;
use tessera_runtime::bundle::{
    Buffer, BundleWriter, Code, CompilerIdentity, FORMAT, Family, Function, Input, Kernel,
    Manifest, Output, Place, Step, Target, VERSION, ValueType, Work,
};
use tessera_runtime::{Bundle, Program, TensorType};

/// The shared object of `kernels.c`, compiled once.
pub fn kernels() -> Vec<u8> {
    static OBJECT: OnceLock<Vec<u8>> = OnceLock::new();
    OBJECT
        .get_or_init(|| compile(include_str!("kernels.c")))
        .clone()
}

/// Compiles C to a shared object with the linker driver that Rust itself needs.
pub fn compile(source: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (
        folder.path().join("kernels.c"),
        folder.path().join("kernels.so"),
    );
    std::fs::write(&input, source).unwrap();
    let status = Command::new("cc")
        .args(["-O1", "-shared", "-fPIC", "-o"])
        .args([&output, &input])
        .status()
        .expect("cc runs");
    assert!(status.success());
    std::fs::read(output).unwrap()
}

pub fn ty(element_type: ElementType, shape: impl Into<Vec<usize>>) -> TensorType {
    TensorType::new(element_type, shape)
}

/// A manifest without inputs, results or steps, which has all of the kernels of `kernels.c`.
pub fn empty_manifest() -> Manifest {
    let vector = || ty(F32, [1000]);
    let integer = || ty(I32, []);
    let values = |types: Vec<TensorType>| types.into_iter().map(ValueType::Tensor).collect();
    let kernel = |name: &str, family, operands, results, (blocks, grain, scratch_bytes)| Kernel {
        name: name.to_owned(),
        family,
        operands: values(operands),
        results: values(results),
        work: Work::default(),
        code: Code::Function(Function {
            symbol: name.to_owned(),
            blocks,
            grain,
            scratch_bytes,
        }),
    };
    let one = (1, 1, 0);
    Manifest {
        format: FORMAT.to_owned(),
        version: VERSION,
        compiler: CompilerIdentity {
            name: "tessera".to_owned(),
            version: "0.1.0".to_owned(),
        },
        graph: "main".to_owned(),
        target: Target {
            name: "cpu".to_owned(),
            architecture: std::env::consts::ARCH.to_owned(),
            features: Vec::new(),
        },
        pipeline: "inline,canonicalize,fuse,plan".to_owned(),
        inputs: Vec::new(),
        results: Vec::new(),
        constants: Vec::new(),
        buffers: Vec::new(),
        arena_bytes: 0,
        kernels: vec![
            kernel(
                "add",
                Family::Loop,
                vec![vector(), vector()],
                vec![vector()],
                (125, 2, 0),
            ),
            kernel(
                "negate",
                Family::Loop,
                vec![vector()],
                vec![vector()],
                (125, 2, 0),
            ),
            kernel(
                "increment",
                Family::Loop,
                vec![integer()],
                vec![integer()],
                one,
            ),
            kernel(
                "less",
                Family::Loop,
                vec![integer(), integer()],
                vec![ty(I1, [])],
                one,
            ),
            kernel(
                "row_sum",
                Family::Row,
                vec![ty(F32, [200, 300])],
                vec![ty(F32, [200])],
                (200, 3, 1200),
            ),
            kernel("not_a_boolean", Family::Loop, vec![], vec![ty(I1, [])], one),
        ],
        schedule: Vec::new(),
        files: BTreeMap::new(),
    }
}

pub const ADD: usize = 0;
pub const NEGATE: usize = 1;
pub const INCREMENT: usize = 2;
pub const LESS: usize = 3;
pub const ROW_SUM: usize = 4;
pub const NOT_A_BOOLEAN: usize = 5;

pub fn input(name: Option<&str>, tensor_type: TensorType, donate: Option<usize>) -> Input {
    Input {
        name: name.map(str::to_owned),
        tensor_type,
        donate,
        initialiser: None,
    }
}

pub fn output(name: Option<&str>, tensor_type: TensorType) -> Output {
    Output {
        name: name.map(str::to_owned),
        tensor_type,
    }
}

pub fn buffer(tensor_type: TensorType, place: Place) -> Buffer {
    let value_type = tensor_type.into();
    Buffer { value_type, place }
}

pub fn launch(
    kernel: usize,
    operands: impl Into<Vec<usize>>,
    results: impl Into<Vec<usize>>,
) -> Step {
    Step::Launch {
        kernel,
        operands: operands.into(),
        results: results.into(),
    }
}

/// A training step in miniature: `state += gradient`, `loss = -(state + one)`, and the arena in between.
pub fn step_manifest() -> Manifest {
    let vector = || ty(F32, [1000]);
    Manifest {
        inputs: vec![
            input(Some("state"), vector(), Some(0)),
            input(Some("gradient"), vector(), None),
        ],
        results: vec![output(None, vector()), output(Some("loss"), vector())],
        buffers: vec![
            buffer(vector(), Place::Input(0)),
            buffer(vector(), Place::Input(1)),
            buffer(vector(), Place::Result(0)),
            buffer(vector(), Place::Constant(0)),
            buffer(vector(), Place::Arena(64)),
            buffer(vector(), Place::Result(1)),
        ],
        arena_bytes: 4096,
        schedule: vec![
            launch(ADD, [0, 1], [2]),
            launch(ADD, [2, 3], [4]),
            launch(NEGATE, [4], [5]),
        ],
        ..empty_manifest()
    }
}

pub fn ones() -> Tensor {
    Tensor::from_values([1000], &[1f32; 1000]).unwrap()
}

/// A bundle in a folder that goes away with it.
pub struct Sample {
    folder: TempDir,
}

impl Sample {
    /// Writes the manifest with the kernels and, where a buffer needs one, a constant of ones.
    pub fn write(manifest: Manifest) -> Self {
        let sample = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        writer(manifest).write(sample.path()).unwrap();
        sample
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("step.tessera")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn program(&self) -> Program {
        Program::load(&Bundle::open(self.path()).unwrap()).unwrap()
    }

    /// The message with which opening or loading the bundle fails, without the path of the sample's folder.
    pub fn refusal(&self) -> String {
        let error = Bundle::open(self.path())
            .and_then(|bundle| Program::load(&bundle).map(|_| ()))
            .expect_err("a refusal");
        let folder = std::fs::canonicalize(self.folder()).unwrap();
        error
            .to_string()
            .replace(&format!("{}/", folder.display()), "")
    }
}

pub fn writer(manifest: Manifest) -> BundleWriter {
    let uses_constant = |buffer: &Buffer| matches!(buffer.place, Place::Constant(_));
    let constants = Vec::from_iter(manifest.buffers.iter().any(uses_constant).then(ones));
    BundleWriter::new(manifest)
        .kernels(kernels())
        .constants(&constants)
        .file("step.h", b"/* the C interface */\n".to_vec())
}

pub fn program(manifest: Manifest) -> (Program, Sample) {
    let sample = Sample::write(manifest);
    (sample.program(), sample)
}

/// Small numbers, different for each seed.
pub fn vector(seed: usize) -> Tensor {
    let values: Vec<f32> = (0..1000)
        .map(|i| ((i * 7 + seed) % 32) as f32 / 4.0)
        .collect();
    Tensor::from_values([1000], &values).unwrap()
}
