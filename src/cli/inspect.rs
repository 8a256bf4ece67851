//! `tessera inspect`: what a bundle holds, for people.

use super::arguments::InspectArguments;
use super::print;
use crate::Failure;
use std::fmt::{Display, Write};
use tessera_runtime::Bundle;
use tessera_runtime::bundle::{BatchDimension, Code, Kernel, Manifest, PtxKernel, Step, ValueType};

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
    let mut launches = vec![0usize; manifest.kernels.len()];
    count_launches(&manifest.schedule, &mut launches);
    for (kernel, launches) in manifest.kernels.iter().zip(launches) {
        let _ = writeln!(
            text,
            "kernel    {}  {launches} launch(es)  {}",
            kernel.name,
            code(kernel)
        );
    }
    text
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
            format!(
                "scaled_dot {} × {}x{}x{k} {format}",
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
                format!("{result} by {}, {}", output.rule, output.rounding)
            });
            let centred = if quantize.centred { "centred, " } else { "" };
            format!("quantize {centred}{}", each.collect::<Vec<_>>().join("; "))
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
