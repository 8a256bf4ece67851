//! Object files to a shared object.

use super::elf;
use crate::llvm::LoweringError;
use crate::{CodegenError, Options};
use std::path::{Path, PathBuf};
use std::process::Command;

const LINKER: &str = "ld.lld-22";

/// Links objects, in their order. Equal objects give equal bytes: there is no path and no time in them.
pub fn link(objects: &[&[u8]], options: &Options) -> Result<Vec<u8>, CodegenError> {
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
    let fail = |message: String| CodegenError::Linker {
        linker: linker.clone(),
        message,
    };
    let output = output.map_err(|error| fail(error.to_string()))?;
    if !output.status.success() {
        return Err(fail(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    let shared_object = std::fs::read(folder.path().join("kernels.so"))?;
    check_imports(&shared_object)?;
    Ok(shared_object)
}

/// What kernels may call: LLVM makes these of loops. Anything else, a function of the mathematical library for one,
/// would be a call for every element, or miss on the machine that runs the bundle.
const ALLOWED_IMPORTS: [&str; 5] = ["bcmp", "memcmp", "memcpy", "memmove", "memset"];

fn check_imports(shared_object: &[u8]) -> Result<(), CodegenError> {
    let fail = |message: String| {
        CodegenError::Lowering(LoweringError {
            stage: "the check of the shared object",
            message,
        })
    };
    let imports = elf::imports(shared_object)
        .ok_or_else(|| fail("it has no readable symbol table".to_owned()))?;
    let foreign: Vec<&str> = imports
        .iter()
        .map(String::as_str)
        .filter(|name| !ALLOWED_IMPORTS.contains(name))
        .collect();
    if foreign.is_empty() {
        return Ok(());
    }
    Err(fail(format!("kernels call {}", foreign.join(", "))))
}

/// The linker given, or the one in PATH, or the one beside the LLVM that this was built with.
///
/// # Errors
/// There is none.
pub fn linker(options: &Options) -> Result<PathBuf, CodegenError> {
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
        .ok_or(CodegenError::NoLinker { folder })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::CpuTarget;
    use inkwell::{context::Context, memory_buffer::MemoryBuffer};

    fn object(ir: &str) -> Vec<u8> {
        let context = Context::create();
        let text = MemoryBuffer::create_from_memory_range_copy(format!("{ir}\0").as_bytes(), "ir");
        let module = context.create_module_from_ir(text).unwrap();
        let target: CpuTarget = "cpu:x86-64-v3".parse().unwrap();
        target.machine().unwrap().object(&module).unwrap()
    }

    const CALLER: &str = "declare float @NAME(float)
        define float @f(float %x) {
          %y = call float @NAME(float %x)
          ret float %y
        }";

    #[test]
    fn a_call_of_the_mathematical_library_is_refused() {
        let object = object(&CALLER.replace("NAME", "expf"));
        let error = link(&[&object], &Options::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the check of the shared object failed: kernels call expf"
        );
    }

    #[test]
    fn a_call_within_the_shared_object_is_none() {
        let objects = [
            object(&CALLER.replace("NAME", "g")),
            object("define float @g(float %x) { ret float %x }"),
        ];
        let objects: Vec<&[u8]> = objects.iter().map(|object| &object[..]).collect();
        assert!(link(&objects, &Options::default()).is_ok());
    }

    #[test]
    fn what_copies_memory_may_be_called() {
        let object = object(&CALLER.replace("NAME", "memcpy"));
        assert!(link(&[&object], &Options::default()).is_ok());
    }
}
