//! A kernel's arguments as the command line has them: numbers, and tensors in global memory.

use super::memory::Memory;
use super::tensor_map::MapSettings;
use crate::Failure;
use crate::checkpoint::Checkpoint;
use std::path::Path;
use tessera_emulator::{Global, GlobalError};
use tessera_numerics::ElementType;

/// What `--arg` takes.
pub(super) struct Argument {
    /// As it is written.
    text: String,
    value: Value,
    /// `tensormap:SETTINGS:MEMORY`: the kernel gets a map of the memory in place of its address.
    map: Option<MapSettings>,
}

enum Value {
    /// `TYPE:VALUE`: a number, in its bytes; `bytes:HEX`: a parameter that is passed by value, of any size.
    Number(Vec<u8>),
    /// `in:FILE#TENSOR`: the address of a tensor's bytes.
    Input(Memory),
    /// `out:NAME:TYPE:SHAPE`: the address of memory that nobody has written.
    Output(String, Memory),
    /// `inout:NAME:FILE#TENSOR`, or `inout:NAME:TYPE:SHAPE` for zeros: the address of a tensor that is read and written.
    InOut(String, Memory),
}

/// An argument for one launch.
pub(super) struct Placed<'a> {
    /// What the kernel gets.
    pub bytes: Vec<u8>,
    /// The name, first contents and address of a tensor that is read back.
    output: Option<(&'a str, &'a Memory, u64)>,
}

/// A tensor that is read back.
pub(super) struct Output {
    pub name: String,
    /// The tensor, or what is missing of it.
    pub tensor: Result<Memory, String>,
}

/// The forms, as an error tells them.
const FORMS: &str = "TYPE:VALUE, bytes:HEX, in:FILE#TENSOR, out:NAME:TYPE:SHAPE, inout:NAME:FILE#TENSOR, inout:NAME:TYPE:SHAPE or \
                     tensormap:box=SHAPE:MEMORY";

impl Argument {
    /// Reads a form.
    pub fn read(text: &str) -> Result<Self, Failure> {
        let refuse = |reason: String| refused(text, &reason);
        let argument = |value, map| Self {
            text: text.to_owned(),
            value,
            map,
        };
        let Some(rest) = text.strip_prefix("tensormap:") else {
            let value = Value::read(text).map_err(refuse)?;
            return Ok(argument(value, None));
        };
        let (settings, memory) = rest
            .split_once(':')
            .ok_or_else(|| refuse(format!("expected {FORMS}")))?;
        let map = MapSettings::read(settings).map_err(refuse)?;
        let value = Value::read(memory).map_err(refuse)?;
        if let Value::Number(_) = value {
            let reason = "expected in:…, out:… or inout:… behind a tensor map's settings";
            return Err(refuse(reason.to_owned()));
        }
        Ok(argument(value, Some(map)))
    }

    /// The name that it is written out by.
    fn name(&self) -> Option<&str> {
        match &self.value {
            Value::Output(name, _) | Value::InOut(name, _) => Some(name),
            Value::Number(_) | Value::Input(..) => None,
        }
    }

    /// Puts what it points to into memory.
    ///
    /// # Errors
    /// There is no such tensor map.
    pub fn place(&self, memory: &mut Global) -> Result<Placed<'_>, Failure> {
        let (tensor, name) = match &self.value {
            Value::Number(bytes) => {
                return Ok(Placed {
                    bytes: bytes.clone(),
                    output: None,
                });
            }
            Value::Input(tensor) => (tensor, None),
            Value::Output(name, tensor) | Value::InOut(name, tensor) => (tensor, Some(&name[..])),
        };
        let address = match &self.value {
            Value::Output(..) => memory.allocate(tensor.bytes.len()),
            _ => memory.allocate_with(tensor.bytes.clone()),
        };
        let bytes = match &self.map {
            None => address.to_le_bytes().to_vec(),
            Some(map) => {
                let map = map.encode(address, tensor);
                map.map_err(|reason| refused(&self.text, &reason))?
            }
        };
        let output = name.map(|name| (name, tensor, address));
        Ok(Placed { bytes, output })
    }
}

/// An argument that cannot be.
fn refused(text: &str, reason: &str) -> Failure {
    Failure::error(format!("--arg '{text}': {reason}"))
}

impl Value {
    fn read(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected {FORMS}");
        let (kind, rest) = text.split_once(':').ok_or_else(wrong)?;
        match kind {
            "bytes" => Ok(Self::Number(bytes(rest)?)),
            "in" => Ok(Self::Input(tensor_of(rest)?)),
            "out" | "inout" => {
                let (name, what) = rest.split_once(':').ok_or_else(wrong)?;
                // A file's header has the other name for itself.
                if matches!(name, "" | "__metadata__") {
                    return Err(format!("expected a name of an output, found '{name}'"));
                }
                let name = name.to_owned();
                match kind {
                    "out" => Ok(Self::Output(name, Memory::zeros(what)?)),
                    _ if what.contains('#') => Ok(Self::InOut(name, tensor_of(what)?)),
                    _ => Ok(Self::InOut(name, Memory::zeros(what)?)),
                }
            }
            _ => Ok(Self::Number(number(kind, rest)?)),
        }
    }
}

impl Placed<'_> {
    /// What it became, where it is an output.
    pub fn output(&self, memory: &Global) -> Option<Output> {
        let (name, like, address) = self.output?;
        let read = memory.read_bytes(address, like.bytes.len());
        let tensor = match read {
            Ok(bytes) => Ok(Memory {
                bytes,
                dtype: like.dtype,
                shape: like.shape.clone(),
            }),
            Err(GlobalError::Unwritten { address: missing }) => {
                let index = like.index((missing - address) as usize);
                Err(format!("the element {index:?} was never written"))
            }
            Err(error) => Err(error.to_string()),
        };
        Some(Output {
            name: name.to_owned(),
            tensor,
        })
    }
}

/// Refuses two outputs of one name.
pub(super) fn refuse_repeated_names(arguments: &[Argument]) -> Result<(), Failure> {
    let names: Vec<&str> = arguments.iter().filter_map(Argument::name).collect();
    let repeated = (1..names.len()).find(|&own| names[..own].contains(&names[own]));
    repeated.map_or(Ok(()), |own| {
        let message = format!(
            "--arg: expected a name for each output, found '{}' twice",
            names[own]
        );
        Err(Failure::error(message))
    })
}

/// The outputs that are whole.
pub(super) fn written(outputs: Vec<Output>) -> Vec<(String, Memory)> {
    let whole = outputs.into_iter();
    whole
        .filter_map(|output| Some((output.name, output.tensor.ok()?)))
        .collect()
}

/// The tensor of `FILE#TENSOR`.
fn tensor_of(place: &str) -> Result<Memory, String> {
    let (file, name) = place
        .rsplit_once('#')
        .ok_or_else(|| "expected FILE#TENSOR".to_owned())?;
    let checkpoint = Checkpoint::open(Path::new(file)).map_err(|failure| failure.to_string())?;
    let entry = checkpoint.entry(name);
    let entry = entry.ok_or_else(|| format!("{file} has no tensor '{name}'"))?;
    Ok(Memory {
        dtype: entry.dtype,
        shape: entry.shape.to_vec(),
        bytes: entry.bytes.to_vec(),
    })
}

/// An element type in MLIR's spelling (`i32`, `ui8`) or PTX's (`s32`, `u8`).
fn element(name: &str) -> Result<ElementType, String> {
    let spelt = match name.split_at_checked(1) {
        Some(("u", bits)) if !bits.starts_with('i') => format!("ui{bits}"),
        Some(("s", bits)) => format!("i{bits}"),
        _ => name.to_owned(),
    };
    spelt.parse().map_err(|()| {
        let names: Vec<&str> = ElementType::ALL.iter().map(|one| one.name()).collect();
        format!(
            "unknown type '{name}', expected one of {}",
            names.join(", ")
        )
    })
}

/// Bytes as two hexadecimal digits each, in the order of memory.
fn bytes(text: &str) -> Result<Vec<u8>, String> {
    let wrong = || format!("expected two hexadecimal digits for each byte, found '{text}'");
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|digit| Some(digit.to_digit(16)? as u8))
        .collect();
    let digits = digits.ok_or_else(wrong)?;
    if digits.is_empty() || digits.len() % 2 != 0 {
        return Err(wrong());
    }
    let pairs = digits.chunks(2);
    Ok(pairs.map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// The bytes of a number.
fn number(kind: &str, value: &str) -> Result<Vec<u8>, String> {
    let element = element(kind).map_err(|unknown| format!("{unknown}, or {FORMS}"))?;
    let wrong = || format!("expected a number of type {element}, found '{value}'");
    let bytes = element.size();
    if element.is_float() {
        let number: f64 = value.parse().map_err(|_| wrong())?;
        let (rounded, bytes) = match element {
            ElementType::F16 => {
                let own = half::f16::from_f64(number);
                (own.into(), own.to_le_bytes().to_vec())
            }
            ElementType::Bf16 => {
                let own = half::bf16::from_f64(number);
                (own.into(), own.to_le_bytes().to_vec())
            }
            ElementType::F32 => {
                let own = number as f32;
                (own.into(), own.to_le_bytes().to_vec())
            }
            _ => (number, number.to_le_bytes().to_vec()),
        };
        // Infinity has a name; what is beyond all numbers of the type, or of any, is none of them.
        let is_named = value.to_ascii_lowercase().contains("inf");
        if f64::is_infinite(rounded) && !is_named {
            return Err(wrong());
        }
        return Ok(bytes);
    }
    let (sign, digits) = match value.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, value),
    };
    let magnitude = match digits.strip_prefix("0x") {
        Some(digits) => i128::from_str_radix(digits, 16),
        None => digits.parse(),
    };
    let number = sign * magnitude.map_err(|_| wrong())?;
    let bits = 8 * bytes as u32;
    let range = match element {
        ElementType::I1 => 0..=1,
        _ if element.is_signed_integer() => -(1 << (bits - 1))..=(1 << (bits - 1)) - 1,
        _ => 0..=(1 << bits) - 1,
    };
    if !range.contains(&number) {
        return Err(wrong());
    }
    Ok(number.to_le_bytes()[..bytes].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_bytes_of_their_type() {
        assert_eq!(number("i32", "-2"), Ok(vec![0xfe, 0xff, 0xff, 0xff]));
        assert_eq!(number("s16", "-1"), Ok(vec![0xff, 0xff]));
        assert_eq!(number("u64", "0x102"), Ok(vec![2, 1, 0, 0, 0, 0, 0, 0]));
        assert_eq!(number("f32", "1.5"), Ok(1.5f32.to_le_bytes().to_vec()));
        assert_eq!(number("bf16", "1"), Ok(vec![0x80, 0x3f]));
    }

    #[test]
    fn bytes_are_those_that_are_written() {
        assert_eq!(bytes("00ff1Aa0"), Ok(vec![0x00, 0xff, 0x1a, 0xa0]));
        for text in ["", "0", "0x10", "+1", "1 ", "é0"] {
            let reason = bytes(text).unwrap_err();
            let expected = format!("expected two hexadecimal digits for each byte, found '{text}'");
            assert_eq!(reason, expected);
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        let refused = |kind, value| number(kind, value).unwrap_err();
        assert_eq!(
            refused("u8", "256"),
            "expected a number of type ui8, found '256'"
        );
        assert_eq!(
            refused("u8", "-1"),
            "expected a number of type ui8, found '-1'"
        );
        assert_eq!(
            refused("i32", "1.5"),
            "expected a number of type i32, found '1.5'"
        );
        assert!(refused("b32", "0").starts_with("unknown type 'b32'"));
        assert_eq!(
            refused("f32", "1e50"),
            "expected a number of type f32, found '1e50'"
        );
        assert!(refused("f16", "-65520").contains("found '-65520'"));
        assert!(refused("f64", "1e999").contains("found '1e999'"));
        assert_eq!(
            number("f32", "-inf"),
            Ok(f32::NEG_INFINITY.to_le_bytes().to_vec())
        );
    }
}
