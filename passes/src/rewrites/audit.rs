//! Every rule against the interpreter: in the e-graph of a random graph, each op of each class must give the class's
//! value.
//!
//! A rule is an identity. An exact one is checked bit for bit on numbers that identities stumble over. A reassociating one
//! is checked twice: on small integers, which sums and products of floats hold exactly, so that both sides must be the
//! same number; and on positive floats, where nothing cancels and each op's rounding adds at most one unit of 2⁻²⁴ to the
//! relative error, so that trees of at most 32 ops differ by at most 64 units.

mod examples;

use super::analysis::EGraph;
use super::language::Node;
use super::rule::{NumericClass, Rule};
use super::saturate::Saturation;
use super::{Settings, rules};
use egg::{Id, Language};
use examples::{EXAMPLES, Random};
use std::collections::HashMap;
use tessera_interpreter::{Value, evaluate_op};
use tessera_ir::{ElementType, Graph, Module, OpKind, Tensor, Type, ValueId};

/// What inputs are made of.
#[derive(Clone, Copy, Debug)]
enum Numbers {
    /// NaN, infinity, −0 and numbers of all sizes.
    Special,
    /// From −3 to 3.
    Integers,
    /// From 0.5 to 1.5.
    Positive,
}

impl Numbers {
    fn tensor(self, value_type: &Type, random: &mut Random) -> Tensor {
        let tensor = value_type.as_tensor().expect("examples take tensors");
        if tensor.element == ElementType::Ui32 {
            let steps: Vec<u32> = (0..tensor.len()).map(|_| random.below(9) as u32).collect();
            return Tensor::from_values(tensor.shape.as_slice(), &steps).unwrap();
        }
        assert_eq!(tensor.element, ElementType::F32);
        let values: Vec<f32> = (0..tensor.len()).map(|_| self.number(random)).collect();
        Tensor::from_values(tensor.shape.as_slice(), &values).unwrap()
    }

    fn number(self, random: &mut Random) -> f32 {
        let unit = random.below(1 << 20) as f32 / (1 << 20) as f32;
        match self {
            Self::Special => match random.below(40) {
                0 => -0.0,
                1 => 0.0,
                2 => 1.0e-40,
                3 => 3.0e4,
                4 => f32::NAN,
                5 => f32::INFINITY,
                _ => 4.0 * unit - 2.0,
            },
            Self::Integers => random.below(7) as f32 - 3.0,
            Self::Positive => 0.5 + unit,
        }
    }

    /// Whether two values are what they shall be for each other.
    fn agree(self, a: &Value, b: &Value) -> bool {
        let (Some(a), Some(b)) = (a.as_tensor(), b.as_tensor()) else {
            return a.bytes() == b.bytes();
        };
        let (Some(x), Some(y)) = (a.values::<f32>(), b.values::<f32>()) else {
            return a == b;
        };
        a.shape() == b.shape()
            && x.iter().zip(&y).all(|(&x, &y)| match self {
                Self::Special => x.to_bits() == y.to_bits() || (x.is_nan() && y.is_nan()),
                Self::Integers => x == y,
                Self::Positive => {
                    x == y || (x - y).abs() <= 64.0 * f32::EPSILON / 2.0 * x.abs().max(y.abs())
                }
            })
    }
}

/// Applies the rules to a graph and compares all ops of each class; gives how often each rule was applied.
fn audit(
    graph: &Graph,
    rules: &[Rule],
    numbers: Numbers,
    random: &mut Random,
) -> Vec<(&'static str, usize)> {
    let inputs = graph.inputs().iter().zip(graph.input_values());
    let inputs: HashMap<ValueId, Value> = inputs
        .map(|(input, value)| {
            let tensor = numbers.tensor(&input.value_type, random);
            (value, Value::Tensor(tensor))
        })
        .collect();
    let operations = graph.operations();
    let kinds = operations.iter().map(|o| o.op.kind.clone()).collect();
    let values: Vec<Option<ValueId>> = graph.values().map(Some).collect();
    let saturation = Saturation::of(
        graph,
        0..operations.len(),
        kinds,
        &values,
        (rules, &Settings::default()),
    );
    let egraph = &saturation.egraph;
    let known = class_values(egraph, &inputs);
    for class in egraph.classes() {
        for node in &class.nodes {
            let Some(found) = node_value(egraph, node, &inputs, &known) else {
                panic!("{node:?} has an operand without a value");
            };
            let expected = &known[&class.id];
            assert!(
                numbers.agree(&found, expected),
                "{numbers:?}: {node:?} gives\n{found:?}, expected\n{expected:?}\nin {graph}"
            );
        }
    }
    saturation.applied
}

/// A value for each class, by whichever of its nodes has all operands first.
fn class_values(egraph: &EGraph, inputs: &HashMap<ValueId, Value>) -> HashMap<Id, Value> {
    let mut known: HashMap<Id, Value> = HashMap::new();
    loop {
        let before = known.len();
        for class in egraph.classes() {
            let mut nodes = class.nodes.iter();
            if !known.contains_key(&class.id)
                && let Some(value) = nodes.find_map(|node| node_value(egraph, node, inputs, &known))
            {
                known.insert(class.id, value);
            }
        }
        if known.len() == before {
            return known;
        }
    }
}

fn node_value(
    egraph: &EGraph,
    node: &Node,
    inputs: &HashMap<ValueId, Value>,
    known: &HashMap<Id, Value>,
) -> Option<Value> {
    let operands = node.children().iter();
    let operands: Option<Vec<Value>> = operands
        .map(|&id| known.get(&egraph.find(id)).cloned())
        .collect();
    let operands = operands?;
    let kind = match node {
        Node::Value(value) => return Some(inputs[value].clone()),
        Node::Op(op) => &op.kind,
        Node::Opaque { number, .. } => &egraph.analysis.opaque[*number],
        Node::Result { .. } => panic!("examples have no ops of several results"),
    };
    let mut results = evaluate_op(&Module::new(None), kind, &operands)
        .unwrap_or_else(|error| panic!("{kind:?}: {error}"));
    Some(results.remove(0))
}

/// What rules of a class are checked on.
fn numbers_for(numerics: NumericClass) -> &'static [Numbers] {
    match numerics {
        NumericClass::Exact => &[Numbers::Special],
        NumericClass::Reassociating => &[Numbers::Integers, Numbers::Positive],
    }
}

#[test]
fn each_rule_gives_what_it_replaces() {
    for rule in rules() {
        let example = EXAMPLES.iter().find(|(name, _)| *name == rule.name);
        let (_, example) = example.unwrap_or_else(|| panic!("no example for '{}'", rule.name));
        let mut applied = 0;
        for seed in 0..12 {
            for &numbers in numbers_for(rule.numerics) {
                let mut random = Random::new(seed);
                let graph = example(&mut random).unwrap();
                let counts = audit(&graph, &[*rule], numbers, &mut random);
                applied += counts.iter().map(|&(_, count)| count).sum::<usize>();
            }
        }
        assert!(applied > 0, "'{}' was never applied", rule.name);
    }
}

#[test]
fn all_rules_together_give_what_they_replace() {
    let exact: Vec<Rule> = rules()
        .copied()
        .filter(|rule| rule.numerics == NumericClass::Exact)
        .collect();
    let all: Vec<Rule> = rules().copied().collect();
    for (name, example) in EXAMPLES {
        let mut random = Random::new(7);
        let graph = example(&mut random).unwrap();
        audit(&graph, &exact, Numbers::Special, &mut random);
        let rule = rules().find(|rule| rule.name == *name);
        let rule = rule.unwrap_or_else(|| panic!("an example of no rule: '{name}'"));
        // Quantisation turns a rounding's difference into a code's.
        let quantises = graph
            .operations()
            .iter()
            .any(|o| matches!(o.op.kind, OpKind::Quantize { .. }));
        if !quantises {
            for &numbers in numbers_for(NumericClass::Reassociating) {
                audit(&graph, &all, numbers, &mut random);
            }
        }
        assert!(!rule.equality.is_empty());
    }
}

#[test]
fn rules_have_names_of_their_own() {
    let mut names: Vec<&str> = rules().map(|rule| rule.name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn the_table_of_rules() {
    let lines: Vec<String> = rules().map(|rule| format!("{rule:?}")).collect();
    insta::assert_snapshot!("rules", lines.join("\n"));
}
