//! Scaled tensors made of a tensor, with the quantiser of `tessera-numerics`.
//!
//! The quantiser's parts are the blocks that threads share. Each writes bytes of its own, and what it writes does not
//! depend on where the parts are cut.

use super::library::KernelFunction;
use super::row_function::RowFunction;
use super::team::Member;
use crate::bundle::{Quantize, QuantizeOutput};
use std::sync::{Mutex, PoisonError};
use tessera_numerics::{
    Quantization, QuantizationError, Quantizer, QuantizerDraw, QuantizerError, QuantizerInput,
    QuantizerPart, QuantizerValues, RandomStream, ScaledType,
};

/// The elements that are worth a part of their own: some tens of microseconds on one core.
const PART_ELEMENTS: usize = 1 << 16;

/// Why there is no such kernel.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(super) enum QuantizeKernelError {
    #[error(transparent)]
    Quantization(#[from] QuantizationError),
    #[error(transparent)]
    Quantizer(#[from] QuantizerError),
}

/// The buffers of a launch, for all threads.
struct Given<'a>(&'a [*mut u8]);

// SAFETY: addresses; `QuantizeKernel::run`, which uses them, is unsafe and states what must hold of them.
unsafe impl Sync for Given<'_> {}

impl<'a> Given<'a> {
    fn buffers(&self) -> &'a [*mut u8] {
        self.0
    }
}

/// Scaled tensors of one tensor.
pub(super) struct QuantizeKernel {
    quantizer: Quantizer,
    outputs: Vec<QuantizeOutput>,
    /// The elements of the tensor.
    elements: usize,
    /// The means that are subtracted, if any are.
    means: Option<usize>,
    /// What makes the tensor where it is read, and of how many operands.
    prologue: Option<(RowFunction, usize)>,
}

impl QuantizeKernel {
    /// Prepares to make tensors of the results' types, of what the prologue's function makes where there is one.
    pub(super) fn new<'a>(
        quantize: &Quantize,
        results: impl Iterator<Item = &'a ScaledType>,
        function: Option<KernelFunction>,
    ) -> Result<Self, QuantizeKernelError> {
        let each = quantize.outputs.iter().zip(results);
        let quantizations = each
            .map(|(output, scaled)| Quantization::new(scaled.clone(), output.rule, output.rounding))
            .collect::<Result<_, _>>()?;
        let transforms = quantize.outputs.iter().map(|one| one.hadamard.clone());
        let transforms: Vec<_> = transforms.collect();
        let quantizer = Quantizer::new(quantizations)?.with_hadamard(&transforms)?;
        let shape = quantizer.quantizations()[0].scaled_type().shape();
        let prologue = quantize.prologue.as_ref().zip(function);
        let prologue = prologue.map(|(prologue, function)| {
            let row = shape.last().copied().unwrap_or(1);
            (RowFunction { function, row }, prologue.operands)
        });
        Ok(Self {
            prologue,
            elements: shape.iter().product(),
            means: quantize.centred.then(|| shape.last().copied().unwrap_or(0)),
            outputs: quantize.outputs.clone(),
            quantizer,
        })
    }

    /// Makes the scaled tensors. `buffers` are the addresses of the operands, then of the results.
    ///
    /// # Safety
    /// The buffers are of the kernel's types, aligned and initialised, and the results apart from all else; nobody else
    /// writes any or reads a result meanwhile. The function is the kernel's prologue.
    pub(super) unsafe fn run(&self, member: Member, buffers: &[*mut u8]) {
        let given = Given(buffers);
        let make = self.prologue.as_ref().map(|(function, _)| {
            move |first: usize, room: &mut [f32]| {
                let mut addresses = RowFunction::addresses(given.buffers());
                // SAFETY: the caller's promises; there is room for the elements.
                unsafe {
                    let elements = first..first + room.len();
                    function.run(&mut addresses, elements, room.as_mut_ptr());
                }
            }
        });
        let first = self.prologue.map_or(0, |(_, operands)| operands);
        let mut buffers = buffers[first..].iter();
        let mut next = || *buffers.next().expect("validation counted the buffers");
        // SAFETY: the caller's promises: the tensor has that many elements, the mean as many as its last dimension.
        let (values, mean) = unsafe {
            let values = match &make {
                None => QuantizerValues::Given(std::slice::from_raw_parts(
                    next().cast::<f32>(),
                    self.elements,
                )),
                Some(make) => QuantizerValues::Made(make),
            };
            let means = self.means;
            let mean = means.map(|count| std::slice::from_raw_parts(next().cast::<f32>(), count));
            (values, mean)
        };
        let quantizations = self.quantizer.quantizations();
        let mut draws = Vec::with_capacity(self.outputs.len());
        for (output, quantization) in self.outputs.iter().zip(quantizations) {
            let has_tensor_scale = quantization.scaled_type().format().has_tensor_scale();
            // SAFETY: the caller's promises: where they are operands, both are scalars of that type.
            let (amax, step) = unsafe {
                let amax = has_tensor_scale.then(|| next().cast::<f32>().read());
                let is_random = quantization.rounding().is_random();
                (amax, is_random.then(|| next().cast::<u32>().read()))
            };
            draws.push(QuantizerDraw {
                amax: amax.unwrap_or(0.0),
                stream: step.map(|step| RandomStream {
                    seed: output.seed,
                    step,
                    site: output.site,
                }),
            });
        }
        let mut results: Vec<&mut [u8]> = quantizations
            .iter()
            .map(|one| {
                let bytes = one.scaled_type().byte_size();
                // SAFETY: the caller's promises: a result has the bytes of its type, and they are nobody else's.
                unsafe { std::slice::from_raw_parts_mut(next(), bytes) }
            })
            .collect();
        let input = QuantizerInput {
            values,
            mean,
            draws: &draws,
        };
        let mut job = self
            .quantizer
            .job(input, &mut results)
            .expect("numbers, means, draws and results are those of the quantisations");
        let parts = job.parts(self.elements.div_ceil(PART_ELEMENTS));
        let parts: Vec<Mutex<Option<QuantizerPart<'_>>>> = parts
            .into_iter()
            .map(|part| Mutex::new(Some(part)))
            .collect();
        member.share(parts.len() as u64, 1, &|_, range| {
            for part in &parts[range.start as usize..range.end as usize] {
                let part = part.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(part) = part {
                    part.run().expect("the job has checked what a part needs");
                }
            }
        });
    }
}
