//! Attributes as they are written, of any dialect, as trees.

mod reader;

use super::dense::DenseLiteral;
use super::types::FunctionType;
use crate::TensorType;
use crate::diagnostic::Diagnostic;
use std::ops::Range;
use tessera_numerics::ElementType;

/// An attribute and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct ParsedAttribute {
    /// What is written.
    pub value: AttributeValue,
    /// Where.
    pub span: Range<usize>,
}

/// What an attribute says.
#[derive(Clone, Debug, PartialEq)]
pub enum AttributeValue {
    /// `unit`, or a dictionary's entry without a value.
    Unit,
    /// `true`, `false`.
    Bool(bool),
    /// `3`, `-1 : i32`.
    Integer {
        /// The number.
        value: i128,
        /// The type after `:`.
        element: Option<ElementType>,
    },
    /// `1.5`, `1.0e-5 : f32`, `0x7F800000 : f32`.
    Float {
        /// The number.
        value: f64,
        /// The type after `:`.
        element: Option<ElementType>,
    },
    /// `"text"`.
    String(String),
    /// `@main`, `@module::@main`: the names from the outermost inward.
    Symbol(Vec<String>),
    /// A word that stands for itself: `LT`, `DEFAULT`.
    Word(String),
    /// `f32`.
    ElementType(ElementType),
    /// `tensor<4xf32>`.
    TensorType(TensorType),
    /// `(tensor<f32>) -> tensor<f32>`.
    FunctionType(FunctionType),
    /// `[…]`.
    Array(Vec<ParsedAttribute>),
    /// `array<i64: 1, 2>`.
    Elements(DenseLiteral),
    /// `dense<…> : tensor<…>`.
    Dense(DenseLiteral),
    /// `{key = value, …}`.
    Dictionary(Dictionary),
    /// `#name<…>`: a dialect's attribute.
    Dialect {
        /// The name without `#`: `stablehlo.gather`.
        name: String,
        /// What stands between the angle brackets, `None` without them: then it may be an alias.
        body: Option<DialectBody>,
    },
    /// Something else that is well-formed, such as `affine_map<…>` or `!dialect.type<…>`.
    Other(String),
}

/// What stands between the angle brackets of a dialect's attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum DialectBody {
    /// `key = value, …`. `#stablehlo<comparison_type SIGNED>` has the key `comparison_type` and the word `SIGNED`.
    Entries(Dictionary),
    /// Values without keys.
    Values(Vec<ParsedAttribute>),
    /// A spelling of the dialect's own, as it stands in the text.
    Text(Range<usize>),
}

/// Attributes by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dictionary {
    /// The entries in the order of the text; each name once.
    pub entries: Vec<DictionaryEntry>,
}

/// A name and what it stands for.
#[derive(Clone, Debug, PartialEq)]
pub struct DictionaryEntry {
    /// The name.
    pub name: String,
    /// Where the name stands.
    pub name_span: Range<usize>,
    /// The attribute.
    pub attribute: ParsedAttribute,
}

impl Dictionary {
    /// The attribute of that name.
    pub fn get(&self, name: &str) -> Option<&ParsedAttribute> {
        let entry = self.entries.iter().find(|entry| entry.name == name)?;
        Some(&entry.attribute)
    }

    /// Takes the attribute of that name out, so that in the end what nobody asked for is left.
    pub fn take(&mut self, name: &str) -> Option<ParsedAttribute> {
        let index = self.entries.iter().position(|entry| entry.name == name)?;
        Some(self.entries.remove(index).attribute)
    }
}

impl ParsedAttribute {
    /// What it is, as a message names it.
    pub fn description(&self) -> &'static str {
        match &self.value {
            AttributeValue::Unit => "no value",
            AttributeValue::Bool(_) => "a boolean",
            AttributeValue::Integer { .. } => "an integer",
            AttributeValue::Float { .. } => "a float",
            AttributeValue::String(_) => "a string",
            AttributeValue::Symbol(_) => "a symbol",
            AttributeValue::Word(_) => "a word",
            AttributeValue::ElementType(_)
            | AttributeValue::TensorType(_)
            | AttributeValue::FunctionType(_) => "a type",
            AttributeValue::Array(_) | AttributeValue::Elements(_) => "an array",
            AttributeValue::Dense(_) => "a dense literal",
            AttributeValue::Dictionary(_) => "a dictionary",
            AttributeValue::Dialect { .. } => "a dialect's attribute",
            AttributeValue::Other(_) => "something else",
        }
    }

    /// The error that it is not what is expected.
    pub fn unexpected(&self, expected: &str) -> Diagnostic {
        let found = self.description();
        Diagnostic::new(
            format!("expected {expected}, found {found}"),
            self.span.clone(),
        )
    }

    /// A boolean.
    ///
    /// # Errors
    /// It is something else.
    pub fn bool(&self) -> Result<bool, Diagnostic> {
        match self.value {
            AttributeValue::Bool(value) => Ok(value),
            _ => Err(self.unexpected("true or false")),
        }
    }

    /// An integer, whatever its type.
    ///
    /// # Errors
    /// It is something else, or not a `T`.
    pub fn integer<T: TryFrom<i128>>(&self) -> Result<T, Diagnostic> {
        match self.value {
            AttributeValue::Integer { value, .. } => T::try_from(value).map_err(|_| {
                let message = format!("the integer {value} is out of range");
                Diagnostic::new(message, self.span.clone())
            }),
            _ => Err(self.unexpected("an integer")),
        }
    }

    /// Integers: `[1, 2]`, `array<i64: 1, 2>` or a dense literal of integers, whatever its shape, in row-major order.
    ///
    /// # Errors
    /// It is something else, or one of them is not a `T`.
    pub fn integers<T: TryFrom<i128>>(&self) -> Result<Vec<T>, Diagnostic> {
        match &self.value {
            AttributeValue::Array(items) => items.iter().map(Self::integer).collect(),
            AttributeValue::Elements(literal) | AttributeValue::Dense(literal) => {
                let tensor = literal
                    .to_tensor()
                    .map_err(|error| Diagnostic::new(error.to_string(), self.span.clone()))?;
                if tensor.element().is_float() {
                    return Err(self.unexpected("an array of integers"));
                }
                let signed = tensor.element().is_signed_integer();
                let chunks = tensor.bytes().chunks_exact(tensor.element().size());
                chunks
                    .map(|chunk| {
                        let negative = signed && chunk.last().is_some_and(|byte| byte >> 7 == 1);
                        let mut wide = [if negative { 0xFF } else { 0 }; 16];
                        wide[..chunk.len()].copy_from_slice(chunk);
                        let value = i128::from_le_bytes(wide);
                        T::try_from(value).map_err(|_| {
                            let message = format!("the integer {value} is out of range");
                            Diagnostic::new(message, self.span.clone())
                        })
                    })
                    .collect()
            }
            _ => Err(self.unexpected("an array of integers")),
        }
    }

    /// A string.
    ///
    /// # Errors
    /// It is something else.
    pub fn string(&self) -> Result<&str, Diagnostic> {
        match &self.value {
            AttributeValue::String(text) => Ok(text),
            _ => Err(self.unexpected("a string")),
        }
    }

    /// A word, as such or as a string: `LT`, `"LT"`; also the word of `#dialect<kind WORD>`.
    ///
    /// # Errors
    /// It is something else.
    pub fn word(&self) -> Result<&str, Diagnostic> {
        match &self.value {
            AttributeValue::Word(text) | AttributeValue::String(text) => Ok(text),
            AttributeValue::Dialect {
                body: Some(DialectBody::Entries(dictionary)),
                ..
            } if dictionary.entries.len() == 1 => dictionary.entries[0].attribute.word(),
            AttributeValue::Dialect {
                body: Some(DialectBody::Values(values)),
                ..
            } if values.len() == 1 => values[0].word(),
            _ => Err(self.unexpected("a word")),
        }
    }

    /// A symbol of one name.
    ///
    /// # Errors
    /// It is something else.
    pub fn symbol(&self) -> Result<&str, Diagnostic> {
        match &self.value {
            AttributeValue::Symbol(names) if names.len() == 1 => Ok(&names[0]),
            _ => Err(self.unexpected("a symbol such as @name")),
        }
    }

    /// A dense literal.
    ///
    /// # Errors
    /// It is something else.
    pub fn dense(&self) -> Result<&DenseLiteral, Diagnostic> {
        match &self.value {
            AttributeValue::Dense(literal) => Ok(literal),
            _ => Err(self.unexpected("a dense literal")),
        }
    }

    /// The items of `[…]`.
    ///
    /// # Errors
    /// It is something else.
    pub fn array(&self) -> Result<&[ParsedAttribute], Diagnostic> {
        match &self.value {
            AttributeValue::Array(items) => Ok(items),
            _ => Err(self.unexpected("an array")),
        }
    }

    /// A dictionary, or the entries of a dialect's attribute.
    ///
    /// # Errors
    /// It is something else.
    pub fn dictionary(&self) -> Result<&Dictionary, Diagnostic> {
        match &self.value {
            AttributeValue::Dictionary(dictionary)
            | AttributeValue::Dialect {
                body: Some(DialectBody::Entries(dictionary)),
                ..
            } => Ok(dictionary),
            _ => Err(self.unexpected("a dictionary")),
        }
    }
}
