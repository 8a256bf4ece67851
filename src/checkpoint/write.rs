//! A safetensors file written as its tensors are made, whole or not at all.

use super::Entry;
use crate::Failure;
use safetensors::Dtype;
use safetensors::tensor::TensorInfo;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use tessera_runtime::files::write_whole_with;

/// A tensor that will be written.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub size: usize,
}

impl Place {
    /// The place of a tensor that is written as it was.
    pub fn of(entry: &Entry<'_>) -> Self {
        Self {
            name: entry.name.to_owned(),
            dtype: entry.dtype,
            shape: entry.shape.to_vec(),
            size: entry.bytes.len(),
        }
    }

    /// Bytes of an element, by which tensors are ordered so that each is aligned for its own.
    pub fn width(dtype: Dtype) -> usize {
        dtype.bitsize() / 8
    }
}

/// Writes the header for tensors in these places, and then what `tensors` writes: their bytes, in the same order. Equal
/// contents give equal files.
pub(super) fn write(
    path: &Path,
    metadata: &BTreeMap<String, String>,
    places: &[Place],
    tensors: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), Failure> {
    let name = path.display().to_string();
    let header = header(metadata, places).map_err(|error| Failure::in_file(&name, error))?;
    write_whole_with(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        tensors(file)
    })
    .map_err(|error| Failure::in_file(&name, error))
}

fn header(metadata: &BTreeMap<String, String>, places: &[Place]) -> serde_json::Result<Vec<u8>> {
    let mut header = Map::new();
    if !metadata.is_empty() {
        header.insert("__metadata__".to_owned(), serde_json::to_value(metadata)?);
    }
    let mut start = 0;
    for place in places {
        let info = TensorInfo {
            dtype: place.dtype,
            shape: place.shape.clone(),
            data_offsets: (start, start + place.size),
        };
        start += place.size;
        header.insert(place.name.clone(), serde_json::to_value(info)?);
    }
    let mut bytes = serde_json::to_vec(&Value::Object(header))?;
    // Spaces up to a multiple of 8 bytes keep the tensors aligned.
    bytes.resize(bytes.len().next_multiple_of(8), b' ');
    Ok(bytes)
}
