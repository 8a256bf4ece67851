//! The passes there are.

use super::{OptionValue, Pass};
use crate::barriers::DropBarriers;
use crate::canonicalise::{Canonicalise, CommonSubexpressions, DeadCode};
use crate::decompose::Decompose;
use crate::fuse::Fuse;
use crate::inline::Inline;
use crate::recipes::expand::ExpandRecipe;
use crate::rewrites::Saturate;
use crate::scale_layout::LayOutScales;
use crate::unit_dimensions::FoldUnitDimensions;

/// Makes each pass with its options' defaults, in the order in which they are listed.
const PASSES: &[fn() -> Box<dyn Pass>] = &[
    || Box::new(Inline),
    || Box::<Canonicalise>::default(),
    || Box::new(CommonSubexpressions),
    || Box::new(DeadCode),
    || Box::<ExpandRecipe>::default(),
    || Box::<Decompose>::default(),
    || Box::new(FoldUnitDimensions),
    || Box::<Saturate>::default(),
    || Box::new(DropBarriers),
    || Box::<LayOutScales>::default(),
    || Box::<Fuse>::default(),
];

/// A pass as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassInfo {
    /// The name in pipelines.
    pub name: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// Its options with their defaults.
    pub options: Vec<OptionValue>,
}

/// Every pass there is.
pub fn list() -> impl Iterator<Item = PassInfo> {
    PASSES.iter().map(|make| {
        let pass = make();
        PassInfo {
            name: pass.name(),
            summary: pass.summary(),
            options: pass.options(),
        }
    })
}

/// The pass of that name, with its options' defaults.
pub(super) fn make(name: &str) -> Option<Box<dyn Pass>> {
    let mut passes = PASSES.iter().map(|make| make());
    passes.find(|pass| pass.name() == name)
}
