//! A kernel's arguments as the command line has them: numbers, and tensors in global memory.

use super::tensor_map::{Dense, MapSettings};
use crate::Failure;
use crate::checkpoint::Checkpoint;
use std::path::Path;
use tessera_emulator::{Global, GlobalError};
use tessera_numerics::{ElementType, Tensor};
use tessera_runtime::tensors;

/// What `--arg` takes.
pub(super) struct Argument {
    value: Value,
    /// `tensormap:SETTINGS:MEMORY`: the kernel gets a map of the memory in place of its address.
    map: Option<MapSettings>,
}

enum Value {
    /// `TYPE:VALUE`: a number, in its bytes.
    Number(Vec<u8>),
    /// `in:FILE#TENSOR`: the address of a tensor's bytes.
    Input(Vec<u8>, Dense),
    /// `out:NAME:TYPE:SHAPE`: the address of memory that nobody has written.
    Output(String, Tensor),
    /// `inout:NAME:FILE#TENSOR`, or `inout:NAME:TYPE:SHAPE` for zeros: the address of a tensor that is read and written.
    InOut(String, Tensor),
}

/// An argument for one launch.
pub(super) struct Placed<'a> {
    /// What the kernel gets.
    pub bytes: Vec<u8>,
    /// The name, type and address of a tensor that is read back.
    output: Option<(&'a str, &'a Tensor, u64)>,
}

/// A tensor that is read back.
pub(super) struct Output {
    pub name: String,
    /// The tensor, or what is missing of it.
    pub tensor: Result<Tensor, String>,
}

/// The forms, as an error tells them.
const FORMS: &str = "TYPE:VALUE, in:FILE#TENSOR, out:NAME:TYPE:SHAPE, inout:NAME:FILE#TENSOR, inout:NAME:TYPE:SHAPE or \
                     tensormap:box=SHAPE:MEMORY";

impl Argument {
    /// Reads a form.
    pub fn read(text: &str) -> Result<Self, Failure> {
        let refuse = |reason: String| Failure::error(format!("--arg '{text}': {reason}"));
        let Some(rest) = text.strip_prefix("tensormap:") else {
            let value = Value::read(text).map_err(refuse)?;
            return Ok(Self { value, map: None });
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
        Ok(Self {
            value,
            map: Some(map),
        })
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
        let dense = |tensor: &Tensor| Dense::of(tensor.shape(), tensor.element());
        let (address, map, output) = match &self.value {
            Value::Number(bytes) => {
                return Ok(Placed {
                    bytes: bytes.clone(),
                    output: None,
                });
            }
            Value::Input(bytes, tensor) => {
                let address = memory.allocate_with(bytes.clone());
                (address, self.mapped(address, tensor), None)
            }
            Value::Output(name, tensor) => {
                let address = memory.allocate(tensor.bytes().len());
                let map = self.mapped(address, &dense(tensor));
                (address, map, Some((&name[..], tensor, address)))
            }
            Value::InOut(name, tensor) => {
                let address = memory.allocate_with(tensor.bytes().to_vec());
                let map = self.mapped(address, &dense(tensor));
                (address, map, Some((&name[..], tensor, address)))
            }
        };
        let bytes = match map {
            None => address.to_le_bytes().to_vec(),
            Some(map) => {
                map.map_err(|reason| Failure::error(format!("--arg tensormap: {reason}")))?
            }
        };
        Ok(Placed { bytes, output })
    }

    fn mapped(&self, address: u64, tensor: &Dense) -> Option<Result<Vec<u8>, String>> {
        let map = self.map.as_ref()?;
        Some(map.encode(address, tensor))
    }
}

impl Value {
    fn read(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected {FORMS}");
        let (kind, rest) = text.split_once(':').ok_or_else(wrong)?;
        match kind {
            "in" => input(rest),
            "out" | "inout" => {
                let (name, what) = rest.split_once(':').ok_or_else(wrong)?;
                let name = name.to_owned();
                match kind {
                    "out" => Ok(Self::Output(name, zeros(what)?)),
                    _ if what.contains('#') => Ok(Self::InOut(name, tensor_of(what)?)),
                    _ => Ok(Self::InOut(name, zeros(what)?)),
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
        let read = memory.read_bytes(address, like.bytes().len());
        let tensor = match read {
            Ok(bytes) => {
                Tensor::new(like.element(), like.shape(), bytes).map_err(|error| error.to_string())
            }
            Err(GlobalError::Unwritten { address: missing }) => {
                let element = (missing - address) as usize / like.element().size();
                let index = index(element, like.shape());
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
pub(super) fn written(outputs: Vec<Output>) -> Vec<(String, Tensor)> {
    let whole = outputs.into_iter();
    whole
        .filter_map(|output| Some((output.name, output.tensor.ok()?)))
        .collect()
}

/// The bytes of `FILE#TENSOR`, whatever its elements are.
fn input(place: &str) -> Result<Value, String> {
    let (file, name) = place
        .rsplit_once('#')
        .ok_or_else(|| "expected FILE#TENSOR".to_owned())?;
    let checkpoint = Checkpoint::open(Path::new(file)).map_err(|failure| failure.to_string())?;
    let entry = checkpoint.entry(name);
    let entry = entry.ok_or_else(|| format!("{file} has no tensor '{name}'"))?;
    let dense = Dense::of_file(entry.shape, entry.bytes.len(), entry.dtype);
    Ok(Value::Input(entry.bytes.to_vec(), dense))
}

/// The tensor of `FILE#TENSOR`.
fn tensor_of(place: &str) -> Result<Tensor, String> {
    let (file, name) = place
        .rsplit_once('#')
        .ok_or_else(|| "expected FILE#TENSOR".to_owned())?;
    let checkpoint = Checkpoint::open(Path::new(file)).map_err(|failure| failure.to_string())?;
    let entry = checkpoint.entry(name);
    let entry = entry.ok_or_else(|| format!("{file} has no tensor '{name}'"))?;
    let element = tensors::element_type(entry.dtype).ok_or_else(|| {
        format!(
            "{name} has elements of type {}, which are not read back",
            entry.dtype
        )
    })?;
    Tensor::new(element, entry.shape, entry.bytes).map_err(|error| error.to_string())
}

/// Zeros of `TYPE:SHAPE`, or of `TYPE` for a scalar.
fn zeros(what: &str) -> Result<Tensor, String> {
    let (kind, shape) = what.split_once(':').unwrap_or((what, ""));
    let dimensions = shape.split('x').filter(|_| !shape.is_empty());
    let shape: Vec<usize> = dimensions
        .map(|size| size.parse())
        .collect::<Result<_, _>>()
        .map_err(|_| format!("expected a shape such as 256x128, found '{shape}'"))?;
    let element = element(kind)?;
    let elements = shape
        .iter()
        .try_fold(1, |all: usize, &size| all.checked_mul(size));
    let bytes = elements.and_then(|elements| elements.checked_mul(element.size()));
    // Memory that there is not is asked for here, where it is an error, and not where it ends the process.
    let has_room = |bytes: usize| Vec::<u8>::new().try_reserve_exact(2 * bytes).is_ok();
    match bytes.filter(|&bytes| bytes <= isize::MAX as usize / 2 && has_room(bytes)) {
        Some(_) => Tensor::zeros(element, shape).map_err(|error| error.to_string()),
        None => Err(format!(
            "expected a tensor that fits into memory, found {what}"
        )),
    }
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

/// The bytes of a number.
fn number(kind: &str, value: &str) -> Result<Vec<u8>, String> {
    let element = element(kind).map_err(|unknown| format!("{unknown}, or {FORMS}"))?;
    let wrong = || format!("expected a number of type {element}, found '{value}'");
    let bytes = element.size();
    if element.is_float() {
        let number: f64 = value.parse().map_err(|_| wrong())?;
        return Ok(match element {
            ElementType::F16 => half::f16::from_f64(number).to_le_bytes().to_vec(),
            ElementType::Bf16 => half::bf16::from_f64(number).to_le_bytes().to_vec(),
            ElementType::F32 => (number as f32).to_le_bytes().to_vec(),
            _ => number.to_le_bytes().to_vec(),
        });
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

/// The indices of an element of that number.
fn index(mut element: usize, shape: &[usize]) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for (place, &size) in index.iter_mut().zip(shape).rev() {
        *place = element % size;
        element /= size;
    }
    index
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
    }

    #[test]
    fn memory_has_a_type_and_a_shape() {
        let tensor = zeros("f32:2x3").unwrap();
        assert_eq!(
            (tensor.element(), tensor.shape()),
            (ElementType::F32, &[2, 3][..])
        );
        assert_eq!(zeros("u32").unwrap().shape(), [0; 0]);
        assert!(zeros("f32:2*3").unwrap_err().contains("'2*3'"));
    }

    #[test]
    fn elements_are_counted_row_by_row() {
        assert_eq!(index(7, &[2, 5]), [1, 2]);
    }
}
