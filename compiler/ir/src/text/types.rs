//! Types as they are written: tensor types, element types, function types.

use super::cursor::Cursor;
use super::lexer::TokenKind;
use crate::TensorType;
use crate::diagnostic::Diagnostic;
use std::fmt;
use tessera_numerics::ElementType;

/// The type of a function: `(tensor<f32>, tensor<2xf32>) -> tensor<2xf32>`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FunctionType {
    /// The operands' types.
    pub inputs: Vec<TensorType>,
    /// The results' types.
    pub results: Vec<TensorType>,
}

/// Types with commas between them, in parentheses.
pub(super) struct TypeList<'a>(pub &'a [TensorType]);

impl fmt::Display for TypeList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(")?;
        for (index, tensor_type) in self.0.iter().enumerate() {
            let separator = if index > 0 { ", " } else { "" };
            write!(f, "{separator}{tensor_type}")?;
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

    /// Passes a function type, `(tensor<f32>) -> tensor<f32>`.
    ///
    /// # Errors
    /// Something else stands there.
    pub fn function_type(&mut self) -> Result<FunctionType, Diagnostic> {
        let inputs = self.type_list()?;
        self.expect(TokenKind::Arrow)?;
        let results = if self.at(TokenKind::LeftParenthesis) {
            self.type_list()?
        } else {
            vec![self.tensor_type()?]
        };
        Ok(FunctionType { inputs, results })
    }

    /// Passes tensor types in parentheses.
    ///
    /// # Errors
    /// Something else stands there.
    pub fn type_list(&mut self) -> Result<Vec<TensorType>, Diagnostic> {
        let (open, close) = (TokenKind::LeftParenthesis, TokenKind::RightParenthesis);
        self.list(open, close, Self::tensor_type)
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
