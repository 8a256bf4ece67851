//! The GPU that there is.

use crate::status::{ERROR_NO_BINARY_FOR_GPU, Status};

/// The environment's variable that says which GPU there is: `sm_100a`. Without it `sm_90a`.
pub const TARGET: &str = "TESSERA_EMULATED_GPU";

/// A GPU's architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gpu {
    /// 100 of `sm_100a`.
    pub number: u32,
    /// Which of several ways of being compatible the code for it has.
    pub kind: Kind,
}

/// What may run the code of a target. (PTX ISA, `.target`.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Every later GPU.
    Plain,
    /// Later GPUs of the family: of the same major number.
    Family,
    /// This GPU.
    Own,
}

impl Gpu {
    /// That of the environment.
    pub fn of_environment() -> Self {
        let named = std::env::var(TARGET).ok();
        named.as_deref().and_then(Self::of_name).unwrap_or(Self {
            number: 90,
            kind: Kind::Own,
        })
    }

    /// By a target's name.
    pub fn of_name(name: &str) -> Option<Self> {
        let digits = name.strip_prefix("sm_")?;
        let (digits, kind) = match digits.strip_suffix(['a', 'f']) {
            Some(rest) if digits.ends_with('a') => (rest, Kind::Own),
            Some(rest) => (rest, Kind::Family),
            None => (digits, Kind::Plain),
        };
        let number = digits.parse().ok()?;
        Some(Self { number, kind })
    }

    /// The two numbers of its compute capability.
    pub fn capability(self) -> [u32; 2] {
        [self.number / 10, self.number % 10]
    }

    /// Whether it runs code that was made for a target.
    pub fn check(self, target: &str) -> Result<(), Status> {
        let runs = Self::of_name(target).is_some_and(|made_for| match made_for.kind {
            Kind::Plain => made_for.number <= self.number,
            Kind::Family => {
                made_for.number <= self.number && made_for.number / 10 == self.number / 10
            }
            Kind::Own => made_for.number == self.number,
        });
        runs.then_some(()).ok_or(ERROR_NO_BINARY_FOR_GPU)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_runs_on_the_gpus_its_suffix_says() {
        let hopper = Gpu::of_name("sm_90a").unwrap();
        let blackwell = Gpu::of_name("sm_103a").unwrap();
        assert_eq!(blackwell.capability(), [10, 3]);
        for (gpu, target, runs) in [
            (hopper, "sm_80", true),
            (hopper, "sm_90a", true),
            (hopper, "sm_100", false),
            (blackwell, "sm_90a", false),
            (blackwell, "sm_100a", false),
            (blackwell, "sm_100f", true),
            (blackwell, "sm_120f", false),
            (blackwell, "no target", false),
        ] {
            assert_eq!(gpu.check(target).is_ok(), runs, "{target} on {gpu:?}");
        }
    }
}
