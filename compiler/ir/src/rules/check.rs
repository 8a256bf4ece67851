//! What the rules are written with: how a broken constraint becomes an error, and questions several ops ask.

use super::{Constraint, OpError};
use crate::{OpKind, Region, TensorType, Type};
use std::fmt::{Display, Write};
use tessera_numerics::ElementType;

/// The op whose rule is being checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    op: &'static str,
}

/// Returns an error that cites a constraint unless a condition holds.
macro_rules! require {
    ($rule:expr, $constraint:literal, $holds:expr, $($message:tt)+) => {
        if !$holds {
            return Err($rule.error($constraint, format!($($message)+)));
        }
    };
}
pub(super) use require;

impl Rule {
    pub(super) fn of(kind: &OpKind) -> Self {
        Self { op: kind.name() }
    }

    /// The error that a constraint is broken.
    pub(super) fn error(self, constraint: &'static str, message: String) -> OpError {
        OpError {
            op: self.op,
            constraint: Constraint(constraint),
            message,
        }
    }

    /// The operands, where they are `N`.
    pub(super) fn operands<'a, const N: usize>(
        self,
        operands: &[&'a TensorType],
    ) -> Result<[&'a TensorType; N], OpError> {
        operands.try_into().map_err(|_| {
            let found = operands.len();
            self.error(
                "operands",
                format!("expected {N} operand(s), found {found}"),
            )
        })
    }

    /// The operands' types, where all are tensors.
    pub(super) fn tensors<'a>(self, operands: &[&'a Type]) -> Result<Vec<&'a TensorType>, OpError> {
        let tensor = |(number, operand): (usize, &&'a Type)| {
            operand.as_tensor().ok_or_else(|| {
                let message = format!("operand {number} must be a tensor, found {operand}");
                self.error("tensors", message)
            })
        };
        operands.iter().enumerate().map(tensor).collect()
    }

    /// Checks that an operand holds elements of a class.
    pub(super) fn element(
        self,
        constraint: &'static str,
        class: ElementClass,
        name: &str,
        operand: &TensorType,
    ) -> Result<(), OpError> {
        if class.contains(operand.element) {
            return Ok(());
        }
        let expected = class.name();
        Err(self.error(
            constraint,
            format!("{name} must be a tensor of {expected}, found {operand}"),
        ))
    }

    /// Checks that each dimension number is less than a rank.
    pub(super) fn in_rank(
        self,
        constraint: &'static str,
        name: &str,
        dimensions: &[usize],
        of: &str,
        rank: usize,
    ) -> Result<(), OpError> {
        match dimensions.iter().find(|&&dimension| dimension >= rank) {
            None => Ok(()),
            Some(dimension) => Err(self.error(
                constraint,
                format!(
                    "{name} must be less than the rank of {of}, {rank}, found dimension {dimension}"
                ),
            )),
        }
    }

    /// Checks that no dimension number is named twice.
    pub(super) fn unique(
        self,
        constraint: &'static str,
        name: &str,
        dimensions: &[usize],
    ) -> Result<(), OpError> {
        let mut sorted = dimensions.to_vec();
        sorted.sort_unstable();
        match sorted.array_windows().find(|[a, b]| a == b) {
            None => Ok(()),
            Some([twice, _]) => Err(self.error(
                constraint,
                format!("{name} must be distinct, found dimension {twice} twice in {dimensions:?}"),
            )),
        }
    }

    /// Checks that dimension numbers do not decrease.
    pub(super) fn sorted(
        self,
        constraint: &'static str,
        name: &str,
        dimensions: &[usize],
    ) -> Result<(), OpError> {
        if dimensions.is_sorted() {
            return Ok(());
        }
        Err(self.error(
            constraint,
            format!("{name} must be in ascending order, found {dimensions:?}"),
        ))
    }

    /// Checks that an attribute has one entry for each dimension of a tensor.
    pub(super) fn entry_per_dimension(
        self,
        constraint: &'static str,
        name: &str,
        entries: usize,
        tensor: &TensorType,
    ) -> Result<(), OpError> {
        if entries == tensor.rank() {
            return Ok(());
        }
        let rank = tensor.rank();
        Err(self.error(
            constraint,
            format!("{name} must have one entry for each of the {rank} dimension(s) of {tensor}, found {entries}"),
        ))
    }

    /// Checks that a region takes and gives values of the given types.
    pub(super) fn signature<I: Display, R: Display>(
        self,
        constraint: &'static str,
        name: &str,
        region: &Region,
        inputs: &[&I],
        results: &[&R],
    ) -> Result<(), OpError>
    where
        Type: PartialEq<I> + PartialEq<R>,
    {
        let found_inputs = region_inputs(region);
        let found_results = self.region_results(constraint, name, region)?;
        if found_inputs.iter().copied().eq(inputs.iter().copied())
            && found_results.iter().copied().eq(results.iter().copied())
        {
            return Ok(());
        }
        let expected = signature_text(inputs, results);
        let found = signature_text(&found_inputs, &found_results);
        Err(self.error(
            constraint,
            format!("{name} must have type {expected}, found {found}"),
        ))
    }

    /// The types of a region's results.
    pub(super) fn region_results<'a>(
        self,
        constraint: &'static str,
        name: &str,
        region: &'a Region,
    ) -> Result<Vec<&'a Type>, OpError> {
        let undefined = || {
            self.error(
                constraint,
                format!("{name} must give back values of its own, found one it does not define"),
            )
        };
        let results = region.results().iter();
        results
            .map(|result| {
                let defined = result.value.index() < region.value_count();
                defined
                    .then(|| region.value_type(result.value))
                    .ok_or_else(undefined)
            })
            .collect()
    }
}

/// The types of a region's inputs.
pub(super) fn region_inputs(region: &Region) -> Vec<&Type> {
    region.inputs().iter().map(|i| &i.value_type).collect()
}

/// `(tensor<f32>, tensor<f32>) -> tensor<f32>`, as MLIR spells function types; long lists are cut.
pub(crate) fn signature_text<I: Display, R: Display>(inputs: &[&I], results: &[&R]) -> String {
    let results_text = match results {
        [one] => one.to_string(),
        _ => format!("({})", list(results)),
    };
    format!("({}) -> {results_text}", list(inputs))
}

/// Types that a message shows of one list; the rest is counted.
const SHOWN_TYPES: usize = 8;

/// The types separated by commas; long lists are cut.
pub(crate) fn list<T: Display>(types: &[T]) -> String {
    let mut text = String::new();
    for (number, tensor_type) in types.iter().take(SHOWN_TYPES).enumerate() {
        let separator = if number > 0 { ", " } else { "" };
        let _ = write!(text, "{separator}{tensor_type}");
    }
    if types.len() > SHOWN_TYPES {
        let _ = write!(text, ", … {} more", types.len() - SHOWN_TYPES);
    }
    text
}

/// The elements that are not in any of `left_out`, with their order kept.
pub(super) fn without(sizes: &[usize], left_out: &[&[usize]]) -> Vec<usize> {
    let kept = |dimension: &usize| !left_out.iter().any(|l| l.contains(dimension));
    let dimensions = (0..sizes.len()).filter(kept);
    dimensions.map(|dimension| sizes[dimension]).collect()
}

/// What kinds of elements an op works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ElementClass {
    Any,
    Boolean,
    Float,
    Integer,
    BooleanOrInteger,
    IntegerOrFloat,
    SignedIntegerOrFloat,
}

impl ElementClass {
    fn contains(self, element: ElementType) -> bool {
        match self {
            Self::Any => true,
            Self::Boolean => element == ElementType::I1,
            Self::Float => element.is_float(),
            Self::Integer => element.is_integer(),
            Self::BooleanOrInteger => element == ElementType::I1 || element.is_integer(),
            Self::IntegerOrFloat => element.is_integer() || element.is_float(),
            Self::SignedIntegerOrFloat => element.is_signed_integer() || element.is_float(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Any => "any elements",
            Self::Boolean => "i1",
            Self::Float => "floats",
            Self::Integer => "integers",
            Self::BooleanOrInteger => "i1 or integers",
            Self::IntegerOrFloat => "integers or floats",
            Self::SignedIntegerOrFloat => "signed integers or floats",
        }
    }
}
