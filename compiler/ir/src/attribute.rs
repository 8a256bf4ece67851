//! Attributes in their dynamic form: what the text form prints and reads, whatever op they belong to.

use crate::Symbol;
use tessera_numerics::{ElementType, Rounding, ScaleRule, Tensor};

/// An attribute's value as the text form knows it.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    /// `true`, `false`.
    Bool(bool),
    /// `3`; `3 : i64` in the generic form.
    Integer(i64),
    /// `[1, 2]`; `array<i64: 1, 2>` in the generic form.
    Integers(Vec<i64>),
    /// One of an enumeration's words, `LT`; a string in the generic form.
    Keyword(String),
    /// The name of a graph, `@relu`.
    Symbol(Symbol),
    /// `dense<1.0> : tensor<2xf32>`.
    Tensor(Tensor),
    /// `f32`.
    ElementType(ElementType),
}

/// A Rust type that is one attribute of an op.
pub trait AttributeField: Sized {
    /// What a reader is told to write, e.g. `an integer array`.
    const EXPECTED: &'static str;

    /// The dynamic form.
    fn to_attribute(&self) -> Attribute;

    /// The value of a dynamic form, or `None` where it is of another kind or out of range.
    fn from_attribute(attribute: &Attribute) -> Option<Self>;
}

impl AttributeField for bool {
    const EXPECTED: &'static str = "true or false";

    fn to_attribute(&self) -> Attribute {
        Attribute::Bool(*self)
    }

    fn from_attribute(attribute: &Attribute) -> Option<Self> {
        match attribute {
            Attribute::Bool(value) => Some(*value),
            _ => None,
        }
    }
}

impl AttributeField for usize {
    const EXPECTED: &'static str = "an integer, 0 or more";

    fn to_attribute(&self) -> Attribute {
        Attribute::Integer(i64::try_from(*self).unwrap_or(i64::MAX))
    }

    fn from_attribute(attribute: &Attribute) -> Option<Self> {
        match attribute {
            Attribute::Integer(value) => usize::try_from(*value).ok(),
            _ => None,
        }
    }
}

impl AttributeField for Vec<i64> {
    const EXPECTED: &'static str = "an array of integers";

    fn to_attribute(&self) -> Attribute {
        Attribute::Integers(self.clone())
    }

    fn from_attribute(attribute: &Attribute) -> Option<Self> {
        match attribute {
            Attribute::Integers(values) => Some(values.clone()),
            _ => None,
        }
    }
}

impl AttributeField for Vec<usize> {
    const EXPECTED: &'static str = "an array of integers, each 0 or more";

    fn to_attribute(&self) -> Attribute {
        Attribute::Integers(
            self.iter()
                .map(|&value| i64::try_from(value).unwrap_or(i64::MAX))
                .collect(),
        )
    }

    fn from_attribute(attribute: &Attribute) -> Option<Self> {
        match attribute {
            Attribute::Integers(values) => values
                .iter()
                .map(|&value| usize::try_from(value).ok())
                .collect(),
            _ => None,
        }
    }
}

impl AttributeField for Symbol {
    const EXPECTED: &'static str = "the name of a graph, as @name";

    fn to_attribute(&self) -> Attribute {
        Attribute::Symbol(self.clone())
    }

    fn from_attribute(attribute: &Attribute) -> Option<Self> {
        match attribute {
            Attribute::Symbol(symbol) => Some(symbol.clone()),
            _ => None,
        }
    }
}

impl AttributeField for Tensor {
    const EXPECTED: &'static str = "dense<…> : tensor<…>";

    fn to_attribute(&self) -> Attribute {
        Attribute::Tensor(self.clone())
    }

    fn from_attribute(attribute: &Attribute) -> Option<Self> {
        match attribute {
            Attribute::Tensor(tensor) => Some(tensor.clone()),
            _ => None,
        }
    }
}

impl AttributeField for ScaleRule {
    const EXPECTED: &'static str = "te, torchao, four_over_six, rceil, floor, even or ceil";

    fn to_attribute(&self) -> Attribute {
        Attribute::Keyword(self.name().to_owned())
    }

    fn from_attribute(attribute: &Attribute) -> Option<Self> {
        keyword(attribute, Self::ALL.map(|rule| (rule.name(), rule)))
    }
}

impl AttributeField for Rounding {
    const EXPECTED: &'static str = "nearest_even, stochastic or ms_eden";

    fn to_attribute(&self) -> Attribute {
        Attribute::Keyword(self.name().to_owned())
    }

    fn from_attribute(attribute: &Attribute) -> Option<Self> {
        keyword(
            attribute,
            Self::ALL.map(|rounding| (rounding.name(), rounding)),
        )
    }
}

/// What the keyword stands for.
fn keyword<T, const N: usize>(attribute: &Attribute, words: [(&str, T); N]) -> Option<T> {
    let Attribute::Keyword(found) = attribute else {
        return None;
    };
    let mut words = words.into_iter();
    words.find_map(|(word, value)| (word == found).then_some(value))
}

impl AttributeField for ElementType {
    const EXPECTED: &'static str = "an element type";

    fn to_attribute(&self) -> Attribute {
        Attribute::ElementType(*self)
    }

    fn from_attribute(attribute: &Attribute) -> Option<Self> {
        match attribute {
            Attribute::ElementType(element) => Some(*element),
            _ => None,
        }
    }
}
