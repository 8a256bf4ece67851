//! `tessera run`: steps of a program, from its text or its bundle.

mod expected;
mod machine;

use super::arguments::RunArguments;
use super::table::Measurements;
use super::{output, print};
use crate::Failure;
use crate::inputs::Inputs;
use expected::Expected;
use indicatif::{ProgressBar, ProgressStyle};
use machine::Machine;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::time::Instant;
use tessera_ir::{Element, ElementType, Tensor};

pub(super) fn run(arguments: &RunArguments) -> Result<(), Failure> {
    let expected = arguments
        .expected
        .as_deref()
        .map(Expected::read)
        .transpose()?;
    let inputs = gather_inputs(arguments)?;
    let mut measurements = Measurements::default();
    let mut machine = Machine::prepare(arguments, &mut measurements)?;
    machine.set_inputs(inputs.resolve(&machine.slots()?)?)?;

    let scalars = machine.scalar_results();
    measurements.names = scalars
        .iter()
        .map(|number| format!("result{number}"))
        .collect();
    let mut log = arguments
        .log
        .as_ref()
        .map(|path| open_log(path))
        .transpose()?;
    let progress = progress_bar(arguments);
    for step in 1..=arguments.steps {
        let start = Instant::now();
        machine.step()?;
        measurements.steps.push(start.elapsed());
        let tensors = scalars.iter().map(|&number| machine.result(number));
        let tensors = tensors.collect::<Result<Vec<_>, _>>()?;
        let named: Vec<_> = measurements
            .names
            .iter()
            .map(String::as_str)
            .zip(&tensors)
            .collect();
        progress.suspend(|| print(&step_line(step, &named)))?;
        if let Some((path, log)) = &mut log {
            let line = log_line(step, &named);
            writeln!(log, "{line}").map_err(|error| Failure::in_file(path, error))?;
        }
        measurements
            .scalars
            .push(tensors.iter().map(number).collect());
        progress.set_message(last_scalar(&named));
        progress.inc(1);
    }
    progress.finish_and_clear();

    if let Some(profile) = machine.profile() {
        super::notify(&format!("{profile}\n"));
        measurements.profile = Some(profile);
    }
    if !arguments.quiet {
        super::notify(&measurements.table());
    }
    if let Some(path) = &arguments.report {
        output::write_file(path, measurements.json().to_string().as_bytes())?;
    }
    if let Some(path) = &arguments.outputs {
        machine.write_results(path)?;
    }
    match expected {
        Some(expected) => expected.compare(&machine, &measurements, arguments),
        None => Ok(()),
    }
}

fn gather_inputs(arguments: &RunArguments) -> Result<Inputs, Failure> {
    let mut inputs = Inputs::default();
    for path in &arguments.inputs {
        inputs.add_file(path)?;
    }
    for value in &arguments.input_values {
        inputs.add_value(value)?;
    }
    Ok(inputs)
}

/// The log is written as the steps go, so that a long run can be followed.
fn open_log(path: &std::path::Path) -> Result<(String, File), Failure> {
    let name = path.display().to_string();
    let file = File::create(path).map_err(|error| Failure::in_file(&name, error))?;
    Ok((name, file))
}

/// Drawn on standard error where that is a terminal.
fn progress_bar(arguments: &RunArguments) -> ProgressBar {
    if arguments.quiet {
        return ProgressBar::hidden();
    }
    let style = "{bar:32} step {pos}/{len}  {msg}  {eta} left";
    let bar = ProgressBar::new(arguments.steps);
    match ProgressStyle::with_template(style) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// `step 1  result118 6.2893333`.
fn step_line(step: u64, scalars: &[(&str, &Tensor)]) -> String {
    let mut line = format!("step {step}");
    for (name, tensor) in scalars {
        let _ = write!(line, "  {name} {}", show(tensor));
    }
    line.push('\n');
    line
}

fn last_scalar(scalars: &[(&str, &Tensor)]) -> String {
    scalars.last().map_or_else(String::new, |(name, tensor)| {
        format!("{name} {}", show(tensor))
    })
}

/// `{"step": 1, "result118": 6.2893333}`. JSON has no infinities and no NaN; they are strings there.
fn log_line(step: u64, scalars: &[(&str, &Tensor)]) -> String {
    let mut line = format!("{{\"step\": {step}");
    for (name, tensor) in scalars {
        let quote = if number(tensor).is_finite() { "" } else { "\"" };
        let _ = write!(line, ", \"{name}\": {quote}{}{quote}", show(tensor));
    }
    line.push('}');
    line
}

/// A scalar with as few digits as tell it from its neighbours of the same type.
fn show(scalar: &Tensor) -> String {
    fn first<T: Element + ToString>(scalar: &Tensor) -> Option<String> {
        scalar.values::<T>()?.first().map(ToString::to_string)
    }
    let text = match scalar.element() {
        ElementType::I1 => first::<bool>(scalar),
        ElementType::I8 => first::<i8>(scalar),
        ElementType::I16 => first::<i16>(scalar),
        ElementType::I32 => first::<i32>(scalar),
        ElementType::I64 => first::<i64>(scalar),
        ElementType::Ui8 => first::<u8>(scalar),
        ElementType::Ui16 => first::<u16>(scalar),
        ElementType::Ui32 => first::<u32>(scalar),
        ElementType::Ui64 => first::<u64>(scalar),
        ElementType::F16 => first::<half::f16>(scalar),
        ElementType::Bf16 => first::<half::bf16>(scalar),
        ElementType::F32 => first::<f32>(scalar),
        ElementType::F64 => first::<f64>(scalar),
    };
    text.unwrap_or_default()
}

/// A scalar as the nearest f64; booleans are 0 and 1.
fn number(scalar: &Tensor) -> f64 {
    match show(scalar).as_str() {
        "true" => 1.0,
        "false" => 0.0,
        text => text.parse().unwrap_or(f64::NAN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_shown_with_its_scalars() {
        let (loss, count) = (Tensor::scalar(6.24f32), Tensor::scalar(3i32));
        let scalars = [("result0", &count), ("result120", &loss)];
        assert_eq!(
            step_line(1, &scalars),
            "step 1  result0 3  result120 6.24\n"
        );
        assert_eq!(
            log_line(1, &scalars),
            r#"{"step": 1, "result0": 3, "result120": 6.24}"#
        );
    }

    #[test]
    fn the_log_stays_json_when_a_loss_is_not_a_number() {
        let loss = Tensor::scalar(f32::NAN);
        let line = log_line(2, &[("result1", &loss)]);
        assert_eq!(line, r#"{"step": 2, "result1": "NaN"}"#);
        assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok());
    }
}
