//! One graph into an e-graph, and the cheapest program out of it.

use super::Settings;
use super::analysis::{Analysis, EGraph};
use super::cost::CostModel;
use super::extract::{Program, canonical, extract};
use super::language::{Node, is_opaque};
use super::rule::{Rule, rewrite};
use crate::manager::Report;
use crate::rebuild::map_regions;
use egg::{Id, Runner, SimpleScheduler, StopReason};
use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;
use tessera_ir::{Graph, GraphResult, Location, Op, OpError, OpKind, Operation, ValueId};

/// Part of a graph as an e-graph.
pub(super) struct Saturation {
    pub(super) egraph: EGraph,
    /// The class of each value of the graph that the part defines or uses.
    classes: HashMap<ValueId, Id>,
    /// The nodes of the source with their classes, in its order.
    source: Vec<(Id, Node)>,
    /// Why no more rules were applied.
    stop: StopReason,
    /// How often each rule found that two classes are one.
    pub(super) applied: Vec<(&'static str, usize)>,
}

/// The rules that the settings allow.
pub(super) fn allowed(settings: &Settings) -> Vec<Rule> {
    let rules = super::rules::rules().copied();
    rules
        .filter(|rule| rule.numerics <= settings.numerics)
        .collect()
}

impl Saturation {
    /// The operations of that range, their kinds as given, with all that the rules know of them. Values from before are
    /// named by what they are in `values`.
    pub(super) fn of(
        graph: &Graph,
        range: Range<usize>,
        kinds: Vec<OpKind>,
        values: &[Option<ValueId>],
        (rules, settings): (&[Rule], &Settings),
    ) -> Self {
        let mut loading = Loading {
            graph,
            values,
            egraph: EGraph::new(Analysis::default()),
            classes: HashMap::new(),
            source: Vec::new(),
        };
        for (place, kind) in range.zip(kinds) {
            loading.egraph.analysis.place = place;
            loading.operation(&graph.operations()[place], kind);
        }
        let rewrites: Vec<_> = (rules.iter().enumerate())
            .map(|(number, rule)| rewrite(number, *rule))
            .collect();
        // Rules are not kept waiting for their number of applications, and time says nothing: two runs are the same.
        let runner: Runner<Node, Analysis> = Runner::new(Analysis::default())
            .with_egraph(loading.egraph)
            .with_scheduler(SimpleScheduler)
            .with_iter_limit(settings.max_iterations)
            .with_node_limit(settings.max_nodes)
            .with_time_limit(Duration::MAX)
            .run(&rewrites);
        let mut applied: Vec<(&'static str, usize)> =
            rules.iter().map(|rule| (rule.name, 0)).collect();
        for iteration in &runner.iterations {
            for (name, count) in &iteration.applied {
                let rule = applied.iter_mut().find(|(rule, _)| *rule == name.as_str());
                if let Some((_, sum)) = rule {
                    *sum += count;
                }
            }
        }
        Self {
            egraph: runner.egraph,
            classes: loading.classes,
            source: loading.source,
            stop: runner.stop_reason.unwrap_or(StopReason::Saturated),
            applied,
        }
    }

    /// The class of a value.
    fn class(&self, value: ValueId) -> Id {
        self.egraph.find(self.classes[&value])
    }

    /// The cheapest program for those values.
    fn extract(&self, values: &[ValueId], model: &dyn CostModel) -> Program {
        let roots: Vec<Id> = values.iter().map(|&value| self.class(value)).collect();
        extract(&self.egraph, &roots, &self.source, model)
    }

    /// How many ops of a program each rule made.
    fn made(&self, program: &Program, rules: &[Rule]) -> Vec<usize> {
        let mut makers: HashMap<Node, Option<usize>> = HashMap::new();
        for (node, rule) in &self.egraph.analysis.made {
            let node = canonical(&self.egraph, node);
            makers.entry(node).or_insert(*rule);
        }
        let mut made = vec![0; rules.len()];
        for node in program.nodes() {
            if let Some(Some(rule)) = makers.get(node) {
                made[*rule] += 1;
            }
        }
        made
    }
}

/// A graph on its way into an e-graph.
struct Loading<'a> {
    graph: &'a Graph,
    values: &'a [Option<ValueId>],
    egraph: EGraph,
    classes: HashMap<ValueId, Id>,
    source: Vec<(Id, Node)>,
}

impl Loading<'_> {
    fn operation(&mut self, operation: &Operation, kind: OpKind) {
        let operands = operation.op.operands.iter();
        let operands: Vec<Id> = operands.map(|&value| self.operand(value)).collect();
        if !is_opaque(&kind) {
            let class = self.add(Node::Op(Op { kind, operands }));
            self.classes.insert(operation.result(), class);
            return;
        }
        let number = self.egraph.analysis.number(kind);
        let class = self.add(Node::Opaque { number, operands });
        let results = operation.results();
        if results.len() == 1 {
            self.classes.insert(operation.result(), class);
            return;
        }
        for (index, result) in results.enumerate() {
            let of = [class];
            let class = self.add(Node::Result { index, of });
            self.classes.insert(result, class);
        }
    }

    fn operand(&mut self, value: ValueId) -> Id {
        if let Some(&class) = self.classes.get(&value) {
            return class;
        }
        let outside = self.values[value.index()].expect("what stands before is rebuilt");
        let value_type = self.graph.value_type(value).clone();
        self.egraph.analysis.values.insert(outside, value_type);
        let class = self.add(Node::Value(outside));
        self.classes.insert(value, class);
        class
    }

    fn add(&mut self, node: Node) -> Id {
        let class = self.egraph.add(node.clone());
        self.source.push((class, node));
        class
    }
}

/// The graph with each part, of as many ops as the settings say, in its cheapest form.
pub(super) fn saturated(
    graph: &Graph,
    settings: &Settings,
    model: &dyn CostModel,
    report: &mut Report,
) -> Result<Graph, OpError> {
    let rules = allowed(settings);
    let mut rebuilt = Graph::new(graph.name.clone(), graph.inputs().to_vec());
    rebuilt.visibility = graph.visibility;
    rebuilt.location = graph.location.clone();
    let mut values: Vec<Option<ValueId>> = vec![None; graph.value_count()];
    for (slot, input) in values.iter_mut().zip(rebuilt.input_values()) {
        *slot = Some(input);
    }
    let count = graph.operations().len();
    let last_uses = last_uses(graph);
    let mut made = vec![0; rules.len()];
    let mut parts = 0;
    for start in (0..count).step_by(settings.max_ops.max(1)) {
        let range = start..count.min(start + settings.max_ops.max(1));
        parts += 1;
        let operations = &graph.operations()[range.clone()];
        let kinds: Result<Vec<OpKind>, OpError> = operations
            .iter()
            .map(|operation| with_saturated_regions(&operation.op.kind, settings, model, report))
            .collect();
        let saturation = Saturation::of(graph, range.clone(), kinds?, &values, (&rules, settings));
        report_limits(&saturation, graph, report);
        let needed: Vec<ValueId> = operations
            .iter()
            .flat_map(Operation::results)
            .filter(|value| last_uses[value.index()].is_some_and(|last| last >= range.end))
            .collect();
        let program = saturation.extract(&needed, model);
        for (sum, count) in made.iter_mut().zip(saturation.made(&program, &rules)) {
            *sum += count;
        }
        for &(name, times) in &saturation.applied {
            if times > 0 {
                report.count(name, times);
            }
        }
        let mut emitting = Emitting {
            saturation: &saturation,
            program: &program,
            source: graph,
            graph: &mut rebuilt,
            emitted: HashMap::new(),
        };
        // In the source's order, where it has one.
        for value in operations.iter().flat_map(Operation::results) {
            let class = saturation.class(value);
            if program.node(class).is_some() {
                emitting.emit(class)?;
            }
        }
        for &value in &needed {
            values[value.index()] = Some(emitting.emit(saturation.class(value))?);
        }
    }
    let results = graph.results().iter().map(|result| GraphResult {
        value: values[result.value.index()].expect("results are needed to the end"),
        name: result.name.clone(),
    });
    rebuilt.set_results(results.collect());
    if parts > 1 {
        let message = format!(
            "{count} ops were saturated in {parts} parts of at most {}; nothing is shared across them",
            settings.max_ops
        );
        report.remark(&graph.location, message);
    }
    let is_cheaper = report_savings((graph, &rebuilt), (&rules, &made), model, report);
    // Graphs of loops and branches have no names, and are spoken of where something was found.
    if !is_cheaper && !graph.name.is_empty() {
        report_vain(graph, settings, model, report);
    }
    Ok(rebuilt)
}

/// The number of the last operation that uses each value; as many as there are operations where it is a result.
fn last_uses(graph: &Graph) -> Vec<Option<usize>> {
    let mut last = vec![None; graph.value_count()];
    for (number, operation) in graph.operations().iter().enumerate() {
        for operand in &operation.op.operands {
            last[operand.index()] = Some(number);
        }
    }
    for result in graph.results() {
        last[result.value.index()] = Some(graph.operations().len());
    }
    last
}

/// Loops' and branches' graphs are saturated by themselves. Graphs of scalars, reducers and the like, stay: they are
/// recognised by their form.
fn with_saturated_regions(
    kind: &OpKind,
    settings: &Settings,
    model: &dyn CostModel,
    report: &mut Report,
) -> Result<OpKind, OpError> {
    match kind {
        OpKind::While { .. } | OpKind::Case { .. } => {
            map_regions(kind, |region| saturated(region, settings, model, report))
        }
        _ => Ok(kind.clone()),
    }
}

fn report_limits(saturation: &Saturation, graph: &Graph, report: &mut Report) {
    let limit = match &saturation.stop {
        StopReason::Saturated => return,
        StopReason::IterationLimit(limit) => format!("{limit} iterations"),
        StopReason::NodeLimit(found) => format!("{found} nodes"),
        StopReason::TimeLimit(seconds) => format!("{seconds} s"),
        StopReason::Other(reason) => reason.clone(),
    };
    report.count("limits reached", 1);
    let message = format!(
        "stopped after {limit}, before the rules had found everything; what they had found was used"
    );
    report.remark(&graph.location, message);
}

/// Says that no cheaper program was found, and how far was looked.
fn report_vain(graph: &Graph, settings: &Settings, model: &dyn CostModel, report: &mut Report) {
    let Settings {
        max_iterations,
        max_nodes,
        numerics,
        ..
    } = settings;
    let message = format!(
        "nothing cheaper was found by rules of class '{numerics}', in at most {max_iterations} iterations and {max_nodes} \
         nodes: {} ops, estimated time {} us",
        graph.operations().len(),
        model.time(&model.graph(graph)) / 1_000_000
    );
    report.remark(&graph.location, message);
}

/// Says what the rules saved, where they made something of the result, and whether they did.
fn report_savings(
    (before, after): (&Graph, &Graph),
    (rules, made): (&[Rule], &[usize]),
    model: &dyn CostModel,
    report: &mut Report,
) -> bool {
    let (old, new) = (model.graph(before), model.graph(after));
    report.count("ops before", before.operations().len());
    report.count("ops after", after.operations().len());
    if model.time(&new) >= model.time(&old) {
        return false;
    }
    let used: Vec<String> = (rules.iter().zip(made))
        .filter(|&(_, &count)| count > 0)
        .map(|(rule, count)| format!("{} ({count})", rule.name))
        .collect();
    let used = if used.is_empty() {
        "merging equal ops".to_owned()
    } else {
        used.join(", ")
    };
    let mut changes: Vec<String> = Vec::new();
    for (what, old, new) in [
        ("ops", ops(before, |_| true), ops(after, |_| true)),
        (
            "quantisations",
            ops(before, is_quantisation),
            ops(after, is_quantisation),
        ),
        (
            "dense products",
            ops(before, is_dense),
            ops(after, is_dense),
        ),
    ] {
        if (old, new) != (0, 0) {
            changes.push(format!("{what} {old} -> {new}"));
        }
    }
    changes.push(format!("launches {} -> {}", old.launches, new.launches));
    changes.push(format!(
        "bytes {} -> {}",
        bytes(old.bytes),
        bytes(new.bytes)
    ));
    let [old, new] = [old, new].map(|cost| model.time(&cost) / 1_000_000);
    let message = format!(
        "{}, estimated time {old} us -> {new} us; ops made by: {used}",
        changes.join(", ")
    );
    report.remark(&before.location, message);
    true
}

fn ops(graph: &Graph, counts: fn(&OpKind) -> bool) -> usize {
    let operations = graph.operations().iter();
    operations.filter(|o| counts(&o.op.kind)).count()
}

fn is_quantisation(kind: &OpKind) -> bool {
    matches!(kind, OpKind::Quantize { .. })
}

fn is_dense(kind: &OpKind) -> bool {
    matches!(kind, OpKind::DotGeneral { .. })
}

/// A number of bytes with three digits or more.
fn bytes(count: u64) -> String {
    match count {
        0..10_000 => format!("{count} B"),
        10_000..10_000_000 => format!("{} kB", count / 1_000),
        _ => format!("{} MB", count / 1_000_000),
    }
}

/// A program on its way into a graph.
struct Emitting<'a> {
    saturation: &'a Saturation,
    program: &'a Program,
    source: &'a Graph,
    graph: &'a mut Graph,
    /// The results of the op that each class has become.
    emitted: HashMap<Id, Vec<ValueId>>,
}

impl Emitting<'_> {
    /// The first result of what a class becomes, after all it needs.
    fn emit(&mut self, class: Id) -> Result<ValueId, OpError> {
        let mut pending = vec![class];
        while let Some(&next) = pending.last() {
            if self.emitted.contains_key(&next) {
                pending.pop();
                continue;
            }
            let node = self.node(next);
            let missing = egg::Language::children(node).iter().rev();
            let missing: Vec<Id> = missing
                .copied()
                .filter(|child| !self.emitted.contains_key(child))
                .collect();
            if missing.is_empty() {
                let results = self.push(next)?;
                self.emitted.insert(next, results);
                pending.pop();
            } else {
                pending.extend(missing);
            }
        }
        let results = self.emitted[&class].first().copied();
        Ok(results.expect("only classes of one value are asked for"))
    }

    fn node(&self, class: Id) -> &Node {
        let node = self.program.node(class);
        node.expect("a program has a node for each class that its nodes need")
    }

    fn push(&mut self, class: Id) -> Result<Vec<ValueId>, OpError> {
        let analysis = &self.saturation.egraph.analysis;
        let (kind, operands) = match self.node(class) {
            Node::Value(value) => return Ok(vec![*value]),
            Node::Result { index, of } => return Ok(vec![self.emitted[&of[0]][*index]]),
            Node::Op(op) => (op.kind.clone(), op.operands.clone()),
            Node::Opaque { number, operands } => {
                (analysis.opaque[*number].clone(), operands.clone())
            }
        };
        let egraph = &self.saturation.egraph;
        let mut operands: Vec<(bool, ValueId)> = operands
            .iter()
            .map(|id| (egraph[*id].data.splat.is_some(), self.emitted[id][0]))
            .collect();
        // As `canonicalise` writes them: the constant, else the later value, on the right.
        if let OpKind::Binary(function) = kind
            && function.is_commutative()
        {
            operands.sort_unstable();
        }
        let operands: Vec<ValueId> = operands.into_iter().map(|(_, value)| value).collect();
        let id = self.graph.push(kind, operands, self.location(class))?;
        Ok(self.graph.operation(id).results().collect())
    }

    /// The location of the first operation that the class stands for, or was made for.
    fn location(&self, class: Id) -> Location {
        let place = self.saturation.egraph[class].data.place;
        self.source.operations()[place].location.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::super::cost::{Cost, CpuCosts};
    use super::*;
    use tessera_ir::{Builder, ElementType, Input, QuantizeOperands, TensorType, Type};
    use tessera_numerics::{
        BlockShape, Format, Quantization, Rounding, ScaleLayout, ScaleRule, ScaledType,
    };

    /// `Q(X) Q(W)` and `Q(D) Q(W)ᵀ` with square blocks of W.
    fn both_directions(rounding: Rounding) -> Graph {
        let f32s = |shape: &[usize]| Input::new(TensorType::new(ElementType::F32, shape));
        let step = Input::new(TensorType::scalar(ElementType::Ui32));
        let amax = Input::new(TensorType::scalar(ElementType::F32));
        let inputs = [
            f32s(&[32, 64]),
            f32s(&[64, 48]),
            f32s(&[32, 48]),
            amax,
            step,
        ];
        let (mut b, [x, w, d, amax, step]) = Builder::new("main", inputs);
        let mut quantised = |x, shape: [usize; 2], axis, blocks, rounding: Rounding| {
            let layout = ScaleLayout::Linear;
            let scaled = ScaledType::new(shape, Format::Nvfp4, axis, blocks, layout).unwrap();
            let how = Quantization::new(scaled, ScaleRule::Te, rounding).unwrap();
            let operands = QuantizeOperands {
                amax: Some(amax),
                step: rounding.is_random().then_some(step),
            };
            b.quantize(x, operands, &how, (1, 2)).unwrap()
        };
        let near = Rounding::NearestEven;
        let x = quantised(x, [32, 64], 1, BlockShape::Vector, near);
        let d = quantised(d, [32, 48], 1, BlockShape::Vector, near);
        let forward = quantised(w, [64, 48], 0, BlockShape::Square, rounding);
        let dgrad = quantised(w, [64, 48], 1, BlockShape::Square, rounding);
        let y = b.scaled_dot(x, forward, ElementType::F32).unwrap();
        let dx = b.scaled_dot(d, dgrad, ElementType::F32).unwrap();
        b.finish([y, dx])
    }

    /// A target on which a quantisation is a kernel of its own, and `relayout` costs what it moves.
    struct Moves;

    impl CostModel for Moves {
        fn cost(&self, kind: &OpKind, operands: &[&Type], results: &[Type]) -> Cost {
            let cost = CpuCosts.cost(kind, operands, results);
            match kind {
                OpKind::Relayout { .. } => Cost {
                    vector_operations: 0,
                    ..cost
                },
                _ => cost,
            }
        }

        fn time(&self, cost: &Cost) -> u64 {
            CpuCosts.time(cost)
        }
    }

    /// How many quantisations and relayouts the cheapest program has.
    fn counts(rounding: Rounding, model: &dyn CostModel) -> (usize, usize) {
        let graph = both_directions(rounding);
        let mut report = Report::default();
        let graph = saturated(&graph, &Settings::default(), model, &mut report).unwrap();
        let is_relayout = |kind: &OpKind| matches!(kind, OpKind::Relayout { .. });
        (ops(&graph, is_quantisation), ops(&graph, is_relayout))
    }

    #[test]
    fn a_weight_of_square_blocks_is_quantised_once_where_that_is_cheaper() {
        assert_eq!(counts(Rounding::NearestEven, &Moves), (3, 1));
        // One kernel makes both there.
        assert_eq!(counts(Rounding::NearestEven, &CpuCosts), (4, 0));
    }

    #[test]
    fn what_is_rounded_at_random_has_bits_of_its_own_in_each_direction() {
        assert_eq!(counts(Rounding::Stochastic, &Moves), (4, 0));
    }
}
