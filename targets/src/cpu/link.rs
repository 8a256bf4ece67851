//! Object files to a shared object.

use super::{CpuError, CpuOptions};
use std::path::{Path, PathBuf};
use std::process::Command;

const LINKER: &str = "ld.lld-22";

/// Links objects, in their order. Equal objects give equal bytes: there is no path and no time in them.
pub fn link(objects: &[&[u8]], options: &CpuOptions) -> Result<Vec<u8>, CpuError> {
    let linker = linker(options)?;
    let folder = tempfile::tempdir()?;
    let names: Vec<String> = (0..objects.len()).map(|i| format!("kernel{i}.o")).collect();
    for (name, object) in names.iter().zip(objects) {
        std::fs::write(folder.path().join(name), object)?;
    }
    let output = Command::new(&linker)
        .current_dir(folder.path())
        .args([
            "-shared",
            "--strip-all",
            "--build-id=none",
            "-z",
            "noexecstack",
            "-z",
            "now",
        ])
        .args(["-o", "kernels.so"])
        .args(&names)
        .output();
    let fail = |message: String| CpuError::Linker {
        linker: linker.clone(),
        message,
    };
    let output = output.map_err(|error| fail(error.to_string()))?;
    if !output.status.success() {
        return Err(fail(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    Ok(std::fs::read(folder.path().join("kernels.so"))?)
}

/// The linker given, or the one in PATH, or the one beside the LLVM that this was built with.
///
/// # Errors
/// There is none.
pub fn linker(options: &CpuOptions) -> Result<PathBuf, CpuError> {
    if let Some(linker) = &options.linker {
        return Ok(linker.clone());
    }
    let prefix = std::env::var_os("LLVM_SYS_221_PREFIX")
        .map(PathBuf::from)
        .or_else(|| option_env!("LLVM_SYS_221_PREFIX").map(PathBuf::from))
        .unwrap_or_else(|| PathBuf::from("/usr/lib/llvm-22"));
    let folder = prefix.join("bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|entry| entry.join(LINKER));
    let beside = [LINKER, "ld.lld"].map(|name| folder.join(name));
    let is_file = |path: &PathBuf| Path::is_file(path);
    in_path
        .chain(beside)
        .find(is_file)
        .ok_or(CpuError::NoLinker { folder })
}
