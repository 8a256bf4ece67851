//! `tessera doctor`: what this machine has of what Tessera uses.

use super::print;
use crate::Failure;
use std::env;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;
use tessera_targets::Options;
use tessera_targets::cpu::{self, CpuTarget};
use tessera_targets::nvptx::Assembler;

/// One thing that is looked for.
struct Finding {
    what: &'static str,
    /// What was found, or why not and what to do.
    state: Result<String, String>,
    /// Whether compiling for the CPU needs it.
    needed: bool,
}

pub(super) fn doctor() -> Result<(), Failure> {
    let findings = [
        processor(),
        llvm(),
        linker(),
        mlir_opt(),
        ptxas(),
        cuda_driver(),
    ];
    let mut text = format!("tessera {}\n", env!("CARGO_PKG_VERSION"));
    for finding in &findings {
        let (mark, state) = match (&finding.state, finding.needed) {
            (Ok(found), _) => ("found", found),
            (Err(advice), true) => ("MISSING", advice),
            (Err(advice), false) => ("none", advice),
        };
        let _ = writeln!(text, "{mark:<9}{:<14}{state}", finding.what);
    }
    print(&text)?;
    let missing = findings.iter().filter(|f| f.needed && f.state.is_err());
    match missing
        .map(|finding| finding.what)
        .collect::<Vec<_>>()
        .as_slice()
    {
        [] => Ok(()),
        what => Err(Failure::error(format!("missing: {}", what.join(", ")))),
    }
}

fn processor() -> Finding {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let state = CpuTarget::host().map_err(|error| error.to_string());
    Finding {
        what: "processor",
        state: state.map(|host| {
            format!(
                "{}, {cores} core(s), {}",
                env::consts::ARCH,
                host.features().join(" ")
            )
        }),
        needed: true,
    }
}

fn llvm() -> Finding {
    Finding {
        what: "LLVM",
        state: Ok(tessera_targets::llvm_version()),
        needed: true,
    }
}

fn linker() -> Finding {
    let found = cpu::linker(&Options::default());
    Finding {
        what: "linker",
        state: found.map(version).map_err(|error| error.to_string()),
        needed: true,
    }
}

fn mlir_opt() -> Finding {
    let advice = "only reads back `opt --generic`; Debian: mlir-22-tools";
    Finding {
        what: "mlir-opt",
        state: find(&["mlir-opt-22"], &[])
            .map(version)
            .ok_or_else(|| advice.to_owned()),
        needed: false,
    }
}

fn ptxas() -> Finding {
    let advice = "assembles PTX for a GPU; from the CUDA toolkit, on PATH or under CUDA_HOME, or PyPI's nvidia-cuda-nvcc";
    Finding {
        what: "ptxas",
        state: Assembler::find()
            .map(|assembler| version(assembler.program().to_owned()))
            .ok_or_else(|| advice.to_owned()),
        needed: false,
    }
}

fn cuda_driver() -> Finding {
    let driver = std::fs::read_to_string("/proc/driver/nvidia/version");
    let advice = "runs GPU code; no NVIDIA driver is loaded";
    Finding {
        what: "CUDA driver",
        state: driver
            .map(|text| text.lines().next().unwrap_or_default().to_owned())
            .map_err(|_| advice.to_owned()),
        needed: false,
    }
}

/// The first of the programs that lies in one of the folders or on PATH.
fn find(names: &[&str], folders: &[PathBuf]) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = folders
        .iter()
        .cloned()
        .chain(env::split_paths(&path))
        .collect();
    let candidates = folders
        .iter()
        .flat_map(|folder| names.iter().map(|name| folder.join(name)));
    candidates.into_iter().find(|candidate| candidate.is_file())
}

/// A program's path and the line of its `--version` that has a number in it.
fn version(program: PathBuf) -> String {
    let output = Command::new(&program).arg("--version").output();
    let text = output
        .map(|o| String::from_utf8_lossy(&o.stdout).into_owned())
        .unwrap_or_default();
    let line = text
        .lines()
        .find(|line| line.contains(|c: char| c.is_ascii_digit()));
    format!("{}  {}", program.display(), line.unwrap_or("").trim())
}
