//! A kernel as text: what a worker is asked, and what shows a failure again.
//!
//! Two comments say how it is used and what code is wanted; the rest is a plan that launches the kernel once, on memory
//! that overlaps as it does in the plan at hand. The plan's name is that of the function.

use crate::stage::CodeStage;
use crate::units::{Unit, Units, UnsoundPlan};
use crate::{CodegenError, Target};
use tessera_ir::diagnostic::Diagnostic;
use tessera_ir::plan::{
    self, ARENA_ALIGNMENT, Buffer, BufferId, Kernel, KernelId, Place, Plan, Step,
};
use tessera_ir::{Location, Type};

const USAGE: &str = "// To compile this kernel again: tessera worker FILE";
const WANTED: &str = "// Wanted: ";
const IN_TILES: &str = " in tiles of ";

/// A kernel's reproducer that cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum ReproducerError {
    /// The text does not begin as one.
    #[error("expected a kernel's reproducer, whose second line begins with '{WANTED}'")]
    Header,
    /// The plan in it is malformed.
    #[error(transparent)]
    Text(#[from] Diagnostic),
    /// The kernel is refused.
    #[error(transparent)]
    Cpu(#[from] CodegenError),
}

/// A unit and what is wanted of it.
pub struct Request {
    plan: Plan,
    tile: Option<[u32; 2]>,
    pub target: Target,
    pub stage: CodeStage,
}

/// The text that asks for a unit's code.
pub fn print(unit: &Unit<'_>, target: &Target, stage: CodeStage) -> String {
    let stage = stage.name();
    let code = target.description();
    let plan = plan::print(&plan_of(unit), true);
    let tile = unit.tile.map_or(String::new(), |[rows, columns]| {
        format!("{IN_TILES}{rows}x{columns}")
    });
    format!("{USAGE}\n{WANTED}{stage} for {code}{tile}\n{plan}")
}

impl Request {
    /// Reads what [`print`] writes.
    pub fn parse(text: &str) -> Result<Self, ReproducerError> {
        let header = |text: &str| {
            let wanted = text.lines().nth(1)?.strip_prefix(WANTED)?;
            let (stage, code) = wanted.split_once(" for ")?;
            let stage = CodeStage::ALL.into_iter().find(|s| s.name() == stage)?;
            let (code, tile) = match code.split_once(IN_TILES) {
                Some((code, tile)) => {
                    let (rows, columns) = tile.split_once('x')?;
                    (code, Some([rows.parse().ok()?, columns.parse().ok()?]))
                }
                None => (code, None),
            };
            Some((stage, Target::described(code)?, tile))
        };
        let (stage, target, tile) = header(text).ok_or(ReproducerError::Header)?;
        Ok(Self {
            plan: plan::parse(text, None)?,
            tile,
            target,
            stage,
        })
    }

    /// The unit that the plan launches.
    pub fn unit(&self) -> Result<Unit<'_>, CodegenError> {
        let mut units = Units::of(&self.plan, |kernel, symbol| {
            self.target.builtin(kernel, symbol)
        })?
        .units;
        match units.pop() {
            Some(unit) if units.is_empty() => Ok(Unit {
                symbol: self.plan.name.clone(),
                tile: self.tile,
                ..unit
            }),
            _ => Err(CodegenError::from(UnsoundPlan(format!(
                "expected one kernel, found {}",
                self.plan.kernels.len()
            )))),
        }
    }
}

/// A plan that launches the unit. All is in the arena, where a result can lie in place of any operand.
fn plan_of(unit: &Unit<'_>) -> Plan {
    let kernel: &Kernel = unit.kernel;
    let mut buffers = Vec::new();
    let mut arena_bytes: usize = 0;
    let mut buffer = |value_type: &Type, place: Option<Place>| {
        let place = place.unwrap_or_else(|| {
            let offset = arena_bytes;
            let bytes = value_type.byte_size().max(1);
            arena_bytes += bytes.next_multiple_of(ARENA_ALIGNMENT);
            Place::Arena(offset)
        });
        buffers.push(Buffer {
            value_type: value_type.clone(),
            place,
        });
        (BufferId(buffers.len() as u32 - 1), place)
    };
    let results: Vec<(BufferId, Place)> = (kernel.body.result_types())
        .map(|value_type| buffer(value_type, None))
        .collect();
    let operands = (kernel.body.inputs().iter().zip(&unit.in_place))
        .map(|(input, result)| {
            let place = result.map(|result| results[result].1);
            buffer(&input.value_type, place).0
        })
        .collect();
    Plan {
        name: unit.symbol.clone(),
        inputs: Vec::new(),
        results: Vec::new(),
        constants: Vec::new(),
        buffers,
        kernels: vec![kernel.clone()],
        schedule: vec![Step::Launch {
            kernel: KernelId(0),
            operands,
            results: results.into_iter().map(|(id, _)| id).collect(),
            location: Location::Unknown,
        }],
        arena_bytes,
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A kernel launched twice: on memory of its own, and with its result in place of the second operand.
    pub const PLAN: &str = "plan @step arena = 128 {
  buffer %b0 : tensor<4xf32> at arena(0)
  buffer %b1 : tensor<4xf32> at arena(64)
  buffer %b2 : tensor<4xf32> at arena(128)
  kernel @loop_add loop(%arg0: tensor<4xf32>, %arg1: tensor<4xf32>) -> tensor<4xf32> {
    %c = tsr.constant {value = dense<0.1>} : tensor<f32>
    %0 = tsr.broadcast_in_dim %c {broadcast_dimensions = []} : (tensor<f32>) -> tensor<4xf32>
    %1 = tsr.multiply %arg0, %0 : tensor<4xf32>
    %2 = tsr.add %1, %arg1 : tensor<4xf32>
    return %2 : tensor<4xf32>
  }
  launch @loop_add(%b0, %b1) -> (%b2)
  launch @loop_add(%b0, %b1) -> (%b1)
}
";

    #[test]
    fn a_request_is_read_back() {
        let plan = plan::parse(PLAN, None).unwrap();
        let target: Target = "cpu:x86-64-v4".parse().unwrap();
        let tiles = [("loop_add".to_owned(), [64, 16])].into();
        for (unit, symbol) in Units::of(&plan, |kernel, symbol| target.builtin(kernel, symbol))
            .unwrap()
            .in_tiles(&tiles)
            .unwrap()
            .units
            .iter()
            .zip(["loop_add", "loop_add_result0_over_operand1"])
        {
            let request = Request::parse(&print(unit, &target, CodeStage::Assembly)).unwrap();
            let read = request.unit().unwrap();
            assert_eq!(read.symbol, symbol);
            assert_eq!(read.symbol, unit.symbol);
            assert_eq!(read.kernel, unit.kernel);
            assert_eq!(read.in_place, unit.in_place);
            assert_eq!(read.tile, Some([64, 16]));
            assert_eq!(request.stage, CodeStage::Assembly);
            assert_eq!(request.target.description(), target.description());
        }
    }

    #[test]
    fn another_text_is_refused() {
        let error = Request::parse("module {\n}\n").err().unwrap();
        assert_eq!(
            error.to_string(),
            "expected a kernel's reproducer, whose second line begins with '// Wanted: '"
        );
    }
}
