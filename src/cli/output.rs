//! Output files: whole or not at all.

use super::print;
use crate::Failure;
use std::io::Write;
use std::path::Path;

/// Writes text or code to a file, or to standard output for `-`.
pub(super) fn write(path: &str, bytes: &[u8]) -> Result<(), Failure> {
    if path != "-" {
        return write_file(Path::new(path), bytes);
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => print(text),
        Err(_) => std::io::stdout()
            .lock()
            .write_all(bytes)
            .map_err(|error| Failure::error(format!("standard output: {error}"))),
    }
}

/// Writes a file whole or not at all.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    tessera_runtime::files::write_whole(path, bytes)
        .map_err(|error| Failure::in_file(&path.display().to_string(), error))
}

/// Keeps what shows a failure again, in the named file or a new temporary one, and gives its path.
pub(super) fn write_reproducer(
    path: Option<&Path>,
    text: &str,
) -> Result<std::path::PathBuf, Failure> {
    if let Some(path) = path {
        write_file(path, text.as_bytes())?;
        return Ok(path.to_owned());
    }
    let failed = |error: std::io::Error| Failure::error(format!("the reproducer: {error}"));
    let mut file = tempfile::Builder::new()
        .prefix("tessera-reproducer-")
        .suffix(".mlir")
        .tempfile()
        .map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    let (_, path) = file.keep().map_err(|error| failed(error.error))?;
    Ok(path)
}
