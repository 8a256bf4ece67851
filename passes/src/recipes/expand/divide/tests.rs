//! Steps in pieces compute what they did whole.

use super::*;
use crate::linears::find;
use crate::manager::Silent;
use crate::recipes::expand::parts::Parts;
use std::path::Path;
use tessera_ir::Tensor;
use tessera_numerics::Initialiser;

/// A step of the fixtures, as a recipe finds it.
fn step(path: &str) -> Module {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = std::fs::read_to_string(folder.join(path)).unwrap();
    let module = tessera_import::import(&source, "step.mlir").unwrap();
    let prepared: crate::Pipeline = "inline,canonicalise".parse().unwrap();
    prepared.run(&module, &mut Silent).unwrap()
}

fn divided(module: &Module, starts: &[usize]) -> Divided {
    let linears = find(module).unwrap();
    let parts = Parts::of(module, &linears);
    let described = Described {
        lookups: vec![false; linears.linears.len()],
        linears: &linears,
        parts: &parts,
    };
    let cuts = Cuts::everywhere(&described, starts);
    let divided = divide(module, &described, &cuts).unwrap();
    tessera_ir::verify(&divided.module).unwrap();
    divided
}

fn results(module: &Module) -> Vec<Tensor> {
    let inputs = module.entry().unwrap().inputs().iter().zip(0..);
    let inputs = inputs.map(|(input, stream)| {
        let kind = input.value_type.as_tensor().unwrap();
        let text = match kind.element.is_float() {
            true => "normal(std=0.5)",
            false => "uniform(0, 2)",
        };
        let initialiser: Initialiser = text.parse().unwrap();
        let tensor = initialiser.tensor(kind.element, &kind.shape, stream);
        tensor.unwrap()
    });
    let inputs: Vec<Tensor> = inputs.collect();
    tessera_interpreter::evaluate(module, module.entry().unwrap(), &inputs).unwrap()
}

#[test]
fn a_step_in_pieces_computes_the_same_bits() {
    let small = [
        "checkpointed_loops",
        "scanned_experts",
        "scanned_microbatches",
        "vmapped_experts",
    ];
    let small = small.map(|name| format!("tests/fixtures/linears/{name}.mlir"));
    let steps = ["moe_tiny", "moe_tiny_checkpoint", "moe_ragged_tiny"];
    let steps = steps.map(|name| format!("../tests/fixtures/steps/{name}/step.mlir"));
    for path in small.iter().chain(&steps) {
        let module = step(path);
        let whole = results(&module);
        for starts in [&[1][..], &[2], &[1, 2, 3]] {
            let own = divided(&module, starts);
            for (found, expected) in results(&own.module).iter().zip(&whole) {
                assert_eq!(found.bytes(), expected.bytes(), "{path} at {starts:?}");
            }
        }
    }
}

/// Each layer of each linear has its three roles, and each product is where it is said to be.
#[test]
fn every_piece_has_the_roles_of_the_whole() {
    let module = step("../tests/fixtures/steps/moe_tiny_checkpoint/step.mlir");
    let (before, own) = (find(&module).unwrap(), divided(&module, &[1]));
    let roles = |linears: &Linears, id: LinearId| {
        let mut roles: Vec<_> = linears.products_of(id).map(|own| own.role).collect();
        roles.sort();
        roles.dedup();
        roles
    };
    for (number, piece) in own.pieces.iter().enumerate() {
        assert_eq!(
            roles(&own.linears, LinearId(number)),
            roles(&before, piece.linear)
        );
    }
    for product in &own.linears.products {
        let operation = product.place.find(&own.module).unwrap();
        assert!(matches!(operation.op.kind, OpKind::DotGeneral { .. }));
    }
    let rows = crate::linears::explain(&own.module, &own.linears);
    let looped = rows.iter().filter(|row| !row.place.regions.is_empty());
    assert!(looped.clone().count() > 36);
    assert!(looped.into_iter().all(|row| row.count == Some(1)));
}

#[test]
fn the_backward_begins_with_the_last_layers() {
    let module = step("tests/fixtures/linears/scanned_layers.mlir");
    let own = divided(&module, &[1, 17]);
    let mut loops: Vec<(&Place, &LoopPiece)> = own.loops.iter().collect();
    loops.sort_by_key(|(place, _)| *place);
    let layers: Vec<_> = loops.iter().map(|(_, own)| own.layers.clone()).collect();
    assert_eq!(layers, [0..1, 1..17, 17..20, 17..20, 1..17, 0..1]);
}
