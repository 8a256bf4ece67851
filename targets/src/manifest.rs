//! A plan and its code as the bundle's manifest.

use crate::units::{Unit, Units};
use crate::work;
use tessera_ir::Type;
use tessera_ir::plan::{self, Place, Plan};
use tessera_runtime::bundle::{
    self, Buffer, Code, CompilerIdentity, Input, Kernel, Manifest, MatrixUnit, Output, TensorType,
    ValueType,
};

/// The manifest of a compiled plan.
pub fn manifest(
    plan: &Plan,
    units: &Units<'_>,
    kernels: Vec<Kernel>,
    target: bundle::Target,
    pipeline: &str,
) -> Manifest {
    Manifest {
        format: bundle::FORMAT.to_owned(),
        version: bundle::VERSION,
        compiler: CompilerIdentity {
            name: "tessera".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        graph: plan.name.clone(),
        target,
        pipeline: pipeline.to_owned(),
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
        kernels,
        schedule: steps(plan, units, &plan.schedule),
        files: std::collections::BTreeMap::new(),
    }
}

/// A kernel of the bundle: what computes it, which of its operands that takes, without these all, and what matrix unit
/// makes its products.
pub fn kernel(
    unit: &Unit<'_>,
    code: Code,
    operands: Option<&[usize]>,
    matrix_unit: Option<MatrixUnit>,
) -> Kernel {
    let body = &unit.kernel.body;
    let all: Vec<ValueType> = (body.inputs().iter())
        .map(|input| value_type(&input.value_type))
        .collect();
    Kernel {
        name: unit.symbol.clone(),
        family: family(unit.kernel.family),
        operands: match operands {
            Some(own) => own.iter().map(|&input| all[input].clone()).collect(),
            None => all,
        },
        results: body.result_types().map(value_type).collect(),
        work: work::work(unit, matrix_unit),
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
        plan::Family::Attention => bundle::Family::Attention,
        plan::Family::Index => bundle::Family::Index,
        plan::Family::Sort => bundle::Family::Sort,
        plan::Family::Quantize => bundle::Family::Quantize,
        plan::Family::Solve => bundle::Family::Solve,
    }
}
