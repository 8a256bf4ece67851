//! Types as they are written: tensor types, element types, function types.

use super::cursor::Cursor;
use super::lexer::TokenKind;
use crate::diagnostic::Diagnostic;
use crate::{TensorType, Type};
use std::fmt;
use tessera_numerics::{BlockShape, ElementType, Format, ScaleLayout, ScaledType};

/// The type of a function: `(tensor<f32>, tensor<2xf32>) -> tensor<2xf32>`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FunctionType<T = Type> {
    /// The operands' types.
    pub inputs: Vec<T>,
    /// The results' types.
    pub results: Vec<T>,
}

/// Types with commas between them, in parentheses.
pub(super) struct TypeList<'a>(pub &'a [Type]);

impl fmt::Display for TypeList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(")?;
        for (index, value_type) in self.0.iter().enumerate() {
            let separator = if index > 0 { ", " } else { "" };
            write!(f, "{separator}{value_type}")?;
        }
        f.write_str(")")
    }
}

impl fmt::Display for FunctionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> ", TypeList(&self.inputs))?;
        match self.results.as_slice() {
            [one] => write!(f, "{one}"),
            several => write!(f, "{}", TypeList(several)),
        }
    }
}

impl Cursor<'_> {
    /// Passes a tensor type, `tensor<2x3xf32>`.
    ///
    /// # Errors
    /// Something else stands there; a dimension is dynamic; the element type is none of [`ElementType::ALL`]; the
    /// tensor would be larger than the address space.
    pub fn tensor_type(&mut self) -> Result<TensorType, Diagnostic> {
        let start = self.offset();
        if !self.at_keyword("tensor") {
            return Err(self.unexpected("a tensor type"));
        }
        self.advance();
        self.expect(TokenKind::Less)?;
        let shape = self.dimensions()?;
        let element = self.element_type()?;
        if self.at(TokenKind::Comma) {
            let message = "tensor types with an encoding are not supported";
            return Err(Diagnostic::new(message, self.span()));
        }
        self.expect(TokenKind::Greater)?;
        let tensor_type = TensorType { element, shape };
        if tensor_type.byte_size_checked().is_none() {
            let message = "the tensor is larger than the address space";
            return Err(Diagnostic::new(message, self.span_from(start)));
        }
        Ok(tensor_type)
    }

    /// Passes a type: a tensor's, or a scaled tensor's, `!tsr.scaled<8x256, nvfp4, axis = 1>`.
    ///
    /// # Errors
    /// As [`tensor_type`](Self::tensor_type); a scaled type that does not exist.
    pub fn value_type(&mut self) -> Result<Type, Diagnostic> {
        if self.peek().text == "!tsr.scaled" {
            self.scaled_type().map(Type::Scaled)
        } else {
            self.tensor_type().map(Type::Tensor)
        }
    }

    /// Passes a scaled type after its keyword is seen.
    fn scaled_type(&mut self) -> Result<ScaledType, Diagnostic> {
        let start = self.advance().start;
        self.expect(TokenKind::Less)?;
        let shape = self.scaled_dimensions()?;
        self.expect(TokenKind::Comma)?;
        let format = self.word("a format", Format::ALL.map(|f| (f.name(), f)))?;
        self.expect(TokenKind::Comma)?;
        self.expect_keyword("axis")?;
        self.expect(TokenKind::Equal)?;
        let axis = self.integer("a dimension")?;
        let (mut blocks, mut layout) = (BlockShape::default(), ScaleLayout::default());
        while self.eat(TokenKind::Comma) {
            let key = self.word(
                "a part of a scaled type",
                [("blocks", true), ("layout", false)],
            )?;
            self.expect(TokenKind::Equal)?;
            if key {
                blocks = self.word("a block shape", BlockShape::ALL.map(|b| (b.name(), b)))?;
            } else {
                layout = self.word("a scale layout", ScaleLayout::ALL.map(|l| (l.name(), l)))?;
            }
        }
        self.expect(TokenKind::Greater)?;
        ScaledType::new(shape, format, axis, blocks, layout)
            .map_err(|error| Diagnostic::new(error.to_string(), self.span_from(start)))
    }

    /// Passes one of the words and gives what it stands for.
    fn word<T: Copy, const N: usize>(
        &mut self,
        what: &str,
        words: [(&'static str, T); N],
    ) -> Result<T, Diagnostic> {
        let token = self.peek();
        match words.iter().find(|(word, _)| *word == token.text) {
            Some(&(_, value)) => {
                self.advance();
                Ok(value)
            }
            None => {
                let known = words.map(|(word, _)| word).join(", ");
                let unexpected = self.unexpected(what);
                Err(unexpected.with_note(format!("known are {known}"), None))
            }
        }
    }

    /// Passes an element type, `f32`.
    ///
    /// # Errors
    /// Something else stands there.
    pub fn element_type(&mut self) -> Result<ElementType, Diagnostic> {
        let token = self.peek();
        if !matches!(token.kind, TokenKind::Bare | TokenKind::Type) {
            return Err(self.unexpected("an element type"));
        }
        let element = token.text.parse().map_err(|()| {
            let names = ElementType::ALL.map(ElementType::name).join(", ");
            Diagnostic::new(
                format!("the element type '{}' is not supported", token.text),
                token.span(),
            )
            .with_note(format!("supported are {names}"), None)
        })?;
        self.advance();
        Ok(element)
    }

    /// The dimensions after `tensor<`, each with its `x`. `16xf32` is no token, so bytes are read here.
    fn dimensions(&mut self) -> Result<Vec<usize>, Diagnostic> {
        let source = self.source().as_bytes();
        let mut position = self.offset();
        let mut shape = Vec::new();
        loop {
            let rest = &source[position..];
            match rest.first() {
                Some(b'0'..=b'9') => {}
                Some(b'?') => {
                    return Err(Diagnostic::new(
                        "dynamic dimension '?': only static shapes are supported",
                        position..position + 1,
                    ));
                }
                Some(b'*') => {
                    return Err(Diagnostic::new(
                        "unranked tensor type: only static shapes are supported",
                        position..position + 1,
                    ));
                }
                _ => break,
            }
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let span = position..position + digits;
            if rest.get(digits) != Some(&b'x') {
                let message = "expected 'x' after a dimension";
                return Err(Diagnostic::new(message, span.end..span.end + 1));
            }
            let dimension = self.source()[span.clone()].parse();
            shape.push(dimension.map_err(|_| Diagnostic::new("the dimension is too large", span))?);
            position += digits + 1;
        }
        // Identifiers begin after the last `x`, so this is where a token begins.
        self.reset(position);
        Ok(shape)
    }

    /// The dimensions of a scaled type, `8x256`. `8x256` is no token, so bytes are read here.
    fn scaled_dimensions(&mut self) -> Result<Vec<usize>, Diagnostic> {
        let start = self.offset();
        let source = self.source();
        let length = source[start..]
            .bytes()
            .take_while(|byte| byte.is_ascii_digit() || *byte == b'x')
            .count();
        let span = start..start + length;
        let dimensions = source[span.clone()].split('x').map(str::parse);
        let shape = dimensions.collect::<Result<Vec<usize>, _>>().map_err(|_| {
            let message = "expected the dimensions of a scaled tensor, such as 8x256";
            Diagnostic::new(message, start..start + length.max(1))
        })?;
        self.reset(span.end);
        Ok(shape)
    }

    /// Passes a function type, `(tensor<f32>) -> tensor<f32>`.
    ///
    /// # Errors
    /// Something else stands there.
    pub fn function_type(&mut self) -> Result<FunctionType, Diagnostic> {
        self.function_type_of(Self::value_type)
    }

    /// Passes a function type of tensors alone.
    ///
    /// # Errors
    /// Something else stands there.
    pub fn tensor_function_type(&mut self) -> Result<FunctionType<TensorType>, Diagnostic> {
        self.function_type_of(Self::tensor_type)
    }

    fn function_type_of<T>(
        &mut self,
        mut one: impl FnMut(&mut Self) -> Result<T, Diagnostic>,
    ) -> Result<FunctionType<T>, Diagnostic> {
        let (open, close) = (TokenKind::LeftParenthesis, TokenKind::RightParenthesis);
        let inputs = self.list(open, close, &mut one)?;
        self.expect(TokenKind::Arrow)?;
        let results = if self.at(open) {
            self.list(open, close, &mut one)?
        } else {
            vec![one(self)?]
        };
        Ok(FunctionType { inputs, results })
    }

    /// Passes tensor types in parentheses.
    ///
    /// # Errors
    /// Something else stands there.
    pub fn tensor_list(&mut self) -> Result<Vec<TensorType>, Diagnostic> {
        let (open, close) = (TokenKind::LeftParenthesis, TokenKind::RightParenthesis);
        self.list(open, close, Self::tensor_type)
    }

    /// Passes types in parentheses.
    ///
    /// # Errors
    /// Something else stands there.
    pub fn type_list(&mut self) -> Result<Vec<Type>, Diagnostic> {
        let (open, close) = (TokenKind::LeftParenthesis, TokenKind::RightParenthesis);
        self.list(open, close, Self::value_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(source: &str) -> (String, std::ops::Range<usize>) {
        let error = Cursor::new(source).tensor_type().unwrap_err();
        (error.message, error.span)
    }

    #[test]
    fn shapes_and_element_types_are_read() {
        for text in ["tensor<f32>", "tensor<8x256xbf16>", "tensor<0x16xui8>"] {
            let tensor_type = Cursor::new(text).tensor_type().unwrap();
            assert_eq!(tensor_type.to_string(), text);
        }
    }

    #[test]
    fn function_types_are_read() {
        for text in [
            "() -> ()",
            "(tensor<f32>) -> tensor<2xf32>",
            "(tensor<f32>, tensor<i1>) -> (tensor<f32>, tensor<i8>)",
        ] {
            let function_type = Cursor::new(text).function_type().unwrap();
            assert_eq!(function_type.to_string(), text);
        }
    }

    #[test]
    fn dynamic_and_unranked_shapes_are_refused() {
        assert_eq!(
            message("tensor<2x?xf32>"),
            (
                "dynamic dimension '?': only static shapes are supported".into(),
                9..10
            )
        );
        assert_eq!(
            message("tensor<*xf32>").0,
            "unranked tensor type: only static shapes are supported"
        );
    }

    #[test]
    fn unknown_element_types_are_refused_by_name() {
        for name in [
            "f8E4M3FN",
            "complex",
            "index",
            "i4",
            "!quant.uniform",
            "xf32",
        ] {
            let (text, span) = message(&format!("tensor<2x{name}<f32>>"));
            assert_eq!(text, format!("the element type '{name}' is not supported"));
            assert_eq!(span, 9..9 + name.len());
        }
    }

    #[test]
    fn sizes_beyond_memory_are_refused() {
        assert_eq!(
            message("tensor<4294967296x4294967296xf32>"),
            ("the tensor is larger than the address space".into(), 0..33)
        );
        assert_eq!(
            message("tensor<99999999999999999999xf32>"),
            ("the dimension is too large".into(), 7..27)
        );
    }

    #[test]
    fn encodings_and_syntax_errors_are_refused() {
        assert_eq!(
            message("tensor<2xf32, #a.b<1>>").0,
            "tensor types with an encoding are not supported"
        );
        assert_eq!(
            message("tensor<2>"),
            ("expected 'x' after a dimension".into(), 8..9)
        );
        assert_eq!(
            message("tensor<2xf32").0,
            "expected '>', found the end of the text"
        );
        assert_eq!(
            message("memref<2xf32>").0,
            "expected a tensor type, found 'memref'"
        );
    }
}
