//! `saturate`: what it finds in a block whose products are written out as a recipe's formulas say, and that it keeps
//! programs what they are.

mod block;
mod recipes;
mod small;
mod stages;
mod steps;

use crate::common::{program, run};
use tessera_ir::{Module, OpKind};
use tessera_passes::Pipeline;
use tessera_passes::manager::{Observer, PassRun};

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

/// How many kernels the rest of the default pipeline makes a module start.
fn launches(module: &Module) -> usize {
    #[derive(Default)]
    struct Launches(usize);

    impl Observer for Launches {
        fn after_pass(&mut self, run: &PassRun<'_>) {
            let launches = run.report.statistics().iter();
            let launches = launches.filter(|(name, _)| *name == "launches");
            self.0 += launches.map(|(_, count)| count).sum::<usize>();
        }
    }

    let mut launches = Launches::default();
    let rest = "decompose,fold-unit-dimensions,canonicalise,fuse".parse::<Pipeline>();
    rest.unwrap().run(module, &mut launches).unwrap();
    launches.0
}
