//! Functions: `func.func` and its generic form.

use super::Parser;
use super::body::Scope;
use crate::diagnostic::Diagnostic;
use crate::text::attribute::{Dictionary, ParsedAttribute};
use crate::text::cursor::ValueDefinition;
use crate::text::lexer::TokenKind;
use crate::text::{AttributeValue, FunctionType};
use crate::{Graph, GraphResult, Input, Type, Visibility};
use std::ops::Range;
use tessera_numerics::Initialiser;
use tessera_numerics::initialiser::ParseInitialiserError;

/// What a function says of a result before its body.
struct ResultDeclaration {
    value_type: Type,
    name: Option<String>,
}

impl<'s> Parser<'s> {
    /// Passes a function and gives it with the place of its name.
    pub(super) fn function(&mut self) -> Result<(Graph, Range<usize>), Diagnostic> {
        let token = self.cursor.peek();
        match (token.kind, token.text) {
            (TokenKind::Bare, "func.func") => self.pretty_function(),
            (TokenKind::String, "\"func.func\"") => self.generic_function(),
            _ => Err(self.cursor.unexpected("'func.func'")),
        }
    }

    fn pretty_function(&mut self) -> Result<(Graph, Range<usize>), Diagnostic> {
        let start = self.cursor.advance().start;
        let visibility = self.visibility();
        let name_span = self.cursor.span();
        let name = self.cursor.symbol()?;
        let implicit = self.implicit_location(start);
        let mut graph = self.signature_and_body(name)?;
        graph.visibility = visibility.unwrap_or_default();
        graph.location = self.cursor.optional_location()?.unwrap_or(implicit);
        Ok((graph, name_span))
    }

    /// Passes `public` or `private`, if it stands there.
    pub(crate) fn visibility(&mut self) -> Option<Visibility> {
        if self.cursor.eat_keyword("public") {
            Some(Visibility::Public)
        } else if self.cursor.eat_keyword("private") {
            Some(Visibility::Private)
        } else {
            None
        }
    }

    /// Passes `(inputs) -> results {` ops `}`.
    pub(crate) fn signature_and_body(&mut self, name: String) -> Result<Graph, Diagnostic> {
        let mut scope = Scope::default();
        let inputs = self.inputs()?;
        let results_start = self.cursor.offset();
        let results = if self.cursor.eat(TokenKind::Arrow) {
            self.result_declarations()?
        } else {
            Vec::new()
        };
        let results_span = self.cursor.span_from(results_start);
        let mut graph = scope.begin(name, inputs)?;
        self.cursor.expect(TokenKind::LeftBrace)?;
        let terminators = ["return", "func.return"];
        let returned = self.body(&mut graph, &mut scope, &terminators)?;
        self.cursor.expect(TokenKind::RightBrace)?;
        declare_results(&mut graph, results, results_span, returned)?;
        Ok(graph)
    }

    /// Passes the inputs, `(%arg0: tensor<f32> {tsr.donate = 0} loc(…), …)`.
    pub(super) fn inputs(&mut self) -> Result<Vec<(ValueDefinition<'s>, Input)>, Diagnostic> {
        let mut inputs = Vec::new();
        self.cursor.expect(TokenKind::LeftParenthesis)?;
        while !self.cursor.eat(TokenKind::RightParenthesis) {
            if !inputs.is_empty() && !self.cursor.eat(TokenKind::Comma) {
                return Err(self.cursor.unexpected("',' or ')'"));
            }
            let token = self.cursor.expect(TokenKind::Value)?;
            let definition = ValueDefinition::one(token);
            self.cursor.expect(TokenKind::Colon)?;
            let mut input = Input::new(self.cursor.value_type()?);
            if self.cursor.at(TokenKind::LeftBrace) {
                let attributes = self.cursor.dictionary()?;
                input_attributes(&attributes)?.give_to(&mut input);
            }
            input.location = self.location_of(token.start)?;
            inputs.push((definition, input));
        }
        Ok(inputs)
    }

    fn result_declarations(&mut self) -> Result<Vec<ResultDeclaration>, Diagnostic> {
        let (open, close) = (TokenKind::LeftParenthesis, TokenKind::RightParenthesis);
        if !self.cursor.at(open) {
            let value_type = self.cursor.value_type()?;
            let name = None;
            return Ok(vec![ResultDeclaration { value_type, name }]);
        }
        self.cursor.list(open, close, |cursor| {
            let value_type = cursor.value_type()?;
            let attributes = if cursor.at(TokenKind::LeftBrace) {
                cursor.dictionary()?
            } else {
                Dictionary::default()
            };
            let name = result_attributes(&attributes)?;
            Ok(ResultDeclaration { value_type, name })
        })
    }

    /// `"func.func"() <{function_type = …, sym_name = "main"}> ({ … }) : () -> ()`.
    fn generic_function(&mut self) -> Result<(Graph, Range<usize>), Diagnostic> {
        let operation = self.cursor.advance();
        let implicit = self.implicit_location(operation.start);
        self.expect_all(&[TokenKind::LeftParenthesis, TokenKind::RightParenthesis])?;
        let mut properties = self.properties()?;
        self.cursor.expect(TokenKind::LeftParenthesis)?;
        let mut graph = self.region(&["func.return", "return"], None)?;
        self.cursor.expect(TokenKind::RightParenthesis)?;
        for entry in self.trailing_attributes()?.entries {
            properties.entries.push(entry);
        }
        self.cursor.expect(TokenKind::Colon)?;
        self.empty_function_type()?;
        let location = self.cursor.optional_location()?;
        graph.location = location.unwrap_or(implicit);
        let span = set_properties(&mut graph, properties, operation.span())?;
        Ok((graph, span))
    }

    /// Passes `<{…}>`, if it stands there.
    pub(super) fn properties(&mut self) -> Result<Dictionary, Diagnostic> {
        if !self.cursor.eat(TokenKind::Less) {
            return Ok(Dictionary::default());
        }
        let dictionary = self.cursor.dictionary()?;
        self.cursor.expect(TokenKind::Greater)?;
        Ok(dictionary)
    }

    fn trailing_attributes(&mut self) -> Result<Dictionary, Diagnostic> {
        if self.cursor.at(TokenKind::LeftBrace) {
            self.cursor.dictionary()
        } else {
            Ok(Dictionary::default())
        }
    }
}

/// Checks the results against what was declared of them, and names them.
fn declare_results(
    graph: &mut Graph,
    declarations: Vec<ResultDeclaration>,
    declared: Range<usize>,
    returned: Range<usize>,
) -> Result<(), Diagnostic> {
    let found = graph.results().len();
    if found != declarations.len() {
        let message = format!("expected {} result(s), found {found}", declarations.len());
        return Err(
            Diagnostic::new(message, returned).with_note("as declared here", Some(declared))
        );
    }
    for (number, declaration) in declarations.iter().enumerate() {
        let found = graph.value_type(graph.results()[number].value);
        let expected = &declaration.value_type;
        if found != expected {
            let message = format!("result {number} must be {expected}, found {found}");
            return Err(
                Diagnostic::new(message, returned).with_note("as declared here", Some(declared))
            );
        }
    }
    let results = graph.results().iter().zip(declarations);
    let results = results.map(|(result, declaration)| GraphResult {
        value: result.value,
        name: declaration.name,
    });
    graph.set_results(results.collect());
    Ok(())
}

/// Takes the generic form's properties over, and gives the place of the name.
fn set_properties(
    graph: &mut Graph,
    mut properties: Dictionary,
    operation: Range<usize>,
) -> Result<Range<usize>, Diagnostic> {
    let missing = |name: &str| {
        let message = format!("attribute '{name}' is missing");
        Diagnostic::new(message, operation.clone())
    };
    let name = properties
        .take("sym_name")
        .ok_or_else(|| missing("sym_name"))?;
    graph.name = name.string()?.to_owned();
    if let Some(visibility) = properties.take("sym_visibility") {
        graph.visibility = match visibility.string()? {
            "public" => Visibility::Public,
            "private" => Visibility::Private,
            _ => return Err(visibility.unexpected("\"public\" or \"private\"")),
        };
    }
    let function_type = properties
        .take("function_type")
        .ok_or_else(|| missing("function_type"))?;
    check_function_type(graph, &function_type)?;
    if let Some(attributes) = properties.take("arg_attrs") {
        let parsed = attribute_list(&attributes, graph.inputs().len(), input_attributes)?;
        for (input, given) in graph.inputs_mut().zip(parsed) {
            (*input.name, *input.donate) = (given.name, given.donate);
            *input.initialiser = given.initialiser;
        }
    }
    if let Some(attributes) = properties.take("res_attrs") {
        let names = attribute_list(&attributes, graph.results().len(), result_attributes)?;
        let results = graph.results().iter().zip(names);
        let results = results.map(|(result, name)| GraphResult {
            value: result.value,
            name,
        });
        graph.set_results(results.collect());
    }
    match properties.entries.first() {
        Some(entry) => {
            let message = format!("a graph has no attribute '{}'", entry.name);
            Err(Diagnostic::new(message, entry.name_span.clone()))
        }
        None => Ok(name.span),
    }
}

fn check_function_type(graph: &Graph, attribute: &ParsedAttribute) -> Result<(), Diagnostic> {
    let AttributeValue::FunctionType(written) = &attribute.value else {
        return Err(attribute.unexpected("a function type"));
    };
    let inputs = graph.inputs().iter();
    let found = FunctionType {
        inputs: inputs.map(|input| input.value_type.clone()).collect(),
        results: graph.result_types().cloned().collect(),
    };
    if *written == found {
        return Ok(());
    }
    let message = format!("the function's body has the type {found}");
    Err(Diagnostic::new(message, attribute.span.clone()))
}

/// An array of as many dictionaries as there are inputs or results.
fn attribute_list<T>(
    attribute: &ParsedAttribute,
    count: usize,
    read: impl Fn(&Dictionary) -> Result<T, Diagnostic>,
) -> Result<Vec<T>, Diagnostic> {
    let items = attribute.array()?;
    if items.len() != count {
        let message = format!("expected {count} dictionaries, found {}", items.len());
        return Err(Diagnostic::new(message, attribute.span.clone()));
    }
    items.iter().map(|item| read(item.dictionary()?)).collect()
}

/// What is written of an input beside its type.
#[derive(Default)]
struct InputAttributes {
    name: Option<String>,
    donate: Option<usize>,
    initialiser: Option<Initialiser>,
}

impl InputAttributes {
    fn give_to(self, input: &mut Input) {
        (input.name, input.donate) = (self.name, self.donate);
        input.initialiser = self.initialiser;
    }
}

fn input_attributes(attributes: &Dictionary) -> Result<InputAttributes, Diagnostic> {
    let mut given = InputAttributes::default();
    for entry in &attributes.entries {
        match entry.name.as_str() {
            "tsr.name" => given.name = Some(entry.attribute.string()?.to_owned()),
            "tsr.donate" => given.donate = Some(entry.attribute.integer()?),
            "tsr.initialiser" => {
                let initialiser = entry.attribute.string()?.parse();
                let span = entry.attribute.span.clone();
                given.initialiser = Some(initialiser.map_err(|error: ParseInitialiserError| {
                    Diagnostic::new(error.to_string(), span)
                })?);
            }
            other => {
                let message = format!("an input has no attribute '{other}'");
                return Err(Diagnostic::new(message, entry.name_span.clone()).with_note(
                    "it may have 'tsr.name', 'tsr.donate' and 'tsr.initialiser'",
                    None,
                ));
            }
        }
    }
    Ok(given)
}

/// The name of a result.
fn result_attributes(attributes: &Dictionary) -> Result<Option<String>, Diagnostic> {
    let mut name = None;
    for entry in &attributes.entries {
        if entry.name != "tsr.name" {
            let message = format!("a result has no attribute '{}'", entry.name);
            return Err(Diagnostic::new(message, entry.name_span.clone())
                .with_note("it may have 'tsr.name'", None));
        }
        name = Some(entry.attribute.string()?.to_owned());
    }
    Ok(name)
}
