//! A module's functions decoded: declarations first, then instructions.

use super::behind::Behind;
use super::layout::Layout;
use super::mentions::{mentions, of_instruction};
use super::{Formal, Function, Global, Program, Register, Scope, Step, Symbol};
use crate::instruction;
use crate::ptx::{self, FunctionKind, Module, Place, ScalarType, StateSpace, Statement, Variable};
use std::collections::HashMap;

/// A module that cannot be executed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A name that is declared more than once in one scope.
    #[error("{place}: {name} is declared already")]
    DeclaredTwice {
        /// Where it is declared again.
        place: Place,
        /// The name.
        name: String,
    },
    /// A variable that cannot lie where it is declared.
    #[error("{place}: {name} {reason}")]
    Variable {
        /// Where it is declared.
        place: Place,
        /// Its name.
        name: String,
        /// A clause whose subject is the variable.
        reason: String,
    },
    /// A name that an instruction has and nothing declares.
    #[error("{place}: expected a name that is declared, found {name}")]
    Undeclared {
        /// The instruction's place.
        place: Place,
        /// The name.
        name: String,
    },
    /// An instruction that the module's target does not have.
    #[error("{place}: '{instruction}' {reason}")]
    Target {
        /// The instruction's place.
        place: Place,
        /// Opcode and modifiers.
        instruction: String,
        /// A clause whose subject is the instruction.
        reason: String,
    },
    /// A module of 32-bit addresses.
    #[error("expected addresses of 64 bits, found 32")]
    AddressSize,
}

/// Static shared memory and what module scope has.
struct Outside {
    names: HashMap<String, Symbol>,
    globals: Vec<Global>,
    shared: Layout,
    /// The alignment of memory given at launch, if a variable names it.
    dynamic: Option<u64>,
    /// Names of such variables, placed when all others are.
    open: Vec<String>,
}

/// Decodes a module; instructions that its target does not have and names that nothing declares are refused here where
/// `is_strict`, else when they are reached.
pub(super) fn program(
    module: &Module,
    is_ring: bool,
    is_strict: bool,
) -> Result<Program, DecodeError> {
    if module.address_size != 64 {
        return Err(DecodeError::AddressSize);
    }
    let mut outside = Outside {
        names: HashMap::new(),
        globals: Vec::new(),
        shared: Layout::default(),
        dynamic: None,
        open: Vec::new(),
    };
    for variable in &module.variables {
        let symbol = outside.variable(variable)?;
        insert(&mut outside.names, variable.place, &variable.name, symbol)?;
    }
    let mut indices = HashMap::new();
    let mut functions: Vec<&ptx::Function> = Vec::new();
    for function in &module.functions {
        let index = *indices
            .entry(function.name.clone())
            .or_insert(functions.len());
        match functions.get_mut(index) {
            None => functions.push(function),
            Some(declared) if declared.body.is_none() => *declared = function,
            Some(_) if function.body.is_none() => {}
            Some(_) => return Err(twice(function.place, &function.name)),
        }
    }
    for (alias, aliasee) in &module.aliases {
        if let Some(&index) = indices.get(aliasee) {
            indices.insert(alias.clone(), index);
        }
    }
    for (name, &index) in &indices {
        outside
            .names
            .insert(name.clone(), Symbol::Function { index });
    }
    // What is given at launch is aligned as all ask; so declarations of all functions come first.
    let is_flat = is_flat(&functions);
    let mut declared = Vec::new();
    for function in &functions {
        let own = if is_flat {
            outside.own_shared(module, function)?
        } else {
            HashMap::new()
        };
        declared.push((Declared::of(function, &mut outside)?, own, outside.shared));
    }
    let dynamic_alignment = outside.dynamic.unwrap_or(1);
    let last = outside.shared;
    let target = module.target.first().map_or("", String::as_str);
    let decoded = functions
        .iter()
        .zip(declared)
        .map(|(function, (mut declared, own, shared))| {
            let mut shared = if is_flat { shared } else { last };
            let static_shared = shared.end;
            let dynamic = shared.place_dynamic(dynamic_alignment);
            let given = Symbol::Shared { offset: dynamic };
            for name in &declared.open {
                declared.block.names.insert(name.clone(), given.clone());
            }
            let mut names = outside.names.clone();
            names.extend(own);
            names.extend(
                outside
                    .open
                    .iter()
                    .map(|name| (name.clone(), given.clone())),
            );
            let around = Scope::new(
                None,
                names,
                &declared.widths,
                CONDITION_CODE,
                target,
                is_ring,
            );
            let mut steps = Vec::new();
            emit(
                (function.body.as_deref().unwrap_or_default(), is_strict),
                &declared.block,
                &around,
                &declared.widths,
                &mut steps,
            )?;
            Ok(Function {
                name: function.name.clone(),
                is_kernel: function.kind == FunctionKind::Kernel,
                is_defined: function.body.is_some(),
                registers: declared.widths.len(),
                steps,
                behind: Behind::default(),
                parameters: declared.parameters,
                results: declared.results,
                parameter_bytes: declared.parameter_layout.end,
                local_bytes: declared.local.end,
                static_shared,
                dynamic_shared: dynamic,
                directives: function.directives.clone(),
            })
        });
    let variables =
        module
            .variables
            .iter()
            .filter_map(|variable| match outside.names.get(&variable.name) {
                Some(Symbol::Global { index }) => Some((variable.name.clone(), *index)),
                _ => None,
            });
    Ok(Program {
        functions: decoded.collect::<Result<_, _>>()?,
        variables: variables.collect(),
        names: indices,
        globals: outside.globals,
        target: module.target.clone(),
        is_ring,
    })
}

/// The first register of every function carries what `add.cc` leaves for `addc`.
const CONDITION_CODE: Register = Register(0);

fn twice(place: Place, name: &str) -> DecodeError {
    DecodeError::DeclaredTwice {
        place,
        name: name.to_owned(),
    }
}

fn insert(
    names: &mut HashMap<String, Symbol>,
    place: Place,
    name: &str,
    symbol: Symbol,
) -> Result<(), DecodeError> {
    match names.insert(name.to_owned(), symbol) {
        None => Ok(()),
        Some(_) => Err(twice(place, name)),
    }
}

/// Whether no function can call another: then each has shared memory for its own variables, as assemblers give it.
fn is_flat(functions: &[&ptx::Function]) -> bool {
    let is_kernel = |function: &&ptx::Function| function.kind == FunctionKind::Kernel;
    functions.iter().all(|f| is_kernel(f) || f.body.is_none())
}

impl Outside {
    /// Begins shared memory anew for a kernel, with the variables of module scope that it mentions.
    fn own_shared(
        &mut self,
        module: &Module,
        function: &ptx::Function,
    ) -> Result<HashMap<String, Symbol>, DecodeError> {
        self.shared = Layout::default();
        let names = mentions(function.body.as_deref().unwrap_or_default());
        let is_own = |variable: &&Variable| {
            variable.space == StateSpace::Shared
                && variable.bytes().is_some()
                && names.contains(&variable.name[..])
        };
        let own = module.variables.iter().filter(is_own);
        own.map(|variable| Ok((variable.name.clone(), self.variable(variable)?)))
            .collect()
    }

    /// Memory given at launch is aligned as all variables that name it ask.
    fn align_dynamic(&mut self, variable: &Variable) {
        self.dynamic = Some(self.dynamic.unwrap_or(1).max(variable.alignment()));
    }

    /// A variable that all threads see: in global, constant or shared memory.
    fn variable(&mut self, variable: &Variable) -> Result<Symbol, DecodeError> {
        let refuse = |reason: &str| DecodeError::Variable {
            place: variable.place,
            name: variable.name.clone(),
            reason: reason.to_owned(),
        };
        if variable.space == StateSpace::Shared {
            let Some(bytes) = variable.bytes() else {
                self.align_dynamic(variable);
                self.open.push(variable.name.clone());
                // Until the place is known.
                return Ok(Symbol::Shared { offset: 0 });
            };
            return Ok(Symbol::Shared {
                offset: self.shared.place(bytes, variable.alignment()),
            });
        }
        if !matches!(variable.space, StateSpace::Global | StateSpace::Constant) {
            return Err(refuse("is in a memory that module scope does not have"));
        }
        let bytes = match variable.bytes() {
            Some(bytes) => bytes,
            None => match &variable.initializer {
                Some(ptx::Initializer::List(list)) => list.len() as u64 * variable.element.bytes(),
                _ => return Err(refuse("has no size, and nothing that it begins with")),
            },
        };
        self.globals.push(Global {
            bytes,
            alignment: variable.alignment(),
            initializer: variable.initializer.clone(),
            element: variable.element,
        });
        Ok(Symbol::Global {
            index: self.globals.len() - 1,
        })
    }
}

/// The names of a block, and those of the blocks in it.
#[derive(Default)]
struct Block {
    names: HashMap<String, Symbol>,
    blocks: Vec<Block>,
}

/// What a function declares.
struct Declared {
    block: Block,
    widths: Vec<u8>,
    parameters: Vec<Formal>,
    results: Vec<Formal>,
    parameter_layout: Layout,
    local: Layout,
    /// Variables of the function that name shared memory given at launch.
    open: Vec<String>,
}

impl Declared {
    fn of(function: &ptx::Function, outside: &mut Outside) -> Result<Self, DecodeError> {
        let mut declared = Self {
            block: Block::default(),
            widths: vec![1],
            parameters: Vec::new(),
            results: Vec::new(),
            parameter_layout: Layout::default(),
            local: Layout::default(),
            open: Vec::new(),
        };
        let mut names = HashMap::new();
        for parameter in &function.parameters {
            let formal = declared.formal(parameter, &mut names)?;
            declared.parameters.push(formal);
        }
        for result in &function.results {
            let formal = declared.formal(result, &mut names)?;
            declared.results.push(formal);
        }
        if let Some(body) = &function.body {
            let mut step = 0;
            declared.block = declared.block(body, names, outside, &mut step)?;
        }
        Ok(declared)
    }

    fn formal(
        &mut self,
        variable: &Variable,
        names: &mut HashMap<String, Symbol>,
    ) -> Result<Formal, DecodeError> {
        let symbol = self.variable(variable)?;
        let formal = match symbol {
            Symbol::Register { first, .. } => Formal::Register(first),
            Symbol::Parameter { offset, bytes } => Formal::Memory { offset, bytes },
            _ => {
                return Err(DecodeError::Variable {
                    place: variable.place,
                    name: variable.name.clone(),
                    reason: format!("is a parameter in {}, where none can be", variable.space),
                });
            }
        };
        insert(names, variable.place, &variable.name, symbol)?;
        Ok(formal)
    }

    /// A variable of a lane or a function.
    fn variable(&mut self, variable: &Variable) -> Result<Symbol, DecodeError> {
        let bytes = || {
            variable.bytes().ok_or_else(|| DecodeError::Variable {
                place: variable.place,
                name: variable.name.clone(),
                reason: "has no size".into(),
            })
        };
        Ok(match variable.space {
            StateSpace::Register => {
                // 128 bits are two registers of 64.
                let halves = if variable.element == ScalarType::B128 {
                    2
                } else {
                    1
                };
                let count = variable.vector * halves;
                Symbol::Register {
                    first: self.registers(count, variable.element.bits().min(64)),
                    count,
                }
            }
            StateSpace::Local => Symbol::Local {
                offset: self.local.place(bytes()?, variable.alignment()),
            },
            _ => {
                let bytes = bytes()?;
                Symbol::Parameter {
                    offset: self.parameter_layout.place(bytes, variable.alignment()),
                    bytes,
                }
            }
        })
    }

    fn registers(&mut self, count: u32, bits: u32) -> Register {
        let first = self.widths.len() as u32;
        self.widths
            .extend(std::iter::repeat_n(bits as u8, count as usize));
        Register(first)
    }

    /// The names of a block: its variables, its labels, its lists of targets.
    fn block(
        &mut self,
        body: &[Statement],
        mut names: HashMap<String, Symbol>,
        outside: &mut Outside,
        step: &mut usize,
    ) -> Result<Block, DecodeError> {
        let mut blocks = Vec::new();
        for statement in body {
            match statement {
                Statement::Variable(variable) => self.declare(variable, &mut names, outside)?,
                Statement::Label { name, place } => {
                    insert(&mut names, *place, name, Symbol::Label { step: *step })?;
                }
                Statement::Instruction(_) => *step += 1,
                Statement::Block(inner) => {
                    blocks.push(self.block(inner, HashMap::new(), outside, step)?)
                }
                Statement::Targets {
                    name,
                    place,
                    targets,
                } => insert(&mut names, *place, name, Symbol::Targets(targets.clone()))?,
                Statement::Prototype { name, place, .. } => {
                    insert(&mut names, *place, name, Symbol::Prototype)?
                }
            }
        }
        Ok(Block { names, blocks })
    }

    fn declare(
        &mut self,
        variable: &Variable,
        names: &mut HashMap<String, Symbol>,
        outside: &mut Outside,
    ) -> Result<(), DecodeError> {
        if let Some(count) = variable.count {
            for number in 0..count {
                let symbol = self.variable(variable)?;
                insert(
                    names,
                    variable.place,
                    &format!("{}{number}", variable.name),
                    symbol,
                )?;
            }
            return Ok(());
        }
        let symbol = match variable.space {
            StateSpace::Shared if variable.bytes().is_none() => {
                outside.align_dynamic(variable);
                self.open.push(variable.name.clone());
                return Ok(());
            }
            StateSpace::Shared | StateSpace::Global | StateSpace::Constant => {
                outside.variable(variable)?
            }
            _ => self.variable(variable)?,
        };
        insert(names, variable.place, &variable.name, symbol)
    }
}

/// The steps of a block, its names known.
fn emit(
    (body, is_strict): (&[Statement], bool),
    block: &Block,
    around: &Scope<'_>,
    widths: &[u8],
    steps: &mut Vec<Step>,
) -> Result<(), DecodeError> {
    let scope = Scope::new(
        Some(around),
        block.names.clone(),
        widths,
        CONDITION_CODE,
        around.target(),
        around.is_ring(),
    );
    let mut blocks = block.blocks.iter();
    for statement in body {
        match statement {
            Statement::Instruction(instruction) => {
                if is_strict {
                    check(instruction, &scope)?;
                }
                steps.push(step(instruction, &scope));
            }
            Statement::Block(inner) => {
                if let Some(block) = blocks.next() {
                    emit((inner, is_strict), block, &scope, widths, steps)?;
                }
            }
            Statement::Targets { place, targets, .. } if is_strict => {
                declared_names(targets.iter().map(String::as_str), *place, &scope)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Refuses what no assembler takes: names that nothing declares, and instructions that the target does not have. An instruction
/// that nobody knows may be one of a later version.
fn check(instruction: &ptx::Instruction, scope: &Scope<'_>) -> Result<(), DecodeError> {
    let guard = instruction.predicate.iter();
    declared_names(guard.map(|own| &own.register[..]), instruction.place, scope)?;
    if !instruction::is_known(instruction) {
        return Ok(());
    }
    let names = of_instruction(instruction).into_iter();
    let names = names.filter(|name| !instruction::is_special_register(name));
    declared_names(names, instruction.place, scope)?;
    instruction::check_target(instruction, scope).map_err(|refusal| DecodeError::Target {
        place: instruction.place,
        instruction: refusal.instruction,
        reason: refusal.reason,
    })
}

fn declared_names<'n>(
    mut names: impl Iterator<Item = &'n str>,
    place: Place,
    scope: &Scope<'_>,
) -> Result<(), DecodeError> {
    match names.find(|name| scope.find(name).is_none()) {
        None => Ok(()),
        Some(name) => Err(DecodeError::Undeclared {
            place,
            name: name.to_owned(),
        }),
    }
}

fn step(instruction: &ptx::Instruction, scope: &Scope<'_>) -> Step {
    let mut action = instruction::decode(instruction, scope);
    let guard = instruction.predicate.as_ref().and_then(|predicate| {
        match scope.find(&predicate.register) {
            Some(Symbol::Register { first, count: 1 }) => Some((first, predicate.negated)),
            _ => {
                action = instruction::Action::Refused(instruction::Refusal {
                    instruction: instruction.name(),
                    reason: format!("is guarded by {}, which is no register", predicate.register),
                });
                None
            }
        }
    });
    Step {
        place: instruction.place,
        guard,
        action,
    }
}

#[cfg(test)]
mod tests {
    use crate::{Program, ptx::Module};

    fn behind(text: &str) -> Vec<u64> {
        let head = ".version 8.0\n.target sm_90a\n.address_size 64\n.shared .align 16 .b8 one[64];\n\
                    .shared .align 16 .b8 other[160];\n.extern .shared .align 16 .b8 given[];\n";
        let program = Program::new(&Module::parse(&format!("{head}{text}")).unwrap()).unwrap();
        let functions = program.functions.iter();
        functions.map(|function| function.dynamic_shared).collect()
    }

    const KERNELS: &str = ".entry a() {\n.reg .b64 %r<2>;\nmov.b64 %r1, one;\nret;\n}\n\
                           .entry b() {\n.reg .b64 %r<2>;\nmov.b64 %r1, other;\nret;\n}\n\
                           .entry c() {\nret;\n}\n";

    /// What is given at launch begins at odd multiples of its alignment, and at 0 where nothing lies before.
    #[test]
    fn a_kernel_has_shared_memory_for_what_it_mentions() {
        assert_eq!(behind(KERNELS), [80, 176, 0]);
    }

    #[test]
    fn kernels_of_modules_with_functions_have_it_for_everything() {
        let function = ".func f() {\nret;\n}\n";
        assert_eq!(behind(&format!("{KERNELS}{function}")), [240; 4]);
    }
}
