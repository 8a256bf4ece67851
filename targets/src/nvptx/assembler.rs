//! NVIDIA's assembler, `ptxas`: from PTX to the machine code of one chip, and what each kernel takes of it.

use super::GpuTarget;
use crate::CodegenError;
use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use tessera_runtime::bundle::Resources;

/// The program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assembler {
    program: PathBuf,
}

/// What the assembler makes of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assembled {
    /// The machine code, an ELF file.
    pub cubin: Vec<u8>,
    /// What each entry takes, by its name.
    pub resources: BTreeMap<String, Resources>,
}

impl Assembler {
    /// The assembler at that path.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        let program = program.into();
        Self { program }
    }

    /// The one on PATH; or else the CUDA toolkit's, under CUDA_HOME or CUDA_PATH; or else that of PyPI's
    /// `nvidia-cuda-nvcc` in the virtual environment that is active.
    pub fn find() -> Option<Self> {
        let path = env::var_os("PATH").unwrap_or_default();
        let homes = ["CUDA_HOME", "CUDA_PATH"].into_iter();
        let homes = homes.filter_map(env::var_os).map(|home| bin(&home));
        let packages = env::var_os("VIRTUAL_ENV").into_iter().flat_map(packages);
        let programs = (env::split_paths(&path).chain(homes).chain(packages))
            .map(|folder| folder.join("ptxas"));
        programs
            .into_iter()
            .find(|one| one.is_file())
            .map(Self::new)
    }

    /// Where it is.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Assembles a module for its target.
    ///
    /// # Errors
    /// The assembler cannot be run, or refuses the module: an older one does not know the newer versions of PTX.
    pub fn assemble(&self, ptx: &str, target: GpuTarget) -> Result<Assembled, CodegenError> {
        let folder = tempfile::tempdir()?;
        let [input, output] = ["kernels.ptx", "kernels.cubin"].map(|name| folder.path().join(name));
        std::fs::write(&input, ptx)?;
        let fail = |message: String| CodegenError::Assembler {
            program: self.program.clone(),
            target: target.to_string(),
            message,
        };
        let done = Command::new(&self.program)
            .arg(format!("-arch={target}"))
            .arg("-v")
            .arg(&input)
            .arg("-o")
            .arg(&output)
            .output()
            .map_err(|error| fail(error.to_string()))?;
        let said =
            [done.stdout, done.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        let said = said.concat();
        if !done.status.success() {
            return Err(fail(said.trim().to_owned()));
        }
        Ok(Assembled {
            cubin: std::fs::read(&output)?,
            resources: resources(&said),
        })
    }
}

fn bin(home: &OsString) -> PathBuf {
    Path::new(home).join("bin")
}

/// Where a virtual environment's packages of NVIDIA's have programs: `lib/python3.11/site-packages/nvidia/cu13/bin`.
fn packages(environment: OsString) -> Vec<PathBuf> {
    let below = |folder: PathBuf| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path())
    };
    below(Path::new(&environment).join("lib"))
        .flat_map(|python| below(python.join("site-packages/nvidia")))
        .map(|package| package.join("bin"))
        .collect()
}

/// What `-v` says of each entry:
///
/// ```text
/// ptxas info    : Compiling entry function 'scale' for 'sm_90a'
/// ptxas info    : Function properties for scale
///     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
/// ptxas info    : Used 32 registers, used 1 barriers, 8192 bytes smem
/// ```
fn resources(said: &str) -> BTreeMap<String, Resources> {
    let mut all = BTreeMap::new();
    let mut entry = None;
    for line in said.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            let name = rest.split('\'').next().unwrap_or_default();
            entry = Some(name.to_owned());
            all.insert(name.to_owned(), Resources::default());
            continue;
        }
        let Some(own) = entry.as_ref().and_then(|entry| all.get_mut(entry)) else {
            continue;
        };
        let places: [(&str, &mut u32); 5] = [
            (" bytes stack frame", &mut own.stack_bytes),
            (" bytes spill stores", &mut own.spill_store_bytes),
            (" bytes spill loads", &mut own.spill_load_bytes),
            (" registers", &mut own.registers),
            (" bytes smem", &mut own.shared_bytes),
        ];
        for (unit, place) in places {
            if let Some(number) = number_before(line, unit) {
                *place = number;
            }
        }
    }
    all
}

/// The number that stands before a unit in a line.
fn number_before(line: &str, unit: &str) -> Option<u32> {
    let (before, _) = line.split_once(unit)?;
    before.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'scale' for 'sm_90a'
ptxas info    : Function properties for scale
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 14 registers, used 0 barriers
ptxas info    : Compiling entry function 'dot' for 'sm_90a'
ptxas info    : Function properties for dot
    24 bytes stack frame, 20 bytes spill stores, 16 bytes spill loads
ptxas info    : Used 128 registers, used 1 barriers, 24 bytes cumulative stack size, 8192 bytes smem, 400 bytes cmem[0]
";

    #[test]
    fn each_entry_has_what_is_said_of_it() {
        let all = resources(SAID);
        let scale = Resources {
            registers: 14,
            ..Resources::default()
        };
        let dot = Resources {
            registers: 128,
            stack_bytes: 24,
            spill_store_bytes: 20,
            spill_load_bytes: 16,
            shared_bytes: 8192,
        };
        let expected = [("dot".to_owned(), dot), ("scale".to_owned(), scale)];
        assert_eq!(all, BTreeMap::from(expected));
    }

    #[test]
    fn an_assembler_that_is_not_there_is_named() {
        let assembler = Assembler::new("/nowhere/ptxas");
        let error = assembler
            .assemble("", "sm_90a".parse().unwrap())
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "/nowhere/ptxas does not assemble for sm_90a: No such file or directory (os error 2)"
        );
    }
}
