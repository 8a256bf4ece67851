//! Devices: what a program is run on, and which targets' code that takes.

mod architecture;

pub use architecture::{Architecture, ArchitectureError, Capability};

use crate::bundle::{BundleError, Target};
use crate::executor::capability;
use std::fmt;
use std::str::FromStr;

/// What a program is run on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Device {
    /// This machine's CPU.
    #[default]
    Cpu,
    /// The PTX machine in software, as a GPU of an architecture; without one, of the one that the bundle is made for.
    Emulator(Option<Architecture>),
    /// A GPU of this machine, by the number that CUDA gives it.
    Cuda(usize),
}

impl Device {
    /// The target that uses all of the device; `None` where the device is whatever a bundle is made for.
    ///
    /// # Errors
    /// The device is not there to be asked.
    pub fn default_target(&self) -> Result<Option<String>, BundleError> {
        match self {
            Self::Cpu => Ok(Some("cpu".to_owned())),
            Self::Emulator(architecture) => Ok(architecture.as_ref().map(Architecture::to_string)),
            Self::Cuda(number) => {
                let own = Architecture::all_of(capability(*number)?);
                Ok(Some(own.to_string()))
            }
        }
    }
}

/// The devices that run a target's code, as messages list them.
pub(crate) fn devices_for(target: &Target) -> String {
    if target.is_gpu() {
        format!(
            "the device emulator:{}, or cuda:N where GPU N is one",
            target.name
        )
    } else {
        "the device cpu".to_owned()
    }
}

/// A text that names no device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a device: cpu, emulator (a GPU in software, of the bundle's target), emulator:sm_90a or of another \
     architecture, or cuda:0 or another GPU's number; found '{found}'{}", reason(.source)
)]
pub struct DeviceError {
    /// The text.
    pub found: String,
    /// What is wrong with the architecture, where that is it.
    pub source: Option<ArchitectureError>,
}

fn reason(source: &Option<ArchitectureError>) -> String {
    source
        .as_ref()
        .map_or_else(String::new, |source| format!(": {source}"))
}

impl FromStr for Device {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let error = |source| DeviceError {
            found: text.to_owned(),
            source,
        };
        match text.split_once(':') {
            None if text == "cpu" => Ok(Self::Cpu),
            None if text == "emulator" => Ok(Self::Emulator(None)),
            Some(("emulator", architecture)) => match architecture.parse() {
                Ok(architecture) => Ok(Self::Emulator(Some(architecture))),
                Err(source) => Err(error(Some(source))),
            },
            // No sign and no space, which the standard library's reading of numbers takes.
            Some(("cuda", number)) if number.bytes().all(|c| c.is_ascii_digit()) => {
                number.parse().map(Self::Cuda).map_err(|_| error(None))
            }
            _ => Err(error(None)),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Emulator(None) => f.write_str("emulator"),
            Self::Emulator(Some(architecture)) => write!(f, "emulator:{architecture}"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_as_they_are_written() {
        for text in [
            "cpu",
            "emulator",
            "emulator:sm_90a",
            "emulator:sm_120",
            "cuda:0",
            "cuda:12",
        ] {
            let device: Device = text.parse().unwrap();
            assert_eq!(device.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_device_is_told_the_choices() {
        for text in [
            "",
            "gpu",
            "CPU",
            "cpu:",
            "cuda",
            "cuda:",
            "cuda:+1",
            "cuda:-1",
            "cuda:99999999999999999999",
        ] {
            let error = text.parse::<Device>().unwrap_err().to_string();
            assert_eq!(
                error,
                format!(
                    "expected a device: cpu, emulator (a GPU in software, of the bundle's target), emulator:sm_90a or of \
                     another architecture, or cuda:0 or another GPU's number; found '{text}'"
                )
            );
        }
        let error = "emulator:90a".parse::<Device>().unwrap_err().to_string();
        assert!(
            error.ends_with("found 'emulator:90a': expected an architecture as sm_80, sm_90a or sm_100f, found '90a'"),
            "{error}"
        );
    }

    #[test]
    fn what_to_compile_for() {
        let target = |text: &str| text.parse::<Device>().unwrap().default_target().unwrap();
        assert_eq!(target("cpu").as_deref(), Some("cpu"));
        assert_eq!(target("emulator:sm_100a").as_deref(), Some("sm_100a"));
        assert_eq!(target("emulator"), None);
    }
}
