//! A plan and its code as the bundle's manifest.

use super::codegen::Code;
use super::units::{Unit, Units};
use super::{CpuOptions, CpuTarget};
use tessera_ir::Type;
use tessera_ir::plan::{self, Place, Plan};
use tessera_runtime::bundle::{
    self, Buffer, Code as KernelCode, CompilerIdentity, Function, Input, Kernel, Manifest, Output,
    TensorType, ValueType,
};

/// The manifest of a compiled plan.
pub fn manifest(
    plan: &Plan,
    units: &Units<'_>,
    compiled: &[Option<Code>],
    target: &CpuTarget,
    options: &CpuOptions,
) -> Manifest {
    let kernels =
        (units.units.iter().zip(compiled)).map(|(unit, code)| kernel(unit, code.as_ref()));
    Manifest {
        format: bundle::FORMAT.to_owned(),
        version: bundle::VERSION,
        compiler: CompilerIdentity {
            name: "tessera".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        graph: plan.name.clone(),
        target: bundle::Target {
            name: target.to_string(),
            architecture: "x86_64".to_owned(),
            features: target.features().iter().map(|&f| f.to_owned()).collect(),
        },
        pipeline: options.pipeline.clone(),
        inputs: (plan.inputs.iter())
            .map(|input| Input {
                name: input.name.clone(),
                tensor_type: tensor_type(&input.tensor_type),
                donate: input.donate,
                initialiser: input.initialiser.map(|one| one.to_string()),
            })
            .collect(),
        results: (plan.results.iter())
            .map(|result| Output {
                name: result.name.clone(),
                tensor_type: tensor_type(&result.tensor_type),
            })
            .collect(),
        constants: Vec::new(),
        buffers: (plan.buffers.iter())
            .map(|buffer| Buffer {
                value_type: value_type(&buffer.value_type),
                place: place(buffer.place),
            })
            .collect(),
        arena_bytes: plan.arena_bytes,
        kernels: kernels.collect(),
        schedule: steps(plan, units, &plan.schedule),
        files: std::collections::BTreeMap::new(),
    }
}

fn kernel(unit: &Unit<'_>, code: Option<&Code>) -> Kernel {
    let body = &unit.kernel.body;
    let operands: Vec<ValueType> = body
        .inputs()
        .iter()
        .map(|input| value_type(&input.value_type))
        .collect();
    let (operands, code) = match (&unit.builtin, code) {
        (Some(builtin), _) => {
            let own = builtin.operands.iter();
            let own = own.map(|&input| operands[input].clone());
            (own.collect(), builtin.code.clone())
        }
        (None, code) => {
            let division = code
                .expect("what the runtime does not compute was compiled")
                .division;
            let function = Function {
                symbol: unit.symbol.clone(),
                blocks: division.blocks,
                grain: division.grain,
                scratch_bytes: division.scratch_bytes,
            };
            (operands, KernelCode::Function(function))
        }
    };
    Kernel {
        name: unit.symbol.clone(),
        family: family(unit.kernel.family),
        operands,
        results: body.result_types().map(value_type).collect(),
        code,
    }
}

fn steps(plan: &Plan, units: &Units<'_>, steps_of_plan: &[plan::Step]) -> Vec<bundle::Step> {
    let number = |id: &plan::BufferId| id.0 as usize;
    let step = |step: &plan::Step| match step {
        plan::Step::Launch {
            kernel,
            operands,
            results,
            ..
        } => {
            let unit = units.launched(plan, *kernel, operands, results);
            let operands = match &units.units[unit].builtin {
                Some(builtin) => {
                    let own = builtin.operands.iter();
                    own.map(|&input| number(&operands[input])).collect()
                }
                None => operands.iter().map(number).collect(),
            };
            bundle::Step::Launch {
                kernel: unit,
                operands,
                results: results.iter().map(number).collect(),
            }
        }
        plan::Step::Copy {
            source,
            destination,
        } => bundle::Step::Copy {
            source: number(source),
            destination: number(destination),
        },
        plan::Step::While {
            condition,
            predicate,
            body,
        } => bundle::Step::While {
            condition: steps(plan, units, condition),
            predicate: number(predicate),
            body: steps(plan, units, body),
        },
        plan::Step::Case { index, branches } => bundle::Step::Case {
            index: number(index),
            branches: branches
                .iter()
                .map(|branch| steps(plan, units, branch))
                .collect(),
        },
    };
    steps_of_plan.iter().map(step).collect()
}

fn value_type(value_type: &Type) -> ValueType {
    match value_type {
        Type::Tensor(tensor) => tensor_type(tensor).into(),
        Type::Scaled(scaled) => scaled.clone().into(),
    }
}

fn tensor_type(t: &tessera_ir::TensorType) -> TensorType {
    TensorType::new(t.element, t.shape.clone())
}

fn place(place: Place) -> bundle::Place {
    match place {
        Place::Input(number) => bundle::Place::Input(number),
        Place::Result(number) => bundle::Place::Result(number),
        Place::Constant(number) => bundle::Place::Constant(number),
        Place::Arena(offset) => bundle::Place::Arena(offset),
    }
}

fn family(family: plan::Family) -> bundle::Family {
    match family {
        plan::Family::Loop => bundle::Family::Loop,
        plan::Family::Row => bundle::Family::Row,
        plan::Family::Column => bundle::Family::Column,
        plan::Family::Dot => bundle::Family::Dot,
        plan::Family::Index => bundle::Family::Index,
        plan::Family::Sort => bundle::Family::Sort,
        plan::Family::Quantize => bundle::Family::Quantize,
        plan::Family::Solve => bundle::Family::Solve,
    }
}
