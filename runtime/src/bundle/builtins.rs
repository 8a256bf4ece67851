//! What a manifest says of kernels that the runtime computes itself, on scaled tensors and to prepare for them.

use super::manifest::{BatchDimension, MatrixLayout};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tessera_numerics::{Rounding, ScaleRule};

/// A batch of products of scaled tensors, both of nvfp4 or both of mxfp4, with linear block scales and axes of one size,
/// which are summed over.
///
/// `result[b, i, j]` is the product of a row of the lhs' storage and one of the rhs', where rows are all dimensions but
/// the axis, in their order. Strides of the operands count such rows, those of the result elements of f32. No two
/// elements of the result share memory, nor does the result with an operand.
///
/// With an epilogue, the product itself is written nowhere. What is said of the result's strides is then said of the
/// product's elements, row-major; its rows or its columns are neighbours. Each of the kernel's results has as many
/// elements, and the same last dimension.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScaledDot {
    /// Rows of the result.
    pub m: usize,
    /// Columns of the result.
    pub n: usize,
    /// The dimensions of `b`; none for a single product.
    pub batch: Vec<BatchDimension>,
    /// Rows of the lhs' storage from one of the m to the next.
    pub lhs_stride: usize,
    /// Rows of the rhs' storage from one of the n to the next.
    pub rhs_stride: usize,
    /// How `result[b]` lies: rows are m, columns n.
    pub result: MatrixLayout,
    /// What is computed of the product.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epilogue: Option<Epilogue>,
}

/// What is computed of a product before it is written: a function of `kernels.so`, of the C type
/// `void symbol(void *const *buffers, int64_t begin, int64_t end)`.
///
/// `buffers` holds the addresses of the kernel's operands, the two that are multiplied among them, then of the results,
/// then of the elements `begin .. end` of the product, row-major, which are all of one row: they differ in the last
/// index alone. The call computes these elements of all results, and touches no other. A result may lie in an operand's
/// memory that is not multiplied.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Epilogue {
    /// The function's name in `kernels.so`.
    pub symbol: String,
}

/// Matrix products of groups of rows, of f32 or f64, all tensors dense and row-major.
///
/// The operands are lhs, rhs and the sizes of the groups (`tensor<Gxi32>`), which lie one after another along dimension m.
/// Where rhs has three dimensions, the first is the groups': `(m, k) × (G, k, n) -> (m, n)`, and rows behind the last
/// group become zero. Where it has two, m is summed over: `(m, k) × (m, n) -> (G, k, n)`. The result's dimensions are in
/// this order, the operands' as the fields say. A negative size, or more than m together, ends the step with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupedGemm {
    /// The dimension of the lhs that is summed over.
    pub lhs_contracting: usize,
    /// The dimension of the rhs that is summed over; not that of the groups.
    pub rhs_contracting: usize,
}

/// Scaled tensors made of one tensor of f32 in one pass over it, or of its Hadamard transforms, which are not written.
///
/// The operands are the tensor, or what a prologue makes it of, then, where `centred`, what is subtracted from it (f32, one number for each index of the
/// last dimension), then for each of the outputs in turn the largest magnitude (`tensor<f32>`) where its format has a
/// tensor scale, and the step (`tensor<ui32>`) where its rounding is random. The results are scaled tensors of the
/// tensor's shape, one for each output.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantize {
    /// Whether a mean is subtracted.
    pub centred: bool,
    /// How each result is made.
    pub outputs: Vec<QuantizeOutput>,
    /// What makes the tensor, which is written nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prologue: Option<Prologue>,
}

/// What makes a tensor of f32 where a kernel reads it: a function of `kernels.so`, of the C type
/// `void symbol(void *const *buffers, int64_t begin, int64_t end)`.
///
/// `buffers` holds the addresses of the kernel's operands, then of its results, then of room for the elements
/// `begin .. end` of the tensor, row-major, which are all of one row: they differ in the last index alone. The call writes
/// them there and touches nothing else. An element may be made several times.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prologue {
    /// The function's name in `kernels.so`.
    pub symbol: String,
    /// How many of the kernel's operands, the first ones, stand in place of the tensor.
    pub operands: usize,
}

/// How one scaled tensor is made.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuantizeOutput {
    /// How scales are made.
    #[serde(
        serialize_with = "serialize_rule",
        deserialize_with = "deserialize_rule"
    )]
    pub rule: ScaleRule,
    /// How elements are rounded.
    #[serde(
        serialize_with = "serialize_rounding",
        deserialize_with = "deserialize_rounding"
    )]
    pub rounding: Rounding,
    /// The seed of random roundings.
    pub seed: u64,
    /// The number of the quantisation in its program, for random roundings.
    pub site: u32,
    /// Where it is made of the tensor's Hadamard transform along its own axis, the sign of each element of a block, true
    /// for −1. What is subtracted is so before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hadamard: Option<Vec<bool>>,
}

/// The largest magnitude of each row of a Hadamard transform, which is not written, or of all of it.
///
/// The operands are the tensor of f32 and, where `centred`, what is subtracted from it before (f32, one number for each
/// index of the last dimension). The result is of f32 and has the tensor's shape without the last dimension, or is a scalar.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HadamardMagnitudes {
    /// Whether a mean is subtracted.
    pub centred: bool,
    /// The transform, along one of the last two dimensions.
    pub transform: Hadamard,
}

/// The Hadamard transform of blocks of `signs.len()` elements along an axis of a tensor of f32.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hadamard {
    /// The dimension along which blocks run; a multiple of their length.
    pub axis: usize,
    /// The sign of each element of a block, true for −1.
    pub negative: Vec<bool>,
}

fn serialize_rule<S: Serializer>(rule: &ScaleRule, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(rule.name())
}

fn deserialize_rule<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ScaleRule, D::Error> {
    word(deserializer, "a scale rule", &ScaleRule::ALL, |rule| {
        rule.name()
    })
}

fn serialize_rounding<S: Serializer>(
    rounding: &Rounding,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(rounding.name())
}

fn deserialize_rounding<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Rounding, D::Error> {
    word(deserializer, "a rounding", &Rounding::ALL, |rounding| {
        rounding.name()
    })
}

/// The one of `all` that has the name that stands there.
fn word<'de, D: Deserializer<'de>, T: Copy>(
    deserializer: D,
    what: &str,
    all: &[T],
    name: impl Fn(&T) -> &'static str,
) -> Result<T, D::Error> {
    let found = String::deserialize(deserializer)?;
    all.iter()
        .find(|one| name(one) == found)
        .copied()
        .ok_or_else(|| {
            let known: Vec<&str> = all.iter().map(&name).collect();
            serde::de::Error::custom(format!(
                "expected {what} ({}), found \"{found}\"",
                known.join(", ")
            ))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_reads_back_from_json() {
        let output = QuantizeOutput {
            rule: ScaleRule::FourOverSix,
            rounding: Rounding::NearestEven,
            seed: u64::MAX,
            site: 3,
            hadamard: None,
        };
        let text = serde_json::to_string(&output).unwrap();
        assert_eq!(
            text,
            r#"{"rule":"four_over_six","rounding":"nearest_even","seed":18446744073709551615,"site":3}"#
        );
        assert_eq!(
            serde_json::from_str::<QuantizeOutput>(&text).unwrap(),
            output
        );
    }

    #[test]
    fn an_unknown_rounding_is_named() {
        let text = r#"{"rule":"te","rounding":"up","seed":0,"site":0}"#;
        let error = serde_json::from_str::<QuantizeOutput>(text).unwrap_err();
        assert!(
            error.to_string().starts_with(
                "expected a rounding (nearest_even, stochastic, ms_eden), found \"up\""
            ),
            "{error}"
        );
    }
}
