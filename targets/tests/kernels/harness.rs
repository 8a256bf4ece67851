//! Compiles kernels into one bundle, runs them, compares with the interpreter.

use crate::emulated;
use std::num::NonZeroUsize;
use tessera_interpreter::{Value, evaluate_values};
use tessera_ir::plan::{
    Buffer, BufferId, Family, Kernel, KernelId, Place, Plan, PlanInput, PlanResult, Step,
};
use tessera_ir::{
    Element, ElementType, Graph, Location, Module, ScaledTensor, Tensor, TensorType, Type, text,
};
use tessera_runtime::{Bundle, Device, Program, RunError, RunOptions};
use tessera_targets::{Options, Target, compile};

/// How far a result may be from the interpreter's.
#[derive(Clone, Copy, Debug)]
pub enum Tolerance {
    /// The same bits; any NaN is every NaN.
    Exact,
    /// So many units in the last place of the element type.
    Ulp(f64),
    /// So much times the largest finite expected element.
    OfLargest(f64),
}

/// A kernel, and what to run it on. Scaled tensors are given, and come back, as their bytes: tensors of ui8.
#[derive(Clone)]
pub struct Case {
    pub kernel: Kernel,
    pub inputs: Vec<Tensor>,
    /// Of each result, the input whose memory it takes over.
    pub in_place: Vec<(usize, usize)>,
    pub tolerance: Tolerance,
}

impl Case {
    /// A kernel whose body is a function in the text form.
    pub fn new(family: Family, body: &str, inputs: Vec<Tensor>) -> Self {
        let graph = text::parse_graph(body, None)
            .unwrap_or_else(|error| panic!("{}", error.render("body", body)));
        Self::of(family, graph, inputs)
    }

    pub fn of(family: Family, body: Graph, inputs: Vec<Tensor>) -> Self {
        let name = body.name.clone();
        Self {
            kernel: Kernel { name, family, body },
            inputs,
            in_place: Vec::new(),
            tolerance: Tolerance::Exact,
        }
    }

    pub fn within(self, tolerance: Tolerance) -> Self {
        Self { tolerance, ..self }
    }

    /// Result `result` is to lie in the memory of input `input`.
    pub fn in_place(mut self, result: usize, input: usize) -> Self {
        self.in_place.push((result, input));
        self
    }
}

/// Runs every kernel on the CPU and in the emulator of a GPU, and compares each result.
pub fn check(cases: Vec<Case>) {
    compare_all(&cases, run(&cases));
    check_on_gpu(cases);
}

/// Runs every kernel in the emulator of a GPU, and on a GPU where one is named, and compares each result.
pub fn check_on_gpu(cases: Vec<Case>) {
    compare_all(&cases, emulated::run(&cases));
    if let Some(results) = emulated::run_on_gpu(&cases) {
        compare_all(&cases, results);
    }
}

/// Runs every kernel, compiled for a GPU target, in the emulator, and compares each result.
pub fn check_for(target: &str, cases: &[Case]) {
    compare_all(cases, emulated::run_on(cases, target));
}

/// Runs every kernel on the CPU and compares each result.
pub fn check_on_cpu(cases: Vec<Case>) {
    compare_all(&cases, run(&cases));
}

fn compare_all(cases: &[Case], found: Vec<Tensor>) {
    let mut found = found.into_iter();
    for case in cases {
        let body = &case.kernel.body;
        let expected = interpret(body, &case.inputs);
        for (number, expected) in expected.iter().enumerate() {
            let found = found.next().unwrap();
            compare(case, number, &found, expected);
        }
    }
}

/// What the interpreter makes of a body, scaled tensors as their bytes.
pub fn interpret(body: &Graph, inputs: &[Tensor]) -> Vec<Tensor> {
    let types = body.inputs().iter().map(|input| &input.value_type);
    let values: Vec<Value> = (types.zip(inputs))
        .map(|(value_type, input)| match value_type {
            Type::Tensor(_) => input.clone().into(),
            Type::Scaled(scaled) => {
                Value::Scaled(ScaledTensor::new(scaled.clone(), input.bytes()).unwrap())
            }
        })
        .collect();
    let results = evaluate_values(&Module::default(), body, &values).unwrap();
    let memory = results.into_iter().map(|value| {
        let memory_type = memory_type(&value.value_type());
        Tensor::new(memory_type.element, memory_type.shape, value.bytes()).unwrap()
    });
    memory.collect()
}

/// The type itself, or the bytes of a scaled tensor.
fn memory_type(value_type: &Type) -> TensorType {
    match value_type {
        Type::Tensor(tensor) => tensor.clone(),
        Type::Scaled(scaled) => TensorType::new(ElementType::Ui8, [scaled.byte_size()]),
    }
}

/// The results of every kernel, one after the other; the same for any number of threads.
pub fn run(cases: &[Case]) -> Vec<Tensor> {
    let (program, inputs) = program(cases);
    let run = |threads| program.run(&inputs, &on(threads)).unwrap();
    let found = run(1);
    assert!(found == run(3), "results depend on the number of threads");
    found
}

/// The results of every kernel on so many threads.
pub fn try_run(cases: &[Case], threads: usize) -> Result<Vec<Tensor>, RunError> {
    let (program, inputs) = program(cases);
    program.run(&inputs, &on(threads))
}

fn on(threads: usize) -> RunOptions {
    RunOptions {
        threads: NonZeroUsize::new(threads),
        ..RunOptions::default()
    }
}

fn program(cases: &[Case]) -> (Program, Vec<Tensor>) {
    loaded(cases, "cpu", &Device::Cpu)
}

/// A program that launches every kernel once, compiled for a target and loaded on a device, and its inputs.
pub fn loaded(cases: &[Case], target: &str, device: &Device) -> (Program, Vec<Tensor>) {
    let plan = plan_of(cases);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kernels.tessera");
    let target: Target = target.parse().unwrap();
    let writer = compile(&plan, &target, &Options::default()).unwrap_or_else(|e| panic!("{e}"));
    writer.write(&path).unwrap();
    let program = Program::load_on(&Bundle::open(&path).unwrap(), device).unwrap();
    let inputs = cases.iter().flat_map(|case| case.inputs.clone()).collect();
    (program, inputs)
}

/// That each number found is as near to the expected one as so many roundings of sums of that size let it be.
pub fn assert_within_roundings(
    found: &[f64],
    expected: &[f64],
    sizes: &[f64],
    roundings: f64,
    what: &dyn std::fmt::Display,
) {
    for ((found, expected), size) in found.iter().zip(expected).zip(sizes) {
        let bound = roundings * (2f64.powi(-24) * size * 1.001 + 2f64.powi(-140));
        assert!(
            (found - expected).abs() <= bound,
            "{what}: {found}, expected {expected} ± {bound}"
        );
    }
}

/// A plan that launches each kernel once, from inputs to results.
pub fn plan_of(cases: &[Case]) -> Plan {
    let mut plan = Plan {
        name: "test".to_owned(),
        inputs: Vec::new(),
        results: Vec::new(),
        constants: Vec::new(),
        buffers: Vec::new(),
        kernels: Vec::new(),
        schedule: Vec::new(),
        arena_bytes: 0,
    };
    for (number, case) in cases.iter().enumerate() {
        let body = &case.kernel.body;
        let (first_input, first_result) = (plan.inputs.len(), plan.results.len());
        let mut buffer = |value_type: &Type, place| {
            plan.buffers.push(Buffer {
                value_type: value_type.clone(),
                place,
            });
            BufferId(plan.buffers.len() as u32 - 1)
        };
        let mut operands = Vec::new();
        for (i, input) in body.input_values().enumerate() {
            let value_type = body.value_type(input);
            operands.push(buffer(value_type, Place::Input(first_input + i)));
            let result = case.in_place.iter().find(|(_, taken)| *taken == i);
            plan.inputs.push(PlanInput {
                tensor_type: memory_type(value_type),
                name: None,
                donate: result.map(|(result, _)| first_result + result),
                initialiser: None,
            });
        }
        let mut results = Vec::new();
        for (i, result) in body.results().iter().enumerate() {
            let value_type = body.value_type(result.value);
            results.push(buffer(value_type, Place::Result(first_result + i)));
            plan.results.push(PlanResult {
                tensor_type: memory_type(value_type),
                name: None,
            });
        }
        let mut kernel = case.kernel.clone();
        kernel.name = format!("k{number}_{}", kernel.name);
        plan.kernels.push(kernel);
        plan.schedule.push(Step::Launch {
            kernel: KernelId(number as u32),
            operands,
            results,
            location: Location::Unknown,
        });
    }
    plan
}

fn compare(case: &Case, number: usize, found: &Tensor, expected: &Tensor) {
    let name = &case.kernel.name;
    assert_eq!(found.shape(), expected.shape(), "{name}: result {number}");
    assert_eq!(
        found.element(),
        expected.element(),
        "{name}: result {number}"
    );
    let element = expected.element();
    let (f, e) = (numbers(found), numbers(expected));
    let largest = e
        .iter()
        .filter(|x| x.is_finite())
        .fold(0.0f64, |a, x| a.max(x.abs()));
    let size = element.size();
    for (i, (&x, &y)) in f.iter().zip(&e).enumerate() {
        let bytes = |t: &Tensor| t.bytes()[i * size..(i + 1) * size].to_vec();
        let same = bytes(found) == bytes(expected) || x.is_nan() && y.is_nan();
        let close = match case.tolerance {
            _ if same => true,
            Tolerance::Exact => false,
            Tolerance::Ulp(n) => x == y || (x - y).abs() <= n * ulp(element, y),
            Tolerance::OfLargest(n) => (x - y).abs() <= n * largest,
        };
        if !close {
            let value = case.kernel.body.results()[number].value;
            let op = case
                .kernel
                .body
                .defining_operation(value)
                .map(|o| o.op.kind.name());
            let at: Vec<f64> = (case.inputs.iter())
                .filter(|input| input.len() == found.len())
                .map(|input| numbers(input)[i])
                .collect();
            panic!(
                "{name}: result {number} ({op:?}), element {i}: found {x:?}, expected {y:?}, allowed {:?}; inputs there {at:?}",
                case.tolerance
            );
        }
    }
}

/// The distance between neighbouring numbers of the type at `x`.
fn ulp(element: ElementType, x: f64) -> f64 {
    let (digits, least) = match element {
        ElementType::F16 => (10, -14),
        ElementType::Bf16 => (7, -126),
        ElementType::F32 => (23, -126),
        ElementType::F64 => (52, -1022),
        _ => return 0.0,
    };
    let exponent = if x.is_finite() && x != 0.0 {
        x.abs().log2().floor() as i32
    } else {
        least
    };
    f64::from(exponent.max(least) - digits).exp2()
}

/// The elements as f64; exact but for 64-bit integers.
pub fn numbers(tensor: &Tensor) -> Vec<f64> {
    fn all<T: Element>(tensor: &Tensor, f: impl Fn(T) -> f64) -> Vec<f64> {
        tensor.values::<T>().unwrap().into_iter().map(f).collect()
    }
    match tensor.element() {
        ElementType::I1 => all(tensor, |x: bool| f64::from(u8::from(x))),
        ElementType::I8 => all(tensor, |x: i8| x.into()),
        ElementType::I16 => all(tensor, |x: i16| x.into()),
        ElementType::I32 => all(tensor, |x: i32| x.into()),
        ElementType::I64 => all(tensor, |x: i64| x as f64),
        ElementType::Ui8 => all(tensor, |x: u8| x.into()),
        ElementType::Ui16 => all(tensor, |x: u16| x.into()),
        ElementType::Ui32 => all(tensor, |x: u32| x.into()),
        ElementType::Ui64 => all(tensor, |x: u64| x as f64),
        ElementType::F16 => all(tensor, |x: half::f16| x.into()),
        ElementType::Bf16 => all(tensor, |x: half::bf16| x.into()),
        ElementType::F32 => all(tensor, |x: f32| x.into()),
        ElementType::F64 => all(tensor, |x: f64| x),
    }
}

/// Pseudo-random 64-bit words (splitmix64).
pub struct Random(pub u64);

impl Random {
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in −1 … 1.
    pub fn uniform(&mut self) -> f64 {
        (self.word() >> 11) as f64 * 2f64.powi(-52) - 1.0
    }

    /// A tensor of small numbers: floats in −2 … 2, integers from few, booleans.
    pub fn tensor(&mut self, element: ElementType, shape: &[usize]) -> Tensor {
        self.tensor_of(element, shape, |random| random.uniform() * 2.0)
    }

    /// A tensor of numbers that `number` gives, rounded to the element type.
    pub fn tensor_of(
        &mut self,
        element: ElementType,
        shape: &[usize],
        mut number: impl FnMut(&mut Self) -> f64,
    ) -> Tensor {
        let mut bytes = Vec::new();
        for _ in 0..shape.iter().product() {
            let x = number(self);
            match element {
                ElementType::I1 => (x > 0.0).write(&mut bytes),
                ElementType::I8 => ((x * 40.0) as i8).write(&mut bytes),
                ElementType::I16 => ((x * 40.0) as i16).write(&mut bytes),
                ElementType::I32 => ((x * 40.0) as i32).write(&mut bytes),
                ElementType::I64 => ((x * 40.0) as i64).write(&mut bytes),
                ElementType::Ui8 => ((x.abs() * 40.0) as u8).write(&mut bytes),
                ElementType::Ui16 => ((x.abs() * 40.0) as u16).write(&mut bytes),
                ElementType::Ui32 => ((x.abs() * 40.0) as u32).write(&mut bytes),
                ElementType::Ui64 => ((x.abs() * 40.0) as u64).write(&mut bytes),
                ElementType::F16 => half::f16::from_f64(x).write(&mut bytes),
                ElementType::Bf16 => half::bf16::from_f64(x).write(&mut bytes),
                ElementType::F32 => (x as f32).write(&mut bytes),
                ElementType::F64 => x.write(&mut bytes),
            }
        }
        Tensor::new(element, shape, bytes).unwrap()
    }

    /// A tensor of any bits at all.
    pub fn bits(&mut self, element: ElementType, length: usize) -> Tensor {
        let mut bytes = Vec::new();
        for _ in 0..length {
            bytes.extend_from_slice(&self.word().to_le_bytes()[..element.size()]);
        }
        if element == ElementType::I1 {
            bytes.iter_mut().for_each(|byte| *byte &= 1);
        }
        Tensor::new(element, [length], bytes).unwrap()
    }
}
