//! What a stream does.

use crate::driver::Driver;
use crate::status::{ERROR_INVALID_VALUE, ERROR_LAUNCH_FAILED, Status};
use std::sync::Arc;
use tessera_emulator::{Finding, Launch, Program, launch};

/// A piece of work whose operands are known.
#[derive(Clone)]
pub(crate) enum Work {
    /// A kernel.
    Launch(Arc<Program>, Box<Launch>),
    /// Bytes of the GPU's memory become those of another place there.
    Copy { from: u64, to: u64, bytes: usize },
    /// All bytes of a place become one value.
    Fill { to: u64, value: u8, bytes: usize },
}

impl Work {
    /// Does it.
    pub fn run(&self, driver: &mut Driver) -> Result<(), Status> {
        match self {
            Self::Launch(program, what) => run(program, what, driver),
            Self::Copy { from, to, bytes } => {
                let contents = driver.memory.contents(*from, *bytes);
                let done = contents.and_then(|bytes| driver.memory.set_contents(*to, &bytes));
                done.map_err(|_| ERROR_INVALID_VALUE)
            }
            Self::Fill { to, value, bytes } => driver
                .memory
                .write_bytes(*to, &vec![*value; *bytes])
                .map_err(|_| ERROR_INVALID_VALUE),
        }
    }
}

fn run(program: &Program, what: &Launch, driver: &mut Driver) -> Result<(), Status> {
    let report = launch(program, &mut driver.memory, what).map_err(|error| {
        eprintln!("{}: {error}", what.kernel);
        ERROR_INVALID_VALUE
    })?;
    if report.findings.is_empty() {
        return Ok(());
    }
    for finding in &report.findings {
        eprintln!("{}", said(finding));
    }
    driver.failure = Some(ERROR_LAUNCH_FAILED);
    Err(ERROR_LAUNCH_FAILED)
}

fn said(finding: &Finding) -> String {
    let [x, y, z] = finding.cta;
    let Finding {
        place,
        kind,
        warp,
        lane,
        ..
    } = finding;
    let code = finding.code();
    format!("{place}: {kind} ({code}, CTA {x},{y},{z}, warp {warp}, lane {lane})")
}
