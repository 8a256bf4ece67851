//! Reading attributes.

use super::{AttributeValue, DialectBody, Dictionary, DictionaryEntry, ParsedAttribute};
use crate::diagnostic::Diagnostic;
use crate::text::cursor::{Cursor, integer_value};
use crate::text::dense::DenseLiteral;
use crate::text::lexer::TokenKind;
use std::collections::HashMap;
use std::ops::Range;
use tessera_numerics::ElementType;

/// A dictionary that is being read.
#[derive(Default)]
struct DictionaryReader {
    dictionary: Dictionary,
    names: HashMap<String, Range<usize>>,
}

impl DictionaryReader {
    fn insert(&mut self, entry: DictionaryEntry) -> Result<(), Diagnostic> {
        let span = entry.name_span.clone();
        if let Some(first) = self.names.insert(entry.name.clone(), span.clone()) {
            let message = format!("attribute '{}' is given twice", entry.name);
            return Err(Diagnostic::new(message, span).with_note("first given here", Some(first)));
        }
        self.dictionary.entries.push(entry);
        Ok(())
    }
}

impl Cursor<'_> {
    /// Passes any attribute. A name without a body, `#name`, is followed to its definition where the text has one.
    ///
    /// # Errors
    /// The next tokens are no attribute.
    pub fn attribute(&mut self) -> Result<ParsedAttribute, Diagnostic> {
        let attribute = self.attribute_or_alias()?;
        match &attribute.value {
            AttributeValue::Dialect { name, body: None } => self.alias_attribute(name, &attribute),
            _ => Ok(attribute),
        }
    }

    /// Passes any attribute and leaves `#name` as it is.
    fn attribute_or_alias(&mut self) -> Result<ParsedAttribute, Diagnostic> {
        let start = self.offset();
        let value = self.nested(Self::attribute_value)?;
        Ok(ParsedAttribute {
            value,
            span: self.span_from(start),
        })
    }

    fn attribute_value(&mut self) -> Result<AttributeValue, Diagnostic> {
        let token = self.peek();
        match token.kind {
            TokenKind::Integer | TokenKind::Float | TokenKind::Minus => self.number(),
            TokenKind::String => {
                let text = self.string()?;
                // A string attribute may be given a type, which says nothing here.
                Ok(AttributeValue::String(text))
            }
            TokenKind::Symbol => {
                let mut names = vec![self.symbol()?];
                while self.eat(TokenKind::DoubleColon) {
                    names.push(self.symbol()?);
                }
                Ok(AttributeValue::Symbol(names))
            }
            TokenKind::LeftBracket => {
                let (open, close) = (TokenKind::LeftBracket, TokenKind::RightBracket);
                let items = self.list(open, close, Self::attribute_or_alias)?;
                Ok(AttributeValue::Array(items))
            }
            TokenKind::LeftBrace => self.dictionary().map(AttributeValue::Dictionary),
            TokenKind::LeftParenthesis => self.function_type().map(AttributeValue::FunctionType),
            TokenKind::Attribute => self.dialect_attribute(),
            TokenKind::Bare | TokenKind::Type => self.named(),
            _ => Err(self.unexpected("an attribute")),
        }
    }

    /// An attribute that begins with an identifier.
    fn named(&mut self) -> Result<AttributeValue, Diagnostic> {
        let token = self.peek();
        Ok(match token.text {
            "tensor" => AttributeValue::TensorType(self.tensor_type()?),
            "dense" => AttributeValue::Dense(self.dense()?),
            "array" => AttributeValue::Elements(self.elements_array()?),
            "dense_resource" => return Err(self.resource()),
            name => {
                self.advance();
                match (name, name.parse()) {
                    ("true", _) => AttributeValue::Bool(true),
                    ("false", _) => AttributeValue::Bool(false),
                    ("unit", _) => AttributeValue::Unit,
                    (_, Ok(element)) => AttributeValue::ElementType(element),
                    (_, Err(())) if self.at(TokenKind::Less) => {
                        self.skip_brackets()?;
                        let text = &self.source()[self.span_from(token.start)];
                        AttributeValue::Other(text.to_owned())
                    }
                    (_, Err(())) if token.kind == TokenKind::Type => {
                        AttributeValue::Other(name.to_owned())
                    }
                    (_, Err(())) => AttributeValue::Word(name.to_owned()),
                }
            }
        })
    }

    /// The error that a constant's elements are not in the text.
    fn resource(&mut self) -> Diagnostic {
        Diagnostic::new(
            "the constant's elements are not here: dense_resource is not supported",
            self.span(),
        )
        .with_note(
            "print the module with its large constants written out",
            None,
        )
    }

    /// A number and its type, if it has one.
    fn number(&mut self) -> Result<AttributeValue, Diagnostic> {
        let start = self.offset();
        let negative = self.eat(TokenKind::Minus);
        let token = self.peek();
        if !matches!(token.kind, TokenKind::Integer | TokenKind::Float) {
            return Err(self.unexpected("a number"));
        }
        self.advance();
        let number_end = self.previous_end();
        let mut element = None;
        if self.eat(TokenKind::Colon) {
            if self.at_keyword("index") {
                self.advance();
            } else {
                element = Some(self.element_type()?);
            }
        }
        let out_of_range = || Diagnostic::new("the number is out of range", start..number_end);
        match element {
            Some(element) => {
                let mut bytes = Vec::with_capacity(8);
                let mut again = self.at_offset(start);
                // A boolean with a type is written as a number, -1 for true among them.
                let wide = match element {
                    ElementType::I1 => ElementType::I8,
                    other => other,
                };
                again.element(wide, &mut bytes)?;
                if element.is_float() {
                    let value = float_value(element, &bytes);
                    return Ok(AttributeValue::Float {
                        value,
                        element: Some(element),
                    });
                }
            }
            None if token.kind == TokenKind::Float => {
                let magnitude = token.text.parse().ok().filter(|v: &f64| v.is_finite());
                let magnitude = magnitude.ok_or_else(out_of_range)?;
                let value = if negative { -magnitude } else { magnitude };
                return Ok(AttributeValue::Float { value, element });
            }
            None => {}
        }
        let value = integer_value(token, negative).ok_or_else(out_of_range)?;
        Ok(AttributeValue::Integer { value, element })
    }

    /// `array<i64: 1, 2>`: a dense literal of rank 1.
    fn elements_array(&mut self) -> Result<DenseLiteral, Diagnostic> {
        self.advance();
        self.expect(TokenKind::Less)?;
        let element = self.element_type()?;
        let mut bytes = Vec::new();
        if self.eat(TokenKind::Colon) {
            loop {
                self.element(element, &mut bytes)?;
                if !self.eat(TokenKind::Comma) {
                    break;
                }
            }
        }
        self.expect(TokenKind::Greater)?;
        Ok(DenseLiteral::of_elements(element, bytes))
    }

    /// Passes a dictionary, `{key = value, flag}`.
    ///
    /// # Errors
    /// Something else stands there, or a name is given twice.
    pub fn dictionary(&mut self) -> Result<Dictionary, Diagnostic> {
        let mut reader = DictionaryReader::default();
        let (open, close) = (TokenKind::LeftBrace, TokenKind::RightBrace);
        self.list(open, close, |cursor| {
            let name_span = cursor.span();
            let name = cursor.attribute_name()?;
            let attribute = if cursor.eat(TokenKind::Equal) {
                cursor.attribute_or_alias()?
            } else {
                ParsedAttribute {
                    value: AttributeValue::Unit,
                    span: name_span.clone(),
                }
            };
            reader.insert(DictionaryEntry {
                name,
                name_span,
                attribute,
            })
        })?;
        Ok(reader.dictionary)
    }

    /// Passes the name of a dictionary's entry: an identifier or a string.
    ///
    /// # Errors
    /// Something else stands there.
    pub fn attribute_name(&mut self) -> Result<String, Diagnostic> {
        match self.peek().kind {
            TokenKind::Bare => Ok(self.advance().text.to_owned()),
            TokenKind::String => self.string(),
            _ => Err(self.unexpected("an attribute's name")),
        }
    }

    /// `#name` or `#name<…>`.
    fn dialect_attribute(&mut self) -> Result<AttributeValue, Diagnostic> {
        let name = self.advance().name().to_owned();
        if !self.at(TokenKind::Less) {
            return Ok(AttributeValue::Dialect { name, body: None });
        }
        let start = self.offset();
        let body = match self.nested(Self::dialect_body) {
            Ok(body) => body,
            // The dialect has a spelling of its own.
            Err(_) => {
                self.reset(start);
                let brackets = self.skip_brackets()?;
                DialectBody::Text(brackets.start + 1..brackets.end - 1)
            }
        };
        let body = Some(body);
        Ok(AttributeValue::Dialect { name, body })
    }

    fn dialect_body(&mut self) -> Result<DialectBody, Diagnostic> {
        let mut reader = DictionaryReader::default();
        let mut values = Vec::new();
        self.list(TokenKind::Less, TokenKind::Greater, |cursor| {
            let first = cursor.peek();
            let value = cursor.attribute_or_alias()?;
            let is_key = first.kind == TokenKind::Bare && value.span == first.span();
            let keyed = is_key && (cursor.eat(TokenKind::Equal) || cursor.at(TokenKind::Bare));
            if !keyed {
                values.push(value);
                return Ok(());
            }
            reader.insert(DictionaryEntry {
                name: first.text.to_owned(),
                name_span: first.span(),
                attribute: cursor.attribute_or_alias()?,
            })
        })?;
        if values.is_empty() {
            Ok(DialectBody::Entries(reader.dictionary))
        } else if reader.names.is_empty() {
            Ok(DialectBody::Values(values))
        } else {
            Err(self.unexpected("entries with keys, or without"))
        }
    }
}

/// The value of a float element, given by its bytes.
fn float_value(element: ElementType, bytes: &[u8]) -> f64 {
    let mut wide = [0; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    let bits = u64::from_le_bytes(wide);
    match element {
        ElementType::F64 => f64::from_bits(bits),
        ElementType::F32 => f32::from_bits(bits as u32).into(),
        ElementType::F16 => half::f16::from_bits(bits as u16).into(),
        _ => half::bf16::from_bits(bits as u16).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: &str) -> ParsedAttribute {
        let mut cursor = Cursor::new(source);
        let attribute = cursor.attribute().unwrap();
        assert!(cursor.at(TokenKind::End), "{source}");
        attribute
    }

    fn error(source: &str) -> Diagnostic {
        Cursor::new(source).attribute().unwrap_err()
    }

    #[test]
    fn numbers_carry_their_type() {
        let integer = |value, element| AttributeValue::Integer { value, element };
        assert_eq!(read("3").value, integer(3, None));
        assert_eq!(read("-1 : i32").value, integer(-1, Some(ElementType::I32)));
        assert_eq!(read("7 : index").value, integer(7, None));
        assert_eq!(
            read("0x7F800000 : f32").value,
            AttributeValue::Float {
                value: f64::INFINITY,
                element: Some(ElementType::F32)
            }
        );
        assert_eq!(
            read("-1.5").value,
            AttributeValue::Float {
                value: -1.5,
                element: None
            }
        );
        assert_eq!(error("300 : i8").message, "'300' is out of range for i8");
    }

    #[test]
    fn arrays_of_integers_have_many_spellings() {
        for source in [
            "[1, -2]",
            "[1 : i64, -2 : i64]",
            "array<i64: 1, -2>",
            "array<i8: 1, -2>",
            "dense<[1, -2]> : tensor<2xi64>",
            "dense<[[1], [-2]]> : tensor<2x1xi32>",
        ] {
            assert_eq!(read(source).integers(), Ok(vec![1i64, -2]), "{source}");
        }
        assert_eq!(read("array<i64>").integers(), Ok(Vec::<i64>::new()));
        assert_eq!(
            read("[1, -2]").integers::<usize>().unwrap_err(),
            Diagnostic::new("the integer -2 is out of range", 4..6)
        );
    }

    #[test]
    fn words_symbols_strings_and_types_are_told_apart() {
        assert_eq!(read("LT").word(), Ok("LT"));
        assert_eq!(read("\"LT\"").word(), Ok("LT"));
        assert_eq!(read("@main").symbol(), Ok("main"));
        assert_eq!(
            read("@a::@\"b c\"").value,
            AttributeValue::Symbol(vec!["a".into(), "b c".into()])
        );
        assert_eq!(
            read("f32").value,
            AttributeValue::ElementType(ElementType::F32)
        );
        assert_eq!(read("true").bool(), Ok(true));
        assert_eq!(
            read("affine_map<(d0) -> (d0)>").value,
            AttributeValue::Other("affine_map<(d0) -> (d0)>".into())
        );
        assert_eq!(
            read("3").bool().unwrap_err().message,
            "expected true or false, found an integer"
        );
    }

    #[test]
    fn dictionaries_hold_each_name_once() {
        let attribute = read("{a = 1, \"b c\" = [2], flag}");
        let dictionary = attribute.dictionary().unwrap();
        assert_eq!(dictionary.get("a").unwrap().integer(), Ok(1));
        assert_eq!(dictionary.get("b c").unwrap().integers(), Ok(vec![2]));
        assert_eq!(dictionary.get("flag").unwrap().value, AttributeValue::Unit);
        assert_eq!(dictionary.get("d"), None);
        let twice = error("{a = 1, a = 2}");
        assert_eq!(
            (twice.message.as_str(), twice.span),
            ("attribute 'a' is given twice", 8..9)
        );
        assert_eq!(twice.notes[0].span, Some(1..2));
    }

    #[test]
    fn dialect_attributes_are_trees_where_they_can_be() {
        let gather = read("#stablehlo.gather<offset_dims = [2], index_vector_dim = 1>");
        let dictionary = gather.dictionary().unwrap();
        assert_eq!(
            dictionary.get("offset_dims").unwrap().integers(),
            Ok(vec![2])
        );
        assert_eq!(dictionary.get("index_vector_dim").unwrap().integer(), Ok(1));
        assert_eq!(read("#stablehlo<precision HIGHEST>").word(), Ok("HIGHEST"));
        assert_eq!(
            read("#stablehlo<comparison_type SIGNED>").word(),
            Ok("SIGNED")
        );
        let algorithm = read("#stablehlo.dot_algorithm<lhs_precision_type = tf32, n = 1>");
        let algorithm = algorithm.dictionary().unwrap();
        assert_eq!(
            algorithm.get("lhs_precision_type").unwrap().word(),
            Ok("tf32")
        );
    }

    #[test]
    fn a_dialect_s_own_spelling_is_kept_as_text() {
        let source = "#stablehlo.conv<[b, 0, f]x[0, i, o]->[b, 0, f]>";
        let AttributeValue::Dialect {
            body: Some(DialectBody::Text(span)),
            ..
        } = read(source).value
        else {
            panic!("expected a text");
        };
        assert_eq!(&source[span], "[b, 0, f]x[0, i, o]->[b, 0, f]");
    }

    #[test]
    fn aliases_are_followed_wherever_they_are_defined() {
        let source = "#a\n#a = [1, 2]\n";
        let attribute = Cursor::new(source).attribute().unwrap();
        assert_eq!(attribute.integers(), Ok(vec![1, 2]));
        assert_eq!(
            error("#b").message,
            "the alias '#b' is not defined in this text"
        );
    }

    #[test]
    fn elements_that_are_elsewhere_are_refused() {
        assert_eq!(
            error("dense_resource<__elided__> : tensor<4xf32>").message,
            "the constant's elements are not here: dense_resource is not supported"
        );
    }

    #[test]
    fn deep_attributes_are_refused() {
        for (open, close) in [("[", "]"), ("{a = ", "}"), ("#a.b<", ">")] {
            let source = format!("{}1{}", open.repeat(9999), close.repeat(9999));
            match Cursor::new(&source).attribute() {
                Err(error) => assert_eq!(error.message, "nested more than 64 levels deep"),
                // The innermost of a dialect's attributes are kept as text.
                Ok(_) => assert_eq!(open, "#a.b<"),
            }
        }
    }
}
