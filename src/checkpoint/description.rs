//! What the header of a quantised checkpoint says of a scaled tensor, and the tensors that it lies in.

use super::SourceElement;
use crate::words;
use safetensors::Dtype;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use tessera_numerics::{
    BlockShape, Format, Quantization, RandomStream, Rounding, ScaleLayout, ScaleRule, ScaledTensor,
    ScaledType,
};

/// The header's key under which the descriptions stand: a JSON object, a tensor's name and its description.
pub const METADATA_KEY: &str = "tessera.scaled_tensors";

/// A tensor of the file that a scaled tensor is divided into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The f32 that all numbers are multiplied by when they are read.
    TensorScale,
    /// The elements.
    Codes,
    /// The block scales.
    Scales,
}

/// How a tensor of a checkpoint was quantised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// What its elements were before.
    pub element: SourceElement,
    /// What was made of it, and how.
    pub quantization: Quantization,
    /// The bits of random roundings.
    pub stream: Option<RandomStream>,
}

/// The words that a description is written in.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Words {
    element: String,
    shape: Vec<usize>,
    format: String,
    axis: usize,
    blocks: String,
    layout: String,
    rule: String,
    rounding: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    site: Option<u32>,
}

impl Part {
    /// All parts, in the order in which files hold them.
    pub const ALL: [Self; 3] = [Self::TensorScale, Self::Codes, Self::Scales];

    /// The name of the tensor that holds this part of tensor `name`.
    pub fn name_for(self, name: &str) -> String {
        let ending = match self {
            Self::TensorScale => "tensor_scale",
            Self::Codes => "codes",
            Self::Scales => "scales",
        };
        format!("{name}.{ending}")
    }

    /// Its elements.
    pub const fn dtype(self) -> Dtype {
        match self {
            Self::TensorScale => Dtype::F32,
            Self::Codes | Self::Scales => Dtype::U8,
        }
    }
}

impl Description {
    fn scaled_type(&self) -> &ScaledType {
        self.quantization.scaled_type()
    }

    /// The parts that the format has.
    pub fn parts(&self) -> impl Iterator<Item = Part> {
        let format = self.scaled_type().format();
        Part::ALL.into_iter().filter(move |part| match part {
            Part::TensorScale => format.has_tensor_scale(),
            Part::Codes => true,
            Part::Scales => format.block().is_some(),
        })
    }

    /// The shape of a part: all dimensions but the axis in their order, then the codes or blocks along the axis; tiled
    /// scales by tile, see the module.
    pub fn shape_of(&self, part: Part) -> Vec<usize> {
        let own = self.scaled_type();
        let mut shape = own.shape().to_vec();
        shape.remove(own.axis());
        match (part, own.layout()) {
            (Part::TensorScale, _) => return Vec::new(),
            (Part::Codes, _) => shape.push(self.code_columns()),
            (Part::Scales, ScaleLayout::Linear) => shape.push(own.blocks_per_row()),
            (Part::Scales, ScaleLayout::Tiled128x4) => {
                let (rows, columns) = (own.rows(), own.blocks_per_row());
                return vec![rows.div_ceil(128), columns.div_ceil(4), 32, 4, 4];
            }
        }
        shape
    }

    /// The bytes of a part.
    pub fn size_of(&self, part: Part) -> usize {
        let own = self.scaled_type();
        match part {
            Part::TensorScale => size_of::<f32>(),
            Part::Codes => own.rows() * self.code_columns(),
            Part::Scales => own.scale_bytes(),
        }
    }

    /// The bytes of a row's codes without the padding to whole blocks.
    fn code_columns(&self) -> usize {
        let own = self.scaled_type();
        let per_byte = own.format().element().elements_per_byte();
        own.columns().div_ceil(per_byte)
    }

    /// A part of a tensor of this type as the file has it.
    pub fn bytes_of<'t>(&self, part: Part, tensor: &'t ScaledTensor) -> Cow<'t, [u8]> {
        let (padded, columns) = (self.scaled_type().row_bytes(), self.code_columns());
        match part {
            Part::TensorScale => Cow::Owned(tensor.tensor_scale().to_le_bytes().to_vec()),
            Part::Scales => Cow::Borrowed(tensor.scales()),
            Part::Codes if padded == columns => Cow::Borrowed(tensor.codes()),
            Part::Codes => {
                let rows = tensor.codes().chunks_exact(padded);
                Cow::Owned(rows.flat_map(|row| &row[..columns]).copied().collect())
            }
        }
    }

    /// The tensor whose parts a file holds.
    ///
    /// # Errors
    /// A part has not the bytes that the description asks for, or codes that are none.
    pub fn assemble<'t>(
        &self,
        part: impl Fn(Part) -> Result<&'t [u8], String>,
    ) -> Result<ScaledTensor, String> {
        let own = self.scaled_type();
        // All sizes first: what the file does not hold is not allocated either.
        let mut parts = Vec::new();
        for kind in self.parts() {
            let (found, expected) = (part(kind)?, self.size_of(kind));
            if found.len() != expected {
                return Err(format!("expected {expected} bytes, found {}", found.len()));
            }
            parts.push((kind, found));
        }
        let mut bytes = vec![0; own.byte_size()];
        for (kind, found) in parts {
            let (start, padded, columns) = match kind {
                Part::Codes => (0, own.row_bytes(), self.code_columns()),
                Part::Scales => (own.scales_offset(), found.len(), found.len()),
                Part::TensorScale => (own.tensor_scale_offset(), found.len(), found.len()),
            };
            if padded == 0 {
                continue;
            }
            let rows = bytes[start..].chunks_exact_mut(padded);
            for (row, codes) in rows.zip(found.chunks_exact(columns)) {
                row[..columns].copy_from_slice(codes);
            }
        }
        let bits = own.format().element().bits();
        if bits == 6 && bytes[..own.code_bytes()].iter().any(|&code| code >> 6 != 0) {
            return Err("a code has more than its 6 bits".to_owned());
        }
        ScaledTensor::new(own.clone(), bytes).map_err(|error| error.to_string())
    }

    pub(super) fn to_words(&self) -> Words {
        let own = self.scaled_type();
        Words {
            element: self.element.name().to_owned(),
            shape: own.shape().to_vec(),
            format: own.format().name().to_owned(),
            axis: own.axis(),
            blocks: own.blocks().name().to_owned(),
            layout: own.layout().name().to_owned(),
            rule: self.quantization.rule().name().to_owned(),
            rounding: self.quantization.rounding().name().to_owned(),
            seed: self.stream.map(|stream| stream.seed),
            site: self.stream.map(|stream| stream.site),
        }
    }

    pub(super) fn from_words(own: &Words) -> Result<Self, String> {
        let element = &own.element;
        let element = words::find(
            "element type",
            element,
            &SourceElement::ALL,
            SourceElement::name,
        )?;
        let format = words::find("format", &own.format, &Format::ALL, Format::name)?;
        let blocks = words::find(
            "block shape",
            &own.blocks,
            &BlockShape::ALL,
            BlockShape::name,
        )?;
        let layout = words::find("layout", &own.layout, &ScaleLayout::ALL, ScaleLayout::name)?;
        let rule = words::find("scale rule", &own.rule, &ScaleRule::ALL, ScaleRule::name)?;
        let rounding = words::find("rounding", &own.rounding, &Rounding::ALL, Rounding::name)?;
        let scaled_type = ScaledType::new(own.shape.as_slice(), format, own.axis, blocks, layout)
            .map_err(|error| error.to_string())?;
        let quantization =
            Quantization::new(scaled_type, rule, rounding).map_err(|error| error.to_string())?;
        let stream = own.seed.zip(own.site).map(|(seed, site)| RandomStream {
            seed,
            step: 0,
            site,
        });
        Ok(Self {
            element,
            quantization,
            stream,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tessera_numerics::quantize;

    fn description(
        shape: &[usize],
        format: Format,
        axis: usize,
        layout: ScaleLayout,
    ) -> Description {
        let own = ScaledType::new(shape, format, axis, BlockShape::Vector, layout).unwrap();
        let rule = ScaleRule::default_for(format);
        Description {
            element: SourceElement::F32,
            quantization: Quantization::new(own, rule, Rounding::NearestEven).unwrap(),
            stream: None,
        }
    }

    #[test]
    fn the_axis_comes_last_and_two_codes_of_four_bits_share_a_byte() {
        let own = description(&[5, 37, 3], Format::Nvfp4, 1, ScaleLayout::Linear);
        assert_eq!(own.shape_of(Part::Codes), [5, 3, 19]);
        assert_eq!(own.shape_of(Part::Scales), [5, 3, 3]);
        assert_eq!(own.shape_of(Part::TensorScale), [0; 0]);
        assert_eq!(own.size_of(Part::Codes), 5 * 3 * 19);
    }

    #[test]
    fn tiled_scales_have_a_dimension_for_each_step_of_the_tile() {
        let own = description(&[130, 80], Format::Nvfp4, 1, ScaleLayout::Tiled128x4);
        assert_eq!(own.shape_of(Part::Scales), [2, 2, 32, 4, 4]);
        assert_eq!(own.size_of(Part::Scales), 2 * 2 * 512);
    }

    #[test]
    fn formats_have_the_parts_they_have() {
        let parts = |format| {
            let own = description(&[2, 32], format, 1, ScaleLayout::Linear);
            own.parts().collect::<Vec<_>>()
        };
        assert_eq!(parts(Format::Nvfp4), Part::ALL);
        assert_eq!(parts(Format::Mxfp4), [Part::Codes, Part::Scales]);
        assert_eq!(parts(Format::Fp8E4m3), [Part::TensorScale, Part::Codes]);
    }

    #[test]
    fn parts_make_the_tensor_again() {
        let values: Vec<f32> = (0..5 * 37 * 3).map(|i| (i as f32 * 0.3).sin()).collect();
        for format in Format::ALL {
            for axis in 0..3 {
                let own = description(&[5, 37, 3], format, axis, ScaleLayout::Linear);
                let tensor = quantize(&values, &own.quantization, None, None).unwrap();
                let parts = Part::ALL.map(|part| own.bytes_of(part, &tensor).into_owned());
                for (part, bytes) in Part::ALL.iter().zip(&parts) {
                    if own.parts().any(|own| own == *part) {
                        assert_eq!(bytes.len(), own.size_of(*part));
                    }
                }
                let again = own.assemble(|part| Ok(&parts[part as usize])).unwrap();
                assert_eq!(again, tensor);
            }
        }
    }

    #[test]
    fn a_part_of_another_size_is_refused() {
        let own = description(&[2, 32], Format::Mxfp4, 1, ScaleLayout::Linear);
        let error = own.assemble(|_| Ok(&[0; 3])).unwrap_err();
        assert_eq!(error, "expected 32 bytes, found 3");
    }

    #[test]
    fn descriptions_read_back() {
        let mut own = description(&[4, 64], Format::Nvfp4, 0, ScaleLayout::Tiled128x4);
        own.quantization = Quantization::new(
            own.scaled_type().clone(),
            ScaleRule::Te,
            Rounding::Stochastic,
        )
        .unwrap();
        own.stream = Some(RandomStream {
            seed: u64::MAX,
            step: 0,
            site: 7,
        });
        let text = serde_json::to_string(&own.to_words()).unwrap();
        assert_eq!(
            text,
            r#"{"element":"f32","shape":[4,64],"format":"nvfp4","axis":0,"blocks":"vector","layout":"tiled_128x4","rule":"te","rounding":"stochastic","seed":18446744073709551615,"site":7}"#
        );
        let words: Words = serde_json::from_str(&text).unwrap();
        assert_eq!(Description::from_words(&words), Ok(own));
    }
}
