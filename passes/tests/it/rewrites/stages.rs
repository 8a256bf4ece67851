//! A Llama block's norm and the two linears that read it, forward and backward, on its way to kernels: before the pass
//! `recipe`, after it, after `saturate`, after `fuse`.

use crate::common::run;
use insta::assert_snapshot;
use tessera_ir::{
    Builder, DotDimensionNumbers, ElementType, Input, Module, OpError, TensorType, ValueId, verify,
};
use tessera_passes::Pipeline;
use tessera_passes::manager::Silent;
use tessera_passes::recipes::Recipe;
use tessera_passes::recipes::expand::{ExpandRecipe, Form};

const F32: ElementType = ElementType::F32;

/// Tokens, the features that are normed, the features of gate and up.
const SIZES: [usize; 3] = [32, 64, 48];

/// A product of matrices along those dimensions.
fn dot(b: &mut Builder, lhs: (ValueId, usize), rhs: (ValueId, usize)) -> Result<ValueId, OpError> {
    let dimensions = DotDimensionNumbers {
        lhs_contracting: &[lhs.1],
        rhs_contracting: &[rhs.1],
        ..Default::default()
    };
    b.dot_general(lhs.0, rhs.0, &dimensions, F32, F32)
}

/// `n = norm(x) · gain, h = σ(n G) · (n U)`, dG and dU of the sum of h, subtracted from G and U, and dn.
fn block() -> Result<Module, OpError> {
    let [tokens, features, hidden] = SIZES;
    let matrix = |rows, columns| TensorType::new(F32, [rows, columns]);
    let inputs = [
        Input::new(matrix(features, hidden))
            .named("gate")
            .donated_to(0),
        Input::new(matrix(features, hidden))
            .named("up")
            .donated_to(1),
        Input::new(TensorType::new(F32, [features])).named("gain"),
        Input::new(matrix(tokens, features)).named("x"),
    ];
    let (mut b, [gate, up, gain, x]) = Builder::new("main", inputs);
    let shape = [tokens, features];
    let squares = b.multiply(x, x)?;
    let sums = b.reduce_sum(squares, &[1])?;
    let count = b.splat(features as f64, &TensorType::new(F32, [tokens]))?;
    let mean = b.divide(sums, count)?;
    let scale = b.rsqrt(mean)?;
    let scale = b.broadcast_in_dim(scale, &[0], &shape)?;
    let normed = b.multiply(x, scale)?;
    let gain = b.broadcast_in_dim(gain, &[1], &shape)?;
    let normed = b.multiply(normed, gain)?;

    let gates = dot(&mut b, (normed, 1), (gate, 0))?;
    let ups = dot(&mut b, (normed, 1), (up, 0))?;
    let open = b.logistic(gates)?;
    let result = b.multiply(open, ups)?;

    let one = b.splat(1.0, &matrix(tokens, hidden))?;
    let closed = b.subtract(one, open)?;
    let slope = b.multiply(open, closed)?;
    let d_gates = b.multiply(slope, ups)?;
    let dn_gate = dot(&mut b, (d_gates, 1), (gate, 1))?;
    let dn_up = dot(&mut b, (open, 1), (up, 1))?;
    let d_normed = b.add(dn_gate, dn_up)?;
    let d_gate = dot(&mut b, (normed, 0), (d_gates, 0))?;
    let d_up = dot(&mut b, (normed, 0), (open, 0))?;
    let gate = b.subtract(gate, d_gate)?;
    let up = b.subtract(up, d_up)?;
    let mut module = Module::new(None);
    module.insert(b.finish([gate, up, result, d_normed]));
    verify(&module).unwrap();
    Ok(module)
}

/// The entry's ops, inputs by their names, of types the result's alone: what an op takes can be seen where that is made.
fn ops(module: &Module) -> String {
    let graph = module.entry().unwrap();
    let text = graph.to_string().replace("tensor<", "t<");
    let mut named = String::new();
    for (number, part) in text.split("%arg").enumerate() {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let input = part[..digits].parse().ok().filter(|_| number > 0);
        let input = input.and_then(|input: usize| graph.inputs().get(input));
        match input.and_then(|input| input.name.as_deref()) {
            Some(name) => named += &format!("%{name}{}", &part[digits..]),
            None if number == 0 => named += part,
            None => named += &format!("%arg{part}"),
        }
    }
    let lines = named.lines().map(|line| {
        let Some((op, types)) = line.split_once(" : ") else {
            return line.to_owned();
        };
        let result = types.rsplit_once("-> ").map_or(types, |(_, result)| result);
        format!("{op} : {result}")
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The block by the recipe `averis`, which here keeps no linear, as far as `saturate` and after the passes that follow.
fn by_recipe(rest: &str) -> Module {
    let own = "extends = \"averis\"\n[keep]\nlast_linears = 0\nsmallest_dimension = 0\nnames = []";
    let recipe = Recipe::parse(own, "averis").unwrap();
    let mut pipeline: Pipeline = "inline,canonicalise".parse().unwrap();
    pipeline.push(Box::new(ExpandRecipe::new(recipe).with_form(Form::Plain)));
    pipeline.extend(rest.parse().unwrap());
    pipeline.run(&block().unwrap(), &mut Silent).unwrap()
}

#[test]
fn before_the_recipe() {
    let module = run("inline,canonicalise", &block().unwrap());
    assert_snapshot!("stages-0-imported", ops(&module));
}

#[test]
fn after_the_recipe() {
    assert_snapshot!("stages-1-recipe", ops(&by_recipe("")));
}

#[test]
fn after_saturate() {
    assert_snapshot!("stages-2-saturate", ops(&by_recipe("saturate")));
}

#[test]
fn after_fuse() {
    let rest = format!("saturate,{}", tessera_passes::DEFAULT_PIPELINE);
    assert_snapshot!("stages-3-fuse", ops(&by_recipe(&rest)));
}
