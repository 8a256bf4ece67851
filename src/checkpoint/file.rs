//! A safetensors file, mapped: the header is read, the tensors' bytes are read when they are looked at.

use crate::Failure;
use memmap2::Mmap;
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use tessera_runtime::tensors::compare_names;

/// Headers beyond this many bytes are refused, as the format's own library does.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// A safetensors file open for reading.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    map: Mmap,
    /// Where the tensors start.
    data: usize,
    header: Metadata,
    /// The names in the order of [`compare_names`].
    names: Vec<String>,
}

/// A tensor of the file.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its place among the file's tensors in the order in which people count.
    pub index: usize,
    /// Its elements' type.
    pub dtype: Dtype,
    /// Its dimensions, slowest first.
    pub shape: &'a [usize],
    /// Its elements: row-major, little-endian.
    pub bytes: &'a [u8],
}

impl Checkpoint {
    /// Opens a file.
    ///
    /// # Errors
    /// It cannot be read, or is not a whole safetensors file.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let io_error = |error: std::io::Error| Failure::in_file(&name, error);
        let malformed =
            |message: String| Failure::in_file(&name, format!("not a safetensors file: {message}"));
        let file = File::open(path).map_err(io_error)?;
        let metadata = file.metadata().map_err(io_error)?;
        if !metadata.is_file() {
            return Err(Failure::in_file(
                &name,
                "expected a plain file, which can be mapped",
            ));
        }
        let Some(after_count) = metadata.len().checked_sub(8) else {
            let message = format!("expected at least 8 bytes, found {}", metadata.len());
            return Err(malformed(message));
        };
        // SAFETY: nothing but bytes is read from the map, so any contents are valid. Who writes to the file meanwhile
        // changes the numbers that are read, or ends the process where the file is cut: that is how mapped files are.
        let map = unsafe { Mmap::map(&file) }.map_err(io_error)?;
        let mut count = [0; 8];
        count.copy_from_slice(&map[..8]);
        let count = u64::from_le_bytes(count);
        if count > after_count.min(MAX_HEADER_BYTES) {
            let message =
                format!("it begins with a header of {count} bytes, but {after_count} bytes follow");
            return Err(malformed(message));
        }
        let data = 8 + count as usize;
        let header: Metadata = serde_json::from_slice(&map[8..data])
            .map_err(|error| malformed(format!("malformed header: {error}")))?;
        let (expected, found) = (header.data_len(), map.len() - data);
        if expected != found {
            let message = format!(
                "expected {expected} bytes of tensors after the header, found {found}: the file is truncated or \
                 altered"
            );
            return Err(Failure::in_file(&name, message));
        }
        let mut names = header.offset_keys();
        names.sort_by(|a, b| compare_names(a, b));
        Ok(Self {
            path: path.to_owned(),
            map,
            data,
            header,
            names,
        })
    }

    /// The file's name as it was given, for messages.
    pub fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// The file's tensors, in the order in which people count.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let each = self.names.iter().enumerate();
        each.filter_map(|(index, name)| self.entry_at(index, name))
    }

    /// The tensor of that name.
    pub fn entry(&self, name: &str) -> Option<Entry<'_>> {
        let found = self
            .names
            .binary_search_by(|own| compare_names(own, name))
            .ok()?;
        self.entry_at(found, &self.names[found])
    }

    fn entry_at<'a>(&'a self, index: usize, name: &'a str) -> Option<Entry<'a>> {
        let info = self.header.info(name)?;
        let (start, end) = info.data_offsets;
        Some(Entry {
            name,
            index,
            dtype: info.dtype,
            shape: &info.shape,
            // The header has been validated, and its end is the file's.
            bytes: &self.map[self.data + start..self.data + end],
        })
    }

    /// What the header says beside the tensors.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        let pairs = self.header.metadata().iter().flatten();
        pairs
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tessera_numerics::Tensor;

    #[test]
    fn tensors_are_found_by_name_in_the_order_of_counting() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let (two, ten) = (Tensor::scalar(2u8), Tensor::scalar(10f32));
        tessera_runtime::tensors::write(&path, [("w10", &ten), ("w2", &two)]).unwrap();
        let file = Checkpoint::open(&path).unwrap();
        let names: Vec<_> = file.entries().map(|entry| entry.name).collect();
        assert_eq!(names, ["w2", "w10"]);
        let ten = file.entry("w10").unwrap();
        assert_eq!(
            (ten.dtype, ten.bytes),
            (Dtype::F32, &10f32.to_le_bytes()[..])
        );
        assert!(file.entry("w").is_none());
    }

    #[test]
    fn what_is_no_safetensors_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let cases: [(&[u8], &str); 4] = [
            (b"", "expected at least 8 bytes, found 0"),
            (
                b"\xff\0\0\0\0\0\0\0",
                "a header of 255 bytes, but 0 bytes follow",
            ),
            (b"\x02\0\0\0\0\0\0\0[]", "malformed header"),
            (
                b"\x02\0\0\0\0\0\0\0{}x",
                "expected 0 bytes of tensors after the header, found 1",
            ),
        ];
        for (contents, expected) in cases {
            std::fs::write(&path, contents).unwrap();
            let message = Checkpoint::open(&path).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
        let message = Checkpoint::open(folder.path()).unwrap_err().to_string();
        assert!(message.ends_with("expected a plain file, which can be mapped"));
    }
}
