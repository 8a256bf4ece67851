//! Elementwise ops, on each element type that they are defined for: special values, random bits.

use crate::harness::{Case, Random, Tolerance, check, check_on_cpu, check_on_gpu, plan_of};
use tessera_ir::plan::Family;
use tessera_ir::{
    Binary, CompareType, ComparisonDirection, Element, ElementType, Graph, Input, Location, OpKind,
    Tensor, TensorType, Type, Unary, infer,
};
use tessera_targets::{CodeStage, Options, Target, emit};

/// Numbers at which functions change, for each element type those it has.
fn special(element: ElementType) -> Tensor {
    let floats: Vec<f64> = vec![
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        -0.5,
        1.5,
        -1.5,
        2.0,
        2.5,
        -2.5,
        3.0,
        0.1,
        -0.1,
        10.0,
        -10.0,
        88.0,
        89.0,
        -88.0,
        -104.0,
        700.0,
        710.0,
        -745.0,
        -750.0,
        1e-5,
        1e-10,
        -1e-10,
        1e-40,
        -1e-40,
        1e-310,
        65504.0,
        1e5,
        -1e5,
        1e10,
        1e30,
        -1e30,
        1e300,
        0.999_999_9,
        -0.999_999_9,
        1.000_000_1,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
        3.0e38,
        1.2e-38,
        0.7,
        7.0,
        16_777_217.0,
        4.5,
        255.5,
        2_147_483_648.0,
        4_294_967_296.0,
        -2_147_483_649.0,
        9.3e18,
        1.9e19,
        -9.3e18,
    ];
    let integers: Vec<i128> = vec![
        0,
        1,
        -1,
        2,
        -2,
        3,
        7,
        8,
        15,
        16,
        31,
        32,
        33,
        63,
        64,
        65,
        100,
        127,
        128,
        -127,
        -128,
        255,
        256,
        32767,
        -32768,
        65535,
        2_147_483_647,
        -2_147_483_648,
        4_294_967_295,
        i64::MAX.into(),
        i64::MIN.into(),
        u64::MAX.into(),
        16_777_217,
        9_007_199_254_740_993,
        -9_007_199_254_740_993,
    ];
    let mut bytes = Vec::new();
    if element.is_float() {
        for x in floats {
            match element {
                ElementType::F16 => half::f16::from_f64(x).write(&mut bytes),
                ElementType::Bf16 => half::bf16::from_f64(x).write(&mut bytes),
                ElementType::F32 => (x as f32).write(&mut bytes),
                _ => x.write(&mut bytes),
            }
        }
    } else if element == ElementType::I1 {
        bytes.extend([0, 1, 1, 0]);
    } else {
        for x in integers {
            bytes.extend_from_slice(&x.to_le_bytes()[..element.size()]);
        }
    }
    let length = bytes.len() / element.size();
    Tensor::new(element, [length], bytes).unwrap()
}

/// Every pair of special values, and random bits: two tensors of one length.
fn pairs(element: ElementType) -> [Tensor; 2] {
    let one = special(element);
    let cells: Vec<&[u8]> = one.bytes().chunks(element.size()).collect();
    let random = Random(7).bits(element, 2000);
    let (first, second) = random.bytes().split_at(random.bytes().len() / 2);
    let mut lhs: Vec<u8> = cells.iter().flat_map(|x| x.repeat(cells.len())).collect();
    let mut rhs: Vec<u8> = cells.concat().repeat(cells.len());
    lhs.extend_from_slice(first);
    rhs.extend_from_slice(second);
    let length = lhs.len() / element.size();
    [lhs, rhs].map(|bytes| Tensor::new(element, [length], bytes).unwrap())
}

/// A graph with a result for each of the ops that are defined on inputs of these types.
fn graph_of(
    name: &str,
    inputs: &[TensorType],
    kinds: impl Iterator<Item = OpKind>,
) -> Option<Graph> {
    let mut graph = Graph::new(name, inputs.iter().cloned().map(Input::new).collect());
    let operands: Vec<_> = graph.input_values().collect();
    let types: Vec<Type> = inputs.iter().cloned().map(Type::Tensor).collect();
    let mut results = Vec::new();
    for kind in kinds {
        if infer(&kind, &types.iter().collect::<Vec<_>>()).is_ok() {
            results.push(
                graph
                    .push_value(kind, operands.clone(), Location::Unknown)
                    .unwrap(),
            );
        }
    }
    graph.set_result_values(results.iter().copied());
    (!results.is_empty()).then_some(graph)
}

fn vector_type(tensor: &Tensor) -> TensorType {
    TensorType::new(tensor.element(), tensor.shape())
}

/// What is computed by arithmetic of more than one rounding.
fn is_approximated(function: Unary) -> bool {
    !matches!(
        function,
        Unary::Abs
            | Unary::Ceil
            | Unary::CountLeadingZeros
            | Unary::Floor
            | Unary::IsFinite
            | Unary::Negate
            | Unary::Not
            | Unary::Popcnt
            | Unary::RoundNearestAfz
            | Unary::RoundNearestEven
            | Unary::Sign
            | Unary::Sqrt
    )
}

#[test]
fn exact_unary_functions_have_the_interpreters_bits() {
    let mut cases = Vec::new();
    for element in ElementType::ALL {
        let mut bytes = special(element).bytes().to_vec();
        bytes.extend_from_slice(Random(3).bits(element, 500).bytes());
        let x = Tensor::new(element, [bytes.len() / element.size()], bytes).unwrap();
        let kinds = Unary::ALL
            .iter()
            .filter(|f| !is_approximated(**f))
            .copied()
            .map(OpKind::Unary);
        let name = format!("unary_{element}");
        if let Some(graph) = graph_of(&name, &[vector_type(&x)], kinds) {
            cases.push(Case::of(Family::Loop, graph, vec![x]));
        }
    }
    check(cases);
}

/// The documented errors are those of f32 and f64 (see `mlir::math`), the interpreter's is another ulp at most in f64.
/// f16 and bf16 are rounded from f32: where that is near the middle of two neighbours it can be the other one.
#[test]
fn approximated_unary_functions_are_near_the_interpreters() {
    let mut cases = Vec::new();
    for element in ElementType::ALL
        .into_iter()
        .filter(|element| element.is_float())
    {
        let mut bytes = special(element).bytes().to_vec();
        bytes.extend_from_slice(Random(5).bits(element, 3000).bytes());
        let x = Tensor::new(element, [bytes.len() / element.size()], bytes).unwrap();
        let kinds = Unary::ALL
            .iter()
            .filter(|f| is_approximated(**f))
            .copied()
            .map(OpKind::Unary);
        let graph = graph_of(&format!("functions_{element}"), &[vector_type(&x)], kinds).unwrap();
        let ulp = match element {
            ElementType::F32 => 2.0,
            ElementType::F64 => 5.0,
            _ => 1.0,
        };
        cases.push(Case::of(Family::Loop, graph, vec![x]).within(Tolerance::Ulp(ulp)));
    }
    check(cases);
}

#[test]
fn exact_binary_functions_have_the_interpreters_bits() {
    let mut cases = Vec::new();
    for element in ElementType::ALL {
        let inputs = pairs(element);
        let types = inputs.each_ref().map(vector_type);
        let approximated =
            |f: &Binary| element.is_float() && matches!(f, Binary::Power | Binary::Atan2);
        let kinds = Binary::ALL
            .iter()
            .filter(|f| !approximated(f))
            .copied()
            .map(OpKind::Binary);
        let graph = graph_of(&format!("binary_{element}"), &types, kinds).unwrap();
        cases.push(Case::of(Family::Loop, graph, inputs.to_vec()));
    }
    check(cases);
}

/// What a CPU lacks, LLVM would have done by functions that no machine's library is asked for.
#[test]
fn every_function_is_code_of_its_own_on_cpus_of_every_level() {
    let unary = Unary::ALL.iter().copied().map(OpKind::Unary);
    let binary = Binary::ALL.iter().copied().map(OpKind::Binary);
    let converted = ElementType::ALL.map(|element| OpKind::Convert { element });
    let kinds: Vec<OpKind> = unary.chain(binary).chain(converted).collect();
    for element in ElementType::ALL {
        let types = [(); 2].map(|()| TensorType::new(element, [64]));
        // Each by itself, and all together.
        let mut sets: Vec<&[OpKind]> = kinds.chunks(1).collect();
        sets.push(&kinds);
        let graphs = sets.into_iter().flat_map(|kinds| {
            let graph = |count| graph_of(kinds[0].name(), &types[..count], kinds.iter().cloned());
            [1, 2].map(graph).into_iter().flatten()
        });
        let cases: Vec<Case> = graphs
            .map(|graph| Case::of(Family::Loop, graph, Vec::new()))
            .collect();
        for level in ["cpu:x86-64-v3", "cpu:x86-64-v4"] {
            let target: Target = level.parse().unwrap();
            let assembly = CodeStage::Assembly;
            let code = emit(&plan_of(&cases), &target, assembly, &Options::default()).unwrap();
            for (kernel, text) in code {
                let text = String::from_utf8(text).unwrap();
                let mut lines = text.lines();
                let called = lines.find(|line| line.contains("@PLT") && !line.contains("mem"));
                assert_eq!(called, None, "{kernel} of {element} for {level}");
            }
        }
    }
}

/// The interpreter's power loses digits for f64 exponents beyond 2³¹; those become 3.
fn with_moderate_exponents(y: Tensor) -> Tensor {
    let Some(mut values) = y.values::<f64>() else {
        return y;
    };
    for value in values
        .iter_mut()
        .filter(|y| y.is_finite() && y.abs() > 2f64.powi(31))
    {
        *value = 3f64.copysign(*value);
    }
    Tensor::from_values(y.shape(), &values).unwrap()
}

/// As with functions of one number.
#[test]
fn approximated_binary_functions_are_near_the_interpreters() {
    let mut cases = Vec::new();
    for element in ElementType::ALL
        .into_iter()
        .filter(|element| element.is_float())
    {
        let [x, y] = pairs(element);
        let inputs = [x, with_moderate_exponents(y)];
        let types = inputs.each_ref().map(vector_type);
        let kinds = [Binary::Power, Binary::Atan2]
            .into_iter()
            .map(OpKind::Binary);
        let graph = graph_of(&format!("powers_{element}"), &types, kinds).unwrap();
        let ulp = if element == ElementType::F64 {
            3.0
        } else {
            1.0
        };
        cases.push(Case::of(Family::Loop, graph, inputs.to_vec()).within(Tolerance::Ulp(ulp)));
    }
    check(cases);
}

fn with_one_nan_of_f16(tensor: &Tensor) -> Tensor {
    let Some(values) = tensor.values::<half::f16>() else {
        return tensor.clone();
    };
    let one = |x: half::f16| if x.is_nan() { half::f16::NAN } else { x };
    let values: Vec<_> = values.into_iter().map(one).collect();
    Tensor::from_values(tensor.shape(), &values).unwrap()
}

#[test]
fn comparisons_have_the_interpreters_bits() {
    let mut cases = Vec::new();
    for element in ElementType::ALL {
        let inputs = pairs(element);
        let types = inputs.each_ref().map(vector_type);
        let kinds = CompareType::ALL.iter().flat_map(|&compare_type| {
            ComparisonDirection::ALL
                .iter()
                .map(move |&direction| OpKind::Compare {
                    direction,
                    compare_type,
                })
        });
        let graph = graph_of(&format!("compare_{element}"), &types, kinds).unwrap();
        cases.push(Case::of(Family::Loop, graph, inputs.to_vec()));
    }
    check_on_cpu(cases.clone());
    // A GPU widens every f16 that is NaN to the same f32, so that their total order is lost. (PTX ISA, `cvt`.)
    for case in &mut cases {
        for input in &mut case.inputs {
            *input = with_one_nan_of_f16(input);
        }
    }
    check_on_gpu(cases);
}

#[test]
fn conversions_have_the_interpreters_bits() {
    let mut cases = Vec::new();
    for element in ElementType::ALL {
        let mut bytes = special(element).bytes().to_vec();
        bytes.extend_from_slice(Random(9).bits(element, 1000).bytes());
        let x = Tensor::new(element, [bytes.len() / element.size()], bytes).unwrap();
        let kinds = ElementType::ALL
            .into_iter()
            .map(|element| OpKind::Convert { element });
        let graph = graph_of(&format!("convert_{element}"), &[vector_type(&x)], kinds).unwrap();
        cases.push(Case::of(Family::Loop, graph, vec![x]));
    }
    check(cases);
}

#[test]
fn select_and_clamp_take_scalars_and_tensors() {
    let mut random = Random(11);
    let mut cases = Vec::new();
    for element in [
        ElementType::F32,
        ElementType::I32,
        ElementType::Ui8,
        ElementType::I1,
    ] {
        for shape in ["", "37x"] {
            let body = format!(
                "func.func @choose(%p: tensor<{shape}xi1>, %l: tensor<{shape}x{element}>, %x: tensor<37x{element}>, %h: tensor<{shape}x{element}>) -> (tensor<37x{element}>, tensor<37x{element}>) {{
                  %0 = tsr.clamp %l, %x, %h : (tensor<{shape}x{element}>, tensor<37x{element}>, tensor<{shape}x{element}>) -> tensor<37x{element}>
                  %1 = tsr.select %p, %0, %x : (tensor<{shape}xi1>, tensor<37x{element}>, tensor<37x{element}>) -> tensor<37x{element}>
                  return %0, %1 : tensor<37x{element}>, tensor<37x{element}>
                }}"
            ).replace("<x", "<").replace("xx", "x");
            let bounds: &[usize] = if shape.is_empty() { &[] } else { &[37] };
            let inputs = vec![
                random.tensor(ElementType::I1, bounds),
                random.tensor(element, bounds),
                random.tensor(element, &[37]),
                random.tensor(element, bounds),
            ];
            cases.push(Case::new(Family::Loop, &body, inputs));
        }
    }
    check(cases);
}
