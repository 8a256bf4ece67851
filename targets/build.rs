//! Lets `mlir-sys` link against Debian's shared MLIR.
//!
//! `mlir-sys` asks the linker for `libMLIR.so` and `libMLIR-C.so`. Debian has the first; MLIR's C interface is there
//! only as static archives, `libMLIRCAPI*.a`, which refer to `libMLIR.so`. So this writes a linker script that is
//! named `libMLIR-C.so` and stands for the archives, and adds its folder to the search path of every crate above.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=MLIR_SYS_220_PREFIX");
    let libraries = PathBuf::from(env::var("MLIR_SYS_220_PREFIX")?).join("lib");
    if libraries.join("libMLIR-C.so").exists() {
        return Ok(());
    }
    let archives = c_interface_archives(&libraries).map_err(|error| {
        format!(
            "MLIR 22 in {}: {error}; scripts/setup.sh installs it",
            libraries.display()
        )
    })?;
    let folder = PathBuf::from(env::var("OUT_DIR")?);
    // The shared libraries come again after the archives, for linkers that resolve from left to right.
    let script = format!(
        "GROUP ( {} )\nINPUT ( -lMLIR -lLLVM-22 )\n",
        archives.join(" ")
    );
    fs::write(folder.join("libMLIR-C.so"), script)?;
    println!("cargo:rustc-link-search=native={}", folder.display());
    Ok(())
}

/// The archives as linker arguments, sorted.
fn c_interface_archives(libraries: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let mut archives = Vec::new();
    for entry in fs::read_dir(libraries)? {
        let name = entry?.file_name();
        if let Some(name) = name
            .to_str()
            .and_then(|name| name.strip_prefix("lib")?.strip_suffix(".a"))
            && name.starts_with("MLIRCAPI")
        {
            archives.push(format!("-l{name}"));
        }
    }
    if archives.is_empty() {
        return Err("no libMLIRCAPI*.a".into());
    }
    archives.sort();
    Ok(archives)
}
