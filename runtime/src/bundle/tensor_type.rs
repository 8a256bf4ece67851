//! Tensor types as a manifest writes them.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use tessera_numerics::{ElementType, Tensor};

/// A static shape and an element type; `{"element_type": "bf16", "shape": [8, 256]}` in a manifest, spelt
/// `tensor<8x256xbf16>` in messages.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorType {
    /// The type of each element, in MLIR's spelling.
    #[serde(
        serialize_with = "serialize_element_type",
        deserialize_with = "deserialize_element_type"
    )]
    pub element_type: ElementType,
    /// The dimensions, slowest first; empty for a scalar.
    pub shape: Vec<usize>,
}

impl TensorType {
    /// The type of a tensor with these dimensions.
    pub fn new(element_type: ElementType, shape: impl Into<Vec<usize>>) -> Self {
        Self {
            element_type,
            shape: shape.into(),
        }
    }

    /// The type of a given tensor.
    pub fn of(tensor: &Tensor) -> Self {
        Self::new(tensor.element(), tensor.shape())
    }

    /// Whether `tensor` is of this type.
    pub fn matches(&self, tensor: &Tensor) -> bool {
        self.element_type == tensor.element() && self.shape == tensor.shape()
    }

    /// The number of elements, or `None` where the bytes they take are more than memory can address.
    pub fn elements(&self) -> Option<usize> {
        self.bytes().map(|bytes| bytes / self.element_type.size())
    }

    /// The bytes a dense tensor of this type takes, or `None` where these are more than memory can address.
    pub fn bytes(&self) -> Option<usize> {
        self.shape
            .iter()
            .try_fold(self.element_type.size(), |bytes, &dimension| {
                bytes.checked_mul(dimension)
            })
            .filter(|&bytes| isize::try_from(bytes).is_ok())
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tensor<")?;
        for dimension in &self.shape {
            write!(f, "{dimension}x")?;
        }
        write!(f, "{}>", self.element_type)
    }
}

pub(super) fn serialize_element_type<S: Serializer>(
    element_type: &ElementType,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(element_type.name())
}

pub(super) fn deserialize_element_type<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<ElementType, D::Error> {
    let name = String::deserialize(deserializer)?;
    name.parse().map_err(|()| {
        let known = ElementType::ALL.map(ElementType::name).join(", ");
        serde::de::Error::custom(format!(
            "expected an element type ({known}), found \"{name}\""
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_spelt_as_mlir_does() {
        let matrix = TensorType::new(ElementType::Bf16, [8, 256]);
        assert_eq!(matrix.to_string(), "tensor<8x256xbf16>");
        assert_eq!(
            TensorType::new(ElementType::I1, []).to_string(),
            "tensor<i1>"
        );
    }

    #[test]
    fn a_type_reads_back_from_json() {
        let matrix = TensorType::new(ElementType::Bf16, [8, 256]);
        let text = serde_json::to_string(&matrix).unwrap();
        assert_eq!(text, r#"{"element_type":"bf16","shape":[8,256]}"#);
        assert_eq!(serde_json::from_str::<TensorType>(&text).unwrap(), matrix);
    }

    #[test]
    fn an_unknown_element_type_is_named() {
        let error = serde_json::from_str::<TensorType>(r#"{"element_type":"f8","shape":[]}"#)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("expected an element type (i1, i8, "));
        assert!(error.contains("found \"f8\""), "{error}");
    }

    #[test]
    fn sizes_beyond_memory_are_none() {
        assert_eq!(TensorType::new(ElementType::F32, [3, 5]).bytes(), Some(60));
        assert_eq!(
            TensorType::new(ElementType::F32, [usize::MAX, 2]).bytes(),
            None
        );
        assert_eq!(
            TensorType::new(ElementType::F32, [1 << 31, 1 << 31]).bytes(),
            None
        );
    }
}
