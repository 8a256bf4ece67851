//! Layers of loops and experts of batches, each treated apart.

use super::state::small_step;
use super::*;
use crate::common::{assert_same, import_step, run};
use tessera_ir::plan::{Plan, Step};
use tessera_ir::{Graph, OpKind};
use tessera_numerics::Initialiser;
use tessera_passes::plan::evaluate::evaluate;
use tessera_passes::{DEFAULT_PIPELINE, PlanOptions, plan};

fn prepared(name: &str) -> Module {
    run("inline,canonicalise", &small_step(name))
}

/// What a recipe makes of the linears' products of a role, in order: the name, and the format or why there is none.
fn rows(module: &Module, text: &str, role: &str) -> Vec<String> {
    let recipe = Recipe::parse(text, "test").unwrap_or_else(|e| panic!("{e}"));
    let expansion = expanded(module, &recipe, Form::Factored);
    let rows = expansion.rows.iter();
    let lines = rows.map(|row| format!("{}: {}", row.row, row.outcome));
    let role = format!(": {role} ");
    lines.filter(|line| line.contains(&role)).collect()
}

/// Normal numbers of a small spread for all inputs.
fn inputs(module: &Module) -> Vec<Tensor> {
    let inputs = module.entry().unwrap().inputs().iter().zip(0..);
    let initialiser: Initialiser = "normal(std=0.25)".parse().unwrap();
    let tensors = inputs.map(|(input, stream)| {
        let kind = input.value_type.as_tensor().unwrap();
        let tensor = initialiser.tensor(kind.element, &kind.shape, stream);
        tensor.unwrap()
    });
    tensors.collect()
}

fn loops(graph: &Graph) -> usize {
    let kinds = graph
        .operations()
        .iter()
        .map(|operation| &operation.op.kind);
    let own = kinds.map(|kind| {
        let inside: usize = kind.regions().into_iter().map(|own| loops(own)).sum();
        usize::from(matches!(kind, OpKind::While { .. })) + inside
    });
    own.sum()
}

#[test]
fn nvidia_keeps_the_first_and_last_layers_of_a_loop() {
    // 3 % of 20 are 0.6, 13 % are 2.6.
    let module = prepared("scanned_layers");
    let kept = |place: &str, end: &str| format!("bf16: in block {place} of 20; the {end} are kept");
    let quantised = "activation: nvfp4; weight: nvfp4 16x16";
    assert_eq!(
        rows(&module, "extends = \"nvidia\"\n", "forward"),
        [
            format!(
                "state['layers']['up'][0]: forward 16×16×32: {}",
                kept("1", "first 1")
            ),
            format!(
                "state['layers']['down'][0]: forward 16×32×16: {}",
                kept("1", "first 1")
            ),
            format!("state['layers']['up'][1..17]: forward 16×16×32, 16 times: {quantised}"),
            format!("state['layers']['down'][1..17]: forward 16×32×16, 16 times: {quantised}"),
            format!(
                "state['layers']['up'][17..20]: forward 16×16×32, 3 times: {}",
                kept("18", "last 3")
            ),
            format!(
                "state['layers']['down'][17..20]: forward 16×32×16, 3 times: {}",
                kept("18", "last 3")
            ),
            "state['head']: forward 16×16×16: bf16: linear 41 of 41; the last 1 are kept"
                .to_owned(),
        ]
    );
    let recipe = Recipe::parse("extends = \"nvidia\"\n", "test").unwrap();
    let expansion = expanded(&module, &recipe, Form::Factored);
    assert!(expansion.notes.is_empty());
    // Three for the forward and three for the backward.
    assert_eq!(loops(expansion.module.entry().unwrap()), 6);
}

#[test]
fn layers_that_are_treated_alike_stay_one_loop() {
    let module = prepared("scanned_layers");
    let of = |text: &str| {
        let recipe = Recipe::parse(text, "test").unwrap_or_else(|e| panic!("{e}"));
        let expansion = expanded(&module, &recipe, Form::Factored);
        loops(expansion.module.entry().unwrap())
    };
    assert_eq!(of("extends = \"nvfp4\"\n"), 2);
    // Layers 3 and 4 are named apart, and together are one piece.
    let two = "[[override]]\nnames = [\"*[3]\", \"*[4]\"]\nkeep = \"bf16\"\n";
    assert_eq!(of(&format!("extends = \"nvfp4\"\n{two}")), 6);
    // The first linear of the second layer ends what is kept.
    let text = "extends = \"nvfp4\"\n[keep]\nfirst_linears = 3\n";
    assert_eq!(of(text), 6);
    assert_eq!(
        rows(&module, text, "wgrad")[..4]
            .iter()
            .map(|line| line.split(':').next().unwrap().to_owned()
                + if line.contains("bf16") { " kept" } else { "" })
            .collect::<Vec<_>>(),
        [
            "state['layers']['up'][0] kept",
            "state['layers']['down'][0] kept",
            "state['layers']['up'][1] kept",
            "state['layers']['down'][1]",
        ]
    );
}

/// Layers in a loop inside of one over microbatches, and the same layers written out, give the same numbers bit by bit
/// under every treatment of single layers: the pieces of the loops are where they say.
#[test]
fn a_layer_in_a_loop_is_treated_as_one_written_out() {
    let (looped, written_out) = (
        prepared("scanned_microbatches"),
        prepared("unrolled_microbatches"),
    );
    let own = inputs(&looped);
    let recipes = [
        "extends = \"nvfp4\"\n[gradient]\nrounding = \"nearest_even\"\n\
         [[override]]\nnames = [\"*['up'][1]\"]\nkeep = \"bf16\"\n\
         [[override]]\nnames = [\"*['down'][2]\"]\nactivation = { precision = \"mxfp8_e4m3\" }\n\
         weight = { precision = \"mxfp8_e4m3\" }\ngradient = { precision = \"mxfp8_e4m3\", rounding = \"nearest_even\" }\n",
        "extends = \"averis\"\n[gradient]\nrounding = \"nearest_even\"\n[keep]\nfirst_blocks = 1\n",
        "extends = \"nvfp4\"\n[gradient]\nrounding = \"nearest_even\"\n[keep]\nlast_fraction = 0.4\n",
    ];
    for text in recipes {
        let recipe = Recipe::parse(text, "test").unwrap_or_else(|e| panic!("{e}"));
        let results = [&looped, &written_out].map(|module| {
            let expansion = expanded(module, &recipe, Form::Factored);
            first_step(&expansion.module, &own)
        });
        assert_same(&results[0], &results[1]);
        let whole = expanded(
            &looped,
            &super::recipe("extends = \"bf16\""),
            Form::Factored,
        );
        let plain = first_step(&whole.module, &own);
        assert_ne!(results[0][0].bytes(), plain[0].bytes(), "{text}");
    }
}

#[test]
fn single_layers_have_state_of_their_own() {
    let module = prepared("scanned_layers");
    let text = "extends = \"metis\"\n[keep]\nlast_linears = 1\n\
                [[override]]\nnames = [\"*[0]\", \"*[19]\"]\nkeep = \"bf16\"\n";
    let recipe = Recipe::parse(text, "test").unwrap_or_else(|e| panic!("{e}"));
    let expansion = expanded(&module, &recipe, Form::Factored);
    let states = expansion.states.iter();
    let bases: Vec<String> = states
        .filter(|state| state.name.ends_with("weight"))
        .map(|state| format!("{}: {}", state.name, state.tensor_type))
        .collect();
    assert_eq!(
        bases,
        [
            "recipe.basis.state['layers']['up'][1..19].weight: tensor<18x32x1xf32>",
            "recipe.basis.state['layers']['down'][1..19].weight: tensor<18x16x1xf32>",
        ]
    );
    // The backward reads what the forward improved: no second state of one name.
    assert!(expansion.states.iter().all(|own| !own.name.contains('#')));
    let mut all = begun(&expansion.module, &inputs(&module));
    let before = all.clone();
    for _ in 0..2 {
        let results = interpret(&expansion.module, &all);
        fed_back(&expansion.module, &mut all, &results);
    }
    for (number, state) in expansion.states.iter().enumerate() {
        let at = inputs(&module).len() + number;
        assert_ne!(all[at].bytes(), before[at].bytes(), "{}", state.name);
    }
}

#[test]
fn every_stack_of_a_loop_in_a_loop_counts() {
    let module = prepared("checkpointed_loops");
    let text =
        "extends = \"nvfp4\"\n[keep]\nsmallest_dimension = 0\nlast_linears = 0\nfirst_blocks = 4\n";
    let of = |role| -> Vec<String> {
        let rows = rows(&module, text, role).into_iter();
        rows.map(|line| {
            let kept = if line.contains("are kept") {
                " kept"
            } else {
                ""
            };
            format!("{}{kept}", line.split(':').next().unwrap())
        })
        .collect()
    };
    let pieces = [
        "state['w'][0][0] kept",
        "state['w'][0][1..3] kept",
        "state['w'][1][0] kept",
        "state['w'][1][1..3]",
    ];
    assert_eq!(of("dgrad"), pieces);
    assert_eq!(of("wgrad"), pieces);
}

/// Experts that never meet: each one's weights change as if its treatment were that of all. The format has no scale of the
/// whole tensor, which experts treated apart would no longer share.
#[test]
fn an_expert_of_a_batch_is_treated_alone() {
    let module = prepared("scanned_experts");
    let own = inputs(&module);
    let base =
        "extends = \"mxfp4\"\n[gradient]\nrounding = \"nearest_even\"\n[keep]\nlast_linears = 0\n";
    let keep = |name: &str| format!("{base}[[override]]\nnames = [\"{name}\"]\nkeep = \"bf16\"\n");
    let results = |text: &str| {
        let recipe = Recipe::parse(text, "test").unwrap_or_else(|e| panic!("{e}"));
        let expansion = expanded(&module, &recipe, Form::Factored);
        first_step(&expansion.module, &own)
    };
    let (all, of_layer, of_expert) = (
        results(base),
        results(&keep("*['up'][1]")),
        results(&keep("*['up'][1][2]")),
    );
    let names = |text: &str| -> Vec<String> {
        let rows = rows(&module, text, "dgrad").into_iter();
        rows.map(|line| line.split(':').next().unwrap().to_owned())
            .filter(|name| name.contains("up"))
            .collect()
    };
    assert_eq!(
        names(&keep("*['up'][1][2]")),
        [
            "state['up'][0]",
            "state['up'][1][0..2]",
            "state['up'][1][2]",
            "state['up'][1][3]",
            "state['up'][2]",
        ]
    );
    // Weights, of 3 layers with 4 experts each.
    for (number, (found, (plain, kept))) in of_expert
        .iter()
        .zip(all.iter().zip(&of_layer))
        .enumerate()
        .take(2)
    {
        let size = found.bytes().len() / 12;
        let parts = |tensor: &Tensor| -> Vec<Vec<u8>> {
            tensor.bytes().chunks(size).map(<[u8]>::to_vec).collect()
        };
        let (found, plain, kept) = (parts(found), parts(plain), parts(kept));
        assert_ne!(plain[2], kept[2], "the precision of expert 2 matters");
        for (place, part) in found.iter().enumerate() {
            let expected = if place % 4 == 2 {
                &kept[place]
            } else {
                &plain[place]
            };
            assert!(part == expected, "weights {number}, expert {place} of 12");
        }
    }
}

#[test]
fn layers_of_a_loop_can_be_named_in_a_mixture_of_experts() {
    let module = run("inline,canonicalise", &import_step("moe_tiny_checkpoint"));
    let linears = tessera_passes::linears::find(&module).unwrap();
    let name = &linears.linears[0].name;
    let text =
        format!("extends = \"nvfp4\"\n[[override]]\nnames = [\"{name}[1]\"]\nkeep = \"bf16\"\n");
    let kept = |role| -> Vec<bool> {
        let rows = rows(&module, &text, role).into_iter();
        let own = rows.filter(|line| line.starts_with(&format!("{name}[")));
        own.map(|line| line.contains("keeps it")).collect()
    };
    // With those that the backward computes again.
    assert_eq!(kept("forward"), [false, false, true, true]);
    for role in ["forward again", "dgrad", "wgrad"] {
        assert_eq!(kept(role), [false, true], "{role}");
    }
}

/// The wgrads of all layers are one batch: to cut the loops alone would leave a product of several treatments.
#[test]
fn layers_stay_whole_where_a_product_is_of_all() {
    let module = prepared("deferred_wgrad");
    let parse = |text: &str| Recipe::parse(text, "test").unwrap_or_else(|e| panic!("{e}"));
    let named = "extends = \"nvfp4\"\n[[override]]\nnames = [\"*[1]\"]\nkeep = \"bf16\"\n";
    let error = expand(&module, &parse(named), Form::Factored).unwrap_err();
    assert_eq!(
        error.to_string(),
        "[[override]] names: '*[1]' names layer 1 of 3 of state['w'], which cannot be treated apart: its products do not \
         all run in loops over the same layers"
    );
    let first = "extends = \"nvfp4\"\n[keep]\nfirst_blocks = 1\nlast_linears = 0\n";
    let expansion = expanded(&module, &parse(first), Form::Factored);
    let notes: Vec<String> = expansion.notes.iter().map(ToString::to_string).collect();
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(notes[0].contains("no linear's name tells its block"));
    assert!(
        notes[1].starts_with("of the linears 1 run in loops over 3 layers that cannot be parted")
    );
}

/// The bytes that a plan copies outside of loops.
fn copied(plan: &Plan) -> usize {
    let copies = plan.schedule.iter().filter_map(|step| match step {
        Step::Copy { source, .. } => Some(plan.buffers[source.0 as usize].value_type.byte_size()),
        _ => None,
    });
    copies.sum()
}

/// What one piece of a loop leaves lies where the next goes on: a loop in pieces needs no more memory than the whole, and
/// no stack is copied between them.
#[test]
fn pieces_of_a_loop_share_their_memory() {
    let module = prepared("scanned_layers");
    let own = inputs(&module);
    let of = |text: &str| {
        let recipe = Recipe::parse(text, "test").unwrap_or_else(|e| panic!("{e}"));
        let expansion = expanded(&module, &recipe, Form::Factored);
        let expected = first_step(&expansion.module, &own);
        let fused = run(DEFAULT_PIPELINE, &expansion.module);
        let plan = plan(&fused, PlanOptions { in_place: true }).unwrap();
        assert_same(&evaluate(&plan, &own).unwrap(), &expected);
        (plan.arena_bytes, copied(&plan))
    };
    let whole = of("extends = \"bf16\"\n");
    let cut =
        of("extends = \"bf16\"\n[[override]]\nnames = [\"*[2]\", \"*[9]\"]\nkeep = \"f32\"\n");
    // Of both stacks of weights together: what is in f32 in the one and in bf16 in the other is far less.
    let (layer, layers) = (16 * 32 * 4, 20);
    assert!(
        cut.0 < whole.0 + 2 * layer * layers / 4,
        "{whole:?}, {cut:?}"
    );
    // A counter for each piece.
    assert!(cut.1 < whole.1 + layer, "{whole:?}, {cut:?}");
}

/// Every state is improved in one place and has a name of its own, whichever layers share a treatment.
#[test]
fn state_of_pieces_is_improved_once() {
    let text = "extends = \"averis-metis\"\n[activation]\nmean = { gate = true }\n[gradient]\nmean = { gate = true }\n\
                [keep]\nfirst_blocks = 1\nlast_linears = 0\nsmallest_dimension = 0\n\
                [[override]]\nnames = [\"*[2]\", \"*[1][1]\"]\nforward = { hadamard = { size = 16 } }\n";
    let recipe = Recipe::parse(text, "test").unwrap_or_else(|e| panic!("{e}"));
    for name in [
        "scanned_layers",
        "scanned_experts",
        "scanned_microbatches",
        "checkpointed_loops",
    ] {
        let module = prepared(name);
        let own = inputs(&module);
        for form in [Form::Factored, Form::Plain] {
            let expansion = expanded(&module, &recipe, form);
            let states = expansion.states.iter();
            let names: Vec<&str> = states.map(|state| state.name.as_str()).collect();
            assert!(names.iter().all(|name| !name.contains('#')), "{names:#?}");
            let improvements = super::state::count(expansion.module.entry().unwrap(), |kind| {
                matches!(kind, OpKind::SubspaceIterate { .. })
            });
            // Layers × columns × directions, or layers × experts × …, of which each is improved by itself.
            let bases = expansion.states.iter();
            let bases = bases.filter(|state| state.name.contains("basis"));
            let matrices = bases.map(|state| match state.tensor_type.shape[..] {
                [_, experts, _, _] => experts,
                _ => 1,
            });
            let matrices: usize = matrices.sum();
            assert_eq!(improvements, matrices, "{name}: {names:#?}");
            let results = first_step(&expansion.module, &own);
            for (result, kind) in results.iter().zip(module.entry().unwrap().result_types()) {
                assert_eq!(*kind, TensorType::of(result), "{name}");
            }
        }
    }
}

#[test]
fn a_round_of_several_layers_is_one_block() {
    let module = prepared("scanned_by_two");
    let text = "extends = \"nvfp4\"\n[keep]\nfirst_blocks = 1\n\
                [[override]]\nnames = [\"*['up'][1][2]\"]\nkeep = \"bf16\"\n";
    let kept: Vec<String> = (rows(&module, text, "wgrad").into_iter())
        .filter(|line| line.contains("bf16"))
        .map(|line| line.split(':').next().unwrap().to_owned())
        .collect();
    assert_eq!(
        kept,
        [
            "state['layers']['up'][0][0]",
            "state['layers']['down'][0][0]",
            "state['layers']['up'][1][0]",
            "state['layers']['down'][1][0]",
            "state['layers']['up'][1][2]",
            "state['head']",
        ]
    );
}
