//! Bundles and the machine that runs them; needs neither LLVM nor the compiler.

pub mod bundle;

pub use bundle::Bundle;
