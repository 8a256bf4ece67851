//! Reading the text: modules, functions, regions, and the ops in them.

mod generic;
mod pretty;

use crate::raw::{RawArgument, RawFunction, RawModule, RawOp, RawRegion};
use std::ops::Range;
use tessera_ir::diagnostic::Diagnostic;
use tessera_ir::text::{
    AttributeValue, Cursor, Dictionary, DictionaryEntry, MAX_NESTING, ParsedAttribute, TokenKind,
    ValueDefinition,
};
use tessera_ir::{Location, TensorType};

/// Reads a whole text.
pub(crate) fn module<'s>(source: &'s str, file: &str) -> Result<RawModule<'s>, Diagnostic> {
    let mut reader = Reader::new(source, file);
    reader.skip_aliases()?;
    let module = match reader.cursor.peek() {
        token if token.text == "module" => reader.pretty_module()?,
        token if token.text == "\"builtin.module\"" => reader.generic_module()?,
        token if token.text.trim_matches('"') == "func.func" => reader.bare_functions()?,
        _ => return Err(reader.cursor.unexpected("'module'")),
    };
    reader.skip_aliases()?;
    reader.cursor.expect(TokenKind::End)?;
    Ok(module)
}

/// A cursor that knows where the lines of its text begin.
pub(super) struct Reader<'s> {
    cursor: Cursor<'s>,
    file: std::sync::Arc<str>,
    line_starts: Vec<usize>,
    nesting: usize,
}

impl<'s> Reader<'s> {
    fn new(source: &'s str, file: &str) -> Self {
        let after_newlines = source.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            cursor: Cursor::new(source),
            file: file.into(),
            line_starts: std::iter::once(0).chain(after_newlines).collect(),
            nesting: 0,
        }
    }

    fn skip_aliases(&mut self) -> Result<(), Diagnostic> {
        while self.cursor.eat_alias_definition()? {}
        Ok(())
    }

    /// The location written here, or that of the text at `offset`.
    fn location_or(&mut self, offset: usize) -> Result<Location, Diagnostic> {
        if let Some(location) = self.cursor.optional_location()? {
            return Ok(location);
        }
        let line = self.line_starts.partition_point(|&start| start <= offset);
        let column = self.cursor.source()[self.line_starts[line - 1]..offset]
            .chars()
            .count()
            + 1;
        let clamp = |n| u32::try_from(n).unwrap_or(u32::MAX);
        Ok(Location::file(
            self.file.clone(),
            clamp(line),
            clamp(column),
        ))
    }

    /// `module @name attributes {…} { functions }`.
    fn pretty_module(&mut self) -> Result<RawModule<'s>, Diagnostic> {
        let start = self.cursor.expect_keyword("module")?;
        let name = match self.cursor.at(TokenKind::Symbol) {
            true => Some(self.cursor.symbol()?),
            false => None,
        };
        if self.cursor.eat_keyword("attributes") {
            self.cursor.dictionary()?;
        }
        self.cursor.expect(TokenKind::LeftBrace)?;
        let functions = self.functions(TokenKind::RightBrace)?;
        self.cursor.expect(TokenKind::RightBrace)?;
        self.cursor.optional_location()?;
        Ok(RawModule {
            name,
            functions,
            span: start.span(),
        })
    }

    /// `"builtin.module"() <{…}> ({ functions }) {…} : () -> ()`.
    fn generic_module(&mut self) -> Result<RawModule<'s>, Diagnostic> {
        let start = self.cursor.expect(TokenKind::String)?;
        self.cursor.expect(TokenKind::LeftParenthesis)?;
        self.cursor.expect(TokenKind::RightParenthesis)?;
        let mut attributes = self.properties()?;
        self.cursor.expect(TokenKind::LeftParenthesis)?;
        self.cursor.expect(TokenKind::LeftBrace)?;
        if self.cursor.at(TokenKind::Block) {
            self.block_arguments()?;
        }
        let functions = self.functions(TokenKind::RightBrace)?;
        self.cursor.expect(TokenKind::RightBrace)?;
        self.cursor.expect(TokenKind::RightParenthesis)?;
        self.optional_dictionary()?;
        self.cursor.expect(TokenKind::Colon)?;
        self.cursor.function_type()?;
        self.cursor.optional_location()?;
        let name = attributes.take("sym_name");
        Ok(RawModule {
            name: name
                .map(|name| name.string().map(str::to_owned))
                .transpose()?,
            functions,
            span: start.span(),
        })
    }

    /// Functions without a module around them.
    fn bare_functions(&mut self) -> Result<RawModule<'s>, Diagnostic> {
        let span = self.cursor.span();
        Ok(RawModule {
            name: None,
            functions: self.functions(TokenKind::End)?,
            span,
        })
    }

    fn functions(&mut self, end: TokenKind) -> Result<Vec<RawFunction<'s>>, Diagnostic> {
        let mut functions = Vec::new();
        loop {
            self.skip_aliases()?;
            let token = self.cursor.peek();
            match token.text {
                _ if token.kind == end => return Ok(functions),
                "func.func" => functions.push(self.pretty_function()?),
                "\"func.func\"" => functions.push(self.generic_function()?),
                name if name.contains('.') => {
                    let message = format!("'{name}' beside the functions is not supported");
                    return Err(Diagnostic::new(message, token.span()));
                }
                _ => return Err(self.cursor.unexpected("'func.func'")),
            }
        }
    }

    /// `func.func private @name(%arg0: type {…}) -> (type {…}) attributes {…} { ops }`.
    fn pretty_function(&mut self) -> Result<RawFunction<'s>, Diagnostic> {
        let keyword = self.cursor.expect_keyword("func.func")?;
        let private = self.cursor.eat_keyword("private");
        if !private && !self.cursor.eat_keyword("public") {
            self.cursor.eat_keyword("nested");
        }
        let span = self.cursor.span();
        let name = self.cursor.symbol()?;
        let mut argument_attributes = Vec::new();
        let mut arguments = Vec::new();
        let (open, close) = (TokenKind::LeftParenthesis, TokenKind::RightParenthesis);
        self.each(open, close, |reader| {
            let value = reader.cursor.expect(TokenKind::Value)?;
            reader.cursor.expect(TokenKind::Colon)?;
            let tensor_type = reader.cursor.tensor_type()?;
            argument_attributes.push(reader.optional_dictionary()?);
            arguments.push(RawArgument {
                name: value.name(),
                span: value.span(),
                tensor_type,
                location: reader.location_or(value.start)?,
            });
            Ok(())
        })?;
        let (result_types, result_attributes) = self.function_results()?;
        if self.cursor.eat_keyword("attributes") {
            self.cursor.dictionary()?;
        }
        if !self.cursor.at(TokenKind::LeftBrace) {
            let message = format!("the function @{name} has no body");
            return Err(Diagnostic::new(message, span));
        }
        let mut body = self.braced_region()?;
        body.arguments = arguments;
        Ok(RawFunction {
            name,
            span,
            private,
            argument_attributes,
            result_types,
            result_attributes,
            body,
            location: self.location_or(keyword.start)?,
        })
    }

    /// `-> type`, `-> (type {…}, …)` or nothing.
    fn function_results(&mut self) -> Result<(Vec<TensorType>, Vec<Dictionary>), Diagnostic> {
        let (mut types, mut attributes) = (Vec::new(), Vec::new());
        if !self.cursor.eat(TokenKind::Arrow) {
            return Ok((types, attributes));
        }
        if !self.cursor.at(TokenKind::LeftParenthesis) {
            return Ok((
                vec![self.cursor.tensor_type()?],
                vec![Dictionary::default()],
            ));
        }
        let (open, close) = (TokenKind::LeftParenthesis, TokenKind::RightParenthesis);
        self.each(open, close, |reader| {
            types.push(reader.cursor.tensor_type()?);
            attributes.push(reader.optional_dictionary()?);
            Ok(())
        })?;
        Ok((types, attributes))
    }

    /// Items with commas between them, from `open` to `close`.
    fn each(
        &mut self,
        open: TokenKind,
        close: TokenKind,
        mut item: impl FnMut(&mut Self) -> Result<(), Diagnostic>,
    ) -> Result<(), Diagnostic> {
        self.cursor.expect(open)?;
        if self.cursor.eat(close) {
            return Ok(());
        }
        loop {
            item(self)?;
            if self.cursor.eat(close) {
                return Ok(());
            }
            if !self.cursor.eat(TokenKind::Comma) {
                return Err(self
                    .cursor
                    .unexpected(&format!("',' or {}", close.description())));
            }
        }
    }

    /// `{ ^bb0(…): ops }`, the block's label and arguments left out where it has none.
    fn braced_region(&mut self) -> Result<RawRegion<'s>, Diagnostic> {
        let start = self.cursor.expect(TokenKind::LeftBrace)?;
        let arguments = match self.cursor.at(TokenKind::Block) {
            true => self.block_arguments()?,
            false => Vec::new(),
        };
        let mut ops = Vec::new();
        while !self.cursor.at(TokenKind::RightBrace) {
            if self.cursor.at(TokenKind::Block) {
                let message = "a region of several blocks is not supported";
                return Err(Diagnostic::new(message, self.cursor.span()));
            }
            ops.push(self.op()?);
        }
        self.cursor.expect(TokenKind::RightBrace)?;
        Ok(RawRegion {
            arguments,
            ops,
            span: start.span(),
        })
    }

    /// `^bb0(%a: type, …):`.
    fn block_arguments(&mut self) -> Result<Vec<RawArgument<'s>>, Diagnostic> {
        self.cursor.expect(TokenKind::Block)?;
        let arguments = match self.cursor.at(TokenKind::LeftParenthesis) {
            true => self.typed_arguments()?,
            false => Vec::new(),
        };
        self.cursor.expect(TokenKind::Colon)?;
        Ok(arguments)
    }

    /// `(%a: type, …)`.
    fn typed_arguments(&mut self) -> Result<Vec<RawArgument<'s>>, Diagnostic> {
        let mut arguments = Vec::new();
        let (open, close) = (TokenKind::LeftParenthesis, TokenKind::RightParenthesis);
        self.each(open, close, |reader| {
            let value = reader.cursor.expect(TokenKind::Value)?;
            reader.cursor.expect(TokenKind::Colon)?;
            let tensor_type = reader.cursor.tensor_type()?;
            arguments.push(RawArgument {
                name: value.name(),
                span: value.span(),
                tensor_type,
                location: reader.location_or(value.start)?,
            });
            Ok(())
        })?;
        Ok(arguments)
    }

    /// One op in either form, its results in front and its location behind.
    fn op(&mut self) -> Result<RawOp<'s>, Diagnostic> {
        let start = self.cursor.offset();
        let results = self.result_names()?;
        let token = self.cursor.peek();
        let mut op = match token.kind {
            TokenKind::String => self.nested(Self::generic_op)?,
            TokenKind::Bare => self.nested(Self::pretty_op)?,
            _ => return Err(self.cursor.unexpected("an op")),
        };
        op.results = results;
        op.location = self.location_or(start)?;
        Ok(op)
    }

    /// Reads one level deeper; the level is counted so that no text exhausts the stack.
    fn nested<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Diagnostic>,
    ) -> Result<T, Diagnostic> {
        if self.nesting == MAX_NESTING {
            let message = format!("ops nested more than {MAX_NESTING} levels deep");
            return Err(Diagnostic::new(message, self.cursor.span()));
        }
        self.nesting += 1;
        let value = read(self);
        self.nesting -= 1;
        value
    }

    /// `%0 =`, `%0:2 =`, `%a, %b =` or nothing.
    fn result_names(&mut self) -> Result<Vec<ValueDefinition<'s>>, Diagnostic> {
        let mut results = Vec::new();
        if !self.cursor.at(TokenKind::Value) {
            return Ok(results);
        }
        loop {
            results.push(self.cursor.value_definition()?);
            if !self.cursor.eat(TokenKind::Comma) {
                break;
            }
        }
        self.cursor.expect(TokenKind::Equal)?;
        Ok(results)
    }

    /// `{…}` or nothing.
    fn optional_dictionary(&mut self) -> Result<Dictionary, Diagnostic> {
        match self.cursor.at(TokenKind::LeftBrace) {
            true => self.cursor.dictionary(),
            false => Ok(Dictionary::default()),
        }
    }

    /// `<{…}>` or nothing.
    fn properties(&mut self) -> Result<Dictionary, Diagnostic> {
        if !self.cursor.eat(TokenKind::Less) {
            return Ok(Dictionary::default());
        }
        let dictionary = self.cursor.dictionary()?;
        self.cursor.expect(TokenKind::Greater)?;
        Ok(dictionary)
    }
}

/// An op with a name and nothing else yet.
fn named<'s>(name: &str, span: Range<usize>) -> RawOp<'s> {
    RawOp {
        name: name.to_owned(),
        span,
        results: Vec::new(),
        operands: Vec::new(),
        attributes: Dictionary::default(),
        regions: Vec::new(),
        operand_types: Vec::new(),
        result_types: Vec::new(),
        location: Location::Unknown,
    }
}

/// A dictionary's entry for what the pretty form says without naming it.
fn entry(name: &str, value: AttributeValue, span: Range<usize>) -> DictionaryEntry {
    DictionaryEntry {
        name: name.to_owned(),
        name_span: span.clone(),
        attribute: ParsedAttribute { value, span },
    }
}
