//! Architectures of NVIDIA's GPUs, as PTX names them, and which GPUs run the code of which.

use std::fmt;
use std::str::FromStr;

/// An architecture: `sm_80`, `sm_90a`, `sm_100f`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Architecture {
    capability: Capability,
    reach: Reach,
}

/// The compute capability of a GPU, 9.0 of an H100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Capability {
    /// The digits before the point.
    pub major: u32,
    /// The digit behind it.
    pub minor: u32,
}

/// Which GPUs code is for, beside those of its own capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Reach {
    /// All later ones.
    Onward,
    /// Suffix `f`: the later ones of the same family, those of one major number.
    Family,
    /// Suffix `a`: none.
    Alone,
}

impl Architecture {
    /// The architecture with all that a GPU of a capability has.
    pub fn all_of(capability: Capability) -> Self {
        // Since Hopper some instructions are of one capability alone.
        let reach = match capability.major {
            0..9 => Reach::Onward,
            _ => Reach::Alone,
        };
        Self { capability, reach }
    }

    /// The capability of the first GPU that it is of.
    pub fn capability(&self) -> Capability {
        self.capability
    }

    /// Whether a GPU of a capability runs PTX for this architecture. (PTX ISA, "`.target`".)
    pub fn runs_on(&self, gpu: Capability) -> bool {
        let own = self.capability;
        match self.reach {
            Reach::Onward => gpu >= own,
            Reach::Family => gpu.major == own.major && gpu >= own,
            Reach::Alone => gpu == own,
        }
    }

    /// Whether a GPU of a capability runs machine code for this architecture, which no driver translates. (CUDA C++
    /// Programming Guide, "Binary Compatibility".)
    pub fn machine_code_runs_on(&self, gpu: Capability) -> bool {
        self.runs_on(gpu) && gpu.major == self.capability.major
    }
}

/// A text that names no architecture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an architecture as sm_80, sm_90a or sm_100f, found '{found}'")]
pub struct ArchitectureError {
    /// The text.
    pub found: String,
}

impl FromStr for Architecture {
    type Err = ArchitectureError;

    fn from_str(text: &str) -> Result<Self, ArchitectureError> {
        let read = || {
            let name = text.strip_prefix("sm_")?;
            let (digits, reach) = match name.as_bytes().last()? {
                b'a' => (&name[..name.len() - 1], Reach::Alone),
                b'f' => (&name[..name.len() - 1], Reach::Family),
                _ => (name, Reach::Onward),
            };
            let is_number = (2..=3).contains(&digits.len()) && !digits.starts_with('0');
            if !is_number || !digits.bytes().all(|c| c.is_ascii_digit()) {
                return None;
            }
            let number: u32 = digits.parse().ok()?;
            Some(Self {
                capability: Capability {
                    major: number / 10,
                    minor: number % 10,
                },
                reach,
            })
        };
        read().ok_or_else(|| ArchitectureError {
            found: text.to_owned(),
        })
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = match self.reach {
            Reach::Onward => "",
            Reach::Family => "f",
            Reach::Alone => "a",
        };
        let Capability { major, minor } = self.capability;
        write!(f, "sm_{major}{minor}{suffix}")
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn architecture(text: &str) -> Architecture {
        text.parse().unwrap()
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for text in [
            "sm_80", "sm_90a", "sm_100", "sm_100a", "sm_100f", "sm_103a", "sm_121f",
        ] {
            assert_eq!(architecture(text).to_string(), text);
        }
        for text in [
            "", "sm_", "sm_a", "sm_9", "sm_090", "sm_1000", "sm_90b", "sm_90aa", "90a", "sm_+90",
            "sm_9é",
        ] {
            assert!(text.parse::<Architecture>().is_err(), "{text}");
        }
    }

    /// The GPUs of these capabilities that run PTX for an architecture, and those that run machine code for it.
    #[track_caller]
    fn check(text: &str, ptx: &[(u32, u32)], machine_code: &[(u32, u32)]) {
        let gpus = [
            (7, 5),
            (8, 0),
            (8, 6),
            (8, 9),
            (9, 0),
            (10, 0),
            (10, 3),
            (12, 0),
            (12, 1),
        ];
        let those = |runs: &dyn Fn(Capability) -> bool| -> Vec<(u32, u32)> {
            let gpus = gpus.into_iter();
            gpus.filter(|&(major, minor)| runs(Capability { major, minor }))
                .collect()
        };
        let architecture = architecture(text);
        assert_eq!(those(&|gpu| architecture.runs_on(gpu)), ptx, "{text}");
        let found = those(&|gpu| architecture.machine_code_runs_on(gpu));
        assert_eq!(found, machine_code, "{text}");
    }

    #[test]
    fn all_that_a_gpu_has() {
        let all = |major, minor| Architecture::all_of(Capability { major, minor }).to_string();
        assert_eq!(all(8, 6), "sm_86");
        assert_eq!(all(9, 0), "sm_90a");
        assert_eq!(all(12, 1), "sm_121a");
    }

    #[test]
    fn a_plain_architecture_runs_on_all_later_gpus() {
        check(
            "sm_80",
            &[
                (8, 0),
                (8, 6),
                (8, 9),
                (9, 0),
                (10, 0),
                (10, 3),
                (12, 0),
                (12, 1),
            ],
            &[(8, 0), (8, 6), (8, 9)],
        );
        check(
            "sm_86",
            &[(8, 6), (8, 9), (9, 0), (10, 0), (10, 3), (12, 0), (12, 1)],
            &[(8, 6), (8, 9)],
        );
    }

    #[test]
    fn an_a_runs_on_its_own_gpu_alone() {
        check("sm_90a", &[(9, 0)], &[(9, 0)]);
        check("sm_100a", &[(10, 0)], &[(10, 0)]);
        check("sm_120a", &[(12, 0)], &[(12, 0)]);
    }

    #[test]
    fn an_f_runs_on_the_later_gpus_of_its_family() {
        check("sm_100f", &[(10, 0), (10, 3)], &[(10, 0), (10, 3)]);
        check("sm_103f", &[(10, 3)], &[(10, 3)]);
        check("sm_120f", &[(12, 0), (12, 1)], &[(12, 0), (12, 1)]);
    }
}
