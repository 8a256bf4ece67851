//! The way back: a quantised checkpoint to one of plain tensors.

use super::description::Words;
use super::plan::read_words;
use super::write::{Place, write};
use super::{Checkpoint, Description, Entry, METADATA_KEY, Part, decode};
use crate::Failure;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Writes a checkpoint in which every scaled tensor is one of the elements it had before; all else is copied. Gives the
/// number of scaled tensors. `progress` is told the bytes of each tensor when it is done.
///
/// # Errors
/// The file describes no scaled tensors, or not those it holds, or the result cannot be written.
pub fn dequantize(
    checkpoint: &Checkpoint,
    output: &Path,
    progress: &dyn Fn(u64),
) -> Result<usize, Failure> {
    let failed = |message: String| Failure::in_file(&checkpoint.name(), message);
    let mut metadata = checkpoint.metadata();
    let Some(text) = metadata.remove(METADATA_KEY) else {
        let message = format!(
            "it has no metadata '{METADATA_KEY}': it was not written by 'tessera quantize'"
        );
        return Err(failed(message));
    };
    let words = read_words(&text).map_err(failed)?;
    let scaled = describe(checkpoint, &words).map_err(failed)?;
    let count = scaled.len();
    let items = items(checkpoint, scaled).map_err(failed)?;
    let places: Vec<Place> = items.iter().map(Item::place).collect();
    write(output, &metadata, &places, |file| {
        for item in &items {
            match item {
                Item::Copy(entry) => file.write_all(entry.bytes)?,
                Item::Scaled(name, description) => {
                    let tensor = read(checkpoint, name, description);
                    let values = decode(&tensor.map_err(std::io::Error::other)?);
                    file.write_all(&description.element.bytes_of(&values))?;
                }
            }
            progress(item.place().size as u64);
        }
        Ok(())
    })?;
    Ok(count)
}

/// A tensor of the result.
enum Item<'a> {
    Copy(Entry<'a>),
    Scaled(String, Description),
}

impl Item<'_> {
    fn place(&self) -> Place {
        match self {
            Self::Copy(entry) => Place::of(entry),
            Self::Scaled(name, description) => {
                let shape = description.quantization.scaled_type().shape().to_vec();
                Place {
                    name: name.clone(),
                    dtype: description.element.dtype(),
                    size: shape.iter().product::<usize>() * description.element.size(),
                    shape,
                }
            }
        }
    }
}

/// The descriptions as they are meant, each checked against the tensors that the file holds.
fn describe(
    checkpoint: &Checkpoint,
    words: &BTreeMap<String, Words>,
) -> Result<BTreeMap<String, Description>, String> {
    let mut descriptions = BTreeMap::new();
    for (name, words) in words {
        let description = Description::from_words(words)
            .map_err(|message| format!("the description of tensor '{name}': {message}"))?;
        for part in description.parts() {
            let part_name = part.name_for(name);
            let (dtype, shape) = (part.dtype(), description.shape_of(part));
            let Some(entry) = checkpoint.entry(&part_name) else {
                return Err(format!(
                    "there is no tensor '{part_name}', which belongs to '{name}'"
                ));
            };
            if entry.dtype != dtype || entry.shape != shape {
                let (found_dtype, found) = (entry.dtype, entry.shape);
                return Err(format!(
                    "tensor '{part_name}': expected {dtype} of shape {shape:?}, found {found_dtype} of shape {found:?}"
                ));
            }
        }
        descriptions.insert(name.clone(), description);
    }
    Ok(descriptions)
}

/// The tensors of the result, the widest elements first, else in the order of counting.
fn items(
    checkpoint: &Checkpoint,
    scaled: BTreeMap<String, Description>,
) -> Result<Vec<Item<'_>>, String> {
    let mut parts = BTreeSet::new();
    for (name, description) in &scaled {
        if checkpoint.entry(name).is_some() {
            return Err(format!("tensor '{name}' stands beside its own scaled form"));
        }
        parts.extend(description.parts().map(|part: Part| part.name_for(name)));
    }
    let others = checkpoint.entries();
    let others = others.filter(|entry| !parts.contains(entry.name));
    let mut items: Vec<Item<'_>> = others.map(Item::Copy).collect();
    let scaled = scaled.into_iter();
    items.extend(scaled.map(|(name, description)| Item::Scaled(name, description)));
    items.sort_by(|a, b| {
        let (a, b) = (a.place(), b.place());
        let by_width = Place::width(b.dtype).cmp(&Place::width(a.dtype));
        by_width.then_with(|| tessera_runtime::tensors::compare_names(&a.name, &b.name))
    });
    Ok(items)
}

fn read(
    checkpoint: &Checkpoint,
    name: &str,
    description: &Description,
) -> Result<tessera_numerics::ScaledTensor, String> {
    let tensor = description.assemble(|part| {
        let part_name = part.name_for(name);
        let entry = checkpoint.entry(&part_name);
        let entry = entry.ok_or_else(|| format!("there is no tensor '{part_name}'"))?;
        Ok(entry.bytes)
    });
    tensor.map_err(|message| format!("tensor '{name}': {message}"))
}
