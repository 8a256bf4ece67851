//! The sort family: sort by any comparator, stable; top_k.

use crate::harness::{Case, Random, check};
use tessera_ir::plan::Family;
use tessera_ir::{ElementType, Tensor};

/// Sorts keys with the positions they had: equal keys show whether the order is stable.
fn sort(
    shape: &[usize],
    dimension: usize,
    direction: &str,
    compare_type: &str,
    element: ElementType,
) -> String {
    let dims: String = shape.iter().map(|d| format!("{d}x")).collect();
    let (k, p) = (
        format!("tensor<{dims}{element}>"),
        format!("tensor<{dims}i32>"),
    );
    format!(
        "func.func @sort(%k: {k}, %p: {p}) -> ({k}, {p}) {{
           %0:2 = tsr.sort %k, %p {{dimension = {dimension}, is_stable = true}} : ({k}, {p}) -> ({k}, {p}) {{
           ^comparator(%a: tensor<{element}>, %b: tensor<{element}>, %ap: tensor<i32>, %bp: tensor<i32>):
             %c = tsr.compare %a, %b {{direction = {direction}, compare_type = {compare_type}}} : (tensor<{element}>, tensor<{element}>) -> tensor<i1>
             tsr.return %c : tensor<i1>
           }}
           return %0#0, %0#1 : {k}, {p}
         }}"
    )
}

#[test]
fn sorts_are_stable_along_any_dimension() {
    let mut random = Random(51);
    let mut cases = Vec::new();
    for shape in [
        vec![0],
        vec![1],
        vec![2],
        vec![3],
        vec![17],
        vec![1000],
        vec![5, 33],
        vec![4, 0],
    ] {
        for dimension in 0..shape.len() {
            let positions = Tensor::from_values(
                shape.clone(),
                &(0..shape.iter().product::<usize>() as i32).collect::<Vec<_>>(),
            )
            .unwrap();
            let few = random.tensor_of(ElementType::I32, &shape, |random| random.uniform() / 8.0);
            cases.push(Case::new(
                Family::Sort,
                &sort(&shape, dimension, "LT", "SIGNED", ElementType::I32),
                vec![few, positions.clone()],
            ));
            let floats = random.tensor(ElementType::Bf16, &shape);
            cases.push(Case::new(
                Family::Sort,
                &sort(&shape, dimension, "GT", "TOTALORDER", ElementType::Bf16),
                vec![floats, positions],
            ));
        }
    }
    // No order at all: sorting ends all the same, and as the interpreter's does.
    let positions = Tensor::from_values([64], &(0..64).collect::<Vec<i32>>()).unwrap();
    cases.push(Case::new(
        Family::Sort,
        &sort(&[64], 0, "NE", "SIGNED", ElementType::I32),
        vec![Tensor::from_values([64], &[1i32; 64]).unwrap(), positions],
    ));
    check(cases);
}

#[test]
fn the_greatest_come_first_and_of_equal_ones_the_first() {
    let mut random = Random(52);
    let mut cases = Vec::new();
    for (element, shape, k) in [
        (ElementType::F32, vec![5, 8], 2),
        (ElementType::F32, vec![3, 100], 40),
        (ElementType::F32, vec![7], 7),
        (ElementType::F32, vec![7], 0),
        (ElementType::Bf16, vec![2, 3, 9], 4),
        (ElementType::I8, vec![50], 10),
        (ElementType::Ui8, vec![50], 33),
        (ElementType::I32, vec![0, 4], 2),
    ] {
        let dims: String = shape.iter().map(|d| format!("{d}x")).collect();
        let wanted: String = shape[..shape.len() - 1]
            .iter()
            .map(|d| format!("{d}x"))
            .collect::<String>()
            + &format!("{k}x");
        let body = format!(
            "func.func @top_k(%x: tensor<{dims}{element}>) -> (tensor<{wanted}{element}>, tensor<{wanted}i32>) {{
               %0:2 = tsr.top_k %x {{k = {k}}} : (tensor<{dims}{element}>) -> (tensor<{wanted}{element}>, tensor<{wanted}i32>)
               return %0#0, %0#1 : tensor<{wanted}{element}>, tensor<{wanted}i32>
             }}"
        );
        let x = random.tensor(element, &shape);
        cases.push(Case::new(Family::Sort, &body, vec![x]));
    }
    let body = "func.func @top_k(%x: tensor<8xf32>) -> (tensor<6xf32>, tensor<6xi32>) {
      %0:2 = tsr.top_k %x {k = 6} : (tensor<8xf32>) -> (tensor<6xf32>, tensor<6xi32>)
      return %0#0, %0#1 : tensor<6xf32>, tensor<6xi32>
    }";
    let special = [
        0.0,
        f32::INFINITY,
        -0.0,
        f32::NAN,
        1.0,
        -0.0,
        f32::NAN,
        f32::NEG_INFINITY,
    ];
    cases.push(Case::new(
        Family::Sort,
        body,
        vec![Tensor::from_values([8], &special).unwrap()],
    ));
    check(cases);
}
