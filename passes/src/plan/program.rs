//! Ops in order become instructions on variables.
//!
//! A variable is memory to be found: a value together with all its views (reshapes, barriers, what loops and branches
//! capture). The program is walked once; while it grows, the times at which each variable is in use are written down.

use super::in_place::{Overwrite, overwrites};
use super::live::{FOREVER, Live, read, written};
use super::schedule::schedule;
use crate::fuse::{kernel_family, magnitudes};
use crate::manager::PassFailure;
use indexmap::{IndexMap, IndexSet};
use tessera_ir::plan::{Kernel, KernelId};
use tessera_ir::{
    Graph, Location, Module, OpKind, Operation, Region, Tensor, TensorType, Type, ValueId,
};

/// The number of a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Variable(pub(super) usize);

/// A variable seen as a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    pub(super) variable: Variable,
    pub(super) value_type: Type,
}

/// What is known of a variable.
#[derive(Clone, Debug)]
pub(super) struct VariableInfo {
    pub(super) bytes: usize,
    /// Where it lies, if that is given.
    pub(super) fixed: Option<Fixed>,
    pub(super) live: Live,
    /// The number of loops around its definition.
    depth: usize,
    /// When it was written first.
    defined: usize,
}

/// Memory that is there from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fixed {
    /// An input that stays the caller's.
    Input(usize),
    /// An input whose memory becomes a result's.
    Donated {
        /// The input.
        input: usize,
        /// The result.
        result: usize,
    },
    /// A result.
    Result(usize),
    /// A constant.
    Constant(usize),
}

/// A step before places are known.
#[derive(Clone, Debug)]
pub(super) enum Instruction {
    /// A kernel runs.
    Launch {
        kernel: KernelId,
        operands: Vec<View>,
        results: Vec<View>,
        location: Location,
        position: usize,
    },
    /// Copies that happen at once.
    Copies { copies: Vec<Copy>, position: usize },
    /// A loop.
    While {
        condition: Vec<Instruction>,
        predicate: View,
        body: Vec<Instruction>,
    },
    /// A choice.
    Case {
        index: View,
        branches: Vec<Vec<Instruction>>,
    },
}

/// The bytes of one variable become those of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Copy {
    pub(super) source: View,
    pub(super) destination: View,
}

/// A whole plan before places are known.
#[derive(Debug, Default)]
pub(super) struct Program {
    pub(super) instructions: Vec<Instruction>,
    pub(super) variables: Vec<VariableInfo>,
    pub(super) kernels: Vec<Kernel>,
    pub(super) constants: IndexSet<Tensor>,
    /// What each kernel may write in place.
    pub(super) overwrites: Vec<Vec<Overwrite>>,
}

impl Program {
    /// The program of a graph of the module.
    pub(super) fn of(module: &Module, graph: &Graph) -> Result<Self, PassFailure> {
        let mut builder = Builder {
            module,
            program: Self::default(),
            kernels: IndexMap::new(),
            constants: IndexMap::new(),
            position: 0,
            loops: Vec::new(),
        };
        builder.entry(graph)?;
        Ok(builder.program)
    }

    pub(super) fn info(&self, variable: Variable) -> &VariableInfo {
        &self.variables[variable.0]
    }
}

struct Builder<'a> {
    module: &'a Module,
    program: Program,
    /// The kernels by the name of their graph.
    kernels: IndexMap<String, KernelId>,
    /// The variables of constants.
    constants: IndexMap<usize, Variable>,
    /// The next instruction's.
    position: usize,
    /// The loops that are open.
    loops: Vec<Loop>,
}

/// A loop whose end is not reached yet.
#[derive(Default)]
struct Loop {
    /// Variables from outside that are used in it: each iteration needs them.
    captured: Vec<Variable>,
}

/// What the values of a graph are.
type Values = Vec<Option<View>>;

impl Builder<'_> {
    fn next_position(&mut self) -> usize {
        self.position += 1;
        self.position
    }

    fn variable(&mut self, bytes: usize, fixed: Option<Fixed>) -> Variable {
        let id = Variable(self.program.variables.len());
        self.program.variables.push(VariableInfo {
            bytes,
            fixed,
            live: Live::default(),
            depth: self.loops.len(),
            defined: written(self.position),
        });
        id
    }

    /// A new variable for a value.
    fn view(&mut self, value_type: &Type) -> View {
        View {
            variable: self.variable(value_type.byte_size(), None),
            value_type: value_type.clone(),
        }
    }

    fn live(&mut self, variable: Variable, from: usize, to: usize) {
        self.program.variables[variable.0].live.add(from, to);
    }

    /// A variable is written at a position. It is in use until the next one, even if nobody reads it: what is read there
    /// yet must not lie in its place.
    fn define(&mut self, variable: Variable, position: usize) {
        self.program.variables[variable.0].defined = written(position);
        self.live(variable, written(position), written(position) + 1);
    }

    /// A variable is read at a position, for the first or another time since it was written.
    fn read(&mut self, variable: Variable, position: usize) {
        let info = &self.program.variables[variable.0];
        let (defined, depth) = (info.defined, info.depth);
        self.live(variable, defined, read(position));
        if let Some(outermost) = self.loops.get_mut(depth) {
            outermost.captured.push(variable);
        }
    }

    fn entry(&mut self, graph: &Graph) -> Result<(), PassFailure> {
        let mut values: Values = vec![None; graph.value_count()];
        for (number, input) in graph.inputs().iter().enumerate() {
            let fixed = match input.donate {
                Some(result) => Fixed::Donated {
                    input: number,
                    result,
                },
                None => Fixed::Input(number),
            };
            let variable = self.variable(input.value_type.byte_size(), Some(fixed));
            self.define(variable, 0);
            values[number] = Some(View {
                variable,
                value_type: input.value_type.clone(),
            });
        }
        let mut instructions = Vec::new();
        let heirs: Vec<Option<usize>> = graph.inputs().iter().map(|i| i.donate).collect();
        self.graph(graph, &heirs, &mut values, &mut instructions)?;
        let position = self.next_position();
        let mut copies = Vec::with_capacity(graph.results().len());
        for (number, result) in graph.results().iter().enumerate() {
            let source = known(&values, result.value);
            self.read(source.variable, position);
            let bytes = source.value_type.byte_size();
            let variable = self.variable(bytes, Some(Fixed::Result(number)));
            self.live(variable, written(position), FOREVER);
            copies.push(Copy {
                destination: View {
                    variable,
                    value_type: source.value_type.clone(),
                },
                source,
            });
        }
        instructions.push(Instruction::Copies { copies, position });
        self.program.instructions = instructions;
        Ok(())
    }

    /// Appends the ops of a graph whose inputs are known, in the order of its schedule.
    fn graph(
        &mut self,
        graph: &Graph,
        heirs: &[Option<usize>],
        values: &mut Values,
        instructions: &mut Vec<Instruction>,
    ) -> Result<(), PassFailure> {
        for number in schedule(graph, heirs) {
            let operation = &graph.operations()[number];
            let results = self.operation(graph, operation, values, instructions)?;
            for (value, view) in operation.results().zip(results) {
                values[value.index()] = Some(view);
            }
        }
        Ok(())
    }

    /// Where a kernel finds what is larger than what a result begins with: copies that to the result's place, which then is
    /// the operand. The results' numbers, and their places.
    fn begun(
        &mut self,
        kernel: KernelId,
        operands: &mut [View],
        instructions: &mut Vec<Instruction>,
    ) -> Vec<(usize, View)> {
        let magnitudes = magnitudes(&self.program.kernels[kernel.0 as usize].body);
        if magnitudes.is_empty() {
            return Vec::new();
        }
        let position = self.next_position();
        let mut copies = Vec::with_capacity(magnitudes.len());
        let mut begun = Vec::with_capacity(magnitudes.len());
        for (operand, result) in magnitudes {
            let source = operands[operand].clone();
            self.read(source.variable, position);
            let destination = self.view(&source.value_type);
            self.define(destination.variable, position);
            operands[operand] = destination.clone();
            begun.push((result, destination.clone()));
            copies.push(Copy {
                source,
                destination,
            });
        }
        instructions.push(Instruction::Copies { copies, position });
        begun
    }

    /// Appends an op and gives its results.
    fn operation(
        &mut self,
        graph: &Graph,
        operation: &Operation,
        values: &Values,
        instructions: &mut Vec<Instruction>,
    ) -> Result<Vec<View>, PassFailure> {
        let operands: Vec<View> = operation
            .op
            .operands
            .iter()
            .map(|&o| known(values, o))
            .collect();
        match &operation.op.kind {
            OpKind::Reshape { .. } | OpKind::OptimizationBarrier {} => {
                let results = operation.results().zip(operands);
                let views = results.map(|(value, operand)| View {
                    variable: operand.variable,
                    value_type: graph.value_type(value).clone(),
                });
                Ok(views.collect())
            }
            OpKind::Constant { value } => Ok(vec![self.constant(value)]),
            OpKind::Call { callee, .. } => {
                let kernel = self.kernel(&callee.0, &operation.location)?;
                let mut operands = operands;
                let begun = self.begun(kernel, &mut operands, instructions);
                let position = self.next_position();
                for operand in &operands {
                    self.read(operand.variable, position);
                }
                let mut results = Vec::with_capacity(operation.results().len());
                for (number, value) in operation.results().enumerate() {
                    let view = match begun.iter().find(|(result, _)| *result == number) {
                        Some((_, view)) => view.clone(),
                        None => self.view(graph.value_type(value)),
                    };
                    self.define(view.variable, position);
                    results.push(view);
                }
                if results.iter().all(|view| view.value_type.is_empty()) {
                    return Ok(results);
                }
                instructions.push(Instruction::Launch {
                    kernel,
                    operands,
                    results: results.clone(),
                    location: operation.location.clone(),
                    position,
                });
                Ok(results)
            }
            OpKind::While { condition, body } => {
                self.while_loop(&operands, condition, body, instructions)
            }
            OpKind::Case { branches } => self.case(&operands, branches, instructions),
            OpKind::Unary(_)
            | OpKind::Binary(_)
            | OpKind::Compare { .. }
            | OpKind::Select {}
            | OpKind::Clamp {}
            | OpKind::Convert { .. }
            | OpKind::BitcastConvert { .. }
            | OpKind::Iota { .. }
            | OpKind::BroadcastInDim { .. }
            | OpKind::Transpose { .. }
            | OpKind::Slice { .. }
            | OpKind::DynamicSlice { .. }
            | OpKind::DynamicUpdateSlice {}
            | OpKind::Pad { .. }
            | OpKind::Concatenate { .. }
            | OpKind::Reverse { .. }
            | OpKind::Reduce { .. }
            | OpKind::ReduceWindow { .. }
            | OpKind::DotGeneral { .. }
            | OpKind::Gather { .. }
            | OpKind::Scatter { .. }
            | OpKind::Sort { .. }
            | OpKind::Quantize { .. }
            | OpKind::Dequantize { .. }
            | OpKind::Relayout { .. }
            | OpKind::ScaledDot { .. }
            | OpKind::GroupedDot { .. }
            | OpKind::GroupedScaledDot { .. }
            | OpKind::ColumnMean { .. }
            | OpKind::Hadamard { .. }
            | OpKind::Orthonormalize {}
            | OpKind::SubspaceIterate { .. }
            | OpKind::TopK { .. } => {
                let name = operation.op.kind.name();
                let message = format!("'tsr.{name}' is in no kernel: run the pass 'fuse' before");
                Err(PassFailure::refused(message).at(&operation.location))
            }
        }
    }

    fn constant(&mut self, value: &Tensor) -> View {
        let tensor_type = TensorType::new(value.element(), value.shape());
        let (number, _) = self.program.constants.insert_full(value.clone());
        let variable = match self.constants.get(&number) {
            Some(&variable) => variable,
            None => {
                let bytes = tensor_type.byte_size();
                let variable = self.variable(bytes, Some(Fixed::Constant(number)));
                self.constants.insert(number, variable);
                variable
            }
        };
        View {
            variable,
            value_type: tensor_type.into(),
        }
    }

    /// The kernel of that name.
    fn kernel(&mut self, name: &str, location: &Location) -> Result<KernelId, PassFailure> {
        if let Some(&kernel) = self.kernels.get(name) {
            return Ok(kernel);
        }
        let refused = |why: &str| {
            let message = format!("@{name} is not a kernel: {why}");
            PassFailure::refused(message).at(location)
        };
        let body = self
            .module
            .graph(name)
            .ok_or_else(|| refused("there is no such graph"))?;
        let family = kernel_family(body).map_err(refused)?;
        let number = u32::try_from(self.program.kernels.len()).map_err(|_| refused("too many"))?;
        self.program.overwrites.push(overwrites(body, family));
        self.program.kernels.push(Kernel {
            name: name.to_owned(),
            family,
            body: body.clone(),
        });
        self.kernels.insert(name.to_owned(), KernelId(number));
        Ok(KernelId(number))
    }

    /// Appends a loop. Carried values have a variable each, which the initial value is copied to before the loop and the
    /// next one at the end of each iteration; coalescing makes most of these copies nothing.
    fn while_loop(
        &mut self,
        operands: &[View],
        condition: &Region,
        body: &Region,
        instructions: &mut Vec<Instruction>,
    ) -> Result<Vec<View>, PassFailure> {
        let carried_count = body.results().len();
        let position = self.next_position();
        self.loops.push(Loop::default());
        let mut carried = Vec::with_capacity(carried_count);
        for operand in &operands[..carried_count] {
            let view = self.view(&operand.value_type);
            self.define(view.variable, position);
            carried.push(view);
        }
        let inputs: Vec<View> = [carried.as_slice(), &operands[carried_count..]].concat();

        let mut condition_steps = Vec::new();
        let condition_values = self.region(condition, &inputs, 0, &mut condition_steps)?;
        let predicate = known(&condition_values, condition.results()[0].value);
        let test = self.next_position();
        self.read(predicate.variable, test);
        for view in &carried {
            // The loop may end here, with this value as its result.
            self.read(view.variable, test);
        }

        let mut body_steps = Vec::new();
        let body_values = self.region(body, &inputs, carried_count, &mut body_steps)?;
        let next: Vec<View> = body
            .results()
            .iter()
            .map(|r| known(&body_values, r.value))
            .collect();
        let end = self.next_position();
        let back = self.copies(&next, &carried, end);
        body_steps.push(back);
        let exit = self.next_position();
        let closed = self.loops.pop().unwrap_or_default();
        for variable in closed.captured {
            self.read(variable, exit);
        }
        for view in &carried {
            let depth = self.loops.len();
            self.program.variables[view.variable.0].depth = depth;
            self.read(view.variable, exit);
        }

        // The initial values are read where the carried ones are written, before the loop.
        let enter = self.entering_copies(&operands[..carried_count], &carried, position);
        instructions.push(enter);
        instructions.push(Instruction::While {
            condition: condition_steps,
            predicate,
            body: body_steps,
        });
        Ok(carried)
    }

    /// The copies that give carried variables their initial values; these were defined at that position already.
    fn entering_copies(
        &mut self,
        initial: &[View],
        carried: &[View],
        position: usize,
    ) -> Instruction {
        for view in initial {
            self.read(view.variable, position);
        }
        let pairs = initial.iter().zip(carried);
        Instruction::Copies {
            copies: pairs
                .map(|(source, destination)| Copy {
                    source: source.clone(),
                    destination: destination.clone(),
                })
                .collect(),
            position,
        }
    }

    /// Copies at a position, where the destinations are written anew.
    fn copies(&mut self, sources: &[View], destinations: &[View], position: usize) -> Instruction {
        for source in sources {
            self.read(source.variable, position);
        }
        let mut copies = Vec::with_capacity(sources.len());
        for (source, destination) in sources.iter().zip(destinations) {
            self.define(destination.variable, position);
            copies.push(Copy {
                source: source.clone(),
                destination: destination.clone(),
            });
        }
        Instruction::Copies { copies, position }
    }

    /// Appends branches. Each copies its results to the variables that hold the chosen branch's.
    fn case(
        &mut self,
        operands: &[View],
        branches: &[Region],
        instructions: &mut Vec<Instruction>,
    ) -> Result<Vec<View>, PassFailure> {
        let Some((index, captured)) = operands.split_first() else {
            return Err(PassFailure::internal("a case without index"));
        };
        let position = self.next_position();
        self.read(index.variable, position);
        let types: Vec<Type> = branches[0].result_types().cloned().collect();
        let results: Vec<View> = types
            .iter()
            .map(|value_type| self.view(value_type))
            .collect();
        let mut all_steps = Vec::with_capacity(branches.len());
        for branch in branches {
            let mut steps = Vec::new();
            let values = self.region(branch, captured, 0, &mut steps)?;
            let given: Vec<View> = branch
                .results()
                .iter()
                .map(|r| known(&values, r.value))
                .collect();
            let end = self.next_position();
            let copies = self.copies(&given, &results, end);
            steps.push(copies);
            all_steps.push(steps);
        }
        let exit = self.next_position();
        for result in &results {
            self.define(result.variable, exit);
        }
        instructions.push(Instruction::Case {
            index: index.clone(),
            branches: all_steps,
        });
        Ok(results)
    }

    /// Appends the ops of a region on those inputs, the first `carried` of which its results are the next values of, and
    /// gives its values.
    fn region(
        &mut self,
        region: &Region,
        inputs: &[View],
        carried: usize,
        instructions: &mut Vec<Instruction>,
    ) -> Result<Values, PassFailure> {
        let mut values: Values = vec![None; region.value_count()];
        for (slot, view) in values.iter_mut().zip(inputs) {
            *slot = Some(view.clone());
        }
        let heirs = (0..inputs.len()).map(|number| (number < carried).then_some(number));
        let heirs: Vec<Option<usize>> = heirs.collect();
        self.graph(region, &heirs, &mut values, instructions)?;
        Ok(values)
    }
}

fn known(values: &Values, value: ValueId) -> View {
    let view = values[value.index()].as_ref();
    view.expect("the schedule puts operands before their uses")
        .clone()
}
