//! Bodies: the values in sight, the ops one after another, the return.

use super::Parser;
use crate::diagnostic::Diagnostic;
use crate::text::cursor::{Cursor, ValueDefinition, ValueUse};
use crate::text::lexer::TokenKind;
use crate::{Graph, Input, Type, ValueId};
use std::collections::HashMap;
use std::ops::Range;

/// The values that are defined so far in one graph, and the graph around it, of which nothing can be used.
#[derive(Default)]
pub(super) struct Scope<'s, 'o> {
    values: HashMap<&'s str, Defined>,
    outer: Option<&'o Scope<'s, 'o>>,
}

/// The values a name stands for, by result number.
struct Defined {
    values: Vec<ValueId>,
    span: Range<usize>,
}

impl<'s> Scope<'s, '_> {
    /// A graph with these inputs, which are defined here.
    pub(super) fn begin(
        &mut self,
        name: impl Into<String>,
        inputs: Vec<(ValueDefinition<'s>, Input)>,
    ) -> Result<Graph, Diagnostic> {
        let (definitions, inputs): (Vec<_>, Vec<_>) = inputs.into_iter().unzip();
        let graph = Graph::new(name, inputs);
        for (definition, value) in definitions.iter().zip(graph.input_values()) {
            self.define(definition, vec![value])?;
        }
        Ok(graph)
    }

    /// Gives a name to values.
    pub(super) fn define(
        &mut self,
        definition: &ValueDefinition<'s>,
        values: Vec<ValueId>,
    ) -> Result<(), Diagnostic> {
        let span = definition.span.clone();
        let defined = Defined { values, span };
        match self.values.insert(definition.name, defined) {
            None => Ok(()),
            Some(earlier) => {
                let message = format!("'%{}' is defined already", definition.name);
                Err(Diagnostic::new(message, definition.span.clone())
                    .with_note("first defined here", Some(earlier.span)))
            }
        }
    }

    /// The value of a use, and where it is defined.
    fn find(&self, value: &ValueUse<'s>) -> Result<(ValueId, Range<usize>), Diagnostic> {
        let Some(defined) = self.values.get(value.name) else {
            return Err(self.undefined(value));
        };
        match defined.values.get(value.number) {
            Some(&id) => Ok((id, defined.span.clone())),
            None => {
                let count = defined.values.len();
                let message = format!(
                    "'%{}' has {count} result(s), there is no '#{}'",
                    value.name, value.number
                );
                Err(Diagnostic::new(message, value.span.clone())
                    .with_note("defined here", Some(defined.span.clone())))
            }
        }
    }

    fn undefined(&self, value: &ValueUse<'s>) -> Diagnostic {
        let message = format!("'%{}' is not defined", value.name);
        let mut outer = self.outer;
        while let Some(scope) = outer {
            if let Some(defined) = scope.values.get(value.name) {
                return Diagnostic::new(
                    format!("'%{}' is not defined in this region", value.name),
                    value.span.clone(),
                )
                .with_note("defined outside", Some(defined.span.clone()))
                .with_note("what a region uses enters as an operand of its op", None);
            }
            outer = scope.outer;
        }
        Diagnostic::new(message, value.span.clone())
    }
}

impl<'s> Parser<'s> {
    /// Passes `{`, a label with inputs, ops, a return and `}`: a graph without a name.
    pub(super) fn region(
        &mut self,
        terminators: &[&str],
        outer: Option<&Scope<'s, '_>>,
    ) -> Result<Graph, Diagnostic> {
        let mut scope = Scope {
            values: HashMap::new(),
            outer,
        };
        self.cursor.expect(TokenKind::LeftBrace)?;
        let mut inputs = Vec::new();
        if self.cursor.eat(TokenKind::Block) {
            if self.cursor.at(TokenKind::LeftParenthesis) {
                inputs = self.inputs()?;
            }
            self.cursor.expect(TokenKind::Colon)?;
        }
        let mut graph = scope.begin("", inputs)?;
        self.nested(|parser| parser.body(&mut graph, &mut scope, terminators))?;
        self.cursor.expect(TokenKind::RightBrace)?;
        Ok(graph)
    }

    /// Passes ops and the return, whose place it gives.
    pub(super) fn body(
        &mut self,
        graph: &mut Graph,
        scope: &mut Scope<'s, '_>,
        terminators: &[&str],
    ) -> Result<Range<usize>, Diagnostic> {
        loop {
            let token = self.cursor.peek();
            let name = token.text.trim_matches('"');
            match token.kind {
                TokenKind::Bare | TokenKind::String if terminators.contains(&name) => {
                    return self.terminator(graph, scope);
                }
                TokenKind::Bare | TokenKind::String | TokenKind::Value => {
                    self.operation(graph, scope)?;
                }
                TokenKind::Block => {
                    let message = "a graph has one block: branches are ops that hold graphs";
                    return Err(Diagnostic::new(message, token.span()));
                }
                _ => {
                    let expected = format!("an op or '{}'", terminators[0]);
                    return Err(self.cursor.unexpected(&expected));
                }
            }
        }
    }

    /// `return %0, %1 : tensor<f32>, tensor<i1>`, or `"func.return"(%0, %1) : (tensor<f32>, tensor<i1>) -> ()`.
    fn terminator(
        &mut self,
        graph: &mut Graph,
        scope: &Scope<'s, '_>,
    ) -> Result<Range<usize>, Diagnostic> {
        let token = self.cursor.advance();
        let (mut uses, mut types) = (Vec::new(), Vec::new());
        if token.kind == TokenKind::String {
            uses = self.parenthesised_uses()?;
            self.cursor.expect(TokenKind::Colon)?;
            types = self.cursor.type_list()?;
            self.expect_all(&[
                TokenKind::Arrow,
                TokenKind::LeftParenthesis,
                TokenKind::RightParenthesis,
            ])?;
        } else if self.cursor.at(TokenKind::Value) {
            uses = self.uses()?;
            self.cursor.expect(TokenKind::Colon)?;
            types.push(self.cursor.value_type()?);
            while self.cursor.eat(TokenKind::Comma) {
                types.push(self.cursor.value_type()?);
            }
        }
        let span = self.cursor.span_from(token.start);
        self.cursor.optional_location()?;
        let values = self.resolve(graph, scope, &uses, &types, span.clone())?;
        graph.set_result_values(values);
        Ok(span)
    }

    /// Passes one or more uses with commas between them.
    pub(super) fn uses(&mut self) -> Result<Vec<ValueUse<'s>>, Diagnostic> {
        let mut uses = vec![self.cursor.value_use()?];
        while self.cursor.eat(TokenKind::Comma) {
            uses.push(self.cursor.value_use()?);
        }
        Ok(uses)
    }

    /// Passes `(%0, %1)`.
    pub(super) fn parenthesised_uses(&mut self) -> Result<Vec<ValueUse<'s>>, Diagnostic> {
        let (open, close) = (TokenKind::LeftParenthesis, TokenKind::RightParenthesis);
        self.cursor.list(open, close, Cursor::value_use)
    }

    /// The values of uses, which must have the types written for them.
    pub(super) fn resolve(
        &self,
        graph: &Graph,
        scope: &Scope<'s, '_>,
        uses: &[ValueUse<'s>],
        types: &[Type],
        span: Range<usize>,
    ) -> Result<Vec<ValueId>, Diagnostic> {
        let mut found = Vec::with_capacity(uses.len());
        for value in uses {
            found.push(scope.find(value)?);
        }
        if uses.len() != types.len() {
            let message = format!(
                "expected the types of {} operand(s), found {}",
                uses.len(),
                types.len()
            );
            return Err(Diagnostic::new(message, span));
        }
        for (((id, definition), value), written) in found.iter().zip(uses).zip(types) {
            let actual = graph.value_type(*id);
            if actual != written {
                let name = &self.cursor.source()[value.span.clone()];
                let message = format!("'{name}' is a {actual}, but {written} is written here");
                return Err(Diagnostic::new(message, value.span.clone())
                    .with_note("defined here", Some(definition.clone())));
            }
        }
        Ok(found.into_iter().map(|(id, _)| id).collect())
    }
}
