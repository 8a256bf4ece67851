//! What is compiled: each kernel, once for each way in which launches give it one memory for operand and result.

use crate::CodegenError;
use std::collections::{BTreeMap, BTreeSet};
use tessera_ir::Type;
use tessera_ir::plan::{BufferId, Family, Kernel, KernelId, Place, Plan, Step};
use tessera_runtime::bundle::Code;

/// A plan that breaks a promise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the plan is not sound: {0}")]
pub struct UnsoundPlan(pub String);

/// A kernel as it is compiled.
pub struct Unit<'p> {
    /// The kernel.
    pub kernel: &'p Kernel,
    /// For each operand, the result that lies in its memory, if any.
    pub in_place: Vec<Option<usize>>,
    /// The name of its function.
    pub symbol: String,
    /// The rows and columns of the tiles that its product is to be cut into, where the target is not to choose.
    pub tile: Option<[u32; 2]>,
    /// What the runtime computes in its place; then there is a function only where that calls one.
    pub builtin: Option<Builtin>,
}

impl Unit<'_> {
    /// Whether there is something to compile.
    pub fn has_function(&self) -> bool {
        (self.builtin.as_ref()).is_none_or(|builtin| builtin.code.symbol().is_some())
    }
}

/// A kernel that the runtime computes itself.
pub struct Builtin {
    /// What it computes, and the function that it calls for that, if it calls one: the unit's.
    pub code: Code,
    /// Which of the kernel's operands are its, in its order.
    pub operands: Vec<usize>,
}

/// All that is compiled for a plan.
pub struct Units<'p> {
    /// In the order of the plan's kernels.
    pub units: Vec<Unit<'p>>,
    numbers: BTreeMap<(KernelId, Vec<Option<usize>>), usize>,
}

impl<'p> Units<'p> {
    /// What the launches of a plan need, where the runtime computes the kernels for which there is a `builtin`, given the
    /// name of the unit's function.
    pub fn of(
        plan: &'p Plan,
        builtin: impl Fn(&Kernel, &str) -> Option<Builtin>,
    ) -> Result<Self, UnsoundPlan> {
        let mut wanted = BTreeSet::new();
        collect(plan, &plan.schedule, &mut wanted)?;
        let mut symbols: BTreeSet<String> = plan.kernels.iter().map(|k| k.name.clone()).collect();
        let mut units = Vec::new();
        let mut numbers = BTreeMap::new();
        for (id, in_place) in wanted {
            let kernel = &plan.kernels[id.0 as usize];
            numbers.insert((id, in_place.clone()), units.len());
            let symbol = symbol(&kernel.name, &in_place, &mut symbols);
            units.push(Unit {
                kernel,
                tile: None,
                builtin: builtin(kernel, &symbol),
                symbol,
                in_place,
            });
        }
        Ok(Self { units, numbers })
    }

    /// The same with products cut into tiles as is said of their kernels.
    ///
    /// # Errors
    /// There is no kernel of a name.
    pub fn in_tiles(mut self, tiles: &BTreeMap<String, [u32; 2]>) -> Result<Self, CodegenError> {
        for (name, tile) in tiles {
            let mut named = self
                .units
                .iter_mut()
                .filter(|unit| unit.kernel.name == *name);
            let Some(first) = named.next() else {
                let names = self.units.iter().map(|unit| &unit.kernel);
                let products = names.filter(|kernel| kernel.family == Family::Dot);
                let mut products: Vec<&str> = products.map(|kernel| &*kernel.name).collect();
                products.dedup();
                return Err(CodegenError::NoKernel {
                    name: name.clone(),
                    products: products.join(", "),
                });
            };
            first.tile = Some(*tile);
            named.for_each(|unit| unit.tile = Some(*tile));
        }
        Ok(self)
    }

    /// The unit that a launch runs.
    pub fn launched(
        &self,
        plan: &Plan,
        kernel: KernelId,
        operands: &[BufferId],
        results: &[BufferId],
    ) -> usize {
        let key = (kernel, in_place(plan, operands, results));
        *(self.numbers.get(&key)).expect("every launch of the plan was looked at")
    }
}

/// The kernel's name where nothing lies in place of something else; otherwise that and what does.
fn symbol(name: &str, in_place: &[Option<usize>], taken: &mut BTreeSet<String>) -> String {
    let mut symbol = name.to_owned();
    for (operand, result) in in_place.iter().enumerate() {
        if let Some(result) = result {
            symbol.push_str(&format!("_result{result}_over_operand{operand}"));
        }
    }
    if symbol == name {
        return symbol;
    }
    while !taken.insert(symbol.clone()) {
        symbol.push('_');
    }
    symbol
}

fn collect(
    plan: &Plan,
    steps: &[Step],
    wanted: &mut BTreeSet<(KernelId, Vec<Option<usize>>)>,
) -> Result<(), UnsoundPlan> {
    for step in steps {
        match step {
            Step::Launch {
                kernel,
                operands,
                results,
                ..
            } => {
                let in_place = in_place(plan, operands, results);
                check_sizes(plan, operands, results, &in_place)?;
                wanted.insert((*kernel, in_place));
            }
            Step::Copy { .. } => {}
            Step::While {
                condition, body, ..
            } => {
                collect(plan, condition, wanted)?;
                collect(plan, body, wanted)?;
            }
            Step::Case { branches, .. } => {
                for branch in branches {
                    collect(plan, branch, wanted)?;
                }
            }
        }
    }
    Ok(())
}

/// For each operand, the result that begins where it does.
fn in_place(plan: &Plan, operands: &[BufferId], results: &[BufferId]) -> Vec<Option<usize>> {
    let place = |id: &BufferId| memory(plan, plan.buffers[id.0 as usize].place);
    let is_empty = |id: &BufferId| plan.buffers[id.0 as usize].value_type.is_empty();
    let with = |operand: &BufferId| {
        let mut numbers = 0..results.len();
        numbers.find(|&number| {
            !is_empty(operand)
                && !is_empty(&results[number])
                && place(operand) == place(&results[number])
        })
    };
    operands.iter().map(with).collect()
}

/// The place itself, or that of the donated input whose memory it is.
fn memory(plan: &Plan, place: Place) -> Place {
    match place {
        Place::Result(result) => {
            let donated = plan
                .inputs
                .iter()
                .position(|input| input.donate == Some(result));
            donated.map_or(place, Place::Input)
        }
        Place::Input(_) | Place::Constant(_) | Place::Arena(_) => place,
    }
}

/// Element `i` of a result over element `i` of an operand is one place only where elements are of one size.
fn check_sizes(
    plan: &Plan,
    operands: &[BufferId],
    results: &[BufferId],
    in_place: &[Option<usize>],
) -> Result<(), UnsoundPlan> {
    let element_size = |id: BufferId| match &plan.buffers[id.0 as usize].value_type {
        Type::Tensor(tensor) => Some(tensor.element.size()),
        Type::Scaled(_) => None,
    };
    for (&operand, result) in operands.iter().zip(in_place) {
        if let Some(result) = result
            && element_size(operand) != element_size(results[*result])
        {
            return Err(UnsoundPlan(format!(
                "{} lies in place of {operand}, whose elements have another size",
                results[*result]
            )));
        }
    }
    Ok(())
}
