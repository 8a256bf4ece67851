//! Comparing a run with what it should have given.

use super::super::arguments::RunArguments;
use super::super::table::Measurements;
use super::machine::Machine;
use crate::Failure;
use std::fmt::Write;
use std::path::Path;
use tessera_ir::Tensor;
use tessera_runtime::compare::{self, Outcome, Tolerance};
use tessera_runtime::tensors;

/// What a run should give.
pub(super) enum Expected {
    /// Results of the last step, by name.
    Results {
        file: String,
        tensors: Vec<(String, Tensor)>,
    },
    /// Scalar results of each step: lines of a log.
    Log {
        file: String,
        steps: Vec<serde_json::Map<String, serde_json::Value>>,
    },
}

impl Expected {
    /// Reads a safetensors file or a log.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let file = path.display().to_string();
        if path
            .extension()
            .is_none_or(|extension| extension != "jsonl")
        {
            let tensors = tensors::read(path).map_err(Failure::error)?;
            if tensors.is_empty() {
                return Err(Failure::in_file(
                    &file,
                    "there are no tensors to compare with",
                ));
            }
            return Ok(Self::Results { file, tensors });
        }
        let text = std::fs::read_to_string(path).map_err(|error| Failure::in_file(&file, error))?;
        let steps = text.lines().enumerate().map(|(line, text)| {
            serde_json::from_str(text)
                .map_err(|error| Failure::in_file(&format!("{file}:{}", line + 1), error))
        });
        let steps = steps.collect::<Result<Vec<_>, _>>()?;
        if steps.is_empty() {
            return Err(Failure::in_file(
                &file,
                "there are no steps to compare with",
            ));
        }
        Ok(Self::Log { file, steps })
    }

    /// Compares. Everything that the file names must be there and agree.
    pub(super) fn compare(
        &self,
        machine: &Machine,
        measurements: &Measurements,
        arguments: &RunArguments,
    ) -> Result<(), Failure> {
        let tolerance = Tolerance {
            relative: arguments.rtol,
            absolute: arguments.atol,
            equal_nan: true,
        };
        let (file, report) = match self {
            Self::Results { file, tensors } => {
                (file, compare_results(file, tensors, machine, tolerance)?)
            }
            Self::Log { file, steps } => (file, compare_log(file, steps, measurements, tolerance)?),
        };
        if !report.differences.is_empty() {
            let message = format!(
                "{file}: error: results differ\n{}",
                report.differences.trim_end()
            );
            return Err(Failure::Differs(message));
        }
        if !arguments.quiet {
            let (compared, largest) = (report.compared, report.largest);
            notice!(
                "{:<14}{file}: {compared}, relative difference at most {largest:.1e}",
                "agrees with"
            );
        }
        Ok(())
    }
}

/// What a comparison found.
#[derive(Default)]
struct Report {
    compared: String,
    largest: f64,
    differences: String,
}

fn compare_results(
    file: &str,
    expected: &[(String, Tensor)],
    machine: &Machine,
    tolerance: Tolerance,
) -> Result<Report, Failure> {
    let count = machine.result_count();
    let mut found = Vec::new();
    for (name, _) in expected {
        let number = (0..count).find(|&number| tensors::result(number) == *name);
        let number = number.ok_or_else(|| {
            let last = count.saturating_sub(1);
            let message =
                format!("the step has no result '{name}'; it has result0 to result{last}");
            Failure::in_file(file, message)
        })?;
        found.push((name.clone(), machine.result(number)?));
    }
    let comparison = compare::compare_named(&found, expected, tolerance);
    let mut report = Report {
        compared: format!("{} of {count} results", expected.len()),
        ..Report::default()
    };
    for (name, outcome) in &comparison.outcomes {
        if let Outcome::Compared(difference) = outcome {
            report.largest = report.largest.max(difference.max_relative_error);
        }
        if !outcome.agrees() {
            let _ = writeln!(report.differences, "  {name}: {outcome}");
        }
    }
    Ok(report)
}

fn compare_log(
    file: &str,
    steps: &[serde_json::Map<String, serde_json::Value>],
    measurements: &Measurements,
    tolerance: Tolerance,
) -> Result<Report, Failure> {
    let mut report = Report {
        compared: format!("{} of {} steps", measurements.scalars.len(), steps.len()),
        ..Report::default()
    };
    for (line, (entries, found)) in steps.iter().zip(&measurements.scalars).enumerate() {
        let place = format!("{file}:{}", line + 1);
        if !entries.keys().any(|name| name != "step") {
            return Err(Failure::in_file(
                &place,
                "there is no result to compare with",
            ));
        }
        for (name, value) in entries.iter().filter(|(name, _)| *name != "step") {
            let column = measurements.names.iter().position(|known| known == name);
            let column = column.ok_or_else(|| {
                Failure::in_file(&place, format!("the step has no scalar result '{name}'"))
            })?;
            let expected = value.as_f64().or_else(|| value.as_str()?.parse().ok());
            let expected = expected
                .ok_or_else(|| Failure::in_file(&place, format!("'{name}': expected a number")))?;
            let found = found[column];
            let difference = (found - expected).abs();
            if found == expected || (found.is_nan() && expected.is_nan()) {
                continue;
            }
            report.largest = report.largest.max(difference / expected.abs());
            let allowed = tolerance.absolute + tolerance.relative * expected.abs();
            // A NaN is within no tolerance.
            if difference.is_nan() || difference > allowed {
                let _ = writeln!(
                    report.differences,
                    "  step {}: {name} is {found}, expected {expected}",
                    line + 1
                );
            }
        }
    }
    if measurements.scalars.len() > steps.len() {
        let message = format!(
            "there are {} steps, {} were run",
            steps.len(),
            measurements.scalars.len()
        );
        return Err(Failure::in_file(file, message));
    }
    Ok(report)
}
