//! The table that closes a run: the scalar results, first and last, and the times.

use std::fmt::Write;
use std::time::Duration;
use tessera_runtime::Profile;

/// What a run measured.
#[derive(Debug, Default)]
pub(super) struct Measurements {
    /// From the text to code that can run; nothing where a bundle was given or the interpreter runs.
    pub compile: Option<Duration>,
    /// Of each step.
    pub steps: Vec<Duration>,
    /// The names of the scalar results.
    pub names: Vec<String>,
    /// Their values, step by step.
    pub scalars: Vec<Vec<f64>>,
    /// The time of each kernel, where it was asked for.
    pub profile: Option<Profile>,
}

impl Measurements {
    /// The table as text.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let (first, last) = (self.scalars.first(), self.scalars.last());
        if let (Some(first), Some(last)) = (first, last) {
            for (name, (first, last)) in self.names.iter().zip(first.iter().zip(last)) {
                let _ = writeln!(
                    text,
                    "{name:<14}{} in step 1, {} in step {}",
                    show_number(*first),
                    show_number(*last),
                    self.steps.len()
                );
            }
        }
        let mut sorted = self.steps.clone();
        sorted.sort();
        if let (Some(least), Some(greatest)) = (sorted.first(), sorted.last()) {
            let median = show(sorted[sorted.len() / 2]);
            let range = format!("{} to {}", show(*least), show(*greatest));
            let _ = writeln!(text, "{:<14}{median} median, {range}", "step time");
        }
        if let Some(compile) = self.compile {
            let _ = writeln!(text, "{:<14}{}", "compile time", show(compile));
        }
        text
    }

    /// The same figures for a program to read, in seconds, and those of each kernel.
    pub fn json(&self) -> serde_json::Value {
        let seconds: Vec<f64> = self.steps.iter().map(Duration::as_secs_f64).collect();
        let kernels = self.profile.iter().flat_map(Profile::kernels);
        let kernels: Vec<_> = kernels
            .map(|kernel| {
                serde_json::json!({
                    "name": kernel.name,
                    "launches": kernel.launches,
                    "seconds": kernel.time.as_secs_f64(),
                    "least_seconds": kernel.least.as_secs_f64(),
                })
            })
            .collect();
        serde_json::json!({
            "compile_seconds": self.compile.map(|compile| compile.as_secs_f64()),
            "step_seconds": seconds,
            "names": self.names,
            "scalars": self.scalars,
            "kernels": kernels,
        })
    }
}

/// A value with six decimals, a whole number with none.
fn show_number(value: f64) -> String {
    match value.fract() == 0.0 {
        true => value.to_string(),
        false => format!("{value:.6}"),
    }
}

fn show(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds >= 1.0 {
        format!("{seconds:.2} s")
    } else {
        format!("{:.1} ms", seconds * 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_first_and_last_values_and_the_median_time() {
        let measurements = Measurements {
            compile: Some(Duration::from_millis(1500)),
            steps: [30, 10, 20].map(Duration::from_millis).to_vec(),
            names: vec!["result2".into()],
            scalars: vec![vec![6.25], vec![5.0], vec![4.5]],
            profile: None,
        };
        let expected = "result2       6.250000 in step 1, 4.500000 in step 3\n\
                        step time     20.0 ms median, 10.0 ms to 30.0 ms\n\
                        compile time  1.50 s\n";
        assert_eq!(measurements.table(), expected);
    }
}
