//! Where lanes go on (PTX ISA 9.7.12).

use super::words::Words;
use super::{Action, Refusal, Source};
use crate::program::Symbol;
use crate::ptx::Operand;

/// Where lanes go on.
pub(crate) enum Control {
    /// At a step.
    Branch(usize),
    /// At one of some steps, by a number.
    IndexedBranch { targets: Vec<usize>, index: Source },
    /// In a function.
    Call(Call),
    /// Behind the call; of a kernel nowhere.
    Return,
    /// Nowhere.
    Exit,
    /// An error that the kernel itself asks for.
    Trap,
}

/// A call.
pub(crate) struct Call {
    /// The function: its name, or a register that holds its address.
    pub callee: Callee,
    pub arguments: Vec<Argument>,
    pub results: Vec<Argument>,
}

/// What a call gives, or where its result goes: as the function's formal is, so is the call's.
pub(crate) enum Argument {
    /// Bytes of the caller's parameter memory.
    Memory { offset: u64, bytes: u64 },
    /// A value, or of a result the register.
    Value(Source),
}

/// Who is called.
pub(crate) enum Callee {
    Function(usize),
    Indirect(Source),
}

pub(super) fn decode(words: &mut Words<'_>) -> Result<Action, Refusal> {
    words.has("uni");
    Ok(match words.opcode() {
        "bra" => {
            words.counted(&[1])?;
            Action::Control(Control::Branch(label(words, &words.operands()[0])?))
        }
        "brx" => {
            words.has("idx");
            words.counted(&[2])?;
            let Operand::Name(name) = &words.operands()[1] else {
                return Err(words.refuse("needs the name of a list of targets"));
            };
            let Some(Symbol::Targets(names)) = words.scope.find(name) else {
                return Err(words.refuse(format!("names {name}, which is no list of targets")));
            };
            let targets = names
                .iter()
                .map(|name| label(words, &Operand::Name(name.clone())))
                .collect::<Result<_, _>>()?;
            Action::Control(Control::IndexedBranch {
                targets,
                index: words.source(0)?,
            })
        }
        "call" => Action::Control(Control::Call(call(words)?)),
        "ret" => Action::Control(Control::Return),
        "exit" => Action::Control(Control::Exit),
        "trap" => Action::Control(Control::Trap),
        // They change when something happens, or what a debugger sees, never what is computed.
        "brkpt" | "nanosleep" | "pmevent" | "griddepcontrol" | "setmaxnreg" => {
            words.choice(|word| matches!(word, "u32" | "mask").then_some(()));
            words.choice(|word| {
                matches!(word, "wait" | "launch_dependents" | "inc" | "dec").then_some(())
            });
            words.has("sync");
            words.has("aligned");
            words.has("u32");
            Action::Nothing
        }
        _ => return Err(words.refuse("is not modelled")),
    })
}

fn label(words: &Words<'_>, operand: &Operand) -> Result<usize, Refusal> {
    if let Operand::Name(name) = operand
        && let Some(Symbol::Label { step }) = words.scope.find(name)
    {
        return Ok(step);
    }
    Err(words.refuse("goes to a label that is not there"))
}

/// `call (results), function, (arguments), prototype`, each but the function as it may be missing.
fn call(words: &Words<'_>) -> Result<Call, Refusal> {
    let mut operands = words.operands();
    let results = take_list(words, &mut operands)?;
    let [Operand::Name(name), rest @ ..] = operands else {
        return Err(words.refuse("names no function"));
    };
    operands = rest;
    let callee = match words.scope.find(name) {
        Some(Symbol::Function { index }) => Callee::Function(index),
        Some(Symbol::Register { first, count: 1 }) => Callee::Indirect(Source::Register(first)),
        _ => return Err(words.refuse(format!("calls {name}, which is not declared"))),
    };
    Ok(Call {
        callee,
        arguments: take_list(words, &mut operands)?,
        results,
    })
}

/// The arguments or results that stand first, if a list of them does.
fn take_list(words: &Words<'_>, operands: &mut &[Operand]) -> Result<Vec<Argument>, Refusal> {
    let [Operand::List(list), rest @ ..] = *operands else {
        return Ok(Vec::new());
    };
    *operands = rest;
    list.iter()
        .map(|one| {
            if let Operand::Name(name) = one
                && let Some(Symbol::Parameter { offset, bytes }) = words.scope.find(name)
            {
                return Ok(Argument::Memory { offset, bytes });
            }
            let value =
                super::operands::source(words.scope, one).map_err(|reason| words.refuse(reason))?;
            Ok(Argument::Value(value))
        })
        .collect()
}
