//! `tessera emulate`: runs a kernel of a PTX file in the emulator, with its checker.

mod argument;
mod memory;
mod report;
mod tensor_map;

use super::arguments::EmulateArguments;
use super::{output, print};
use crate::Failure;
use crate::source::Source;
use argument::{Argument, Output, Placed};
use report::{Reference, Run};
use tessera_emulator::ptx::Module;
use tessera_emulator::{Global, Launch, Program, Report, launch};

pub(super) fn emulate(arguments: &EmulateArguments) -> Result<(), Failure> {
    let Source { name: file, text } = Source::read(&arguments.input)?;
    let at = |error: &dyn std::fmt::Display| Failure::Diagnosed(format!("{file}:{error}"));
    let module = Module::parse(&text).map_err(|error| at(&error))?;
    let program = if arguments.ring {
        Program::in_ring(&module)
    } else {
        Program::new(&module)
    };
    let program = program.map_err(|error| at(&error))?;
    let entry = entry(&program, arguments, &file)?;
    let given = arguments.arg.iter().map(|text| Argument::read(text));
    let given: Vec<Argument> = given.collect::<Result<_, _>>()?;
    argument::refuse_repeated_names(&given)?;

    let shape = shape(&program, arguments, &entry);
    let mut run = Run::new(&program, arguments, &shape);
    let mut first: Option<Reference> = None;
    for number in 0..arguments.schedules {
        let seed = arguments.seed.wrapping_add(number);
        let (report, outputs) = execute(&program, arguments, (&file, &shape), &given, seed)?;
        let is_complete = report.completed;
        run.add(seed, report, &outputs, first.as_ref());
        if first.is_none() && is_complete {
            first = Some(Reference {
                seed,
                tensors: argument::written(outputs),
            });
        }
    }
    match (&arguments.outputs, &first) {
        (Some(path), Some(first)) => {
            let bytes = memory::file(&first.tensors).map_err(Failure::error)?;
            output::write_file(path, &bytes)?;
        }
        (Some(path), None) => {
            notice!(
                "warning: no launch came to its end: {} is not written",
                path.display()
            );
        }
        (None, _) => {}
    }
    if let Some(path) = &arguments.report {
        let json = serde_json::to_string_pretty(&run).map_err(Failure::error)?;
        output::write_file(path, format!("{json}\n").as_bytes())?;
    }
    print(&run.summary())?;
    match run.findings_in(&file) {
        None => Ok(()),
        Some(findings) => Err(Failure::Found(findings)),
    }
}

/// The kernel that is asked for, or the only one.
fn entry(program: &Program, arguments: &EmulateArguments, file: &str) -> Result<String, Failure> {
    if let Some(entry) = &arguments.entry {
        return Ok(entry.clone());
    }
    let kernels: Vec<&str> = program.kernels().collect();
    match kernels[..] {
        [only] => Ok(only.to_owned()),
        [] => Err(Failure::in_file(file, "it has no kernel (.entry)")),
        _ => Err(Failure::in_file(
            file,
            format!("expected --entry, one of {}", kernels.join(", ")),
        )),
    }
}

/// The grid that is asked for, as the kernel itself does where nobody says otherwise.
fn shape(program: &Program, arguments: &EmulateArguments, entry: &str) -> Launch {
    let block = arguments.block.map(|block| block.0);
    let cluster = arguments.cluster.map(|cluster| cluster.0);
    let block = block.or_else(|| program.required_block(entry));
    let cluster = cluster.or_else(|| program.required_cluster(entry));
    Launch::new(entry)
        .grid(arguments.grid.0)
        .block(block.unwrap_or([1; 3]))
        .cluster(cluster.unwrap_or([1; 3]))
}

/// Runs the kernel in memory of its own; gives the report and what became of the outputs.
fn execute(
    program: &Program,
    arguments: &EmulateArguments,
    (file, shape): (&str, &Launch),
    given: &[Argument],
    seed: u64,
) -> Result<(Report, Vec<Output>), Failure> {
    let mut memory = Global::new();
    let placed: Vec<Placed> = given
        .iter()
        .map(|argument| argument.place(&mut memory))
        .collect::<Result<_, _>>()?;
    let mut what = shape.clone();
    what.dynamic_shared = arguments.shared;
    what.seed = seed;
    what.step_limit = arguments.max_instructions;
    let threads = arguments.threads.map(usize::from);
    what.threads =
        threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    what.arguments = placed.iter().map(|placed| placed.bytes.clone()).collect();
    let report =
        launch(program, &mut memory, &what).map_err(|error| Failure::in_file(file, error))?;
    let outputs = placed.iter().filter_map(|placed| placed.output(&memory));
    Ok((report, outputs.collect()))
}
