//! What a StableHLO text says, before it is known what it means: ops by name, with operands, attributes and regions.
//!
//! The pretty and the generic form of an op give the same [`RawOp`]; its attributes go by the generic form's names.

use std::ops::Range;
use tessera_ir::diagnostic::Diagnostic;
use tessera_ir::text::{Dictionary, ParsedAttribute, ValueDefinition, ValueUse};
use tessera_ir::{Location, TensorType};

/// A module: functions.
#[derive(Debug)]
pub(crate) struct RawModule<'s> {
    pub name: Option<String>,
    pub functions: Vec<RawFunction<'s>>,
    pub span: Range<usize>,
}

/// A function with its body.
#[derive(Debug)]
pub(crate) struct RawFunction<'s> {
    pub name: String,
    pub span: Range<usize>,
    pub private: bool,
    /// The attributes of each argument, in order.
    pub argument_attributes: Vec<Dictionary>,
    pub result_types: Vec<TensorType>,
    /// The attributes of each result, in order.
    pub result_attributes: Vec<Dictionary>,
    pub body: RawRegion<'s>,
    pub location: Location,
}

/// Ops between braces, with the arguments of their block.
#[derive(Debug)]
pub(crate) struct RawRegion<'s> {
    pub arguments: Vec<RawArgument<'s>>,
    /// The last one returns.
    pub ops: Vec<RawOp<'s>>,
    pub span: Range<usize>,
}

/// An argument of a block.
#[derive(Clone, Debug)]
pub(crate) struct RawArgument<'s> {
    pub name: &'s str,
    pub span: Range<usize>,
    pub tensor_type: TensorType,
    pub location: Location,
}

/// One op.
#[derive(Debug)]
pub(crate) struct RawOp<'s> {
    /// The name with its dialect: `stablehlo.add`.
    pub name: String,
    /// Where the name stands.
    pub span: Range<usize>,
    pub results: Vec<ValueDefinition<'s>>,
    pub operands: Vec<ValueUse<'s>>,
    pub attributes: Dictionary,
    pub regions: Vec<RawRegion<'s>>,
    pub operand_types: Vec<TensorType>,
    pub result_types: Vec<TensorType>,
    pub location: Location,
}

impl<'s> RawOp<'s> {
    /// An error about the op as a whole.
    pub fn error(&self, message: impl AsRef<str>) -> Diagnostic {
        let message = format!("'{}': {}", self.name, message.as_ref());
        Diagnostic::new(message, self.span.clone())
    }

    /// The attribute of that name.
    pub fn attribute(&self, name: &str) -> Result<&ParsedAttribute, Diagnostic> {
        self.attributes
            .get(name)
            .ok_or_else(|| self.error(format!("the attribute '{name}' is missing")))
    }

    /// The integers of that attribute.
    pub fn integers<T: TryFrom<i128>>(&self, name: &str) -> Result<Vec<T>, Diagnostic> {
        self.attribute(name)?.integers()
    }

    /// The integers of that attribute, or `default` as often as `rank` says where there is none.
    pub fn integers_or<T: TryFrom<i128> + Clone>(
        &self,
        name: &str,
        default: T,
        rank: usize,
    ) -> Result<Vec<T>, Diagnostic> {
        match self.attributes.get(name) {
            Some(attribute) => attribute.integers(),
            None => Ok(vec![default; rank]),
        }
    }

    /// The boolean of that attribute, or false where there is none.
    pub fn flag(&self, name: &str) -> Result<bool, Diagnostic> {
        self.attributes
            .get(name)
            .map_or(Ok(false), ParsedAttribute::bool)
    }

    /// The one result type.
    pub fn result_type(&self) -> Result<&TensorType, Diagnostic> {
        match self.result_types.as_slice() {
            [one] => Ok(one),
            more => Err(self.error(format!("expected one result type, found {}", more.len()))),
        }
    }

    /// The regions, of which there are `N`.
    pub fn regions<const N: usize>(&self) -> Result<&[RawRegion<'s>; N], Diagnostic> {
        self.regions.as_slice().try_into().map_err(|_| {
            self.error(format!(
                "expected {N} region(s), found {}",
                self.regions.len()
            ))
        })
    }
}
