//! Where the time of a program's steps went.

use crate::bundle::Family;
use std::fmt;
use std::time::Duration;

/// The time that went into each kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    steps: u64,
    time: Duration,
    kernels: Vec<KernelProfile>,
}

/// One kernel's share of a [`Profile`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelProfile {
    /// The kernel's name; `copy` for the schedule's copies.
    pub name: String,
    /// The kernel's family; none for copies.
    pub family: Option<Family>,
    /// How often it ran.
    pub launches: u64,
    /// The time between the begin and the end of its launches, added up.
    pub time: Duration,
    /// The time of the shortest launch.
    pub least: Duration,
    /// The instructions that the emulator executed, each counted once for each lane that did; 0 on other devices.
    pub instructions: u64,
}

impl Profile {
    /// Kernels that never ran are left out.
    pub(super) fn new(steps: u64, time: Duration, mut kernels: Vec<KernelProfile>) -> Self {
        kernels.retain(|kernel| kernel.launches > 0);
        kernels.sort_by(|a, b| b.time.cmp(&a.time).then_with(|| a.name.cmp(&b.name)));
        Self {
            steps,
            time,
            kernels,
        }
    }

    /// The steps that were run.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The time that all steps took together, the launching of kernels included.
    pub fn time(&self) -> Duration {
        self.time
    }

    /// The kernels that ran, the one that took most time first.
    pub fn kernels(&self) -> &[KernelProfile] {
        &self.kernels
    }
}

/// A table of the kernels: launches and milliseconds for each step, and the share of the whole; on the emulator the
/// instructions of lanes for each step, too.
impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps = self.steps.max(1);
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3 / steps as f64;
        let width = self.kernels.iter().map(|kernel| kernel.name.len()).max();
        let width = width.unwrap_or(0).max("kernel".len());
        let whole = self.time.as_secs_f64().max(f64::MIN_POSITIVE);
        let all: u64 = self.kernels.iter().map(|kernel| kernel.instructions).sum();
        write!(
            f,
            "{:width$}  {:>10}  {:>10}  {:>6}",
            "kernel", "launches", "ms", "share"
        )?;
        writeln!(f, "{}", if all > 0 { "  instructions" } else { "" })?;
        for kernel in &self.kernels {
            write!(
                f,
                "{:width$}  {:>10}  {:>10.3}  {:>5.1}%",
                kernel.name,
                kernel.launches / steps,
                milliseconds(kernel.time),
                100.0 * kernel.time.as_secs_f64() / whole,
            )?;
            if all > 0 {
                write!(f, "  {:>12}", kernel.instructions / steps)?;
            }
            writeln!(f)?;
        }
        write!(
            f,
            "{:width$}  {:>10}  {:>10.3}",
            "step",
            "",
            milliseconds(self.time)
        )?;
        if all > 0 {
            write!(f, "{:>22}", all / steps)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_by_time() {
        let kernel = |name: &str, launches, milliseconds| KernelProfile {
            name: name.to_owned(),
            family: Some(Family::Loop),
            launches,
            time: Duration::from_millis(milliseconds),
            least: Duration::from_millis(1),
            instructions: 0,
        };
        let profile = Profile::new(
            2,
            Duration::from_millis(40),
            vec![
                kernel("loop_add", 4, 6),
                kernel("never", 0, 0),
                kernel("dot", 2, 30),
            ],
        );
        let expected = "\
kernel      launches          ms   share
dot                1      15.000   75.0%
loop_add           2       3.000   15.0%
step                      20.000";
        assert_eq!(profile.to_string(), expected);
    }

    #[test]
    fn instructions_have_a_column_where_they_were_counted() {
        let kernel = |name: &str, instructions| KernelProfile {
            name: name.to_owned(),
            family: None,
            launches: 2,
            time: Duration::from_millis(10),
            least: Duration::from_millis(1),
            instructions,
        };
        let kernels = vec![kernel("copy", 0), kernel("loop_add", 2000)];
        let profile = Profile::new(2, Duration::from_millis(20), kernels);
        let expected = "\
kernel      launches          ms   share  instructions
copy               1       5.000   50.0%             0
loop_add           1       5.000   50.0%          1000
step                      10.000                  1000";
        assert_eq!(profile.to_string(), expected);
    }
}
