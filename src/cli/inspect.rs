//! `tessera inspect`: what a bundle holds, for people.

use super::arguments::InspectArguments;
use super::print;
use crate::Failure;
use std::fmt::{Display, Write};
use tessera_runtime::Bundle;
use tessera_runtime::bundle::{
    BatchDimension, Code, Kernel, Manifest, MatrixUnit, PtxKernel, Step, Tile, ValueType, Work,
};
use tessera_targets::nvptx::Chip;

pub(super) fn inspect(arguments: &InspectArguments) -> Result<(), Failure> {
    let bundle = Bundle::open(&arguments.bundle).map_err(Failure::error)?;
    let manifest = bundle.manifest();
    if arguments.json {
        let json = serde_json::to_string_pretty(manifest).map_err(Failure::error)?;
        return print(&format!("{json}\n"));
    }
    print(&summary(manifest))
}

fn summary(manifest: &Manifest) -> String {
    let mut text = String::new();
    let mut line = |what: &str, value: &dyn Display| {
        let _ = writeln!(text, "{what:<10}{value}");
    };
    line("graph", &manifest.graph);
    line(
        "target",
        &format!(
            "{} ({})",
            manifest.target.name, manifest.target.architecture
        ),
    );
    line("features", &manifest.target.features.join(" "));
    line(
        "compiler",
        &format!("{} {}", manifest.compiler.name, manifest.compiler.version),
    );
    line("pipeline", &manifest.pipeline);
    let constants: usize = manifest
        .constants
        .iter()
        .map(|constant| constant.bytes)
        .sum();
    line(
        "memory",
        &format!(
            "arena {}, constants {}",
            bytes(manifest.arena_bytes),
            bytes(constants)
        ),
    );
    for (name, file) in &manifest.files {
        line(
            "file",
            &format!("{name}, {} bytes, blake3 {}", file.bytes, file.blake3),
        );
    }
    for (number, input) in manifest.inputs.iter().enumerate() {
        let name = input
            .name
            .as_ref()
            .map_or(String::new(), |name| format!("  \"{name}\""));
        let donate = input
            .donate
            .map_or(String::new(), |result| format!("  becomes result{result}"));
        let _ = writeln!(text, "arg{number:<7}{}{donate}{name}", input.tensor_type);
    }
    for (number, result) in manifest.results.iter().enumerate() {
        let name = result
            .name
            .as_ref()
            .map_or(String::new(), |name| format!("  \"{name}\""));
        let _ = writeln!(text, "result{number:<4}{}{name}", result.tensor_type);
    }
    let chip = manifest.target.name.parse().ok().and_then(Chip::of);
    if let Some(chip) = chip {
        let _ = writeln!(
            text,
            "{:<10}{}, {:.1} TB/s, {} Tflop/s in f32; times at least are for it",
            "chip",
            chip.name,
            chip.gigabytes / 1e3,
            chip.cores
        );
    }
    let mut launches = vec![0usize; manifest.kernels.len()];
    count_launches(&manifest.schedule, &mut launches);
    for (kernel, launches) in manifest.kernels.iter().zip(launches) {
        let _ = writeln!(
            text,
            "kernel    {}  {launches} launch(es)  {}, {}",
            kernel.name,
            code(kernel),
            roofline(&kernel.work, chip)
        );
    }
    text
}

/// `1.5 MiB, 3.1 Mop, at least 0.42 us (memory)`: what a launch has to do, and how long a chip takes for it at best.
fn roofline(work: &Work, chip: Option<&Chip>) -> String {
    let mut text = bytes(work.bytes as usize);
    if work.operations > 0 {
        let _ = write!(text, ", {}", operations(work.operations));
    }
    if let Some(unit) = work.matrix_unit {
        let numbers = match unit {
            MatrixUnit::Half => "16-bit",
            MatrixUnit::Fp8 => "8-bit",
            MatrixUnit::Fp4 => "4-bit",
        };
        let count = operations(work.matrix_operations);
        let _ = write!(text, ", {count} of {numbers} matrix units");
    }
    if let Some((seconds, bound)) = chip.and_then(|chip| chip.least_seconds(work)) {
        let _ = write!(text, ", at least {} ({bound})", time(seconds));
    }
    text
}

/// `12.3 us`.
fn time(seconds: f64) -> String {
    match seconds {
        ..1e-6 => format!("{:.1} ns", seconds * 1e9),
        1e-6..1e-3 => format!("{:.1} us", seconds * 1e6),
        _ => format!("{:.1} ms", seconds * 1e3),
    }
}

/// `3.1 Mop`.
fn operations(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} op"),
        1_000..1_000_000 => format!("{:.1} kop", count as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} Mop", count as f64 / 1e6),
        _ => format!("{:.1} Gop", count as f64 / 1e9),
    }
}

/// How a kernel runs: its blocks, or what the runtime computes in its place.
fn code(kernel: &Kernel) -> String {
    match &kernel.code {
        Code::Function(function) => {
            format!(
                "{} blocks, at least {} a thread",
                function.blocks, function.grain
            )
        }
        Code::Ptx(kernel) => ptx(kernel),
        Code::Gemm(gemm) => format!(
            "gemm {} × {}x{}x{} {}",
            products(&gemm.batch),
            gemm.m,
            gemm.n,
            gemm.k,
            gemm.element_type
        ),
        Code::GroupedGemm(_) => format!("grouped gemm, {} groups", groups(kernel)),
        Code::ScaledDot(product) => {
            let operand = kernel.operands.first().and_then(ValueType::as_scaled);
            let (k, format) = operand.map_or((0, String::new()), |operand| {
                (operand.columns(), operand.format().to_string())
            });
            let epilogue = match &product.epilogue {
                Some(_) => ", epilogue",
                None => "",
            };
            format!(
                "scaled_dot {} × {}x{}x{k} {format}{epilogue}",
                products(&product.batch),
                product.m,
                product.n
            )
        }
        Code::GroupedScaledDot => {
            let operand = kernel.operands.first().and_then(ValueType::as_scaled);
            let format = operand.map_or(String::new(), |operand| operand.format().to_string());
            format!("grouped scaled_dot, {} groups, {format}", groups(kernel))
        }
        Code::Quantize(quantize) => {
            let each = quantize.outputs.iter().zip(&kernel.results);
            let each = each.map(|(output, result)| {
                let of = output.hadamard.as_ref().map_or(String::new(), |signs| {
                    format!(", of a hadamard of {}", signs.len())
                });
                format!("{result} by {}, {}{of}", output.rule, output.rounding)
            });
            let centred = if quantize.centred { "centred, " } else { "" };
            let prologue = match &quantize.prologue {
                Some(_) => "prologue, ",
                None => "",
            };
            let each = each.collect::<Vec<_>>().join("; ");
            format!("quantize {prologue}{centred}{each}")
        }
        Code::Dequantize => "dequantize".to_owned(),
        Code::Relayout => "relayout".to_owned(),
        Code::AxisSums => match kernel.operands.len() {
            1 => "sums of a scaled tensor along its axis".to_owned(),
            _ => "weighted sums of a scaled tensor along its axis".to_owned(),
        },
        Code::Hadamard(hadamard) => format!(
            "hadamard of {} along dimension {}",
            hadamard.negative.len(),
            hadamard.axis
        ),
        Code::HadamardMagnitudes(magnitudes) => format!(
            "largest magnitudes of a hadamard of {} along dimension {}",
            magnitudes.transform.negative.len(),
            magnitudes.transform.axis
        ),
        Code::Orthonormalize => "orthonormalize".to_owned(),
    }
}

/// `add_f32  grid 8x1x1, block 128x1x1, cluster 2x1x1, 16.0 KiB shared`.
fn ptx(kernel: &PtxKernel) -> String {
    let extents = |[x, y, z]: [u32; 3]| format!("{x}x{y}x{z}");
    let mut text = format!(
        "{}  grid {}, block {}",
        kernel.entry,
        extents(kernel.grid),
        extents(kernel.block)
    );
    if kernel.cluster != [1; 3] {
        let _ = write!(text, ", cluster {}", extents(kernel.cluster));
    }
    let sizes = [
        (kernel.shared_bytes as usize, "shared"),
        (kernel.workspace_bytes, "workspace"),
    ];
    for (size, what) in sizes.into_iter().filter(|(size, _)| *size > 0) {
        let _ = write!(text, ", {} {what}", bytes(size));
    }
    if let Some(tile) = &kernel.tile {
        let Tile {
            rows,
            columns,
            depth,
            stages,
        } = tile;
        let plural = if *stages == 1 { "" } else { "s" };
        let _ = write!(
            text,
            ", tile {rows}x{columns}x{depth} in {stages} stage{plural}"
        );
    }
    if let Some(resources) = &kernel.resources {
        let _ = write!(text, ", {} registers", resources.registers);
        let sizes = [
            (resources.shared_bytes, "static shared"),
            (resources.stack_bytes, "stack"),
            (resources.spill_store_bytes, "spilled"),
        ];
        for (size, what) in sizes.into_iter().filter(|(size, _)| *size > 0) {
            let _ = write!(text, ", {} {what}", bytes(size as usize));
        }
    }
    for map in &kernel.tensor_maps {
        let _ = write!(
            text,
            ", boxes of {:?} of buffer {}",
            map.box_extents, map.buffer
        );
    }
    text
}

/// The groups of a grouped product.
fn groups(kernel: &Kernel) -> usize {
    let sizes = kernel.operands.get(2).and_then(ValueType::as_tensor);
    sizes.map_or(0, |sizes| sizes.shape.iter().product())
}

/// The number of products in a batch.
fn products(batch: &[BatchDimension]) -> usize {
    batch.iter().map(|dimension| dimension.extent).product()
}

/// Adds up how often each kernel stands in the schedule; a loop's body counts once.
fn count_launches(steps: &[Step], launches: &mut [usize]) {
    for step in steps {
        match step {
            Step::Launch { kernel, .. } => launches[*kernel] += 1,
            Step::Copy { .. } => {}
            Step::While {
                condition, body, ..
            } => {
                count_launches(condition, launches);
                count_launches(body, launches);
            }
            Step::Case { branches, .. } => {
                branches
                    .iter()
                    .for_each(|branch| count_launches(branch, launches));
            }
        }
    }
}

/// `1.5 MiB`.
pub(super) fn bytes(count: usize) -> String {
    match count {
        0..1024 => format!("{count} B"),
        1024..1_048_576 => format!("{:.1} KiB", count as f64 / 1024.0),
        _ => format!("{:.1} MiB", count as f64 / 1_048_576.0),
    }
}
