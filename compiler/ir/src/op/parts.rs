//! An op in parts, as the text form reads it: attributes by name, result types, regions.

use super::OpKind;
use crate::attribute::{Attribute, AttributeField};
use crate::diagnostic::edit_distance;
use crate::{Region, TensorType, Type};
use std::collections::VecDeque;
use tessera_numerics::{ElementType, ScaledType};

/// What a reader collected of one op. [`OpKind::from_parts`] takes from it what the op declares and refuses the rest.
#[derive(Debug)]
pub struct OpParts<'a> {
    /// Attributes by name; each name at most once.
    pub attributes: Vec<(String, Attribute)>,
    /// The types written for the results.
    pub result_types: &'a [Type],
    /// The graphs between the op's braces.
    pub regions: VecDeque<Region>,
}

/// Why parts do not make an op.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartsError {
    /// No op has that name.
    #[error("unknown op 'tsr.{name}'{}", .nearest.map(|n| format!(", did you mean 'tsr.{n}'?")).unwrap_or_default())]
    UnknownOp {
        /// The name read.
        name: String,
        /// The op with the most similar name.
        nearest: Option<&'static str>,
    },
    /// An attribute of the op is not there.
    #[error("attribute '{name}' is missing: expected {expected}")]
    MissingAttribute {
        /// The attribute's name.
        name: &'static str,
        /// What its value looks like.
        expected: &'static str,
    },
    /// An attribute has a value of another kind.
    #[error("attribute '{name}': expected {expected}")]
    AttributeValue {
        /// The attribute's name.
        name: &'static str,
        /// What its value looks like.
        expected: &'static str,
    },
    /// The op has no such attribute.
    #[error("the op has no attribute '{name}'")]
    UnknownAttribute {
        /// The name read.
        name: String,
    },
    /// The op has one result, and more or none were written.
    #[error("expected one result type, found {found}")]
    ResultCount {
        /// The result types read.
        found: usize,
    },
    /// The op's result is a tensor and something else was written, or the other way round.
    #[error("expected the result to be {expected}, found {found}")]
    ResultClass {
        /// What the op gives.
        expected: &'static str,
        /// The type read.
        found: Type,
    },
    /// A region of the op is not there.
    #[error("region '{name}' is missing")]
    MissingRegion {
        /// The region's name in the op's definition.
        name: &'static str,
    },
    /// There are more regions than the op has.
    #[error("{surplus} region(s) more than the op has")]
    SurplusRegions {
        /// How many are too many.
        surplus: usize,
    },
}

impl PartsError {
    pub(super) fn unknown_op(name: &str) -> Self {
        // No op's name is so long that one of this length could be meant for it.
        let plausible = name.len() < 64;
        let distance = |candidate: &str| edit_distance(name, candidate);
        let nearest = OpKind::names()
            .filter(|_| plausible)
            .min_by_key(|candidate| distance(candidate))
            .filter(|candidate| distance(candidate) * 3 <= name.len());
        Self::UnknownOp {
            name: name.to_owned(),
            nearest,
        }
    }
}

impl OpParts<'_> {
    pub(super) fn attribute<T: AttributeField>(
        &mut self,
        name: &'static str,
    ) -> Result<T, PartsError> {
        let expected = T::EXPECTED;
        let index = self
            .attributes
            .iter()
            .position(|(key, _)| key == name)
            .ok_or(PartsError::MissingAttribute { name, expected })?;
        let (_, attribute) = self.attributes.remove(index);
        T::from_attribute(&attribute).ok_or(PartsError::AttributeValue { name, expected })
    }

    pub(super) fn region<T: RegionField>(&mut self, name: &'static str) -> Result<T, PartsError> {
        T::take(&mut self.regions).ok_or(PartsError::MissingRegion { name })
    }

    pub(super) fn expect_empty(self) -> Result<(), PartsError> {
        if let Some((name, _)) = self.attributes.into_iter().next() {
            return Err(PartsError::UnknownAttribute { name });
        }
        match self.regions.len() {
            0 => Ok(()),
            surplus => Err(PartsError::SurplusRegions { surplus }),
        }
    }
}

/// An op's field that is one graph or a list of all the graphs left.
pub(super) trait RegionField: Sized {
    fn take(regions: &mut VecDeque<Region>) -> Option<Self>;
    fn list<'a>(&'a self, regions: &mut Vec<&'a Region>);
    fn try_map<E>(&self, replace: impl FnMut(&Region) -> Result<Region, E>) -> Result<Self, E>;
}

impl RegionField for Region {
    fn take(regions: &mut VecDeque<Region>) -> Option<Self> {
        regions.pop_front()
    }

    fn list<'a>(&'a self, regions: &mut Vec<&'a Region>) {
        regions.push(self);
    }

    fn try_map<E>(&self, mut replace: impl FnMut(&Region) -> Result<Region, E>) -> Result<Self, E> {
        replace(self)
    }
}

impl RegionField for Vec<Region> {
    fn take(regions: &mut VecDeque<Region>) -> Option<Self> {
        Some(regions.drain(..).collect())
    }

    fn list<'a>(&'a self, regions: &mut Vec<&'a Region>) {
        regions.extend(self);
    }

    fn try_map<E>(&self, replace: impl FnMut(&Region) -> Result<Region, E>) -> Result<Self, E> {
        self.iter().map(replace).collect()
    }
}

/// An op's field that the written result types determine.
pub(super) trait ResultField: Sized {
    fn from_result(types: &[Type]) -> Result<Self, PartsError>;
}

fn only(types: &[Type]) -> Result<&Type, PartsError> {
    match types {
        [one] => Ok(one),
        _ => Err(PartsError::ResultCount { found: types.len() }),
    }
}

fn only_tensor(types: &[Type]) -> Result<&TensorType, PartsError> {
    let one = only(types)?;
    one.as_tensor().ok_or_else(|| PartsError::ResultClass {
        expected: "a tensor",
        found: one.clone(),
    })
}

impl ResultField for ElementType {
    fn from_result(types: &[Type]) -> Result<Self, PartsError> {
        only_tensor(types).map(|one| one.element)
    }
}

impl ResultField for Vec<usize> {
    fn from_result(types: &[Type]) -> Result<Self, PartsError> {
        only_tensor(types).map(|one| one.shape.clone())
    }
}

impl ResultField for TensorType {
    fn from_result(types: &[Type]) -> Result<Self, PartsError> {
        only_tensor(types).cloned()
    }
}

impl ResultField for ScaledType {
    fn from_result(types: &[Type]) -> Result<Self, PartsError> {
        let one = only(types)?;
        let scaled = one.as_scaled().ok_or_else(|| PartsError::ResultClass {
            expected: "a scaled tensor",
            found: one.clone(),
        });
        scaled.cloned()
    }
}

impl ResultField for Vec<Type> {
    fn from_result(types: &[Type]) -> Result<Self, PartsError> {
        Ok(types.to_vec())
    }
}
