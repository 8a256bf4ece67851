//! Tensors on disk: safetensors files.
//!
//! The format (safetensors 0.4): a little-endian u64 that counts the header's bytes, the header in JSON, which gives
//! each tensor's name, element type, shape and place, and then the tensors, row-major and little-endian, without gaps.

use crate::files::write_whole_with;
use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensorError};
use std::cmp::Ordering;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tessera_numerics::{ElementType, Tensor, TensorError};

/// The name under which a file holds input `number`: `arg0`, `arg1`, ….
pub fn argument(number: usize) -> String {
    format!("arg{number}")
}

/// The name under which a file holds result `number`: `result0`, `result1`, ….
pub fn result(number: usize) -> String {
    format!("result{number}")
}

/// Why a tensor file cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TensorFileError {
    /// The file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is not a safetensors file, or is damaged.
    #[error("{path}: not a safetensors file: {message}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// The file is longer or shorter than its header says.
    #[error(
        "{path}: expected {expected} bytes of tensors after the header, found {found}: the file is truncated or altered"
    )]
    Size {
        /// The file.
        path: PathBuf,
        /// The bytes that the header's tensors take.
        expected: u64,
        /// The bytes there are.
        found: u64,
    },
    /// A tensor's elements are of a type that has no place in a graph's inputs.
    #[error("{path}: tensor \"{name}\" has elements of type {dtype}, which is not supported")]
    ElementType {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        name: String,
        /// The element type, as safetensors spells it.
        dtype: String,
    },
    /// A tensor's bytes are not those of a tensor.
    #[error("{path}: tensor \"{name}\": {source}")]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        name: String,
        /// What is wrong with them.
        source: TensorError,
    },
    /// A name that is given twice, or that the format keeps for itself.
    #[error("{path}: cannot write a tensor by the name \"{name}\": {reason}")]
    Name {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
        /// Why it cannot be written.
        reason: &'static str,
    },
}

/// Headers beyond this many bytes are refused, as the format's own library does.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// The header's key that names no tensor.
const METADATA_KEY: &str = "__metadata__";

/// Reads all tensors of a file, in the order of [`compare_names`].
///
/// # Errors
/// The file cannot be read, is damaged, or holds a tensor of a type that is not supported.
pub fn read(path: impl AsRef<Path>) -> Result<Vec<(String, Tensor)>, TensorFileError> {
    let path = path.as_ref();
    let fail = |source| TensorFileError::Io {
        path: path.to_path_buf(),
        source,
    };
    let file = File::open(path).map_err(fail)?;
    let metadata = file.metadata().map_err(fail)?;
    if metadata.is_file() {
        return read_from(BufReader::new(file), metadata.len(), path);
    }
    // A pipe does not say how long it is.
    let contents = fs::read(path).map_err(fail)?;
    read_from(contents.as_slice(), contents.len() as u64, path)
}

/// Reads a file of `length` bytes; no more is allocated than that, whatever the header says.
fn read_from(
    mut reader: impl Read,
    length: u64,
    path: &Path,
) -> Result<Vec<(String, Tensor)>, TensorFileError> {
    let header = read_header(&mut reader, length, path)?;
    let mut tensors = Vec::new();
    for name in header.offset_keys() {
        let Some(info) = header.info(&name) else {
            continue;
        };
        let Some(element) = element_type(info.dtype) else {
            return Err(TensorFileError::ElementType {
                path: path.to_path_buf(),
                name,
                dtype: info.dtype.to_string(),
            });
        };
        // Tensors lie in this order without gaps: the header has been validated.
        let size = info.data_offsets.1 - info.data_offsets.0;
        let mut bytes: Arc<[u8]> = std::iter::repeat_n(0, size).collect();
        if let Some(bytes) = Arc::get_mut(&mut bytes) {
            reader
                .read_exact(bytes)
                .map_err(|source| TensorFileError::Io {
                    path: path.to_path_buf(),
                    source,
                })?;
        }
        let tensor = Tensor::new(element, info.shape.clone(), bytes).map_err(|source| {
            TensorFileError::Tensor {
                path: path.to_path_buf(),
                name: name.clone(),
                source,
            }
        })?;
        tensors.push((name, tensor));
    }
    tensors.sort_by(|(a, _), (b, _)| compare_names(a, b));
    Ok(tensors)
}

fn read_header(
    reader: &mut impl Read,
    length: u64,
    path: &Path,
) -> Result<Metadata, TensorFileError> {
    let io_error = |source| TensorFileError::Io {
        path: path.to_path_buf(),
        source,
    };
    let malformed = |message: String| TensorFileError::Malformed {
        path: path.to_path_buf(),
        message,
    };
    let Some(after_count) = length.checked_sub(8) else {
        return Err(malformed(format!(
            "expected at least 8 bytes, found {length}"
        )));
    };
    let mut count = [0; 8];
    reader.read_exact(&mut count).map_err(io_error)?;
    let count = u64::from_le_bytes(count);
    if count > after_count.min(MAX_HEADER_BYTES) {
        return Err(malformed(format!(
            "it begins with a header of {count} bytes, but {after_count} bytes follow"
        )));
    }
    let mut header = vec![0; count as usize];
    reader.read_exact(&mut header).map_err(io_error)?;
    let header: Metadata = serde_json::from_slice(&header)
        .map_err(|error| malformed(format!("malformed header: {error}")))?;
    let (expected, found) = (header.data_len() as u64, after_count - count);
    if expected != found {
        return Err(TensorFileError::Size {
            path: path.to_path_buf(),
            expected,
            found,
        });
    }
    Ok(header)
}

/// Writes tensors to a file, whole or not at all. Equal tensors give equal bytes, in whatever order they come.
///
/// # Errors
/// Two tensors have one name, or the file cannot be written; what was there before is still there then.
pub fn write<'a>(
    path: impl AsRef<Path>,
    tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
) -> Result<(), TensorFileError> {
    let path = path.as_ref();
    let mut tensors: Vec<(&str, &Tensor)> = tensors.into_iter().collect();
    // The widest elements first, so that every tensor is aligned for its own.
    tensors.sort_by(|(a_name, a), (b_name, b)| {
        let by_width = b.element().size().cmp(&a.element().size());
        by_width.then_with(|| compare_names(a_name, b_name))
    });
    let header = header(&tensors, path)?;
    write_whole_with(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        tensors
            .iter()
            .try_for_each(|(_, tensor)| file.write_all(tensor.bytes()))
    })
    .map_err(|source| TensorFileError::Io {
        path: path.to_path_buf(),
        source,
    })
}

fn header(tensors: &[(&str, &Tensor)], path: &Path) -> Result<Vec<u8>, TensorFileError> {
    let mut names = HashSet::new();
    let mut infos = Vec::with_capacity(tensors.len());
    let mut begin = 0;
    for &(name, tensor) in tensors {
        let reason = if !names.insert(name) {
            Some("there is another of that name")
        } else if name == METADATA_KEY {
            Some("the format keeps it for itself")
        } else {
            None
        };
        if let Some(reason) = reason {
            return Err(TensorFileError::Name {
                path: path.to_path_buf(),
                name: name.to_owned(),
                reason,
            });
        }
        let end = begin + tensor.bytes().len();
        let info = TensorInfo {
            dtype: dtype(tensor.element()),
            shape: tensor.shape().to_vec(),
            data_offsets: (begin, end),
        };
        infos.push((name.to_owned(), info));
        begin = end;
    }
    let malformed = |message: String| TensorFileError::Malformed {
        path: path.to_path_buf(),
        message,
    };
    let metadata = Metadata::new(None, infos)
        .map_err(|error: SafeTensorError| malformed(error.to_string()))?;
    let mut header = serde_json::to_vec(&metadata).map_err(|error| malformed(error.to_string()))?;
    // Spaces up to a multiple of 8 bytes keep the tensors aligned.
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok(header)
}

/// The order in which people count: `arg2` before `arg10`.
///
/// Runs of decimal digits compare as numbers, everything else by character.
pub fn compare_names(a: &str, b: &str) -> Ordering {
    let (mut rest_a, mut rest_b) = (a, b);
    while !rest_a.is_empty() && !rest_b.is_empty() {
        let (run_a, run_b) = (leading_run(rest_a), leading_run(rest_b));
        let order = if is_number(run_a) && is_number(run_b) {
            compare_numbers(run_a, run_b)
        } else {
            run_a.cmp(run_b)
        };
        if order.is_ne() {
            return order;
        }
        (rest_a, rest_b) = (&rest_a[run_a.len()..], &rest_b[run_b.len()..]);
    }
    // Names that count the same, as `arg01` and `arg1` do, still have one order.
    rest_a.len().cmp(&rest_b.len()).then_with(|| a.cmp(b))
}

/// The longest beginning of `text`, which is not empty, that is all digits or has none.
fn leading_run(text: &str) -> &str {
    let digits = is_number(text);
    let end = text.find(|c: char| c.is_ascii_digit() != digits);
    &text[..end.unwrap_or(text.len())]
}

fn is_number(run: &str) -> bool {
    run.starts_with(|c: char| c.is_ascii_digit())
}

/// Compares decimal numbers of any length.
fn compare_numbers(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

fn dtype(element: ElementType) -> Dtype {
    match element {
        ElementType::I1 => Dtype::BOOL,
        ElementType::I8 => Dtype::I8,
        ElementType::I16 => Dtype::I16,
        ElementType::I32 => Dtype::I32,
        ElementType::I64 => Dtype::I64,
        ElementType::Ui8 => Dtype::U8,
        ElementType::Ui16 => Dtype::U16,
        ElementType::Ui32 => Dtype::U32,
        ElementType::Ui64 => Dtype::U64,
        ElementType::F16 => Dtype::F16,
        ElementType::Bf16 => Dtype::BF16,
        ElementType::F32 => Dtype::F32,
        ElementType::F64 => Dtype::F64,
    }
}

/// The element type that a file calls so; `None` where it is none of these.
pub fn element_type(found: Dtype) -> Option<ElementType> {
    ElementType::ALL
        .into_iter()
        .find(|&element| dtype(element) == found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A safetensors file with this header and these bytes of tensors.
    fn file(header: &str, tensors: &[u8]) -> Vec<u8> {
        let count = (header.len() as u64).to_le_bytes();
        [&count[..], header.as_bytes(), tensors].concat()
    }

    fn read_bytes(contents: &[u8]) -> Result<Vec<(String, Tensor)>, String> {
        read_from(contents, contents.len() as u64, Path::new("x.safetensors"))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn every_element_type_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("all.safetensors");
        let tensors: Vec<(String, Tensor)> = ElementType::ALL
            .into_iter()
            .map(|element| {
                let bytes = (0..6 * element.size()).map(|i| (i % 2) as u8);
                let bytes: Vec<u8> = bytes.collect();
                let tensor = Tensor::new(element, [2, 3], bytes).unwrap();
                (element.name().to_owned(), tensor)
            })
            .collect();
        write(&path, tensors.iter().map(|(name, t)| (name.as_str(), t))).unwrap();
        let mut expected = tensors;
        expected.sort_by(|(a, _), (b, _)| compare_names(a, b));
        assert_eq!(read(&path).unwrap(), expected);
    }

    #[test]
    fn scalars_and_empty_tensors_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("small.safetensors");
        let scalar = Tensor::scalar(1.5f32);
        let empty = Tensor::zeros(ElementType::I32, [0, 3]).unwrap();
        write(&path, [("scalar", &scalar), ("empty", &empty)]).unwrap();
        let expected = [("empty".to_owned(), empty), ("scalar".to_owned(), scalar)];
        assert_eq!(read(&path).unwrap(), expected);
    }

    #[test]
    fn the_library_of_the_format_reads_what_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ours.safetensors");
        let (bytes, floats) = (
            Tensor::from_values([3], &[1u8, 2, 3]).unwrap(),
            Tensor::from_values([2], &[0.5f64, 2.0]).unwrap(),
        );
        write(&path, [("bytes", &bytes), ("floats", &floats)]).unwrap();
        let contents = fs::read(&path).unwrap();
        let theirs = safetensors::SafeTensors::deserialize(&contents).unwrap();
        for (name, ours, dtype) in [("bytes", bytes, Dtype::U8), ("floats", floats, Dtype::F64)] {
            let view = theirs.tensor(name).unwrap();
            assert_eq!(view.dtype(), dtype);
            assert_eq!((view.shape(), view.data()), (ours.shape(), ours.bytes()));
        }
    }

    #[test]
    fn the_order_of_writing_does_not_matter() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (Tensor::scalar(1u8), Tensor::scalar(2u8));
        let paths = ["x", "y"].map(|name| folder.path().join(name));
        write(&paths[0], [("a", &a), ("b", &b)]).unwrap();
        write(&paths[1], [("b", &b), ("a", &a)]).unwrap();
        assert_eq!(fs::read(&paths[0]).unwrap(), fs::read(&paths[1]).unwrap());
    }

    #[test]
    fn a_name_given_twice_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("twice");
        let one = Tensor::scalar(1u8);
        let error = write(&path, [("a", &one), ("a", &one)]).unwrap_err();
        assert!(matches!(error, TensorFileError::Name { .. }), "{error}");
        assert!(!path.exists());
    }

    #[test]
    fn names_are_in_the_order_of_counting() {
        let mut names = [
            "arg10", "arg2", "b", "arg", "arg1_10", "arg1_9", "arg01", "arg1",
        ];
        names.sort_by(|a, b| compare_names(a, b));
        assert_eq!(
            names,
            [
                "arg", "arg01", "arg1", "arg1_9", "arg1_10", "arg2", "arg10", "b"
            ]
        );
    }

    #[test]
    fn an_unsupported_element_type_is_named() {
        let contents = file(
            r#"{"w":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}}"#,
            &[0],
        );
        assert_eq!(
            read_bytes(&contents).unwrap_err(),
            "x.safetensors: tensor \"w\" has elements of type F8_E4M3, which is not supported"
        );
    }

    #[test]
    fn an_unknown_element_type_is_named() {
        let contents = file(
            r#"{"w":{"dtype":"Q7","shape":[1],"data_offsets":[0,1]}}"#,
            &[0],
        );
        let error = read_bytes(&contents).unwrap_err();
        assert!(error.contains("unknown variant `Q7`"), "{error}");
    }

    #[test]
    fn a_boolean_other_than_0_and_1_is_refused() {
        let contents = file(
            r#"{"mask":{"dtype":"BOOL","shape":[2],"data_offsets":[0,2]}}"#,
            &[1, 2],
        );
        assert_eq!(
            read_bytes(&contents).unwrap_err(),
            "x.safetensors: tensor \"mask\": element 1 of a tensor of i1 is stored as 2, expected 0 or 1"
        );
    }

    #[test]
    fn every_truncation_is_refused() {
        let contents = file(
            r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#,
            &[0; 8],
        );
        assert_eq!(read_bytes(&contents).unwrap().len(), 1);
        for length in 0..contents.len() {
            let error = read_bytes(&contents[..length]).unwrap_err();
            assert!(error.starts_with("x.safetensors: "), "{error}");
        }
        assert_eq!(
            read_bytes(&contents[..contents.len() - 3]).unwrap_err(),
            "x.safetensors: expected 8 bytes of tensors after the header, found 5: \
             the file is truncated or altered"
        );
    }

    #[test]
    fn sizes_that_overflow_are_refused() {
        let tensor = |name: &str, begin: u64, end: u64| {
            let size = end - begin;
            format!(r#""{name}":{{"dtype":"U8","shape":[{size}],"data_offsets":[{begin},{end}]}}"#)
        };
        let step = (1 << 61) - 1;
        let all: Vec<String> = (0..8)
            .map(|i| tensor(&format!("t{i}"), i * step, (i + 1) * step))
            .collect();
        let contents = file(&format!("{{{}}}", all.join(",")), &[]);
        let error = read_bytes(&contents).unwrap_err();
        assert!(error.contains("found 0"), "{error}");
    }

    #[test]
    fn no_change_of_a_byte_makes_reading_panic() {
        let contents = file(
            r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#,
            &[0; 8],
        );
        for place in 0..contents.len() {
            for byte in 0..=u8::MAX {
                let mut altered = contents.clone();
                altered[place] = byte;
                if let Ok(tensors) = read_bytes(&altered) {
                    assert!(tensors.iter().all(|(_, tensor)| tensor.bytes().len() == 8));
                }
            }
        }
    }

    #[test]
    fn garbage_is_refused() {
        let error = read_bytes(b"this is no tensor file").unwrap_err();
        assert!(
            error.starts_with("x.safetensors: not a safetensors file: it begins with a header of"),
            "{error}"
        );
        let error = read_bytes(&file("[1, 2]", &[])).unwrap_err();
        assert!(error.contains("malformed header"), "{error}");
    }
}
