//! StableHLO text to Tessera graphs.
//!
//! [`import`] takes what `jax.jit(f).lower(…).as_text()` prints, in the pretty or the generic form, with or without
//! locations. It goes in two steps, each a folder: `read` makes of the text what it says (`raw`, where both forms of
//! an op look alike), and `convert` makes of that a graph. What Tessera does not support is refused by name and place.

mod convert;
mod raw;
mod read;

use tessera_ir::Module;
use tessera_ir::diagnostic::Diagnostic;

/// The module a StableHLO text describes, not yet verified as a whole. Ops without a location get their place in the text, under the name `file`.
///
/// # Errors
/// The text is malformed, breaks a rule of an op, or holds what is not supported; the diagnostic says where.
pub fn import(source: &str, file: &str) -> Result<Module, Diagnostic> {
    let raw = read::module(source, file)?;
    convert::module(&raw)
}
