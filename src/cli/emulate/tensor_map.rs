//! Tensor maps as `--arg` has them: `tensormap:box=64x32,swizzle=128:MEMORY`.

use super::memory::Memory;
use safetensors::Dtype;
use tessera_emulator::{Fill, Swizzle, TensorElement, TensorMap};

/// What a map says beside where the tensor lies.
pub(super) struct MapSettings {
    /// As the tensor's dimensions are, the slowest first.
    box_dimensions: Vec<u32>,
    swizzle: Swizzle,
    element: Option<TensorElement>,
    fill: Fill,
}

const SWIZZLES: [(&str, Swizzle); 7] = [
    ("none", Swizzle::None),
    ("32", Swizzle::B32),
    ("64", Swizzle::B64),
    ("128", Swizzle::B128),
    ("128_atom_32", Swizzle::B128Atom32),
    ("128_atom_32_flip_8", Swizzle::B128Atom32Flip8),
    ("128_atom_64", Swizzle::B128Atom64),
];

const ELEMENTS: [(&str, TensorElement); 13] = [
    ("u8", TensorElement::U8),
    ("u16", TensorElement::U16),
    ("u32", TensorElement::U32),
    ("s32", TensorElement::S32),
    ("u64", TensorElement::U64),
    ("s64", TensorElement::S64),
    ("f16", TensorElement::F16),
    ("bf16", TensorElement::Bf16),
    ("f32", TensorElement::F32),
    ("f64", TensorElement::F64),
    ("16u4_align8b", TensorElement::U4Align8),
    ("16u4_align16b", TensorElement::U4Align16),
    ("16u6_align16b", TensorElement::U6Align16),
];

const FILLS: [(&str, Fill); 2] = [("zero", Fill::Zero), ("nan", Fill::Nan)];

impl MapSettings {
    /// Reads `box=64x32,swizzle=128,element=bf16,fill=zero`, of which only the box must be there.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut settings = Self {
            box_dimensions: Vec::new(),
            swizzle: Swizzle::None,
            element: None,
            fill: Fill::Zero,
        };
        for setting in text.split(',') {
            let (key, value) = setting.split_once('=').unwrap_or((setting, ""));
            match key {
                "box" => settings.box_dimensions = lengths(value)?,
                "swizzle" => settings.swizzle = named(key, value, &SWIZZLES)?,
                "element" => settings.element = Some(named(key, value, &ELEMENTS)?),
                "fill" => settings.fill = named(key, value, &FILLS)?,
                _ => {
                    return Err(format!(
                        "unknown setting '{key}' of a tensor map, expected box, swizzle, element or fill"
                    ));
                }
            }
        }
        match settings.box_dimensions.len() {
            0 => Err("a tensor map needs a box, such as box=64x32".to_owned()),
            _ => Ok(settings),
        }
    }

    /// The bytes of the map of a dense tensor at an address.
    pub fn encode(&self, address: u64, tensor: &Memory) -> Result<Vec<u8>, String> {
        let element = self.element.unwrap_or_else(|| element_of(tensor.dtype));
        // Of packed numbers a byte holds several: those of the innermost dimension.
        let mut dimensions: Vec<u64> = tensor.shape.iter().map(|&size| size as u64).collect();
        let mut stride = tensor.dtype.bitsize() as u64;
        if let Some(innermost) = dimensions.last_mut() {
            *innermost = *innermost * stride / element.bits();
        }
        let mut strides = Vec::new();
        for &size in tensor.shape.iter().skip(1).rev() {
            stride *= size as u64;
            strides.push(stride / 8);
        }
        dimensions.reverse();
        let map = TensorMap {
            element,
            address,
            dimensions,
            strides,
            box_dimensions: self.box_dimensions.iter().rev().copied().collect(),
            swizzle: self.swizzle,
            fill: self.fill,
        };
        let bytes = map.encode().map_err(|error| error.to_string())?;
        Ok(bytes.to_vec())
    }
}

/// What a map takes a tensor's elements for where it does not say.
fn element_of(dtype: Dtype) -> TensorElement {
    match dtype {
        Dtype::F16 => TensorElement::F16,
        Dtype::BF16 => TensorElement::Bf16,
        Dtype::F32 => TensorElement::F32,
        Dtype::F64 => TensorElement::F64,
        Dtype::I32 => TensorElement::S32,
        Dtype::I64 => TensorElement::S64,
        other => match other.bitsize() {
            ..=8 => TensorElement::U8,
            16 => TensorElement::U16,
            32 => TensorElement::U32,
            _ => TensorElement::U64,
        },
    }
}

fn lengths(text: &str) -> Result<Vec<u32>, String> {
    let each = text.split('x').map(str::parse);
    each.collect::<Result<_, _>>()
        .map_err(|_| format!("expected the box's lengths such as 64x32, found '{text}'"))
}

fn named<T: Copy>(key: &str, name: &str, all: &[(&str, T)]) -> Result<T, String> {
    let found = all.iter().find(|(own, _)| *own == name);
    found.map(|&(_, value)| value).ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|&(name, _)| name).collect();
        format!(
            "unknown {key} '{name}', expected one of {}",
            names.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zeros(what: &str) -> Memory {
        Memory::zeros(what).unwrap()
    }

    #[test]
    fn a_map_is_of_the_tensors_shape_in_reverse() {
        let settings = MapSettings::read("box=8x32,swizzle=64,fill=nan").unwrap();
        let map = settings.encode(0x1000, &zeros("bf16:2x48x64"));
        // Three lengths for two.
        assert!(map.unwrap_err().contains("strides"));
        let found = settings.encode(0x1000, &zeros("bf16:48x64"));
        let expected = TensorMap {
            element: TensorElement::Bf16,
            address: 0x1000,
            dimensions: vec![64, 48],
            strides: vec![128],
            box_dimensions: vec![32, 8],
            swizzle: Swizzle::B64,
            fill: Fill::Nan,
        };
        assert_eq!(found.unwrap(), expected.encode().unwrap());
    }

    #[test]
    fn packed_numbers_are_counted_by_their_bits() {
        let settings = MapSettings::read("box=8x64,element=16u4_align8b").unwrap();
        let found = settings.encode(0x1000, &zeros("u8:48x64"));
        let expected = TensorMap {
            element: TensorElement::U4Align8,
            address: 0x1000,
            dimensions: vec![128, 48],
            strides: vec![64],
            box_dimensions: vec![64, 8],
            swizzle: Swizzle::None,
            fill: Fill::Zero,
        };
        assert_eq!(found.unwrap(), expected.encode().unwrap());
        // The same as numbers of four bits.
        let found = settings.encode(0x1000, &zeros("e2m1:48x128"));
        assert_eq!(found.unwrap(), expected.encode().unwrap());
    }

    #[test]
    fn what_is_not_known_is_refused_by_its_name() {
        let refused = |text: &str| MapSettings::read(text).map(|_| ()).unwrap_err();
        assert!(refused("swizzle=64").contains("needs a box"));
        assert!(refused("box=8,swizzle=48").starts_with("unknown swizzle '48'"));
        assert!(refused("box=8,colour=1").starts_with("unknown setting 'colour'"));
        assert!(refused("box=8*8").contains("'8*8'"));
    }
}
