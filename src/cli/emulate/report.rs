//! What is told of the launches.

use super::super::arguments::EmulateArguments;
use super::super::columns::columns;
use super::argument::Output;
use super::memory::Memory;
use serde::Serialize;
use std::collections::BTreeMap;
use tessera_emulator::{Class, Counts, Finding, Launch, Program, Report};

/// The launches of a kernel, one for each seed. The figures are those of the first.
#[derive(Serialize)]
pub(super) struct Run {
    kernel: String,
    target: Vec<String>,
    grid: [u32; 3],
    block: [u32; 3],
    cluster: [u32; 3],
    seed: u64,
    schedules: u64,
    completed: bool,
    /// Instructions that warps executed.
    instructions: u64,
    /// The same, counted once for each lane that did.
    lane_instructions: u64,
    counts: Counted,
    /// What was found under any seed, each once for a line of the kernel.
    findings: Vec<Found>,
}

/// The outputs of the first launch that came to its end.
pub(super) struct Reference {
    pub seed: u64,
    pub tensors: Vec<(String, Memory)>,
}

impl Reference {
    fn tensor(&self, name: &str) -> Option<&Memory> {
        let found = self.tensors.iter().find(|(own, _)| own == name);
        found.map(|(_, tensor)| tensor)
    }
}

/// What the first launch did, as [`Counts`] defines it.
#[derive(Default, Serialize)]
struct Counted {
    /// Instructions of warps by class.
    instructions: BTreeMap<&'static str, u64>,
    global_read: u64,
    global_written: u64,
    global_sectors: u64,
    shared_read: u64,
    shared_written: u64,
    shared_wavefronts: u64,
    bank_conflicts: u64,
    local_read: u64,
    local_written: u64,
    constant_read: u64,
    parameter_read: u64,
    parameter_written: u64,
    tensor_read: u64,
    tensor_written: u64,
    /// Of matrices, by instruction, its kind and the operands' types: `mma.kind::mxf4.e2m1.e2m1`.
    multiply_adds: BTreeMap<String, u64>,
    model_dependent: u64,
}

impl Counted {
    fn of(counts: &Counts) -> Self {
        let instructions = Class::ALL.iter().zip(counts.instructions);
        Self {
            instructions: instructions
                .map(|(class, count)| (class.name(), count))
                .collect(),
            global_read: counts.global.read,
            global_written: counts.global.written,
            global_sectors: counts.global_sectors,
            shared_read: counts.shared.read,
            shared_written: counts.shared.written,
            shared_wavefronts: counts.shared_wavefronts,
            bank_conflicts: counts.bank_conflicts,
            local_read: counts.local.read,
            local_written: counts.local.written,
            constant_read: counts.constant.read,
            parameter_read: counts.parameter.read,
            parameter_written: counts.parameter.written,
            tensor_read: counts.tensor.read,
            tensor_written: counts.tensor.written,
            multiply_adds: (counts.multiply_adds.iter())
                .map(|(kind, &count)| (kind.to_string(), count))
                .collect(),
            model_dependent: counts.model_dependent,
        }
    }
}

/// Something that a kernel must not do.
#[derive(Serialize, PartialEq)]
struct Found {
    /// The seed of the launch.
    seed: u64,
    /// A word for what kind of finding it is.
    kind: &'static str,
    what: String,
    /// Where in memory, of what has an address.
    address: Option<u64>,
    /// Where in the text, for what an instruction does.
    #[serde(flatten)]
    place: Option<FoundPlace>,
}

#[derive(Serialize, PartialEq)]
struct FoundPlace {
    kernel: String,
    /// The kernel, or the function that it called.
    function: String,
    line: u32,
    column: u32,
    cta: [u32; 3],
    warp: u32,
    lane: u32,
}

impl Run {
    /// Before any launch.
    pub fn new(program: &Program, arguments: &EmulateArguments, shape: &Launch) -> Self {
        Self {
            kernel: shape.kernel.clone(),
            target: program.target().to_vec(),
            grid: shape.grid,
            block: shape.block,
            cluster: shape.cluster,
            seed: arguments.seed,
            schedules: arguments.schedules,
            completed: true,
            instructions: 0,
            lane_instructions: 0,
            counts: Counted::default(),
            findings: Vec::new(),
        }
    }

    /// Adds a launch and its outputs, which are held against the first launch's.
    pub fn add(
        &mut self,
        seed: u64,
        report: Report,
        outputs: &[Output],
        first: Option<&Reference>,
    ) {
        if seed == self.seed {
            self.instructions = report.instructions;
            self.lane_instructions = report.lane_instructions;
            self.counts = Counted::of(&report.counts);
        }
        self.completed &= report.completed;
        for finding in report.findings {
            self.find(Found::new(seed, &finding));
        }
        if !report.completed {
            return;
        }
        for Output { name, tensor } in outputs {
            let before = first.and_then(|first| Some((first.seed, first.tensor(name)?)));
            let what = match (tensor, before) {
                (Err(reason), _) => format!("output '{name}': {reason}"),
                (Ok(own), Some((other, before))) if own.bytes != before.bytes => {
                    format!("output '{name}': under seed {seed} other bits than under seed {other}")
                }
                (Ok(_), _) => continue,
            };
            self.find(Found {
                seed,
                kind: "output",
                what,
                address: None,
                place: None,
            });
        }
    }

    /// Keeps what was not found at the same line before, of each kind; of waits, one for another mbarrier.
    fn find(&mut self, found: Found) {
        let key = |found: &Found| {
            let waits_for = found.address.filter(|_| found.kind == "deadlock");
            let place = found.place.as_ref();
            place.map(|place| (place.line, place.column, found.kind, waits_for))
        };
        let is_known = |own: &Found| match (key(own), key(&found)) {
            (Some(own), Some(found)) => own == found,
            (None, None) => own.what == found.what,
            _ => false,
        };
        if !self.findings.iter().any(is_known) {
            self.findings.push(found);
        }
    }

    /// The figures as a table.
    pub fn summary(&self) -> String {
        let of = |[x, y, z]: [u32; 3]| format!("{x} x {y} x {z}");
        let mut rows = vec![
            vec!["target".to_owned(), self.target.join(", ")],
            vec!["grid".to_owned(), of(self.grid)],
            vec!["block".to_owned(), of(self.block)],
            vec!["cluster".to_owned(), of(self.cluster)],
            vec!["schedules".to_owned(), self.schedules.to_string()],
        ];
        for (name, count) in [
            ("warp instructions", self.instructions),
            ("lane instructions", self.lane_instructions),
            ("bytes read of global memory", self.counts.global_read),
            ("bytes written to global memory", self.counts.global_written),
            ("bytes read of shared memory", self.counts.shared_read),
            ("bytes written to shared memory", self.counts.shared_written),
            ("bytes read of tensor memory", self.counts.tensor_read),
            ("bytes written to tensor memory", self.counts.tensor_written),
            ("sectors of global memory", self.counts.global_sectors),
            ("wavefronts of shared memory", self.counts.shared_wavefronts),
            ("bank conflicts", self.counts.bank_conflicts),
            ("model-dependent numbers", self.counts.model_dependent),
        ] {
            rows.push(vec![name.to_owned(), count.to_string()]);
        }
        for (kind, count) in &self.counts.multiply_adds {
            rows.push(vec![format!("multiply-adds of {kind}"), count.to_string()]);
        }
        rows.push(vec!["findings".to_owned(), self.findings.len().to_string()]);
        columns(&["kernel", &self.kernel], &rows, 2)
    }

    /// What was found, a line each, with places in the file.
    pub fn findings_in(&self, file: &str) -> Option<String> {
        let lines = self.findings.iter().map(|found| match &found.place {
            None => format!("{file}: found: {} (seed {})", found.what, found.seed),
            Some(place) => {
                let [x, y, z] = place.cta;
                let function = match &place.function {
                    function if *function == place.kernel => String::new(),
                    function => format!(", function {function}"),
                };
                format!(
                    "{file}:{}:{}: found: {} (kernel {}{function}, CTA {x},{y},{z}, warp {}, lane {}, seed {})",
                    place.line, place.column, found.what, place.kernel, place.warp, place.lane, found.seed
                )
            }
        });
        let lines: Vec<String> = lines.collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }
}

impl Found {
    fn new(seed: u64, finding: &Finding) -> Self {
        Self {
            seed,
            kind: finding.kind.name(),
            what: finding.kind.to_string(),
            address: finding.kind.address(),
            place: Some(FoundPlace {
                kernel: finding.kernel.clone(),
                function: finding.function.clone(),
                line: finding.place.line,
                column: finding.place.column,
                cta: finding.cta,
                warp: finding.warp,
                lane: finding.lane,
            }),
        }
    }
}
