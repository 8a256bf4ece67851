//! Tensors quantised and written, a stretch of the file at a time, so that memory holds a few tensors and never all.

use super::write::{Place, write};
use super::{Action, Description, Entry, Loss, Part, Plan};
use crate::Failure;
use rayon::prelude::*;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;
use tessera_numerics::{
    BlockShape, Quantization, Quantizer, QuantizerDraw, QuantizerError, QuantizerInput,
    QuantizerValues, RandomStream, ScaleLayout, ScaledTensor, ScaledType,
};

/// What was made of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The tensor.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its bytes before.
    pub before: usize,
    /// The bytes of its parts.
    pub after: usize,
    /// What it cost.
    pub loss: Loss,
}

/// Elements that are held in memory at a time, unless a single tensor has more.
const ELEMENTS_AT_A_TIME: usize = 1 << 26;

/// Writes the quantised checkpoint, whole or not at all, and says what was made of each tensor. `progress` is told the
/// bytes of each tensor when it is done.
///
/// # Errors
/// The file cannot be written.
pub fn quantize(
    plan: &Plan<'_>,
    output: &Path,
    progress: &dyn Fn(u64),
) -> Result<Vec<Outcome>, Failure> {
    let items = items(plan);
    let places: Vec<Place> = items.iter().flat_map(Item::places).collect();
    let mut outcomes = Vec::new();
    write(output, &plan.metadata, &places, |file| {
        let mut line = Line::new(plan);
        for item in &items {
            match item {
                Item::Copy(entry) => {
                    file.write_all(entry.bytes)?;
                    progress(entry.bytes.len() as u64);
                }
                Item::TensorScale(entry, description) => {
                    let scale = line.tensor_scale(entry, description)?;
                    file.write_all(&scale.to_le_bytes())?;
                }
                Item::Elements(entry, description) => {
                    let (tensor, loss) = line.next()?;
                    for part in elements(description) {
                        file.write_all(&description.bytes_of(part, &tensor))?;
                    }
                    let after = description.parts().map(|part| description.size_of(part));
                    outcomes.push(Outcome {
                        name: entry.name.to_owned(),
                        shape: entry.shape.to_vec(),
                        before: entry.bytes.len(),
                        after: after.sum(),
                        loss,
                    });
                    progress(entry.bytes.len() as u64);
                }
            }
        }
        Ok(())
    })?;
    Ok(outcomes)
}

/// A stretch of the file.
#[derive(Clone, Copy)]
enum Item<'p> {
    /// A tensor as it was.
    Copy(&'p Entry<'p>),
    /// A tensor's scale, which stands before codes because it is wider than they are.
    TensorScale(&'p Entry<'p>, &'p Description),
    /// A tensor's codes and block scales.
    Elements(&'p Entry<'p>, &'p Description),
}

/// The file's stretches, the widest elements first, else in the order of counting.
fn items<'p>(plan: &'p Plan<'_>) -> Vec<Item<'p>> {
    let mut items = Vec::new();
    for (entry, action) in &plan.tensors {
        match action {
            Action::Copy(_) => items.push(Item::Copy(entry)),
            Action::Quantize(description) => {
                if description.parts().any(|part| part == Part::TensorScale) {
                    items.push(Item::TensorScale(entry, description));
                }
                items.push(Item::Elements(entry, description));
            }
        }
    }
    items.sort_by_key(|item| std::cmp::Reverse(item.width()));
    items
}

/// The parts that [`Item::Elements`] writes.
fn elements(description: &Description) -> impl Iterator<Item = Part> {
    let parts = description.parts();
    parts.filter(|&part| part != Part::TensorScale)
}

impl Item<'_> {
    fn width(&self) -> usize {
        Place::width(match self {
            Self::Copy(entry) => entry.dtype,
            Self::TensorScale(..) => Part::TensorScale.dtype(),
            Self::Elements(..) => Part::Codes.dtype(),
        })
    }

    fn places(&self) -> Vec<Place> {
        let place = |entry: &Entry<'_>, description: &Description, part: Part| Place {
            name: part.name_for(entry.name),
            dtype: part.dtype(),
            shape: description.shape_of(part),
            size: description.size_of(part),
        };
        match self {
            Self::Copy(entry) => vec![Place::of(entry)],
            Self::TensorScale(entry, description) => {
                vec![place(entry, description, Part::TensorScale)]
            }
            Self::Elements(entry, description) => elements(description)
                .map(|part| place(entry, description, part))
                .collect(),
        }
    }
}

/// The tensors on their way into the file, quantised some at a time.
struct Line<'p> {
    waiting: VecDeque<(&'p Entry<'p>, &'p Description)>,
    ready: VecDeque<(ScaledTensor, Loss)>,
    /// The largest magnitudes that are known, by the tensors' places.
    largest: BTreeMap<usize, f32>,
}

impl<'p> Line<'p> {
    fn new(plan: &'p Plan<'p>) -> Self {
        Self {
            waiting: plan.quantized().collect(),
            ready: VecDeque::new(),
            largest: BTreeMap::new(),
        }
    }

    fn tensor_scale(&mut self, entry: &Entry<'_>, description: &Description) -> io::Result<f32> {
        let largest = description.element.largest_magnitude(entry.bytes);
        self.largest.insert(entry.index, largest);
        tensor_scale(&description.quantization, largest).map_err(io::Error::other)
    }

    /// The next tensor in the plan's order.
    fn next(&mut self) -> io::Result<(ScaledTensor, Loss)> {
        if self.ready.is_empty() {
            let some = self.some_waiting();
            let made = some.into_par_iter().map(|(entry, description)| {
                let values = description.element.to_f32(entry.bytes);
                // Formats without a tensor scale do not ask for the largest magnitude.
                let largest = self.largest.get(&entry.index).copied().unwrap_or(0.0);
                let (own, stream) = (&description.quantization, description.stream);
                let tensor = scaled(&values, own, largest, stream)?;
                let loss = Loss::of(&tensor, &values);
                Ok((tensor, loss))
            });
            let made: Result<_, QuantizerError> = made.collect();
            self.ready = made.map_err(io::Error::other)?;
        }
        let next = self.ready.pop_front();
        next.ok_or_else(|| io::Error::other("no tensor is waiting"))
    }

    fn some_waiting(&mut self) -> Vec<(&'p Entry<'p>, &'p Description)> {
        let mut some = Vec::new();
        let mut elements = 0;
        while let Some((entry, description)) = self.waiting.pop_front() {
            let own = entry.bytes.len() / description.element.size();
            if !some.is_empty() && elements + own > ELEMENTS_AT_A_TIME {
                self.waiting.push_front((entry, description));
                break;
            }
            elements += own;
            some.push((entry, description));
        }
        some
    }
}

/// The tensor scale that a quantisation makes of a largest magnitude, before the tensor itself is quantised: it depends on
/// nothing else of the numbers.
fn tensor_scale(quantization: &Quantization, largest: f32) -> Result<f32, QuantizerError> {
    let format = quantization.scaled_type().format();
    let block = ScaledType::new([1, 16], format, 1, BlockShape::Vector, ScaleLayout::Linear);
    let block = block
        .ok()
        .and_then(|block| {
            Quantization::new(block, quantization.rule(), quantization.rounding()).ok()
        })
        .expect("vector blocks go with every rule and rounding that square ones go with");
    let stream = RandomStream {
        seed: 0,
        step: 0,
        site: 0,
    };
    let tensor = tessera_numerics::quantize(&[0.0; 16], &block, Some(largest), Some(stream))?;
    Ok(tensor.tensor_scale())
}

/// Quantises on all threads, with the bits of [`tessera_numerics::quantize`]. `largest` is the largest magnitude of the
/// numbers; it matters to formats with a tensor scale alone.
///
/// # Errors
/// The numbers are not as many as the shape says, or the rounding is random and has no stream.
pub fn scaled(
    values: &[f32],
    quantization: &Quantization,
    largest: f32,
    stream: Option<RandomStream>,
) -> Result<ScaledTensor, QuantizerError> {
    let scaled_type = quantization.scaled_type();
    let mut bytes = vec![0; scaled_type.byte_size()];
    let quantizer = Quantizer::new(vec![quantization.clone()])?;
    let draws = [QuantizerDraw {
        amax: largest,
        stream,
    }];
    let input = QuantizerInput {
        values: QuantizerValues::Given(values),
        mean: None,
        draws: &draws,
    };
    let mut outputs = [bytes.as_mut_slice()];
    let mut job = quantizer.job(input, &mut outputs)?;
    let parts = job.parts(4 * rayon::current_num_threads());
    parts.into_par_iter().try_for_each(|part| part.run())?;
    let tensor = ScaledTensor::new(scaled_type.clone(), bytes);
    Ok(tensor.expect("the bytes are as many as the type has"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tessera_numerics::{Format, Rounding, ScaleRule, largest_magnitude};

    fn ways() -> Vec<(Format, BlockShape, ScaleRule, Rounding)> {
        let mut ways = Vec::new();
        for format in Format::ALL {
            for blocks in BlockShape::ALL {
                for rule in ScaleRule::ALL {
                    for rounding in Rounding::ALL {
                        ways.push((format, blocks, rule, rounding));
                    }
                }
            }
        }
        ways
    }

    #[test]
    fn bits_and_tensor_scale_are_those_of_the_definition() {
        let values: Vec<f32> = (0..48 * 40)
            .map(|i| (i as f32 * 0.37).sin() * 5.0)
            .collect();
        let stream = Some(RandomStream {
            seed: 3,
            step: 0,
            site: 1,
        });
        let mut count = 0;
        for (format, blocks, rule, rounding) in ways() {
            let own = ScaledType::new([48, 40], format, 1, blocks, ScaleLayout::Linear);
            let own = own
                .ok()
                .and_then(|own| Quantization::new(own, rule, rounding).ok());
            let Some(own) = own else { continue };
            count += 1;
            let expected = tessera_numerics::quantize(&values, &own, None, stream).unwrap();
            let largest = largest_magnitude(&values);
            assert_eq!(scaled(&values, &own, largest, stream).unwrap(), expected);
            if format.has_tensor_scale() {
                let scale = tensor_scale(&own, largest).unwrap();
                assert_eq!(scale.to_bits(), expected.tensor_scale().to_bits());
            }
        }
        assert!(count > 40, "{count} ways");
    }
}
