//! Random modules: well-typed graphs of a few ops with locations, names, donations and constants of any bits.

use crate::location::FileRange;
use crate::{
    Binary, CompareType, ComparisonDirection, ElementType, Graph, GraphResult, Input, Location,
    Module, OpKind, Region, Symbol, Tensor, TensorType, Unary, ValueId, Visibility,
};
use proptest::prelude::*;
use std::sync::Arc;

/// One attempt at an op: which, on which values, with which attributes. What does not fit the values is left out.
type Attempt = (u8, [u16; 3], Location);

pub(super) fn modules() -> impl Strategy<Value = Module> {
    let name = prop::option::of("[a-z ]{0,3}");
    (name, prop::collection::vec(graphs(), 0..3)).prop_map(|(name, graphs)| {
        let mut module = Module::new(name);
        for (index, mut graph) in graphs.into_iter().enumerate() {
            graph.name = format!("g{index}");
            module.insert(graph);
        }
        module
    })
}

/// Graphs without a name.
pub(crate) fn graphs() -> impl Strategy<Value = Graph> {
    let inputs = prop::collection::vec(inputs(), 1..4);
    let attempt = (any::<u8>(), any::<[u16; 3]>(), locations());
    let attempts = prop::collection::vec(attempt, 0..20);
    (inputs, attempts, any::<bool>(), locations()).prop_map(
        |(inputs, attempts, private, location)| {
            let mut graph = graph_of(String::new(), inputs, &attempts);
            graph.location = location;
            if private {
                graph.visibility = Visibility::Private;
            }
            graph
        },
    )
}

fn inputs() -> impl Strategy<Value = Input> {
    let shape = prop::collection::vec(0..4usize, 0..3);
    let element = prop::sample::select(ElementType::ALL.to_vec());
    let name = prop::option::of("\\PC{0,3}");
    let donate = prop::option::of(0..3usize);
    let spellings = ["zeros", "splat(-0.5)", "normal(mean=1, std=0.25, seed=7)"];
    let initialiser = prop::option::of(prop::sample::select(spellings.to_vec()));
    (shape, element, name, donate, initialiser, locations()).prop_map(
        |(shape, element, name, donate, initialiser, location)| Input {
            value_type: TensorType::new(element, shape).into(),
            name,
            donate,
            initialiser: initialiser.map(|text| text.parse().unwrap()),
            location,
        },
    )
}

pub(crate) fn locations() -> impl Strategy<Value = Location> {
    let leaf = prop_oneof![
        Just(Location::Unknown),
        ("[a-z\"\\\\é\n]{0,3}", any::<[u16; 4]>()).prop_map(|(file, [a, b, c, d])| {
            Location::File(Arc::new(FileRange {
                file: file.into(),
                start: (a.into(), b.into()),
                end: (c.into(), d.into()),
            }))
        }),
        ("[a-z]{0,2}", 0..3u32).prop_map(|(file, line)| Location::file(file, line, 1)),
        "[a-z]{0,2}".prop_map(|name| Location::Name(name.into(), None)),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            ("[a-z/]{0,3}", inner.clone())
                .prop_map(|(name, child)| Location::Name(name.into(), Some(child.into()))),
            (inner.clone(), inner.clone()).prop_map(|(callee, caller)| Location::CallSite {
                callee: callee.into(),
                caller: caller.into()
            }),
            prop::collection::vec(inner, 0..3).prop_map(|parts| Location::Fused(parts.into())),
        ]
    })
}

fn graph_of(name: String, inputs: Vec<Input>, attempts: &[Attempt]) -> Graph {
    let mut graph = Graph::new(name, inputs);
    for attempt in attempts {
        push(&mut graph, attempt);
    }
    let values: Vec<ValueId> = graph.values().collect();
    let results = values.iter().rev().step_by(3).enumerate();
    let results = results.map(|(index, &value)| GraphResult {
        value,
        name: (index % 2 == 1).then(|| format!("result {index}")),
    });
    graph.set_results(results.collect());
    graph
}

fn push(graph: &mut Graph, (which, numbers, location): &Attempt) {
    let values: Vec<ValueId> = graph.values().collect();
    let [a, b, c] = numbers.map(usize::from);
    let value = |number: usize| values[number % values.len()];
    let (x, y) = (value(a), value(b));
    let type_of = |value: ValueId| graph.tensor_type(value).clone();
    let x_type = type_of(x);
    let rank = x_type.rank();
    let dimension = c % rank.max(1);
    let (kind, operands) = match which % 16 {
        0 => (OpKind::Unary(Unary::ALL[c % Unary::ALL.len()]), vec![x]),
        1 => (
            OpKind::Binary(Binary::ALL[c % Binary::ALL.len()]),
            vec![x, x],
        ),
        2 => (
            OpKind::Binary(Binary::ALL[c % Binary::ALL.len()]),
            vec![x, y],
        ),
        3 => {
            let kind = OpKind::Compare {
                direction: ComparisonDirection::ALL[c % ComparisonDirection::ALL.len()],
                compare_type: CompareType::ALL[b % CompareType::ALL.len()],
            };
            (kind, vec![x, x])
        }
        4 => {
            let element = ElementType::ALL[c % ElementType::ALL.len()];
            (OpKind::Convert { element }, vec![x])
        }
        5 => {
            let element = ElementType::ALL[c % ElementType::ALL.len()];
            let value = random_tensor(element, &[a % 4, b % 30], a as u64);
            (OpKind::Constant { value }, vec![])
        }
        6 => {
            let tensor_type = x_type.clone();
            (
                OpKind::Iota {
                    dimension,
                    tensor_type,
                },
                vec![],
            )
        }
        7 => {
            let kind = OpKind::BroadcastInDim {
                broadcast_dimensions: (1..=rank).collect(),
                shape: std::iter::once(c % 3).chain(x_type.shape.clone()).collect(),
            };
            (kind, vec![x])
        }
        8 => (
            OpKind::Reshape {
                shape: vec![x_type.len()],
            },
            vec![x],
        ),
        9 => {
            let permutation = (0..rank).rev().collect();
            (OpKind::Transpose { permutation }, vec![x])
        }
        10 => {
            let kind = OpKind::Pad {
                edge_padding_low: vec![c as i64 % 3 - 1; rank],
                edge_padding_high: vec![1; rank],
                interior_padding: vec![b % 2; rank],
            };
            let scalar = (0..graph.value_count())
                .map(|n| values[n])
                .find(|&v| type_of(v) == TensorType::scalar(x_type.element));
            (kind, [Some(x), scalar].into_iter().flatten().collect())
        }
        11 => (OpKind::OptimizationBarrier {}, vec![x, y]),
        12 => (OpKind::TopK { k: c % 3 }, vec![x]),
        13 => {
            let carried = forwarding(std::slice::from_ref(&x_type), 1);
            let branches = vec![carried.clone(), carried];
            let index = values
                .iter()
                .copied()
                .find(|&v| type_of(v) == TensorType::scalar(ElementType::I32));
            (
                OpKind::Case { branches },
                index.into_iter().chain([x]).collect(),
            )
        }
        14 => {
            let mut condition =
                Graph::new("", vec![Input::new(x_type.clone()), Input::new(type_of(y))]);
            let value = Tensor::scalar(c % 2 == 0);
            let kind = OpKind::Constant { value };
            let result = condition
                .push_value(kind, [], location.clone())
                .expect("a constant");
            condition.set_result_values([result]);
            let kind = OpKind::While {
                condition: Region::new(condition),
                body: forwarding(&[x_type, type_of(y)], 1 + c % 2),
            };
            (kind, vec![x, y])
        }
        _ => {
            let kind = OpKind::Call {
                callee: Symbol(format!("g{c}")),
                result_types: vec![type_of(y).into(); c % 3],
            };
            (kind, vec![x])
        }
    };
    // What the values do not allow is left out.
    let _ = graph.push(kind, operands, location.clone());
}

/// A region that gives back as many of its first inputs.
fn forwarding(inputs: &[TensorType], results: usize) -> Region {
    let mut graph = Graph::new("", inputs.iter().cloned().map(Input::new).collect());
    let values: Vec<ValueId> = graph.input_values().take(results).collect();
    graph.set_result_values(values);
    Region::new(graph)
}

/// A tensor of bits that follow from a seed; of equal elements for even seeds.
fn random_tensor(element: ElementType, shape: &[usize], seed: u64) -> Tensor {
    let count: usize = shape.iter().product();
    let mut state = seed;
    let mut one = || -> Vec<u8> {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let bits = state.rotate_left(29).to_le_bytes();
        match element {
            ElementType::I1 => vec![bits[0] % 2],
            _ => bits[..element.size()].to_vec(),
        }
    };
    let bytes: Vec<u8> = if seed.is_multiple_of(2) {
        one().repeat(count)
    } else {
        (0..count).flat_map(|_| one()).collect()
    };
    Tensor::new(element, shape, bytes).expect("as many bytes as the shape asks for")
}
