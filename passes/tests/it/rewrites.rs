//! `saturate`: what it finds in a block whose products are written out as a recipe's formulas say, and that it keeps
//! programs what they are.

mod block;
mod recipes;
mod small;
mod stages;
mod steps;

use crate::common::{program, run};
use tessera_ir::{Module, OpKind};

/// The ops of the entry for which something holds.
fn count(module: &Module, holds: impl Fn(&OpKind) -> bool) -> usize {
    let operations = module.entry().unwrap().operations().iter();
    operations.filter(|o| holds(&o.op.kind)).count()
}

/// The ops of the entry of that name.
fn count_named(module: &Module, name: &str) -> usize {
    count(module, |kind| kind.name() == name)
}

/// A program after `saturate` with options, as in `{numerics=exact}`.
fn saturated(options: &str, source: &str) -> Module {
    run(&format!("saturate{options}"), &program(source))
}
