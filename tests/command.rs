//! The `tessera` command as a user sees it: standard output, standard error, exit code.

#[path = "command/analyze.rs"]
mod analyze;
#[path = "command/devices.rs"]
mod devices;
#[path = "command/driver.rs"]
mod driver;
#[path = "command/emulate.rs"]
mod emulate;
#[path = "command/malformed.rs"]
mod malformed;
#[path = "command/presets.rs"]
mod presets;
#[path = "command/quantize.rs"]
mod quantize;
#[path = "command/recipes.rs"]
mod recipes;
#[path = "command/steps.rs"]
mod steps;
#[path = "command/streams.rs"]
mod streams;
#[path = "command/workers.rs"]
mod workers;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a run of the command gave.
struct Outcome {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Runs the command.
fn tessera<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Outcome {
    tessera_reading(arguments, b"")
}

/// Runs the command with something on its standard input.
fn tessera_reading<S: AsRef<std::ffi::OsStr>>(
    arguments: impl IntoIterator<Item = S>,
    stdin: &[u8],
) -> Outcome {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tessera"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that fails early closes its end, which is no failure of the test.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    let output = child.wait_with_output().unwrap();
    Outcome {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// A step of the fixtures and the initialisers of its inputs.
fn step(name: &str) -> (String, String) {
    let folder = fixtures().join("steps").join(name);
    let path = |file: &str| folder.join(file).to_string_lossy().into_owned();
    (path("step.mlir"), path("inputs.toml"))
}
