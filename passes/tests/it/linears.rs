//! The linears found in training steps: the whole models of the fixtures, and small steps that each show one way in
//! which a parameter meets activations.

use crate::common::{import_step, module, run, step_folder};
use std::fs;
use std::path::Path;
use tessera_ir::{Module, OpKind, TensorType};
use tessera_passes::linears::{
    Dimensions, Linear, LinearId, Linears, LinearsError, Product, Reason, Role, Routing, Row, Side,
    explain, find,
};

const STEPS: [&str; 6] = [
    "llama",
    "llama_tiny",
    "moe",
    "moe_tiny",
    "moe_tiny_checkpoint",
    "moe_ragged_tiny",
];

/// The small steps, made by `make_fixtures.py` beside them.
const SMALL_STEPS: [&str; 39] = [
    "accumulation",
    "adapter",
    "adapter_of_frozen_state",
    "adapters_of_frozen_layers",
    "bf16_compute",
    "branches",
    "centred_operands",
    "checkpointed",
    "checkpointed_loops",
    "concatenated",
    "constants_and_masks",
    "deferred_wgrad",
    "flat_optimizer",
    "gathered_experts",
    "linear_loss",
    "muon",
    "one_hot_dispatch",
    "parts_on_one_input",
    "preconditioned",
    "projected",
    "ragged",
    "recurrent",
    "routers",
    "scanned_by_two",
    "scanned_experts",
    "scanned_layers",
    "scanned_microbatches",
    "several_steps",
    "split_heads",
    "stacked_unrolled",
    "teacher",
    "tied_autoencoder",
    "tied_head",
    "transposed_storage",
    "two_losses",
    "unrolled_microbatches",
    "used_twice",
    "vmapped_experts",
    "weight_norm",
];

fn small_step(name: &str) -> Module {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/linears");
    import(&folder.join(format!("{name}.mlir")))
}

fn import(path: &Path) -> Module {
    let source = fs::read_to_string(path).unwrap();
    tessera_import::import(&source, "step.mlir")
        .unwrap_or_else(|d| panic!("{}", d.render("step.mlir", &source)))
}

/// The module that is analysed, and its linears.
fn analysed(module: &Module) -> (Module, Linears) {
    let module = run("inline,canonicalise", module);
    let linears = find(&module).unwrap_or_else(|error| panic!("{error}"));
    (module, linears)
}

fn lines(rows: &[Row]) -> String {
    let lines: Vec<String> = rows.iter().map(Row::to_string).collect();
    lines.join("\n")
}

/// The rows of a step, a line each.
fn table(module: &Module) -> String {
    let (module, linears) = analysed(module);
    lines(&explain(&module, &linears))
}

/// The roles of a linear's products, those computed again left out.
fn roles(linears: &Linears, id: LinearId) -> Vec<Role> {
    let products = linears.products_of(id).filter(|p| !p.is_recomputed);
    let mut roles: Vec<Role> = products.map(|product| product.role).collect();
    roles.sort();
    roles
}

const ALL_ROLES: [Role; 3] = [Role::Forward, Role::Dgrad, Role::Wgrad];

#[test]
fn every_linear_of_the_llama_has_its_three_roles() {
    let (_, linears) = analysed(&import_step("llama"));
    let parameters: Vec<usize> = linears
        .linears
        .iter()
        .map(|linear| linear.parameters[0].input)
        .collect();
    // The numbers of the inputs, as `inputs.toml` lists them: of each layer wq, wk, wv, wo, w_gate, w_up, w_down.
    let names = input_names("llama");
    let found: Vec<&str> = parameters.iter().map(|&n| names[n].as_str()).collect();
    let mut expected: Vec<String> = Vec::new();
    for layer in 0..4 {
        for name in ["wq", "wk", "wv", "wo", "w_gate", "w_up", "w_down"] {
            expected.push(format!("params.layers.{layer}.{name}"));
        }
    }
    expected.push("params.head".to_owned());
    assert_eq!(found, expected);
    for number in 0..linears.linears.len() {
        assert_eq!(roles(&linears, LinearId(number)), ALL_ROLES, "{number}");
    }
}

/// The names in the comments of a step's `inputs.toml`, in the order of the inputs.
fn input_names(step: &str) -> Vec<String> {
    let text = fs::read_to_string(step_folder(step).join("inputs.toml")).unwrap();
    let names = text
        .lines()
        .filter_map(|line| line.rsplit_once(' ').map(|(_, name)| name.to_owned()));
    names.collect()
}

#[test]
fn attention_multiplies_activations() {
    let (_, linears) = analysed(&import_step("llama"));
    let count = |reason| {
        let others = linears.others.iter();
        others.filter(|other| other.reason == reason).count()
    };
    // Of each of the 4 layers scores and what they weigh, and of both of these two gradients.
    assert_eq!(count(Reason::Activations), 8);
    assert_eq!(count(Reason::ActivationsBackward), 16);
    assert_eq!(linears.others.len(), 24);
}

#[test]
fn the_llamas_sizes_are_those_of_its_configuration() {
    let (_, linears) = analysed(&import_step("llama"));
    let tokens = 8 * 256;
    let plain = |m, n| Dimensions {
        batch: 1,
        l: tokens,
        m,
        n,
        is_grouped: false,
    };
    let sizes = |number: usize| -> Vec<Dimensions> {
        let products = linears.products_of(LinearId(number));
        products.map(|product| product.dimensions).collect()
    };
    assert_eq!(sizes(0), [plain(256, 256); 3], "wq");
    assert_eq!(sizes(4), [plain(256, 688); 3], "w_gate");
    assert_eq!(sizes(6), [plain(688, 256); 3], "w_down");
    assert_eq!(sizes(28), [plain(256, 512); 3], "head");
}

#[test]
fn names_are_only_names() {
    let named = analysed(&import(&step_folder("moe_tiny").join("step_debug.mlir"))).1;
    let nameless = analysed(&import_step("moe_tiny")).1;
    assert_eq!(named.products, nameless.products);
    assert_eq!(named.others, nameless.others);
    let names = |linears: &Linears| -> Vec<String> {
        linears.linears.iter().map(|l| l.name.clone()).collect()
    };
    assert_eq!(
        names(&named),
        [
            "state['params']['layers']['wqkv']",
            "state['params']['layers']['wo']",
            "state['params']['layers']['router']",
            "state['params']['layers']['w_gate']",
            "state['params']['layers']['w_up']",
            "state['params']['layers']['w_down']",
            "state['params']['head']",
        ]
    );
    assert_eq!(
        names(&nameless),
        [
            "arg44", "arg43", "arg39", "arg41", "arg42", "arg40", "arg34"
        ]
    );
}

#[test]
fn what_a_loop_carries_unchanged_is_as_what_it_captures() {
    for step in ["moe_tiny", "moe_tiny_checkpoint"] {
        let carried = run("inline", &import_step(step));
        let rows = |module: &Module| explain(module, &find(module).unwrap());
        let kinds = |rows: Vec<Row>| -> Vec<_> {
            let rows = rows.into_iter();
            rows.map(|row| (row.subject, row.dimensions, row.count))
                .collect()
        };
        let captured = run("canonicalise", &carried);
        assert_eq!(kinds(rows(&carried)), kinds(rows(&captured)), "{step}");
    }
}

#[test]
fn calls_are_inlined_first() {
    let module = module(
        "func.func public @main(%arg0: t<2x2xf32>) -> t<2x2xf32> {
           %0 = tsr.call %arg0 {callee = @f} : (t<2x2xf32>) -> t<2x2xf32>
           return %0 : t<2x2xf32>
         }
         func.func private @f(%arg0: t<2x2xf32>) -> t<2x2xf32> {
           return %arg0 : t<2x2xf32>
         }",
    );
    let error = find(&module).unwrap_err();
    assert!(matches!(&error, LinearsError::Call { callee, .. } if callee == "@f"));
    assert_eq!(
        error.to_string(),
        "expected a step without calls, as the pass 'inline' leaves it, found a call of @f"
    );
}

#[test]
fn of_two_inputs_that_meet_the_second_is_the_weight() {
    let module = module(
        "func.func public @main(%arg0: t<2x3xf32>, %arg1: t<3x4xf32>) -> t<2x4xf32> {
           %0 = tsr.dot_general %arg0, %arg1 {lhs_batching_dimensions = [], rhs_batching_dimensions = [], lhs_contracting_dimensions = [1], rhs_contracting_dimensions = [0], accumulator = f32} : (t<2x3xf32>, t<3x4xf32>) -> t<2x4xf32>
           return %0 : t<2x4xf32>
         }",
    );
    assert_eq!(table(&module), "arg1 (frozen): forward 2×3×4");
}

#[test]
fn matrices_that_go_along_a_batch_are_data() {
    let module = module(
        "func.func public @main(%arg0: t<5x2x3xf32>, %arg1: t<5x3x4xf32>) -> t<5x2x4xf32> {
           %0 = tsr.dot_general %arg0, %arg1 {lhs_batching_dimensions = [0], rhs_batching_dimensions = [0], lhs_contracting_dimensions = [2], rhs_contracting_dimensions = [1], accumulator = f32} : (t<5x2x3xf32>, t<5x3x4xf32>) -> t<5x2x4xf32>
           return %0 : t<5x2x4xf32>
         }",
    );
    assert_eq!(
        table(&module),
        "—: 5·2×3×4: no parameter is multiplied: arg0 is an input that the step does not update"
    );
}

/// The type of the operand that a product has on that side.
fn operand(module: &Module, product: &Product, side: Side) -> Option<TensorType> {
    let number = [product.lhs, product.rhs]
        .iter()
        .position(|&found| found == side)?;
    let mut graph = module.graph(&product.place.graph)?;
    for &(holder, region) in &product.place.regions {
        graph = graph.operation(holder).op.kind.regions()[region];
    }
    let operation = graph.operation(product.place.operation);
    let value = operation.op.operands[number];
    Some(graph.tensor_type(value).clone())
}

#[test]
fn sides_have_the_sizes_that_the_dimensions_say() {
    let steps = STEPS.iter().map(|name| (*name, import_step(name)));
    let small = SMALL_STEPS.iter().map(|name| (*name, small_step(name)));
    for (name, module) in steps.chain(small) {
        let (module, linears) = analysed(&module);
        for product in &linears.products {
            let Dimensions {
                batch,
                l,
                m,
                n,
                is_grouped,
            } = product.dimensions;
            let kind = &product.place.find(&module).unwrap().op.kind;
            match kind {
                OpKind::DotGeneral { .. } => assert!(!is_grouped, "{name}"),
                OpKind::GroupedDot { .. } => assert!(is_grouped, "{name}"),
                other => panic!("{name}: {other:?}"),
            }
            let of_rows = if is_grouped { 1 } else { batch };
            for (side, size) in [
                (Side::Activation, of_rows * l * m),
                (Side::Weight, batch * m * n),
                (Side::Gradient, of_rows * l * n),
            ] {
                if let Some(found) = operand(&module, product, side) {
                    assert_eq!(found.len(), size, "{name}: {product:?}");
                }
            }
        }
    }
}

#[test]
fn every_product_is_told_once() {
    for name in SMALL_STEPS {
        let (module, linears) = analysed(&small_step(name));
        let products = linears.products.iter().map(|product| &product.place);
        let others = linears.others.iter().map(|other| &other.place);
        let mut places: Vec<_> = products.chain(others).collect();
        let count = places.len();
        places.sort();
        places.dedup();
        assert_eq!(places.len(), count, "{name}");
        let text = module.to_string();
        assert_eq!(text.matches("tsr.dot_general").count(), count, "{name}");
    }
}

#[test]
fn a_part_of_a_stacked_parameter_has_its_number() {
    let (_, linears) = analysed(&small_step("stacked_unrolled"));
    let indices: Vec<_> = linears.linears.iter().map(|linear| linear.index).collect();
    assert_eq!(indices, [Some(0), Some(1), None]);
}

#[test]
fn a_weight_made_of_several_parameters_has_them_all() {
    let (_, linears) = analysed(&small_step("weight_norm"));
    let names = |linear: &Linear| -> Vec<String> {
        linear.parameters.iter().map(|p| p.name.clone()).collect()
    };
    assert_eq!(
        names(&linears.linears[0]),
        ["state['direction']", "state['gain']"]
    );
}

/// Holds the rows of each step against a file in `snapshots/linears`.
fn check_rows<const N: usize>(names: [&str; N], step: impl Fn(&str) -> Module) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("snapshots/linears");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        for name in names {
            insta::assert_snapshot!(name, table(&step(name)));
        }
    });
}

#[test]
fn the_rows_of_the_steps() {
    check_rows(STEPS, import_step);
}

#[test]
fn the_rows_of_small_steps() {
    check_rows(SMALL_STEPS, small_step);
}

/// The linears whose results decide about experts.
fn routers(module: &Module) -> Vec<(String, Routing)> {
    let (_, linears) = analysed(module);
    let linears = linears.linears.into_iter();
    linears
        .filter_map(|linear| Some((linear.name, linear.routing?)))
        .collect()
}

#[test]
fn routers_are_told_by_what_becomes_of_their_results() {
    let found = routers(&small_step("routers"));
    let found: Vec<(&str, Routing)> = found.iter().map(|(n, r)| (n.as_str(), *r)).collect();
    assert_eq!(
        found,
        [
            ("state['mixture']", Routing::Weighs),
            ("state['gate']", Routing::Selects)
        ]
    );
}

#[test]
fn the_routers_of_whole_models() {
    assert_eq!(routers(&import_step("llama_tiny")), []);
    for step in ["moe_tiny", "moe_tiny_checkpoint", "moe_ragged_tiny"] {
        let found = routers(&import_step(step));
        let routings: Vec<Routing> = found.iter().map(|(_, routing)| *routing).collect();
        assert_eq!(routings, [Routing::Selects], "{step}: {found:?}");
    }
}

/// Of a step's linears the name, the roles that are not computed again, and the name of what each adapts.
fn adapters(name: &str) -> Vec<(String, Vec<Role>, Option<String>)> {
    let (_, linears) = analysed(&small_step(name));
    let of = |number: usize| {
        let linear = &linears.linears[number];
        let adapted = linear.adapts.map(|id| linears.linear(id).name.clone());
        let own = roles(&linears, LinearId(number));
        assert_eq!(linear.is_frozen, !own.contains(&Role::Wgrad), "{linear:?}");
        (linear.name.clone(), own, adapted)
    };
    (0..linears.linears.len()).map(of).collect()
}

#[test]
fn frozen_weights_have_a_forward_and_where_gradients_go_on_a_dgrad() {
    use Role::{Dgrad, Forward, Wgrad};
    let own = |name: &str, roles: &[Role], adapted: Option<&str>| {
        (name.to_owned(), roles.to_vec(), adapted.map(str::to_owned))
    };
    let layers = Some("base['layers']");
    assert_eq!(
        adapters("adapters_of_frozen_layers"),
        [
            own("base['in']", &[Forward], None),
            own("base['layers']", &[Forward, Dgrad], None),
            own("state['a']", &ALL_ROLES, layers),
            own("state['b']", &ALL_ROLES, layers),
            own("base['out']", &[Forward, Dgrad], None),
        ]
    );
    let frozen = Some("state['frozen']");
    assert_eq!(
        adapters("adapter_of_frozen_state"),
        [
            own("state['frozen']", &[Forward], None),
            own("state['a']", &[Forward, Wgrad], frozen),
            own("state['b']", &ALL_ROLES, frozen),
        ]
    );
}
