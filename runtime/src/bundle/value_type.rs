//! Types of buffers as a manifest writes them: tensors and scaled tensors.

use super::TensorType;
use serde::{Deserialize, Serialize};
use std::fmt;
use tessera_numerics::{BlockShape, ElementType, Format, ScaleLayout, ScaledType};

/// What lies in a buffer. In a manifest a tensor is `{"element_type": "bf16", "shape": [8, 256]}` and a scaled tensor
/// `{"format": "nvfp4", "axis": 1, "shape": [8, 256]}`, with `"blocks": "square"` and `"layout": "tiled_128x4"` where
/// these are not the usual ones.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Form", into = "Form")]
pub enum ValueType {
    /// A dense, row-major tensor.
    Tensor(TensorType),
    /// Codes, block scales and tensor scale in one stretch of memory.
    Scaled(ScaledType),
}

impl ValueType {
    /// The bytes a value of this type takes, or `None` where these are more than memory can address.
    pub fn bytes(&self) -> Option<usize> {
        match self {
            Self::Tensor(tensor) => tensor.bytes(),
            Self::Scaled(scaled) => Some(scaled.byte_size()),
        }
    }

    /// The tensor type, where it is one.
    pub fn as_tensor(&self) -> Option<&TensorType> {
        match self {
            Self::Tensor(tensor) => Some(tensor),
            Self::Scaled(_) => None,
        }
    }

    /// The scaled type, where it is one.
    pub fn as_scaled(&self) -> Option<&ScaledType> {
        match self {
            Self::Tensor(_) => None,
            Self::Scaled(scaled) => Some(scaled),
        }
    }
}

impl From<TensorType> for ValueType {
    fn from(tensor: TensorType) -> Self {
        Self::Tensor(tensor)
    }
}

impl From<ScaledType> for ValueType {
    fn from(scaled: ScaledType) -> Self {
        Self::Scaled(scaled)
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tensor(tensor) => tensor.fmt(f),
            Self::Scaled(scaled) => scaled.fmt(f),
        }
    }
}

/// The fields of both.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    element_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    format: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    axis: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    blocks: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    layout: Option<String>,
    shape: Vec<usize>,
}

impl From<ValueType> for Form {
    fn from(value_type: ValueType) -> Self {
        match value_type {
            ValueType::Tensor(tensor) => Self {
                element_type: Some(tensor.element_type.name().to_owned()),
                shape: tensor.shape,
                ..Self::default()
            },
            ValueType::Scaled(scaled) => Self {
                format: Some(scaled.format().name().to_owned()),
                axis: Some(scaled.axis()),
                blocks: (scaled.blocks() != BlockShape::default())
                    .then(|| scaled.blocks().name().to_owned()),
                layout: (scaled.layout() != ScaleLayout::default())
                    .then(|| scaled.layout().name().to_owned()),
                shape: scaled.shape().to_vec(),
                ..Self::default()
            },
        }
    }
}

impl TryFrom<Form> for ValueType {
    type Error = String;

    fn try_from(form: Form) -> Result<Self, String> {
        match (&form.element_type, &form.format) {
            (Some(name), None) => {
                if form.axis.is_some() || form.blocks.is_some() || form.layout.is_some() {
                    return Err("axis, blocks and layout are a scaled tensor's".to_owned());
                }
                let element = word(
                    "an element type",
                    ElementType::ALL.map(|e| (e.name(), e)),
                    name,
                )?;
                Ok(TensorType::new(element, form.shape).into())
            }
            (None, Some(name)) => {
                let format = word("a format", Format::ALL.map(|f| (f.name(), f)), name)?;
                let blocks = optional(
                    "blocks",
                    BlockShape::ALL.map(|b| (b.name(), b)),
                    &form.blocks,
                )?;
                let layout = optional(
                    "a layout",
                    ScaleLayout::ALL.map(|l| (l.name(), l)),
                    &form.layout,
                )?;
                let axis = form.axis.ok_or("missing field `axis` of a scaled tensor")?;
                let scaled = ScaledType::new(form.shape, format, axis, blocks, layout);
                scaled.map(Self::Scaled).map_err(|error| error.to_string())
            }
            _ => Err("expected either an element_type or a format".to_owned()),
        }
    }
}

/// What one of the words stands for.
fn word<T, const N: usize>(what: &str, words: [(&str, T); N], found: &str) -> Result<T, String> {
    let known = words.each_ref().map(|(word, _)| *word).join(", ");
    let mut words = words.into_iter();
    words
        .find_map(|(word, value)| (word == found).then_some(value))
        .ok_or_else(|| format!("expected {what} ({known}), found \"{found}\""))
}

fn optional<T: Default, const N: usize>(
    what: &str,
    words: [(&str, T); N],
    found: &Option<String>,
) -> Result<T, String> {
    match found {
        Some(found) => word(what, words, found),
        None => Ok(T::default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_back(value_type: &ValueType) -> String {
        let text = serde_json::to_string(value_type).unwrap();
        assert_eq!(
            &serde_json::from_str::<ValueType>(&text).unwrap(),
            value_type
        );
        text
    }

    #[test]
    fn both_kinds_read_back_from_json() {
        let tensor = TensorType::new(ElementType::Bf16, [8, 256]).into();
        assert_eq!(
            read_back(&tensor),
            r#"{"element_type":"bf16","shape":[8,256]}"#
        );
        let (blocks, layout) = (BlockShape::Vector, ScaleLayout::Tiled128x4);
        let scaled = ScaledType::new([8, 256], Format::Nvfp4, 1, blocks, layout).unwrap();
        assert_eq!(
            read_back(&scaled.into()),
            r#"{"format":"nvfp4","axis":1,"layout":"tiled_128x4","shape":[8,256]}"#
        );
    }

    #[test]
    fn what_is_neither_is_refused() {
        let error = |text| {
            serde_json::from_str::<ValueType>(text)
                .unwrap_err()
                .to_string()
        };
        assert!(error(r#"{"shape":[8]}"#).contains("either an element_type or a format"));
        assert!(
            error(r#"{"element_type":"f32","axis":0,"shape":[8]}"#).contains("a scaled tensor's")
        );
        assert!(error(r#"{"format":"nvfp5","axis":0,"shape":[8]}"#).contains("found \"nvfp5\""));
        assert!(error(r#"{"format":"nvfp4","axis":1,"shape":[8]}"#).contains("axis 1"));
    }
}
