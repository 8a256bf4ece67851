//! Which products of a step are quantised, and how.

use super::{preset, recipe, sizes};
use tessera_numerics::Format;
use tessera_passes::linears::{Role, Routing};
use tessera_passes::recipes::{Block, LinearProduct, OperandPrecision, Recipe, Scaling, Treatment};

/// The forward product of the linear `index` of 36, away from all exceptions but those the test is about.
fn linear(name: &str, index: usize) -> LinearProduct<'_> {
    LinearProduct {
        name,
        parts: &[],
        index,
        count: 36,
        block: None,
        block_count: 0,
        is_lookup: false,
        is_frozen: false,
        routing: None,
        role: Role::Forward,
        sizes: sizes(512, 256, 256),
    }
}

/// What is done with a linear: the format of its weight, or why it is kept.
fn outcome(recipe: &Recipe, linear: &LinearProduct<'_>) -> String {
    match recipe.for_product(linear) {
        Treatment::Kept { precision, reason } => format!("{precision}: {reason}"),
        Treatment::Quantised(product) => {
            let [_, (_, weight)] = product.operands();
            match weight.precision() {
                OperandPrecision::High(precision) => precision.to_string(),
                OperandPrecision::Scaled(scaling) => Scaling::format(&scaling).to_string(),
            }
        }
    }
}

#[test]
fn names_are_kept() {
    let nvfp4 = preset("nvfp4").unwrap();
    let of = |name| outcome(&nvfp4, &linear(name, 3));
    assert_eq!(of("params['lm_head']"), "bf16: its name fits '*lm_head*'");
    assert_eq!(
        of("params['moe']['router']"),
        "bf16: its name fits '*router*'"
    );
    assert_eq!(of("params['multi_head_attention']['out']"), "nvfp4");
}

#[test]
fn the_last_linear_is_the_head() {
    let nvfp4 = preset("nvfp4").unwrap();
    let of = |index| outcome(&nvfp4, &linear("arg2", index));
    assert_eq!(of(35), "bf16: linear 36 of 36; the last 1 are kept");
    assert_eq!(of(34), "nvfp4");
    assert_eq!(of(0), "nvfp4");
}

#[test]
fn nvidia_keeps_a_share_of_linears_at_both_ends() {
    // 3 % of 36 are 1.08, 13 % are 4.68.
    let nvidia = preset("nvidia").unwrap();
    let kept = (0..36).filter(|&index| outcome(&nvidia, &linear("w", index)) != "nvfp4");
    assert_eq!(kept.collect::<Vec<_>>(), [0, 31, 32, 33, 34, 35]);
}

#[test]
fn blocks_are_kept_where_they_are_known() {
    let recipe = recipe("extends = \"nvfp4\"\n[keep]\nfirst_blocks = 1\nlast_blocks = 2\n");
    assert!(recipe.keep().asks_for_blocks());
    let of = |block: Option<usize>| {
        let block = block.map(|index| Block { index, count: 6 });
        outcome(
            &recipe,
            &LinearProduct {
                block,
                ..linear("w", 9)
            },
        )
    };
    assert_eq!(of(Some(0)), "bf16: in block 1 of 6; the first 1 are kept");
    assert_eq!(of(Some(1)), "nvfp4");
    assert_eq!(of(Some(3)), "nvfp4");
    assert_eq!(of(Some(4)), "bf16: in block 5 of 6; the last 2 are kept");
    assert_eq!(of(None), "nvfp4");
    assert!(!preset("nvidia").unwrap().keep().asks_for_blocks());
}

#[test]
fn nvidia_keeps_whole_blocks_where_names_tell_blocks() {
    // 3 % of 32 blocks are 0.96, 13 % are 4.16.
    let nvidia = preset("nvidia").unwrap();
    let of = |block: Option<usize>, index| {
        let block = block.map(|index| Block { index, count: 32 });
        let linear = LinearProduct {
            block,
            block_count: 32,
            ..linear("w", index)
        };
        outcome(&nvidia, &linear)
    };
    assert_eq!(
        of(Some(0), 6),
        "bf16: in block 1 of 32; the first 1 are kept"
    );
    assert_eq!(of(Some(1), 7), "nvfp4");
    assert_eq!(of(Some(27), 30), "nvfp4");
    assert_eq!(
        of(Some(28), 31),
        "bf16: in block 29 of 32; the last 4 are kept"
    );
    // Outside of the blocks it is the head alone that is kept.
    assert_eq!(of(None, 34), "nvfp4");
    assert_eq!(of(None, 35), "bf16: linear 36 of 36; the last 1 are kept");
}

#[test]
fn an_embedding_written_as_a_product_is_kept() {
    let lookup = LinearProduct {
        is_lookup: true,
        ..linear("w", 3)
    };
    assert_eq!(
        outcome(&preset("nvfp4").unwrap(), &lookup),
        "bf16: its activation is a one-hot: an embedding, which looks up rows of the weight"
    );
}

#[test]
fn frozen_weights_are_quantised_but_where_keep_names_them() {
    let frozen = LinearProduct {
        is_frozen: true,
        ..linear("w", 3)
    };
    assert_eq!(outcome(&preset("nvfp4").unwrap(), &frozen), "nvfp4");
    let kept = recipe("extends = \"nvfp4\"\n[keep]\nfrozen = true");
    assert_eq!(
        outcome(&kept, &frozen),
        "bf16: the step does not update its weight"
    );
    assert_eq!(outcome(&kept, &linear("w", 3)), "nvfp4");
}

#[test]
fn a_router_is_kept_whatever_its_name_but_where_an_override_says_otherwise() {
    let router = LinearProduct {
        routing: Some(Routing::Selects),
        ..linear("w_gate", 3)
    };
    assert_eq!(
        outcome(&preset("nvfp4").unwrap(), &router),
        "bf16: a router: the order of its results chooses what takes a token"
    );
    let all = recipe("extends = \"nvfp4\"\n[[override]]\nnames = [\"*\"]\nkeep = false");
    assert_eq!(outcome(&all, &router), "nvfp4");
}

#[test]
fn small_linears_are_kept_whichever_dimension_is_small() {
    let nvfp4 = preset("nvfp4").unwrap();
    for sizes in [sizes(8, 64, 64), sizes(64, 8, 64), sizes(64, 64, 8)] {
        let small = LinearProduct {
            sizes,
            ..linear("w", 3)
        };
        assert_eq!(
            outcome(&nvfp4, &small),
            "bf16: a dimension of 8 is below 16"
        );
    }
    let sizes = sizes(16, 16, 16);
    assert_eq!(
        outcome(
            &nvfp4,
            &LinearProduct {
                sizes,
                ..linear("w", 3)
            }
        ),
        "nvfp4"
    );
}

#[test]
fn a_recipe_that_quantises_nothing_says_so() {
    let outcome = outcome(&preset("bf16").unwrap(), &linear("w", 3));
    assert_eq!(outcome, "bf16: the recipe does not quantise forward");
}

#[test]
fn a_role_alone_may_be_quantised() {
    let backward = recipe("[gradient]\nprecision = \"nvfp4\"\n");
    let of = |role| {
        matches!(
            backward.for_product(&LinearProduct {
                role,
                ..linear("w", 3)
            }),
            Treatment::Quantised(_)
        )
    };
    assert_eq!(
        [Role::Forward, Role::Dgrad, Role::Wgrad].map(of),
        [false, true, true]
    );
}

#[test]
fn a_rank_above_half_of_a_dimension_is_kept() {
    let recipe = recipe(
        "extends = \"metis\"\n[activation]\nspectral = { rank = 0.5 }\n[keep]\nsmallest_dimension = 0\n",
    );
    let of = |m| {
        outcome(
            &recipe,
            &LinearProduct {
                sizes: sizes(512, m, 256),
                ..linear("w", 3)
            },
        )
    };
    assert_eq!(of(16), "nvfp4");
    // Half of 15 is 7.5, to the nearest 8.
    assert_eq!(
        of(15),
        "bf16: a spectral split of rank 8 is more than half of a dimension of 15"
    );
}

const SENSITIVE: &str = r#"
extends = "nvfp4"

[[override]]
names = ["*mlp*"]
weight.precision = "mxfp6_e2m3"

[[override]]
names = ["*mlp*7*", "*attention*"]
activation = { precision = "mxfp8_e4m3" }
weight = { precision = "mxfp8_e4m3" }

[[override]]
names = ["*experts.3.*"]
keep = "f32"

[[override]]
names = ["*lm_head*"]
keep = false
"#;

#[test]
fn the_last_override_that_fits_decides() {
    let recipe = recipe(SENSITIVE);
    let of = |name| outcome(&recipe, &linear(name, 3));
    assert_eq!(of("mlp.3.up"), "mxfp6_e2m3");
    assert_eq!(of("mlp.7.up"), "mxfp8_e4m3");
    assert_eq!(of("attention.0.out"), "mxfp8_e4m3");
    assert_eq!(
        of("mlp.7.experts.3.up"),
        "f32: the override for '*experts.3.*' keeps it"
    );
    assert_eq!(of("other"), "nvfp4");
}

#[test]
fn an_override_does_not_undo_keep_unless_it_says_so() {
    let recipe = recipe(SENSITIVE);
    assert_eq!(
        outcome(&recipe, &linear("mlp.8.down", 35)),
        "bf16: linear 36 of 36; the last 1 are kept"
    );
    assert_eq!(outcome(&recipe, &linear("lm_head", 35)), "nvfp4");
}

#[test]
fn overrides_are_of_the_recipe_and_not_of_each_other() {
    let recipe = recipe(SENSITIVE);
    let Treatment::Quantised(product) = recipe.for_product(&LinearProduct {
        role: Role::Dgrad,
        ..linear("mlp.3.up", 3)
    }) else {
        panic!("quantised")
    };
    let [(_, gradient), (_, weight)] = product.operands();
    let formats = [gradient, weight].map(|own| own.precision().scaling().map(Scaling::format));
    assert_eq!(formats, [Some(Format::Nvfp4), Some(Format::Mxfp6E2m3)]);
}

#[test]
fn overrides_read_back_as_printed() {
    let texts = [
        SENSITIVE,
        "extends = \"nvidia\"\n[[override]]\nnames = [\"a \\\"quoted\\\" name\"]\nactivation.precision = \"f32\"\nweight.precision = \"f32\"\ngradient.precision = \"f32\"\n",
        "[[override]]\nnames = [\"*\"]\nwgrad.hadamard = { size = 64 }\nactivation = { precision = \"nvfp4\", mean = true }\n",
    ];
    for text in texts {
        let recipe = recipe(text);
        let printed = recipe.to_string();
        assert_eq!(Recipe::parse(&printed, "other"), Ok(recipe), "{printed}");
    }
}
