//! Random programs: whatever the passes and the plan make of them, they compute the same bits.
//!
//! A program is made of a list of choices, numbers that say which op comes next, on which values and how. Any list makes
//! a valid program, so that a failing one can be shortened.

use crate::common::{assert_same, interpret, run, special_inputs};
use proptest::prelude::*;
use tessera_ir::{
    Binary, CompareType, ComparisonDirection, ElementType, Graph, Input, Location, Module, OpKind,
    Region, Symbol, Tensor, TensorType, Unary, ValueId,
};
use tessera_passes::plan::evaluate::evaluate;
use tessera_passes::{DEFAULT_PIPELINE, PlanOptions, plan};

/// One op's choice: which op, and three numbers for what it needs.
type Choice = [u8; 4];

/// A graph being made.
struct Maker {
    graph: Graph,
    /// How many loops and branches may still be inside each other.
    depth: usize,
}

fn scalar_reducer(function: Binary, element: ElementType) -> Region {
    let scalar = Input::new(TensorType::scalar(element));
    let mut body = Graph::new("", vec![scalar.clone(), scalar]);
    let inputs: Vec<ValueId> = body.input_values().collect();
    let result = body
        .push_value(OpKind::Binary(function), inputs, Location::Unknown)
        .unwrap();
    body.set_result_values([result]);
    Region::new(body)
}

/// `(a, b) -> |a| < |b|`. Absolute, for a NaN's sign is no part of what passes keep.
fn less(element: ElementType) -> Region {
    let scalar = Input::new(TensorType::scalar(element));
    let mut body = Graph::new("", vec![scalar.clone(), scalar]);
    let mut operands: Vec<ValueId> = body.input_values().collect();
    let compare_type = match element {
        ElementType::F32 => CompareType::TotalOrder,
        ElementType::I32 => CompareType::Signed,
        _ => CompareType::Unsigned,
    };
    if element == ElementType::F32 {
        for operand in &mut operands {
            let abs = OpKind::Unary(Unary::Abs);
            *operand = body.push_value(abs, [*operand], Location::Unknown).unwrap();
        }
    }
    let kind = OpKind::Compare {
        direction: ComparisonDirection::Lt,
        compare_type,
    };
    let result = body.push_value(kind, operands, Location::Unknown).unwrap();
    body.set_result_values([result]);
    Region::new(body)
}

impl Maker {
    fn push(&mut self, kind: OpKind, operands: &[ValueId]) -> Option<ValueId> {
        self.graph
            .push_value(kind, operands, Location::Unknown)
            .ok()
    }

    fn shape(&self, value: ValueId) -> Vec<usize> {
        self.graph.tensor_type(value).shape.clone()
    }

    fn element(&self, value: ValueId) -> ElementType {
        self.graph.tensor_type(value).element
    }

    /// A value for which something holds.
    fn pick(&self, number: u8, holds: impl Fn(&TensorType) -> bool) -> Option<ValueId> {
        let values: Vec<ValueId> = self
            .graph
            .values()
            .filter(|&v| holds(self.graph.tensor_type(v)))
            .collect();
        // Later values more often: programs shall be deep.
        let number = usize::from(number);
        let from_end = if number % 3 == 0 {
            number / 3
        } else {
            number % 5
        };
        (!values.is_empty()).then(|| values[values.len() - 1 - from_end % values.len()])
    }

    fn any(&self, number: u8) -> ValueId {
        self.pick(number, |_| true).unwrap()
    }

    fn scalar(&mut self, value: i32) -> ValueId {
        self.push(
            OpKind::Constant {
                value: Tensor::scalar(value),
            },
            &[],
        )
        .unwrap()
    }

    /// Appends an op, or nothing where the choice makes none.
    fn step(
        &mut self,
        [op, a, b, c]: Choice,
        rest: &mut std::slice::Iter<'_, Choice>,
    ) -> Option<ValueId> {
        let x = self.any(a);
        let (element, shape) = (self.element(x), self.shape(x));
        let rank = shape.len();
        let pick_dimension = |number: u8| (rank > 0).then(|| usize::from(number) % rank.max(1));
        match op % 28 {
            0 => {
                let functions = [Unary::Negate, Unary::Abs, Unary::Sign];
                let of_floats = [Unary::Exponential, Unary::Tanh, Unary::Sqrt, Unary::Rsqrt];
                let function = match element {
                    ElementType::F32 if c % 2 == 0 => of_floats[usize::from(b) % 4],
                    ElementType::I1 => Unary::Not,
                    _ => functions[usize::from(b) % 3],
                };
                self.push(OpKind::Unary(function), &[x])
            }
            1..=4 => {
                let y = self.pick(b, |t| t.element == element && t.shape == shape)?;
                let functions = [
                    Binary::Add,
                    Binary::Multiply,
                    Binary::Maximum,
                    Binary::Subtract,
                ];
                let function = match element {
                    ElementType::I1 => Binary::And,
                    _ => functions[usize::from(c) % 4],
                };
                self.push(OpKind::Binary(function), &[x, y])
            }
            5 => {
                let y = self.pick(b, |t| t.element == element && t.shape == shape)?;
                let compare_type = match element {
                    ElementType::F32 => CompareType::Float,
                    ElementType::I32 => CompareType::Signed,
                    _ => CompareType::Unsigned,
                };
                let direction = ComparisonDirection::ALL[usize::from(c) % 6];
                self.push(
                    OpKind::Compare {
                        direction,
                        compare_type,
                    },
                    &[x, y],
                )
            }
            6 => {
                let p = self.pick(b, |t| {
                    t.element == ElementType::I1 && (t.shape == shape || t.rank() == 0)
                })?;
                let y = self.pick(c, |t| t.element == element && t.shape == shape)?;
                self.push(OpKind::Select {}, &[p, x, y])
            }
            7 => {
                let to = [ElementType::F32, ElementType::I32][usize::from(b) % 2];
                self.push(OpKind::Convert { element: to }, &[x])
            }
            8..=10 => {
                // One new dimension, anywhere.
                let size = 1 + usize::from(b) % 4;
                let place = usize::from(c) % (rank + 1);
                let mut new = shape.clone();
                new.insert(place, size);
                let dimensions = (0..=rank).filter(|&d| d != place).collect();
                (rank < 4).then(|| {
                    self.push(
                        OpKind::BroadcastInDim {
                            broadcast_dimensions: dimensions,
                            shape: new,
                        },
                        &[x],
                    )
                })?
            }
            11 => {
                let mut new = shape.clone();
                match b % 3 {
                    0 if rank > 1 => {
                        let merged = new.remove(usize::from(c) % (rank - 1));
                        new[usize::from(c) % (rank - 1)] *= merged;
                    }
                    1 if rank < 4 => new.insert(usize::from(c) % (rank + 1), 1),
                    _ => new.retain(|&d| d != 1),
                }
                self.push(OpKind::Reshape { shape: new }, &[x])
            }
            12 => {
                let mut permutation: Vec<usize> = (0..rank).collect();
                permutation.rotate_left(usize::from(b) % rank.max(1));
                if c % 2 == 0 && rank > 1 {
                    permutation.swap(0, rank - 1);
                }
                self.push(OpKind::Transpose { permutation }, &[x])
            }
            13 => {
                let d = pick_dimension(b)?;
                let mut start_indices = vec![0; rank];
                let mut strides = vec![1; rank];
                start_indices[d] = usize::from(c) % shape[d].max(1);
                strides[d] = 1 + usize::from(c) / 7 % 2;
                self.push(
                    OpKind::Slice {
                        start_indices,
                        limit_indices: shape,
                        strides,
                    },
                    &[x],
                )
            }
            14 => {
                let d = pick_dimension(b)?;
                let zero = Tensor::zeros(element, []).unwrap();
                let padding = self.push(OpKind::Constant { value: zero }, &[])?;
                let (mut low, mut interior) = (vec![0; rank], vec![0; rank]);
                low[d] = i64::from(c % 3) - 1;
                interior[d] = usize::from(c / 3 % 2);
                let kind = OpKind::Pad {
                    edge_padding_low: low,
                    edge_padding_high: vec![0; rank],
                    interior_padding: interior,
                };
                self.push(kind, &[x, padding])
            }
            15 => {
                let d = pick_dimension(b)?;
                self.push(OpKind::Concatenate { dimension: d }, &[x, x])
                    .filter(|&v| self.graph.tensor_type(v).len() < 200)
            }
            16 | 17 => {
                let dimensions: Vec<usize> = (0..rank).filter(|d| b >> d & 1 == 1).collect();
                let function = match element {
                    ElementType::I1 => Binary::And,
                    _ => [Binary::Add, Binary::Maximum][usize::from(c) % 2],
                };
                let init = match (element, function) {
                    (ElementType::I1, _) => Tensor::scalar(true),
                    (ElementType::I32, Binary::Add) => Tensor::scalar(0i32),
                    (ElementType::I32, _) => Tensor::scalar(i32::MIN),
                    (_, Binary::Add) => Tensor::scalar(0f32),
                    _ => Tensor::scalar(f32::NEG_INFINITY),
                };
                let init = self.push(OpKind::Constant { value: init }, &[])?;
                let body = scalar_reducer(function, element);
                self.push(OpKind::Reduce { dimensions, body }, &[x, init])
            }
            18 => {
                let (l, r) = (pick_dimension(b)?, c);
                let y = self.pick(c, |t| {
                    t.element == ElementType::F32 && t.shape.contains(&shape[l])
                })?;
                let other = self.shape(y);
                let candidates: Vec<usize> =
                    (0..other.len()).filter(|&d| other[d] == shape[l]).collect();
                let kind = OpKind::DotGeneral {
                    lhs_batching_dimensions: vec![],
                    rhs_batching_dimensions: vec![],
                    lhs_contracting_dimensions: vec![l],
                    rhs_contracting_dimensions: vec![candidates[usize::from(r) % candidates.len()]],
                    accumulator: ElementType::F32,
                    element: ElementType::F32,
                };
                let small =
                    self.graph.tensor_type(x).len() * self.graph.tensor_type(y).len() < 4000;
                (element == ElementType::F32 && small && rank + other.len() < 7)
                    .then(|| self.push(kind, &[x, y]))?
            }
            19 => {
                let index = self.pick(b, |t| *t == TensorType::scalar(ElementType::I32))?;
                let slice_sizes = shape
                    .iter()
                    .map(|&d| 1 + usize::from(c) % d.max(1))
                    .collect();
                let mut operands = vec![x];
                operands.extend(vec![index; rank]);
                (!shape.contains(&0))
                    .then(|| self.push(OpKind::DynamicSlice { slice_sizes }, &operands))?
            }
            20 => {
                let index = self.pick(b, |t| *t == TensorType::scalar(ElementType::I32))?;
                let fits = |t: &TensorType| {
                    t.element == element
                        && t.rank() == rank
                        && t.shape.iter().zip(&shape).all(|(u, s)| u <= s)
                };
                let update = self.pick(c, fits)?;
                let mut operands = vec![x, update];
                operands.extend(vec![index; rank]);
                self.push(OpKind::DynamicUpdateSlice {}, &operands)
            }
            21 => self.gather_or_scatter(x, b, c),
            22 => self.while_loop(a, b, rest),
            23 => self.case(a, b, rest),
            24 => {
                let dimension = pick_dimension(b)?;
                let kind = OpKind::Sort {
                    dimension,
                    is_stable: true,
                    comparator: less(element),
                };
                self.push(kind, &[x])
            }
            25 => {
                let last = *shape.last()?;
                let k = usize::from(c) % (last + 1);
                if element != ElementType::F32 {
                    return None;
                }
                let absolute = self.push(OpKind::Unary(Unary::Abs), &[x])?;
                self.push(OpKind::TopK { k }, &[absolute])
            }
            26 => {
                // Sums of all elements up to each.
                let d = pick_dimension(b)?;
                let zero = Tensor::zeros(element, []).unwrap();
                let init = self.push(OpKind::Constant { value: zero }, &[])?;
                let (mut window_dimensions, mut padding_low) = (vec![1; rank], vec![0; rank]);
                window_dimensions[d] = shape[d].max(1);
                padding_low[d] = i64::try_from(shape[d].max(1)).unwrap() - 1;
                let kind = OpKind::ReduceWindow {
                    window_dimensions,
                    window_strides: vec![1; rank],
                    base_dilations: vec![1; rank],
                    window_dilations: vec![1; rank],
                    padding_low,
                    padding_high: vec![0; rank],
                    body: scalar_reducer(Binary::Add, element),
                };
                (element != ElementType::I1).then(|| self.push(kind, &[x, init]))?
            }
            _ => match (b % 3, pick_dimension(c)) {
                (0, Some(dimension)) => {
                    let tensor_type = TensorType::new(ElementType::I32, shape);
                    self.push(
                        OpKind::Iota {
                            dimension,
                            tensor_type,
                        },
                        &[],
                    )
                }
                (1, Some(d)) => self.push(
                    OpKind::Reverse {
                        dimensions: vec![d],
                    },
                    &[x],
                ),
                _ => {
                    let bound = |t: &TensorType| t.element == element && t.rank() == 0;
                    let (low, high) = (self.pick(b, bound)?, self.pick(c, bound)?);
                    self.push(OpKind::Clamp {}, &[low, x, high])
                }
            },
        }
    }

    /// Rows of `x` at places given by some integers; or added there.
    fn gather_or_scatter(&mut self, x: ValueId, b: u8, c: u8) -> Option<ValueId> {
        let shape = self.shape(x);
        let element = self.element(x);
        let indices = self.pick(b, |t| {
            t.element == ElementType::I32 && t.rank() == 1 && t.len() < 20
        })?;
        let count = self.shape(indices)[0];
        if shape.is_empty() || shape[0] == 0 || element == ElementType::I1 {
            return None;
        }
        let window: Vec<usize> = (1..shape.len()).collect();
        let mut slice = shape.clone();
        slice[0] = 1;
        if c.is_multiple_of(2) {
            let kind = OpKind::Gather {
                offset_dims: window,
                collapsed_slice_dims: vec![0],
                operand_batching_dims: vec![],
                start_indices_batching_dims: vec![],
                start_index_map: vec![0],
                index_vector_dim: 1,
                slice_sizes: slice,
                indices_are_sorted: false,
            };
            return self.push(kind, &[x, indices]);
        }
        slice[0] = count;
        let updates = self.pick(c, |t| t.element == element && t.shape == slice)?;
        let kind = OpKind::Scatter {
            update_window_dims: window,
            inserted_window_dims: vec![0],
            input_batching_dims: vec![],
            scatter_indices_batching_dims: vec![],
            scatter_dims_to_operand_dims: vec![0],
            index_vector_dim: 1,
            indices_are_sorted: false,
            unique_indices: false,
            update_computation: scalar_reducer(Binary::Add, element),
        };
        self.push(kind, &[x, indices, updates])
    }

    /// The types of values that a region may take, and these values.
    fn some_values(&self, a: u8, b: u8) -> Vec<ValueId> {
        let count = 1 + usize::from(b) % 4;
        (0..count)
            .map(|n| self.any(a.wrapping_add(u8::try_from(n).unwrap() * 7)))
            .collect()
    }

    /// A graph on a counter and those values, made of the next few choices.
    fn region(
        &self,
        values: &[ValueId],
        length: u8,
        rest: &mut std::slice::Iter<'_, Choice>,
    ) -> Maker {
        let counter = Input::new(TensorType::scalar(ElementType::I32));
        let others = values
            .iter()
            .map(|&v| Input::new(self.graph.tensor_type(v).clone()));
        let inputs = std::iter::once(counter).chain(others).collect();
        let mut maker = Maker {
            graph: Graph::new("", inputs),
            depth: self.depth - 1,
        };
        for _ in 0..length % 8 {
            if let Some(&choice) = rest.next() {
                maker.step(choice, rest);
            }
        }
        maker
    }

    /// A loop of up to three rounds; the first half of the values is carried, by way of whatever has the same type.
    fn while_loop(
        &mut self,
        a: u8,
        b: u8,
        rest: &mut std::slice::Iter<'_, Choice>,
    ) -> Option<ValueId> {
        if self.depth == 0 {
            return None;
        }
        let values = self.some_values(a, b);
        let carried = values.len().div_ceil(2);
        let mut body = self.region(&values, b, rest);
        let one = body.scalar(1);
        let counter = body.graph.input_value(0)?;
        let mut results = vec![body.push(OpKind::Binary(Binary::Add), &[counter, one])?];
        for &value in &values[..carried] {
            let wanted = self.graph.tensor_type(value).clone();
            results.push(body.pick(a.wrapping_mul(3), |t| *t == wanted)?);
        }
        body.graph.set_result_values(results);
        let inputs = body.graph.inputs().to_vec();
        let mut condition = Maker {
            graph: Graph::new("", inputs),
            depth: 0,
        };
        let limit = condition.scalar(i32::from(a % 4));
        let counter = condition.graph.input_value(0)?;
        let compare = OpKind::Compare {
            direction: ComparisonDirection::Lt,
            compare_type: CompareType::Signed,
        };
        let holds = condition.push(compare, &[counter, limit])?;
        condition.graph.set_result_values([holds]);
        let start = self.scalar(0);
        let operands: Vec<ValueId> = std::iter::once(start).chain(values).collect();
        let kind = OpKind::While {
            condition: Region::new(condition.graph),
            body: Region::new(body.graph),
        };
        self.push(kind, &operands)
    }

    /// One of two branches.
    fn case(&mut self, a: u8, b: u8, rest: &mut std::slice::Iter<'_, Choice>) -> Option<ValueId> {
        let index = self.pick(b, |t| *t == TensorType::scalar(ElementType::I32))?;
        if self.depth == 0 {
            return None;
        }
        let values = self.some_values(a, b);
        let mut branches = Vec::new();
        for length in [b, a] {
            let mut branch = self.region(&values, length, rest);
            let mut results = Vec::new();
            for &value in &values {
                let wanted = self.graph.tensor_type(value).clone();
                results.push(branch.pick(a ^ b, |t| *t == wanted)?);
            }
            branch.graph.set_result_values(results);
            branches.push(Region::new(branch.graph));
        }
        let mut operands = vec![index, index];
        operands.extend(values);
        self.push(OpKind::Case { branches }, &operands)
    }
}

/// The program that a list of choices makes.
fn make(choices: &[Choice], results: &[u8], donations: &[u8]) -> Module {
    let types = [
        TensorType::new(ElementType::F32, [3, 4]),
        TensorType::new(ElementType::F32, [4]),
        TensorType::new(ElementType::I32, [3]),
        TensorType::scalar(ElementType::I32),
        TensorType::scalar(ElementType::F32),
        TensorType::new(ElementType::F32, [3, 4]),
        TensorType::new(ElementType::F32, [2, 1, 4]),
    ];
    let inputs: Vec<Input> = types.iter().cloned().map(Input::new).collect();
    let mut maker = Maker {
        graph: Graph::new("main", inputs),
        depth: 2,
    };
    let mut rest = choices.iter();
    while let Some(&choice) = rest.next() {
        maker.step(choice, &mut rest);
    }
    let results: Vec<ValueId> = results.iter().map(|&number| maker.any(number)).collect();
    let mut graph = maker.graph;
    graph.set_result_values(results.iter().copied());
    // Inputs are given to results of their type, as far as there are any.
    let mut taken = vec![false; results.len()];
    let result_types: Vec<TensorType> = results
        .iter()
        .map(|&r| graph.tensor_type(r).clone())
        .collect();
    for (number, input) in graph.inputs_mut().enumerate() {
        let fits = |&r: &usize| !taken[r] && result_types[r] == types[number];
        let free: Vec<usize> = (0..results.len()).filter(fits).collect();
        let choice = usize::from(donations[number % donations.len()]);
        if choice % 3 > 0 && !free.is_empty() {
            let result = free[choice / 3 % free.len()];
            taken[result] = true;
            *input.donate = Some(result);
        }
    }
    let mut module = Module::new(None);
    module.insert(graph);
    module
}

fn check(module: &Module) {
    eprintln!("{module}");
    tessera_ir::verify(module).unwrap();
    let inputs = special_inputs(module);
    let expected = interpret(module, &inputs);
    let saturated = "saturate{max-ops=12 numerics=exact},fuse";
    for pipeline in [DEFAULT_PIPELINE, "fuse", "fuse{max-ops=1}", saturated] {
        let fused = run(pipeline, module);
        eprintln!("{pipeline}");
        assert_same(&interpret(&fused, &inputs), &expected);
        for in_place in [true, false] {
            let plan =
                plan(&fused, PlanOptions { in_place }).unwrap_or_else(|error| panic!("{error}"));
            eprintln!("{in_place} {plan}");
            let found = evaluate(&plan, &inputs).unwrap_or_else(|fault| panic!("{fault}\n{plan}"));
            assert_same(&found, &expected);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_programs_compute_the_same_after_every_pipeline(
        choices in prop::collection::vec(any::<Choice>(), 1..40),
        results in prop::collection::vec(any::<u8>(), 1..5),
        donations in prop::collection::vec(any::<u8>(), 7),
    ) {
        check(&make(&choices, &results, &donations));
    }
}

#[test]
fn a_call_in_a_loop_is_inlined_before_all_else() {
    // Random programs have no calls; this one has, so that the pipelines above are used on what `inline` leaves.
    let mut callee = Graph::new(
        "twice",
        vec![Input::new(TensorType::new(ElementType::F32, [4]))],
    );
    callee.visibility = tessera_ir::Visibility::Private;
    let x = callee.input_value(0).unwrap();
    let doubled = callee
        .push_value(OpKind::Binary(Binary::Add), [x, x], Location::Unknown)
        .unwrap();
    callee.set_result_values([doubled]);
    let tensor_type = callee.tensor_type(doubled).clone();
    let mut main = Graph::new("main", vec![Input::new(tensor_type.clone())]);
    let x = main.input_value(0).unwrap();
    let call = OpKind::Call {
        callee: Symbol("twice".to_owned()),
        result_types: vec![tensor_type.into()],
    };
    let once = main
        .push_value(call.clone(), [x], Location::Unknown)
        .unwrap();
    let twice = main.push_value(call, [once], Location::Unknown).unwrap();
    main.set_result_values([twice]);
    let mut module = Module::new(None);
    module.insert(main);
    module.insert(callee);
    let inputs = special_inputs(&module);
    let fused = run(DEFAULT_PIPELINE, &module);
    let plan = plan(&fused, PlanOptions::default()).unwrap();
    assert_same(
        &evaluate(&plan, &inputs).unwrap(),
        &interpret(&module, &inputs),
    );
}
