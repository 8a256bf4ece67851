//! Whether a manifest agrees with itself: every number in range, every type where it belongs, nothing written that
//! must not be.
//!
//! What is checked here is what the executor relies on when it turns places into addresses.

mod builtins;
mod ptx;

use super::manifest::*;
use super::{
    ALIGNMENT, BundleError, CONSTANTS_FILE, DIGEST_FILE, KERNELS_FILE, MANIFEST_FILE, MAX_NESTING,
    TensorType, ValueType,
};
use std::collections::HashMap;
use std::fmt::Display;
use std::path::Path;
use tessera_numerics::{ElementType, Initialiser};

/// Checks all of `manifest`; `path` is what messages call it.
pub(super) fn validate(manifest: &Manifest, path: &Path) -> Result<(), BundleError> {
    let check = Check { manifest, path };
    check.files()?;
    check.inputs_and_results()?;
    check.constants()?;
    check.arena()?;
    check.buffers()?;
    check.kernels()?;
    check.steps(&manifest.schedule, "schedule", 0)
}

/// Bytes of memory that no other region shares.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Memory {
    Input(usize),
    Result(usize),
    Constant(usize),
    Arena,
}

/// A range of bytes in a memory.
#[derive(Clone, Copy)]
struct Span {
    memory: Memory,
    begin: usize,
    end: usize,
}

impl Span {
    fn overlaps(self, other: Self) -> bool {
        self.memory == other.memory && self.begin.max(other.begin) < self.end.min(other.end)
    }

    fn starts_with(self, other: Self) -> bool {
        self.memory == other.memory && self.begin == other.begin
    }
}

struct Check<'a> {
    manifest: &'a Manifest,
    path: &'a Path,
}

type Checked<T = ()> = Result<T, BundleError>;

impl Check<'_> {
    fn error(
        &self,
        item: impl Display,
        expected: impl Display,
        found: impl Display,
    ) -> BundleError {
        BundleError::Inconsistent {
            path: self.path.to_path_buf(),
            item: item.to_string(),
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }

    /// `ensure(holds, item, expected, found)`: an error unless `holds`.
    fn ensure(
        &self,
        holds: bool,
        item: impl Display,
        expected: impl Display,
        found: impl Display,
    ) -> Checked {
        if holds {
            Ok(())
        } else {
            Err(self.error(item, expected, found))
        }
    }

    /// The entry of `list` that `index` names.
    fn entry<'t, T>(
        &self,
        list: &'t [T],
        index: usize,
        item: impl Display,
        what: &str,
    ) -> Checked<&'t T> {
        list.get(index).ok_or_else(|| {
            let expected = match list.len() {
                0 => format!("no {what}, for there are none"),
                1 => format!("{what} 0"),
                count => format!("{what} 0 to {}", count - 1),
            };
            self.error(item, expected, index)
        })
    }

    fn bytes(&self, tensor_type: &TensorType, item: impl Display) -> Checked<usize> {
        self.fitting(tensor_type.bytes(), tensor_type, item)
    }

    fn value_bytes(&self, value_type: &ValueType, item: impl Display) -> Checked<usize> {
        self.fitting(value_type.bytes(), value_type, item)
    }

    fn fitting(
        &self,
        bytes: Option<usize>,
        of: impl Display,
        item: impl Display,
    ) -> Checked<usize> {
        let expected = "a tensor that fits into the address space";
        bytes.ok_or_else(|| self.error(item, expected, of))
    }

    fn files(&self) -> Checked {
        for (name, file) in &self.manifest.files {
            let item = format!("files.\"{name}\"");
            let reserved = name == MANIFEST_FILE || name == DIGEST_FILE;
            self.ensure(
                is_plain_file_name(name) && !reserved,
                &item,
                "the plain name of a file besides the manifest",
                format!("\"{name}\""),
            )?;
            self.ensure(
                file.blake3.len() == 64 && file.blake3.bytes().all(|c| c.is_ascii_hexdigit()),
                format!("{item}.blake3"),
                "64 hexadecimal digits",
                format!("\"{}\"", file.blake3),
            )?;
        }
        Ok(())
    }

    fn inputs_and_results(&self) -> Checked {
        let results = &self.manifest.results;
        for (number, result) in results.iter().enumerate() {
            self.bytes(&result.tensor_type, format!("results[{number}].type"))?;
        }
        let mut donors = HashMap::new();
        for (number, input) in self.manifest.inputs.iter().enumerate() {
            self.bytes(&input.tensor_type, format!("inputs[{number}].type"))?;
            if let Some(text) = &input.initialiser {
                let item = format!("inputs[{number}].initialiser");
                let initialiser = text.parse::<Initialiser>();
                initialiser.map_err(|error| self.error(item, "an initialiser", error))?;
            }
            let Some(donate) = input.donate else { continue };
            let item = format!("inputs[{number}].donate");
            let result = self.entry(results, donate, &item, "result")?;
            self.ensure(
                input.tensor_type == result.tensor_type,
                &item,
                format!("a result of type {}", input.tensor_type),
                format!("result {donate} of type {}", result.tensor_type),
            )?;
            if let Some(other) = donors.insert(donate, number) {
                return Err(self.error(
                    &item,
                    "a result that no other input is donated to",
                    format!("result {donate}, which takes over input {other}"),
                ));
            }
        }
        Ok(())
    }

    fn constants(&self) -> Checked {
        let file_bytes = self.manifest.files.get(CONSTANTS_FILE).map(|f| f.bytes);
        for (number, constant) in self.manifest.constants.iter().enumerate() {
            let item = format!("constants[{number}]");
            let bytes = self.bytes(&constant.tensor_type, format!("{item}.type"))?;
            self.ensure(
                constant.bytes == bytes,
                format!("{item}.bytes"),
                format!("{bytes} for {}", constant.tensor_type),
                constant.bytes,
            )?;
            self.aligned(constant.offset, format!("{item}.offset"))?;
            let Some(file_bytes) = file_bytes else {
                return Err(self.error(item, format!("the file {CONSTANTS_FILE}"), "none"));
            };
            let end = constant.offset.checked_add(bytes);
            self.ensure(
                end.is_some_and(|end| end as u64 <= file_bytes),
                &item,
                format!("bytes inside the {file_bytes} of {CONSTANTS_FILE}"),
                format!("{bytes} bytes from {} on", constant.offset),
            )?;
        }
        Ok(())
    }

    fn aligned(&self, offset: usize, item: impl Display) -> Checked {
        let expected = format!("a multiple of {ALIGNMENT}");
        self.ensure(offset.is_multiple_of(ALIGNMENT), item, expected, offset)
    }

    fn arena(&self) -> Checked {
        let bytes = self.manifest.arena_bytes;
        self.ensure(
            isize::try_from(bytes).is_ok(),
            "arena_bytes",
            "a size that fits into the address space",
            bytes,
        )
    }

    fn buffers(&self) -> Checked {
        let manifest = self.manifest;
        for (number, buffer) in manifest.buffers.iter().enumerate() {
            let bytes = self.value_bytes(&buffer.value_type, format!("buffers[{number}].type"))?;
            let item = format!("buffers[{number}].place");
            let holder = match buffer.place {
                Place::Input(index) => {
                    &self
                        .entry(&manifest.inputs, index, &item, "input")?
                        .tensor_type
                }
                Place::Result(index) => {
                    &self
                        .entry(&manifest.results, index, &item, "result")?
                        .tensor_type
                }
                Place::Constant(index) => {
                    &self
                        .entry(&manifest.constants, index, &item, "constant")?
                        .tensor_type
                }
                Place::Arena(offset) => {
                    self.aligned(offset, &item)?;
                    self.ensure(
                        offset
                            .checked_add(bytes)
                            .is_some_and(|end| end <= manifest.arena_bytes),
                        &item,
                        format!("bytes inside the {} of the arena", manifest.arena_bytes),
                        format!("{bytes} bytes from {offset} on"),
                    )?;
                    continue;
                }
            };
            let held = self.bytes(holder, &item)?;
            self.ensure(
                bytes <= held,
                &item,
                format!("at most the {held} bytes of {holder}"),
                format!("{bytes} bytes of {}", buffer.value_type),
            )?;
        }
        Ok(())
    }

    fn kernels(&self) -> Checked {
        let mut names = HashMap::new();
        for (number, kernel) in self.manifest.kernels.iter().enumerate() {
            let item = format!("kernels[{number}]");
            if let Some(other) = names.insert(&kernel.name, number) {
                return Err(self.error(
                    format!("{item}.name"),
                    "a name of its own",
                    format!("\"{}\", the name of kernel {other}", kernel.name),
                ));
            }
            for (list, types) in [("operands", &kernel.operands), ("results", &kernel.results)] {
                for (index, value_type) in types.iter().enumerate() {
                    self.value_bytes(value_type, format!("{item}.{list}[{index}]"))?;
                }
            }
            self.runs_on_the_target(kernel, &item)?;
            match &kernel.code {
                Code::Ptx(ptx) => self.ptx(ptx, kernel, &format!("{item}.ptx"))?,
                Code::Function(function) => self.function(function, &format!("{item}.function"))?,
                Code::Gemm(gemm) => self.gemm(gemm, kernel, &format!("{item}.gemm"))?,
                Code::GroupedGemm(grouped) => {
                    self.grouped_gemm(*grouped, kernel, &format!("{item}.grouped_gemm"))?;
                }
                Code::ScaledDot(product) => {
                    self.scaled_dot(product, kernel, &format!("{item}.scaled_dot"))?;
                }
                Code::GroupedScaledDot => {
                    self.grouped_scaled_dot(kernel, &format!("{item}.grouped_scaled_dot"))?;
                }
                Code::Quantize(quantize) => {
                    self.quantize(quantize, kernel, &format!("{item}.quantize"))?;
                }
                Code::Dequantize => self.dequantize(kernel, &format!("{item}.dequantize"))?,
                Code::Relayout => self.relayout(kernel, &format!("{item}.relayout"))?,
                Code::AxisSums => self.axis_sums(kernel, &format!("{item}.axis_sums"))?,
                Code::Hadamard(hadamard) => {
                    self.hadamard(hadamard, kernel, &format!("{item}.hadamard"))?;
                }
                Code::HadamardMagnitudes(magnitudes) => {
                    let item = format!("{item}.hadamard_magnitudes");
                    self.hadamard_magnitudes(magnitudes, kernel, &item)?;
                }
                Code::Orthonormalize => {
                    self.orthonormalize(kernel, &format!("{item}.orthonormalize"))?;
                }
            }
        }
        Ok(())
    }

    /// A function of `kernels.so`.
    fn symbol(&self, symbol: &str, item: &str) -> Checked {
        self.ensure(
            self.manifest.files.contains_key(KERNELS_FILE),
            item,
            format!("the file {KERNELS_FILE}"),
            "none",
        )?;
        self.ensure(
            is_c_identifier(symbol),
            format!("{item}.symbol"),
            "a C identifier",
            format!("\"{symbol}\""),
        )
    }

    fn function(&self, function: &Function, item: &str) -> Checked {
        self.symbol(&function.symbol, item)?;
        self.ensure(
            i64::try_from(function.blocks).is_ok(),
            format!("{item}.blocks"),
            format!("at most {}", i64::MAX),
            function.blocks,
        )?;
        self.ensure(
            function.grain >= 1,
            format!("{item}.grain"),
            "at least 1",
            function.grain,
        )?;
        self.ensure(
            isize::try_from(function.scratch_bytes).is_ok(),
            format!("{item}.scratch_bytes"),
            "a size that fits into the address space",
            function.scratch_bytes,
        )
    }

    fn steps(&self, steps: &[Step], list: &str, depth: usize) -> Checked {
        self.ensure(
            depth <= MAX_NESTING,
            list,
            format!("at most {MAX_NESTING} nested steps"),
            "more",
        )?;
        for (number, step) in steps.iter().enumerate() {
            let item = format!("{list}[{number}]");
            match step {
                Step::Launch {
                    kernel,
                    operands,
                    results,
                } => self.launch(*kernel, operands, results, &format!("{item}.launch"))?,
                Step::Copy {
                    source,
                    destination,
                } => self.copy(*source, *destination, &format!("{item}.copy"))?,
                Step::While {
                    condition,
                    predicate,
                    body,
                } => {
                    let item = format!("{item}.while");
                    self.scalar(*predicate, ElementType::I1, &format!("{item}.predicate"))?;
                    self.steps(condition, &format!("{item}.condition"), depth + 1)?;
                    self.steps(body, &format!("{item}.body"), depth + 1)?;
                }
                Step::Case { index, branches } => {
                    let item = format!("{item}.case");
                    self.scalar(*index, ElementType::I32, &format!("{item}.index"))?;
                    self.ensure(
                        !branches.is_empty(),
                        format!("{item}.branches"),
                        "at least one branch",
                        "none",
                    )?;
                    for (number, branch) in branches.iter().enumerate() {
                        self.steps(branch, &format!("{item}.branches[{number}]"), depth + 1)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn launch(&self, kernel: usize, operands: &[usize], results: &[usize], item: &str) -> Checked {
        let kernel = self.entry(
            &self.manifest.kernels,
            kernel,
            format!("{item}.kernel"),
            "kernel",
        )?;
        let mut operand_spans = Vec::with_capacity(operands.len());
        let mut result_spans: Vec<Span> = Vec::with_capacity(results.len());
        for (list, buffers, types, spans) in [
            ("operands", operands, &kernel.operands, &mut operand_spans),
            ("results", results, &kernel.results, &mut result_spans),
        ] {
            self.ensure(
                buffers.len() == types.len(),
                format!("{item}.{list}"),
                format!("the {} of kernel \"{}\"", types.len(), kernel.name),
                buffers.len(),
            )?;
            for (position, (&number, value_type)) in buffers.iter().zip(types).enumerate() {
                let item = format!("{item}.{list}[{position}]");
                let buffer = self.entry(&self.manifest.buffers, number, &item, "buffer")?;
                self.ensure(
                    buffer.value_type == *value_type,
                    &item,
                    format!("a buffer of type {value_type}"),
                    format!("buffer {number} of type {}", buffer.value_type),
                )?;
                spans.push(self.span(buffer));
            }
        }
        // Operands from this one on may be written over.
        let in_place = match &kernel.code {
            Code::Function(_) | Code::Ptx(_) => 0,
            Code::ScaledDot(product) if product.epilogue.is_some() => 2,
            _ => operands.len(),
        };
        for (position, (&span, &number)) in result_spans.iter().zip(results).enumerate() {
            let item = format!("{item}.results[{position}]");
            self.writable(number, &item)?;
            let shared = operand_spans
                .iter()
                .zip(operands)
                .enumerate()
                .find(|&(position, (&operand, _))| {
                    let is_over = position >= in_place && span.starts_with(operand);
                    span.overlaps(operand) && !is_over
                })
                .map(|(_, shared)| shared)
                .or_else(|| {
                    let earlier = result_spans[..position].iter().zip(results);
                    earlier
                        .into_iter()
                        .find(|(other, _)| span.overlaps(**other))
                });
            if let Some((_, other)) = shared {
                return Err(self.error(
                    item,
                    "memory that no other buffer of the launch shares",
                    format!("buffer {number}, which overlaps buffer {other}"),
                ));
            }
        }
        Ok(())
    }

    fn copy(&self, source: usize, destination: usize, item: &str) -> Checked {
        let (from, to) = (format!("{item}.source"), format!("{item}.destination"));
        let buffers = &self.manifest.buffers;
        let source_buffer = self.entry(buffers, source, from, "buffer")?;
        let destination_buffer = self.entry(buffers, destination, &to, "buffer")?;
        let (source_span, destination_span) =
            (self.span(source_buffer), self.span(destination_buffer));
        self.ensure(
            source_span.end - source_span.begin == destination_span.end - destination_span.begin,
            &to,
            format!(
                "a buffer of the source's size, {}",
                source_buffer.value_type
            ),
            &destination_buffer.value_type,
        )?;
        self.ensure(
            !source_span.overlaps(destination_span) || source_span.starts_with(destination_span),
            &to,
            "a buffer that the source does not overlap",
            format!("buffer {destination}, which overlaps buffer {source}"),
        )?;
        self.writable(destination, &to)
    }

    fn scalar(&self, buffer: usize, element_type: ElementType, item: &str) -> Checked {
        let found = &self
            .entry(&self.manifest.buffers, buffer, item, "buffer")?
            .value_type;
        let expected = ValueType::Tensor(TensorType::new(element_type, []));
        self.ensure(*found == expected, item, expected, found)
    }

    fn writable(&self, buffer: usize, item: &str) -> Checked {
        let found = match self.manifest.buffers[buffer].place {
            Place::Arena(_) | Place::Result(_) => return Ok(()),
            Place::Input(input) if self.manifest.inputs[input].donate.is_some() => return Ok(()),
            Place::Input(input) => format!("buffer {buffer} in input {input}, which is not"),
            Place::Constant(constant) => format!("buffer {buffer} in constant {constant}"),
        };
        Err(self.error(
            item,
            "a buffer in the arena, a result or a donated input",
            found,
        ))
    }

    /// The memory of a buffer that [`buffers`](Self::buffers) found in order.
    fn span(&self, buffer: &Buffer) -> Span {
        let (memory, begin) = match buffer.place {
            Place::Input(input) => match self.manifest.inputs[input].donate {
                Some(result) => (Memory::Result(result), 0),
                None => (Memory::Input(input), 0),
            },
            Place::Result(result) => (Memory::Result(result), 0),
            Place::Constant(constant) => (Memory::Constant(constant), 0),
            Place::Arena(offset) => (Memory::Arena, offset),
        };
        let bytes = buffer.value_type.bytes().unwrap_or(0);
        Span {
            memory,
            begin,
            end: begin + bytes,
        }
    }
}

/// Whether `name` names a file in the bundle itself: no folder, no drive, nothing hidden.
pub(super) fn is_plain_file_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-'))
}

fn is_c_identifier(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_')
}
