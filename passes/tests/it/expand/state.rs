//! What recipes keep from step to step.

use super::*;
use std::collections::BTreeSet;
use tessera_ir::{Graph, OpKind};

fn inputs(offset: f32) -> [Tensor; 3] {
    let own = noise(3);
    [
        matrix(32, 32, noise(1)),
        matrix(32, 16, noise(2)),
        matrix(32, 32, |i, j| own(i, j) + offset),
    ]
}

#[test]
fn state_stands_after_the_steps_own_inputs_and_results() {
    let module = two_linears(32, [32, 32, 16]);
    let expansion = expanded(
        &module,
        &recipe("extends = \"averis-gated\""),
        Form::Factored,
    );
    let graph = expansion.module.entry().unwrap();
    let names: Vec<&str> = graph
        .inputs()
        .iter()
        .flat_map(|i| i.name.as_deref())
        .collect();
    let added = [
        "recipe.step",
        "recipe.gate.w1.activation",
        "recipe.gate.w2.activation",
    ];
    assert_eq!(names, [&["w1", "w2", "x"][..], &added].concat());
    let donations: Vec<_> = graph.inputs().iter().map(|input| input.donate).collect();
    assert_eq!(
        donations,
        [Some(0), Some(1), None, Some(7), Some(8), Some(9)]
    );
    let states: Vec<&str> = expansion.states.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(states, added);
}

#[test]
fn a_recipe_without_random_bits_adds_nothing() {
    let module = two_linears(32, [32, 32, 16]);
    let expansion = expanded(&module, &recipe("extends = \"mxfp8\""), Form::Factored);
    assert_eq!(expansion.states, []);
    assert_eq!(expansion.module.entry().unwrap().inputs().len(), 3);
}

#[test]
fn steps_are_counted_and_draw_other_bits() {
    let module = two_linears(32, [32, 32, 16]);
    let module = expanded(&module, &recipe("extends = \"nvfp4\""), Form::Factored).module;
    let mut inputs = begun(&module, &inputs(0.0));
    let first = interpret(&module, &inputs);
    assert_eq!(first[7], Tensor::scalar(1u32));
    inputs[3] = first[7].clone();
    let second = interpret(&module, &inputs);
    assert_eq!(second[7], Tensor::scalar(2u32));
    // Forward is rounded to the nearest, gradients are not.
    assert_eq!(second[Y], first[Y]);
    assert_ne!(second[DH], first[DH]);
    assert_eq!(
        interpret(&module, &inputs),
        second,
        "a step can be repeated"
    );
}

/// The gate opens for activations that are their mean for the most part, and looks again at its stride only.
#[test]
fn a_gate_follows_the_means_share() {
    let module = two_linears(32, [32, 32, 16]);
    let module = expanded(
        &module,
        &recipe("extends = \"averis-gated\""),
        Form::Factored,
    )
    .module;
    let [biased, centred] = [8.0, 0.0].map(inputs);
    let mut state = begun(&module, &biased);
    let results = interpret(&module, &state);
    assert_eq!(results[8], Tensor::scalar(1f32));
    assert_eq!(
        interpret(&module, &begun(&module, &centred))[8],
        Tensor::scalar(0f32)
    );
    // The activations change; the gate stays open until step 16.
    state[2] = centred[2].clone();
    state[4] = results[8].clone();
    for (step, open) in [(1u32, 1f32), (15, 1.0), (16, 0.0)] {
        state[3] = Tensor::scalar(step);
        assert_eq!(
            interpret(&module, &state)[8],
            Tensor::scalar(open),
            "step {step}"
        );
    }
}

/// A closed gate leaves plain nvfp4.
#[test]
fn a_closed_gate_changes_nothing() {
    let module = two_linears(32, [32, 32, 16]);
    let gated = expanded(
        &module,
        &recipe("extends = \"averis-gated\""),
        Form::Factored,
    )
    .module;
    let plain = expanded(&module, &recipe("extends = \"nvfp4\""), Form::Factored).module;
    let inputs = inputs(0.0);
    assert_eq!(
        first_step(&gated, &inputs)[H],
        first_step(&plain, &inputs)[H]
    );
}

#[test]
fn a_basis_is_orthonormal_and_kept_between_improvements() {
    let module = two_linears(32, [32, 32, 16]);
    let text = "extends = \"nvfp4\"\n[activation]\nspectral = { rank = 0.1, refresh = 4 }";
    let expansion = expanded(&module, &recipe(text), Form::Factored);
    let module = expansion.module;
    assert_eq!(expansion.states[1].name, "recipe.basis.w1.activation");
    assert_eq!(expansion.states[1].tensor_type.shape, [32, 3]);
    let mut state = begun(&module, &inputs(1.0));
    for step in 0..6u32 {
        let results = interpret(&module, &state);
        let basis = values(&results[8]);
        for (a, b) in [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)] {
            let product: f64 = (0..32).map(|i| basis[3 * i + a] * basis[3 * i + b]).sum();
            let expected = if a == b { 1.0 } else { 0.0 };
            // Sums of 32 products of columns of length 1, made twice in f32.
            assert!((product - expected).abs() < 1e-5, "{a} {b}: {product}");
        }
        let changed = results[8] != state[4];
        // The activations of the first linear do not change, so an improvement changes the basis until it has converged.
        assert_eq!(changed, step % 4 == 0, "step {step}");
        fed_back(&module, &mut state, &results);
    }
}

/// Roundings that draw bits, with their sites, in a graph and its regions.
fn sites(graph: &Graph, found: &mut Vec<usize>) {
    for operation in graph.operations() {
        match &operation.op.kind {
            OpKind::Quantize { rounding, site, .. } if rounding.is_random() => found.push(*site),
            kind => kind
                .regions()
                .into_iter()
                .for_each(|region| sites(region, found)),
        }
    }
}

#[test]
fn every_random_rounding_has_a_site_of_its_own() {
    let module = two_linears(32, [32, 32, 16]);
    let expansion = expanded(&module, &recipe("extends = \"quartet2\""), Form::Factored);
    let mut found = Vec::new();
    sites(expansion.module.entry().unwrap(), &mut found);
    let distinct: BTreeSet<usize> = found.iter().copied().collect();
    assert_eq!(distinct, (0..expansion.sites).collect());
    assert_eq!(found.len(), expansion.sites);
}

/// One linear applied twice in a loop, to the same numbers, which are rounded at random.
#[test]
fn rounds_of_a_loop_draw_other_bits() {
    let (tokens, width) = (16, 16);
    let square = TensorType::new(ElementType::F32, [tokens, width]);
    let stack = TensorType::new(ElementType::F32, [2, tokens, width]);
    let arguments = [
        Input::new(square.clone()).named("w").donated_to(0),
        Input::new(square.clone()).named("x"),
    ];
    let (mut b, [w, x]) = Builder::new("main", arguments);
    let zero = b.constant(Tensor::scalar(0i32)).unwrap();
    let outputs = b.splat(0.0, &stack).unwrap();
    let results = b
        .while_loop(
            &[zero, outputs],
            &[w, x],
            |b, carried, _| {
                let two = b.constant(Tensor::scalar(2i32))?;
                b.compare(carried[0], two, tessera_ir::ComparisonDirection::Lt)
            },
            |b, carried, captured| {
                let y = b.matmul(captured[1], captured[0])?;
                let y = b.reshape(y, &[1, tokens, width])?;
                let zero = b.constant(Tensor::scalar(0i32))?;
                let one = b.constant(Tensor::scalar(1i32))?;
                let next = b.add(carried[0], one)?;
                let outputs = b.dynamic_update_slice(carried[1], y, &[carried[0], zero, zero])?;
                Ok(vec![next, outputs])
            },
        )
        .unwrap();
    let both = results[1];
    let d = b.reduce_sum(both, &[0]).unwrap();
    let numbers = DotDimensionNumbers {
        lhs_contracting: &[0],
        rhs_contracting: &[0],
        ..Default::default()
    };
    let f32 = ElementType::F32;
    let dw = b.dot_general(x, d, &numbers, f32, f32).unwrap();
    let new = b.subtract(w, dw).unwrap();
    let mut module = Module::new(None);
    module.insert(b.finish([new, both]));

    let text = "extends = \"nvfp4\"\n[forward.activation]\nrounding = \"stochastic\"";
    let module = expanded(&module, &recipe(text), Form::Factored).module;
    let inputs = [
        matrix(tokens, width, noise(1)),
        matrix(tokens, width, noise(2)),
    ];
    let both = values(&first_step(&module, &inputs)[1]);
    let (first, second) = both.split_at(tokens * width);
    assert_ne!(first, second);
}

/// `H = X W, H' = X' W` with X' behind a barrier, as under checkpointing, and `dW = X'ᵀ H'`.
fn checkpointed() -> Module {
    let matrix = |rows, columns| TensorType::new(ElementType::F32, [rows, columns]);
    let inputs = [
        Input::new(matrix(48, 32)).named("w").donated_to(0),
        Input::new(matrix(32, 48)).named("x"),
    ];
    let (mut b, [w, x]) = Builder::new("main", inputs);
    let h = b.matmul(x, w).unwrap();
    let again = b.push(OpKind::OptimizationBarrier {}, [x]).unwrap()[0];
    let h_again = b.matmul(again, w).unwrap();
    let numbers = DotDimensionNumbers {
        lhs_contracting: &[0],
        rhs_contracting: &[0],
        ..Default::default()
    };
    let f32 = ElementType::F32;
    let dw = b.dot_general(again, h_again, &numbers, f32, f32).unwrap();
    let new = b.subtract(w, dw).unwrap();
    let mut module = Module::new(None);
    module.insert(b.finish([new, h]));
    module
}

#[test]
fn what_is_computed_again_has_the_random_bits_of_the_first() {
    let text = "extends = \"nvfp4\"\n[activation]\nrounding = \"stochastic\"";
    let expansion = expanded(&checkpointed(), &recipe(text), Form::Factored);
    let mut found = Vec::new();
    sites(expansion.module.entry().unwrap(), &mut found);
    // X, X' again, X' along tokens, H' along tokens.
    assert_eq!(found, [0, 0, 1, 2]);
    assert_eq!(expansion.sites, 3);
}

/// The bases of Metis for one of the small steps or whole models: name and type.
fn bases(module: &Module) -> Vec<(String, String)> {
    let expansion = expanded(module, &recipe("extends = \"metis\""), Form::Factored);
    let states = expansion.states.iter();
    let bases = states.filter(|state| state.name.starts_with("recipe.basis."));
    bases
        .map(|state| (state.name.clone(), state.tensor_type.to_string()))
        .collect()
}

pub(super) fn small_step(name: &str) -> Module {
    let path = format!(
        "{}/tests/fixtures/linears/{name}.mlir",
        env!("CARGO_MANIFEST_DIR")
    );
    let source = std::fs::read_to_string(path).unwrap();
    tessera_import::import(&source, "step.mlir").unwrap()
}

fn prepared(module: &Module) -> Module {
    crate::common::run("inline,canonicalise", module)
}

#[test]
fn the_loops_of_forward_and_backward_share_the_state_of_an_operand() {
    let steps = ["moe_tiny", "moe_tiny_checkpoint"].map(crate::common::import_step);
    for module in steps.into_iter().chain([small_step("checkpointed_loops")]) {
        let bases = bases(&prepared(&module));
        assert!(!bases.is_empty());
        // A second state of the same name would be '#2'.
        assert!(
            bases.iter().all(|(name, _)| !name.contains('#')),
            "{bases:#?}"
        );
    }
}

#[test]
fn microbatches_share_the_state_of_a_weight() {
    let bases = bases(&prepared(&small_step("accumulation")));
    let weights: Vec<_> = bases
        .iter()
        .filter(|(name, _)| name.ends_with("weight"))
        .map(|(name, tensor_type)| (name.as_str(), tensor_type.as_str()))
        .collect();
    assert_eq!(
        weights,
        [
            ("recipe.basis.state['a'].weight", "tensor<12x1xf32>"),
            ("recipe.basis.state['b'].weight", "tensor<5x1xf32>"),
        ]
    );
    // What the batch makes is another one in each of the three rounds.
    assert!(bases.contains(&(
        "recipe.basis.state['a'].activation".to_owned(),
        "tensor<3x8x1xf32>".to_owned()
    )));
}

/// How many ops of a kind a graph and all graphs in it have.
pub(super) fn count(graph: &Graph, is_counted: fn(&OpKind) -> bool) -> usize {
    let operations = graph.operations().iter();
    operations
        .map(|operation| {
            let kind = &operation.op.kind;
            let inside = kind.regions().into_iter();
            let inside: usize = inside.map(|region| count(region, is_counted)).sum();
            usize::from(is_counted(kind)) + inside
        })
        .sum()
}

#[test]
fn a_basis_is_improved_in_one_place() {
    for name in ["accumulation", "checkpointed_loops", "checkpointed"] {
        let module = prepared(&small_step(name));
        let expansion = expanded(&module, &recipe("extends = \"metis\""), Form::Factored);
        let graph = expansion.module.entry().unwrap();
        let improvements = count(graph, |kind| matches!(kind, OpKind::SubspaceIterate { .. }));
        assert_eq!(improvements, bases(&module).len(), "{name}");
    }
}
