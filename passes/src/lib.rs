//! From the graph a front end made to the plan a target compiles: [`Graph`](tessera_ir::Graph)s become simpler graphs,
//! then graphs of kernels, then a [`Plan`](tessera_ir::plan::Plan).
//!
//! A [`Pass`] makes a module of a module; a [`Pipeline`] is a list of them, written as text
//! (`inline,canonicalise{max-iterations=4},fuse`). The [`default_pipeline`] ends with [`fuse`], after which the module's
//! entry holds calls of kernels, control flow and what costs nothing. [`plan()`] orders these and places every value.
//!
//! | module | what it does |
//! |---|---|
//! | [`manager`] | pipelines: text form, running, verification, reproducers |
//! | [`inline`] | calls become the ops of the graph called |
//! | [`canonicalise`] | exact simplification: fold, merge, remove |
//! | [`decompose`] | ops that no kernel computes become ops that kernels do |
//! | [`linears`] | which products are a parameter's forward, dgrad and wgrad |
//! | [`rewrites`] | equality saturation: the cheapest of all equal programs |
//! | [`unit_dimensions`] | dimensions of 1 leave all computation |
//! | [`recipes`] | what each product of a step is computed in, as data; [`expand`](recipes::expand) writes the step so |
//! | [`barriers`] | optimization barriers go, once nothing may be undone by that |
//! | [`fuse`] | ops become kernels |
//! | [`plan`](mod@plan) | kernels get an order, values get memory |

pub mod barriers;
pub mod canonicalise;
pub mod decompose;
pub mod fuse;
pub mod inline;
pub mod linears;
pub mod manager;
pub mod plan;
pub mod rebuild;
pub mod recipes;
pub mod rewrites;
pub mod scale_layout;
pub mod unit_dimensions;

pub use manager::{Pass, PassError, Pipeline, Reproducer};
pub use plan::{PlanOptions, plan};

use canonicalise::Canonicalise;
use inline::Inline;
use recipes::expand::ExpandRecipe;
use rewrites::Saturate;

/// What is done to every module before it is planned.
pub const DEFAULT_PIPELINE: &str = "inline,canonicalise,decompose,fold-unit-dimensions,canonicalise,drop-barriers,fuse{epilogues=scaled}";

/// The same for machines with matrix units, whose kernels multiply f16 and bf16 as they are, compute what follows a
/// product before they write it, make scores of attention where they need them, and transform blocks by themselves.
pub const MATRIX_UNIT_PIPELINE: &str = "inline,canonicalise,decompose{half-dots=keep},fold-unit-dimensions,canonicalise,drop-barriers,fuse{hadamard=alone epilogues=all attention=tiled}";

/// The same for machines whose matrix unit has block scales copied in tiles of 128 rows by four.
pub const SCALE_TILES_PIPELINE: &str = "inline,canonicalise,decompose{half-dots=keep},fold-unit-dimensions,canonicalise,drop-barriers,scale-layout{products=tiled_128x4},fuse{hadamard=alone epilogues=all attention=tiled}";

/// What comes before all else where a recipe is given: the step as the linears are found in, the recipe, and of all that is
/// equal to it the cheapest.
pub fn recipe_pipeline(recipe: ExpandRecipe) -> Pipeline {
    let mut pipeline = Pipeline::default();
    pipeline.push(Box::new(Inline));
    pipeline.push(Box::<Canonicalise>::default());
    pipeline.push(Box::new(recipe));
    pipeline.push(Box::<Saturate>::default());
    pipeline
}

/// The passes of [`MATRIX_UNIT_PIPELINE`].
pub fn matrix_unit_pipeline() -> Pipeline {
    MATRIX_UNIT_PIPELINE
        .parse()
        .expect("the pipeline names passes that exist, which a test checks")
}

/// The passes of [`SCALE_TILES_PIPELINE`].
pub fn scale_tiles_pipeline() -> Pipeline {
    SCALE_TILES_PIPELINE
        .parse()
        .expect("the pipeline names passes that exist, which a test checks")
}

/// The passes of [`DEFAULT_PIPELINE`].
pub fn default_pipeline() -> Pipeline {
    DEFAULT_PIPELINE
        .parse()
        .expect("the default pipeline names passes that exist, which a test checks")
}
