//! Ops, pretty and generic: their parts are collected here, and made an op by its definition.

use super::Parser;
use super::body::Scope;
use crate::attribute::Attribute;
use crate::diagnostic::Diagnostic;
use crate::text::attribute::{AttributeValue, ParsedAttribute};
use crate::text::cursor::{Cursor, ValueDefinition, ValueUse};
use crate::text::lexer::{Token, TokenKind};
use crate::{Graph, OpKind, OpParts, Operation, PartsError, Region, Symbol, Type, ValueId};
use std::collections::VecDeque;
use std::ops::Range;
use tessera_numerics::ElementType;

/// What is written of an op.
struct Written<'s> {
    /// The op's name, with its dialect and place.
    name: Token<'s>,
    definitions: Vec<ValueDefinition<'s>>,
    /// How many values these define.
    result_count: usize,
    uses: Vec<ValueUse<'s>>,
    attributes: Vec<WrittenAttribute>,
    types: WrittenTypes,
    types_span: Range<usize>,
    regions: VecDeque<Region>,
}

struct WrittenAttribute {
    name: String,
    name_span: Range<usize>,
    value: WrittenValue,
}

enum WrittenValue {
    Known(ParsedAttribute),
    /// The `<…>` of a dense literal that has the type of the op's result.
    Dense(Range<usize>),
}

enum WrittenTypes {
    /// One for all operands and results.
    One(Type),
    Each {
        operands: Vec<Type>,
        results: Vec<Type>,
    },
}

impl WrittenValue {
    fn span(&self) -> Range<usize> {
        match self {
            Self::Known(attribute) => attribute.span.clone(),
            Self::Dense(span) => span.clone(),
        }
    }
}

impl<'s> Parser<'s> {
    /// Passes an op and appends it to the graph.
    pub(super) fn operation(
        &mut self,
        graph: &mut Graph,
        scope: &mut Scope<'s, '_>,
    ) -> Result<(), Diagnostic> {
        let start = self.cursor.offset();
        let implicit = self.implicit_location(start);
        let written = self.written(scope)?;
        let location = self.cursor.optional_location()?.unwrap_or(implicit);
        let (operand_types, result_types) = written.types();
        let types_span = written.types_span.clone();
        let operands = self.resolve(
            graph,
            scope,
            &written.uses,
            &operand_types,
            types_span.clone(),
        )?;
        let name = written.name;
        let definitions = written.definitions.clone();
        let kind = self.kind(written, &result_types)?;
        let id = graph
            .push(kind, operands, location)
            .map_err(|error| Diagnostic::new(error.to_string(), name.span()))?;
        let operation = graph.operation(id);
        let results: Vec<ValueId> = operation.results().collect();
        check_results(graph, operation, &result_types, types_span)?;
        define(scope, &definitions, &results, name.span())
    }

    fn written(&mut self, scope: &Scope<'s, '_>) -> Result<Written<'s>, Diagnostic> {
        let definitions = self.definitions()?;
        let name = self.cursor.peek();
        match name.kind {
            TokenKind::Bare => self.pretty(definitions, scope),
            TokenKind::String => self.generic(definitions, scope),
            _ => Err(self.cursor.unexpected("an op such as tsr.add")),
        }
    }

    /// Passes `%0, %1:2 =`, if it stands there.
    fn definitions(&mut self) -> Result<Vec<ValueDefinition<'s>>, Diagnostic> {
        let mut definitions = Vec::new();
        if !self.cursor.at(TokenKind::Value) {
            return Ok(definitions);
        }
        loop {
            definitions.push(self.cursor.value_definition()?);
            if self.cursor.eat(TokenKind::Equal) {
                return Ok(definitions);
            }
            if !self.cursor.eat(TokenKind::Comma) {
                return Err(self.cursor.unexpected("',' or '='"));
            }
        }
    }

    /// `tsr.reduce %0, %1 {dimensions = [0]} : (…) -> … {…}, {…}`.
    fn pretty(
        &mut self,
        definitions: Vec<ValueDefinition<'s>>,
        scope: &Scope<'s, '_>,
    ) -> Result<Written<'s>, Diagnostic> {
        let name = self.cursor.advance();
        dialect(name)?;
        let uses = if self.cursor.at(TokenKind::Value) {
            self.uses()?
        } else {
            Vec::new()
        };
        let attributes = self.attributes()?;
        self.cursor.expect(TokenKind::Colon)?;
        let types_start = self.cursor.offset();
        let types = if self.cursor.at(TokenKind::LeftParenthesis) {
            self.each_type()?
        } else {
            WrittenTypes::One(self.cursor.value_type()?)
        };
        let types_span = self.cursor.span_from(types_start);
        let mut regions = VecDeque::new();
        if self.cursor.at(TokenKind::LeftBrace) {
            regions = self.regions(scope)?;
        }
        Ok(Written {
            name,
            result_count: defined_values(&definitions)?,
            definitions,
            uses,
            attributes,
            types,
            types_span,
            regions,
        })
    }

    /// `"tsr.reduce"(%0, %1) <{dimensions = array<i64: 0>}> ({…}) {…} : (…) -> …`.
    fn generic(
        &mut self,
        definitions: Vec<ValueDefinition<'s>>,
        scope: &Scope<'s, '_>,
    ) -> Result<Written<'s>, Diagnostic> {
        let name = self.cursor.advance();
        dialect(name)?;
        let uses = self.parenthesised_uses()?;
        let mut attributes = Vec::new();
        if self.cursor.eat(TokenKind::Less) {
            attributes = self.attributes()?;
            self.cursor.expect(TokenKind::Greater)?;
        }
        let mut regions = VecDeque::new();
        if self.cursor.eat(TokenKind::LeftParenthesis) {
            regions = self.regions(scope)?;
            self.cursor.expect(TokenKind::RightParenthesis)?;
        }
        for attribute in self.attributes()? {
            push_attribute(&mut attributes, attribute)?;
        }
        self.cursor.expect(TokenKind::Colon)?;
        let types_start = self.cursor.offset();
        let types = self.each_type()?;
        Ok(Written {
            name,
            result_count: defined_values(&definitions)?,
            definitions,
            uses,
            attributes,
            types,
            types_span: self.cursor.span_from(types_start),
            regions,
        })
    }

    fn each_type(&mut self) -> Result<WrittenTypes, Diagnostic> {
        let function_type = self.cursor.function_type()?;
        Ok(WrittenTypes::Each {
            operands: function_type.inputs,
            results: function_type.results,
        })
    }

    /// Passes one or more graphs in braces with commas between them.
    fn regions(&mut self, scope: &Scope<'s, '_>) -> Result<VecDeque<Region>, Diagnostic> {
        let mut regions = VecDeque::new();
        loop {
            let graph = self.region(&["tsr.return"], Some(scope))?;
            regions.push_back(Region::new(graph));
            if !self.cursor.eat(TokenKind::Comma) {
                return Ok(regions);
            }
        }
    }

    /// Passes `{name = value, …}`, if it stands there.
    fn attributes(&mut self) -> Result<Vec<WrittenAttribute>, Diagnostic> {
        let mut attributes = Vec::new();
        if self.cursor.at(TokenKind::LeftBrace) {
            let (open, close) = (TokenKind::LeftBrace, TokenKind::RightBrace);
            self.cursor.list(open, close, |cursor| {
                let attribute = written_attribute(cursor)?;
                push_attribute(&mut attributes, attribute)
            })?;
        }
        Ok(attributes)
    }

    /// The op that the definition of its kind makes of the parts.
    fn kind(&self, written: Written<'s>, result_types: &[Type]) -> Result<OpKind, Diagnostic> {
        let Written {
            name,
            attributes,
            types_span,
            regions,
            ..
        } = written;
        let mut known = Vec::with_capacity(attributes.len());
        for attribute in &attributes {
            let value = self.attribute(attribute, result_types)?;
            known.push((attribute.name.clone(), value));
        }
        let parts = OpParts {
            attributes: known,
            result_types,
            regions,
        };
        OpKind::from_parts(op_name(name), parts).map_err(|error| {
            let of = |name: &str| attributes.iter().find(|one| one.name == name);
            match &error {
                PartsError::AttributeValue { name: wrong, .. } if let Some(one) = of(wrong) => {
                    let span = one.value.span();
                    let found = shortened(&self.cursor.source()[span.clone()]);
                    Diagnostic::new(format!("{error}, found {found}"), span)
                }
                PartsError::UnknownAttribute { name: wrong } if let Some(one) = of(wrong) => {
                    Diagnostic::new(error.to_string(), one.name_span.clone())
                }
                PartsError::ResultCount { .. } => {
                    Diagnostic::new(error.to_string(), types_span.clone())
                }
                _ => Diagnostic::new(error.to_string(), name.span()),
            }
        })
    }

    /// An attribute in the form that all ops share.
    fn attribute(
        &self,
        written: &WrittenAttribute,
        result_types: &[Type],
    ) -> Result<Attribute, Diagnostic> {
        let parsed = match &written.value {
            WrittenValue::Known(parsed) => parsed,
            WrittenValue::Dense(span) => {
                let [Type::Tensor(tensor)] = result_types else {
                    let message =
                        "a dense literal needs its type where the op has not one tensor for result";
                    return Err(Diagnostic::new(message, span.clone()));
                };
                let mut cursor = self.cursor.at_offset(span.start);
                let literal = cursor.dense_body(tensor.clone())?;
                return Ok(Attribute::Tensor(materialised(&literal, span.clone())?));
            }
        };
        Ok(match &parsed.value {
            AttributeValue::Bool(value) => Attribute::Bool(*value),
            AttributeValue::Integer {
                element: None | Some(ElementType::I64),
                ..
            } => Attribute::Integer(parsed.integer()?),
            AttributeValue::Array(_) | AttributeValue::Elements(_) => {
                Attribute::Integers(parsed.integers()?)
            }
            AttributeValue::Word(word) | AttributeValue::String(word) => {
                Attribute::Keyword(word.clone())
            }
            AttributeValue::Symbol(_) => Attribute::Symbol(Symbol(parsed.symbol()?.to_owned())),
            AttributeValue::Dense(literal) => {
                Attribute::Tensor(materialised(literal, parsed.span.clone())?)
            }
            AttributeValue::ElementType(element) => Attribute::ElementType(*element),
            _ => {
                let found = parsed.description();
                let message = format!("attribute '{}' cannot be {found}", written.name);
                return Err(Diagnostic::new(message, parsed.span.clone()));
            }
        })
    }
}

impl Written<'_> {
    /// The types of the operands and of the results.
    fn types(&self) -> (Vec<Type>, Vec<Type>) {
        match &self.types {
            WrittenTypes::Each { operands, results } => (operands.clone(), results.clone()),
            WrittenTypes::One(one) => (
                vec![one.clone(); self.uses.len()],
                vec![one.clone(); self.result_count],
            ),
        }
    }
}

/// An op's results at most: far more than a training step has state.
const MAX_RESULTS: usize = u16::MAX as usize;

/// How many values are defined.
fn defined_values(definitions: &[ValueDefinition<'_>]) -> Result<usize, Diagnostic> {
    let mut count = 0usize;
    for definition in definitions {
        count = count.saturating_add(definition.count);
        if count > MAX_RESULTS {
            let message = format!("an op has at most {MAX_RESULTS} results");
            return Err(Diagnostic::new(message, definition.span.clone()));
        }
    }
    Ok(count)
}

/// Refuses an op of another dialect.
fn dialect(name: Token<'_>) -> Result<(), Diagnostic> {
    if name.text.trim_matches('"').starts_with("tsr.") {
        return Ok(());
    }
    let message = format!(
        "expected an op of the dialect tsr, found {}",
        name.description()
    );
    Err(Diagnostic::new(message, name.span()))
}

/// The op's name without its dialect.
fn op_name(name: Token<'_>) -> &str {
    let name = name.text.trim_matches('"');
    name.strip_prefix("tsr.").unwrap_or(name)
}

fn written_attribute(cursor: &mut Cursor<'_>) -> Result<WrittenAttribute, Diagnostic> {
    let name_span = cursor.span();
    let name = cursor.attribute_name()?;
    cursor.expect(TokenKind::Equal)?;
    let start = cursor.offset();
    let value = if cursor.at_keyword("dense") {
        let body = cursor.skip_dense()?;
        if cursor.at(TokenKind::Colon) {
            cursor.reset(start);
            WrittenValue::Known(cursor.attribute()?)
        } else {
            WrittenValue::Dense(body)
        }
    } else {
        WrittenValue::Known(cursor.attribute()?)
    };
    Ok(WrittenAttribute {
        name,
        name_span,
        value,
    })
}

/// An op's attributes at most: far more than any op has.
const MAX_ATTRIBUTES: usize = 64;

fn push_attribute(
    attributes: &mut Vec<WrittenAttribute>,
    attribute: WrittenAttribute,
) -> Result<(), Diagnostic> {
    if attributes.len() == MAX_ATTRIBUTES {
        let message = format!("an op has at most {MAX_ATTRIBUTES} attributes");
        return Err(Diagnostic::new(message, attribute.name_span));
    }
    if let Some(first) = attributes.iter().find(|one| one.name == attribute.name) {
        let message = format!("attribute '{}' is given twice", attribute.name);
        return Err(Diagnostic::new(message, attribute.name_span)
            .with_note("first given here", Some(first.name_span.clone())));
    }
    attributes.push(attribute);
    Ok(())
}

/// A constant with each element in its place.
fn materialised(
    literal: &crate::text::DenseLiteral,
    span: Range<usize>,
) -> Result<tessera_numerics::Tensor, Diagnostic> {
    literal
        .to_tensor()
        .map_err(|error| Diagnostic::new(error.to_string(), span))
}

/// A piece of the source in quotes, cut where it is long.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((cut, _)) => format!("'{}…'", &text[..cut]),
        None => format!("'{text}'"),
    }
}

/// The results must have the types written for them.
fn check_results(
    graph: &Graph,
    operation: &Operation,
    written: &[Type],
    span: Range<usize>,
) -> Result<(), Diagnostic> {
    let name = operation.op.kind.name();
    let count = operation.results().len();
    if count != written.len() {
        let message = format!(
            "'tsr.{name}' has {count} result(s) here, but the types of {} are written",
            written.len()
        );
        return Err(Diagnostic::new(message, span));
    }
    for (value, written) in operation.results().zip(written) {
        let inferred = graph.value_type(value);
        if inferred != written {
            let message =
                format!("the result of 'tsr.{name}' is {inferred}, but {written} is written");
            return Err(Diagnostic::new(message, span));
        }
    }
    Ok(())
}

/// Gives the results their names.
fn define<'s>(
    scope: &mut Scope<'s, '_>,
    definitions: &[ValueDefinition<'s>],
    results: &[ValueId],
    span: Range<usize>,
) -> Result<(), Diagnostic> {
    let named: usize = definitions.iter().map(|definition| definition.count).sum();
    if named != results.len() {
        let message = format!("the op has {} result(s), {named} are named", results.len());
        return Err(Diagnostic::new(message, span));
    }
    let mut rest = results;
    for definition in definitions {
        let (values, after) = rest.split_at(definition.count);
        scope.define(definition, values.to_vec())?;
        rest = after;
    }
    Ok(())
}
