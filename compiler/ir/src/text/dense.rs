//! Dense literals: `dense<[[1, 2], [3, 4]]> : tensor<2x2xi32>`.

use super::cursor::{Cursor, hexadecimal};
use super::lexer::TokenKind;
use super::number::write_element;
use crate::TensorType;
use crate::diagnostic::Diagnostic;
use std::ops::Range;
use tessera_numerics::{ElementType, Tensor};

/// A constant as it is written: one element for all, or each of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DenseLiteral {
    /// `dense<1.0>`: every element is this one.
    Splat {
        /// The type of the whole.
        tensor_type: TensorType,
        /// The element, as a tensor of rank 0.
        value: Tensor,
    },
    /// Every element by itself.
    Full(Tensor),
}

/// The largest splat that is written out element by element.
const MAX_MATERIALISED_BYTES: usize = 1 << 30;

/// Why a literal is not written out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a constant of {bytes} bytes that are all alike is too large; broadcast a scalar instead")]
pub struct SplatTooLarge {
    /// The bytes that it would take.
    pub bytes: usize,
}

impl DenseLiteral {
    /// The type of the whole.
    pub fn tensor_type(&self) -> TensorType {
        match self {
            Self::Splat { tensor_type, .. } => tensor_type.clone(),
            Self::Full(tensor) => TensorType::new(tensor.element(), tensor.shape()),
        }
    }

    /// A literal of rank 1 of whole elements' bytes.
    pub(super) fn of_elements(element: ElementType, bytes: Vec<u8>) -> Self {
        let count = bytes.len() / element.size();
        full(TensorType::new(element, [count]), bytes)
    }

    /// The tensor with each element in its place.
    ///
    /// # Errors
    /// A splat of more than 1 GiB.
    pub fn to_tensor(&self) -> Result<Tensor, SplatTooLarge> {
        let (tensor_type, value) = match self {
            Self::Full(tensor) => return Ok(tensor.clone()),
            Self::Splat { tensor_type, value } => (tensor_type, value),
        };
        let bytes = tensor_type.byte_size();
        if bytes > MAX_MATERIALISED_BYTES {
            return Err(SplatTooLarge { bytes });
        }
        let bytes = value.bytes().repeat(tensor_type.len());
        let tensor = Tensor::new(tensor_type.element, tensor_type.shape.clone(), bytes);
        Ok(tensor.expect("as many copies of an element as the shape has elements"))
    }
}

impl Cursor<'_> {
    /// Passes a dense literal and its type: `dense<0.0> : tensor<4xf32>`.
    ///
    /// # Errors
    /// Something else stands there, or the elements do not fit the type.
    pub fn dense(&mut self) -> Result<DenseLiteral, Diagnostic> {
        let body = self.skip_dense()?;
        self.expect(TokenKind::Colon)?;
        let tensor_type = self.tensor_type()?;
        self.at_offset(body.start).dense_body(tensor_type)
    }

    /// Passes `dense<…>` without looking inside, and gives the place of `<…>`. The elements are read by
    /// [`dense_body`](Self::dense_body) once their type is known.
    ///
    /// # Errors
    /// Something else stands there, or the brackets do not match.
    pub fn skip_dense(&mut self) -> Result<Range<usize>, Diagnostic> {
        self.expect_keyword("dense")?;
        if !self.at(TokenKind::Less) {
            return Err(self.unexpected("'<'"));
        }
        self.skip_brackets()
    }

    /// Passes the `<…>` of a dense literal of a known type.
    ///
    /// # Errors
    /// The elements do not fit the type.
    pub fn dense_body(&mut self, tensor_type: TensorType) -> Result<DenseLiteral, Diagnostic> {
        let start = self.expect(TokenKind::Less)?.start;
        let literal = match self.peek().kind {
            TokenKind::Greater => {
                if !tensor_type.is_empty() {
                    let message = format!("expected the elements of {tensor_type}, found none");
                    return Err(Diagnostic::new(message, start..self.peek().end()));
                }
                full(tensor_type, Vec::new())
            }
            TokenKind::LeftBracket => {
                let mut bytes = Vec::new();
                self.elements(&tensor_type, 0, &mut bytes)?;
                full(tensor_type, bytes)
            }
            TokenKind::String => self.blob(tensor_type)?,
            _ => {
                let mut bytes = Vec::with_capacity(8);
                self.element(tensor_type.element, &mut bytes)?;
                splat(tensor_type, bytes)
            }
        };
        self.expect(TokenKind::Greater)?;
        Ok(literal)
    }

    /// Reads the list of a dimension: as many items as it has, each an element in the fastest dimension.
    fn elements(
        &mut self,
        tensor_type: &TensorType,
        dimension: usize,
        bytes: &mut Vec<u8>,
    ) -> Result<(), Diagnostic> {
        let Some(&expected) = tensor_type.shape.get(dimension) else {
            let rank = tensor_type.rank();
            let message = format!("expected an element: {tensor_type} has {rank} dimension(s)");
            return Err(Diagnostic::new(message, self.span()));
        };
        let start = self.offset();
        let fastest = dimension + 1 == tensor_type.rank();
        let (open, close) = (TokenKind::LeftBracket, TokenKind::RightBracket);
        let items = self.list(open, close, |cursor| {
            if fastest && !cursor.at(open) {
                cursor.element(tensor_type.element, bytes)
            } else {
                cursor.elements(tensor_type, dimension + 1, bytes)
            }
        })?;
        if items.len() != expected {
            return Err(Diagnostic::new(
                format!(
                    "expected {expected} item(s) in dimension {dimension} of {tensor_type}, found {}",
                    items.len()
                ),
                self.span_from(start),
            ));
        }
        Ok(())
    }

    /// Reads `"0x…"`: the elements' bytes, or those of one element for all.
    fn blob(&mut self, tensor_type: TensorType) -> Result<DenseLiteral, Diagnostic> {
        let token = self.advance();
        let digits = &token.text.as_bytes()[1..token.text.len() - 1];
        let digits = digits
            .strip_prefix(b"0x")
            .filter(|digits| digits.len().is_multiple_of(2))
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            .ok_or_else(|| {
                let message = "expected \"0x…\" with two hexadecimal digits for each byte";
                Diagnostic::new(message, token.span())
            })?;
        let bytes: Vec<u8> = digits
            .chunks_exact(2)
            .map(|pair| hexadecimal(pair[0]) << 4 | hexadecimal(pair[1]))
            .collect();
        let (found, expected) = (bytes.len(), tensor_type.byte_size());
        let size = tensor_type.element.size();
        if tensor_type.element == ElementType::I1 {
            return boolean_blob(tensor_type, &bytes).map_err(|m| Diagnostic::new(m, token.span()));
        }
        if found == expected {
            Ok(full(tensor_type, bytes))
        } else if found == size {
            Ok(splat(tensor_type, bytes))
        } else {
            let message = format!(
                "expected {expected} bytes for {tensor_type}, or {size} for one element, found {found}"
            );
            Err(Diagnostic::new(message, token.span()))
        }
    }
}

/// Booleans as bytes: one bit each, lowest first, as MLIR wrote them up to release 22, or one byte each, as it writes
/// them since. A splat is 00, or FF then and 01 now.
fn boolean_blob(tensor_type: TensorType, bytes: &[u8]) -> Result<DenseLiteral, String> {
    let count = tensor_type.len();
    let packed = count.div_ceil(8);
    match *bytes {
        [byte @ (0 | 0xFF)] => return Ok(splat(tensor_type, vec![u8::from(byte != 0)])),
        [1] if packed > 1 => return Ok(splat(tensor_type, vec![1])),
        _ => {}
    }
    if bytes.len() == packed {
        let bit = |index: usize| bytes[index / 8] >> (index % 8) & 1;
        return Ok(full(tensor_type, (0..count).map(bit).collect()));
    }
    if bytes.len() == count && bytes.iter().all(|&byte| byte <= 1) {
        return Ok(full(tensor_type, bytes.to_vec()));
    }
    let found = bytes.len();
    Err(format!(
        "expected {packed} bytes of bits or {count} bytes 00 and 01 for {tensor_type}, found {found} bytes"
    ))
}

/// The literal of bytes whose number fits the type.
fn full(tensor_type: TensorType, bytes: Vec<u8>) -> DenseLiteral {
    let tensor = Tensor::new(tensor_type.element, tensor_type.shape, bytes);
    DenseLiteral::Full(tensor.expect("callers count the bytes, and booleans are read as 0 or 1"))
}

/// The literal of one element's bytes.
fn splat(tensor_type: TensorType, bytes: Vec<u8>) -> DenseLiteral {
    let value = Tensor::new(tensor_type.element, [], bytes);
    DenseLiteral::Splat {
        tensor_type,
        value: value.expect("callers give one element, and booleans are read as 0 or 1"),
    }
}

/// More elements than this are written as bytes in hexadecimal.
const MAX_LISTED: usize = 64;

/// Appends `dense<…>`, without the type: one element where all have the same bits, lists, or bytes where they are many.
pub(crate) fn write_dense(text: &mut String, tensor: &Tensor) {
    let (element, bytes) = (tensor.element(), tensor.bytes());
    let size = element.size();
    text.push_str("dense<");
    if tensor.is_empty() {
    } else if bytes
        .chunks_exact(size)
        .all(|chunk| *chunk == bytes[..size])
    {
        write_element(text, element, &bytes[..size]);
    } else if tensor.len() > MAX_LISTED && element != ElementType::I1 {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        text.reserve(bytes.len() * 2 + 4);
        text.push_str("\"0x");
        for byte in bytes {
            text.push(DIGITS[usize::from(byte >> 4)] as char);
            text.push(DIGITS[usize::from(byte & 15)] as char);
        }
        text.push('"');
    } else {
        write_elements(text, element, tensor.shape(), bytes);
    }
    text.push('>');
}

fn write_elements(text: &mut String, element: ElementType, shape: &[usize], bytes: &[u8]) {
    let [dimension, rest @ ..] = shape else {
        return write_element(text, element, bytes);
    };
    text.push('[');
    for (index, part) in bytes.chunks_exact(bytes.len() / dimension).enumerate() {
        if index > 0 {
            text.push_str(", ");
        }
        write_elements(text, element, rest, part);
    }
    text.push(']');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> DenseLiteral {
        Cursor::new(text).dense().unwrap()
    }

    fn message(text: &str) -> String {
        Cursor::new(text).dense().unwrap_err().message
    }

    fn tensor(text: &str) -> Tensor {
        read(text).to_tensor().unwrap()
    }

    #[test]
    fn nested_lists_are_read_row_major() {
        assert_eq!(
            tensor("dense<[[1, -2], [3, 4]]> : tensor<2x2xi32>"),
            Tensor::from_values([2, 2], &[1i32, -2, 3, 4]).unwrap()
        );
        assert_eq!(
            tensor("dense<[0xFF800000, 1.5]> : tensor<2xf32>"),
            Tensor::from_values([2], &[f32::NEG_INFINITY, 1.5]).unwrap()
        );
        assert_eq!(
            tensor("dense<[true, false]> : tensor<2xi1>"),
            Tensor::from_values([2], &[true, false]).unwrap()
        );
    }

    #[test]
    fn a_splat_stays_one_element() {
        let literal = read("dense<0.5> : tensor<1000000x1000000xf32>");
        assert_eq!(
            literal,
            DenseLiteral::Splat {
                tensor_type: TensorType::new(ElementType::F32, [1_000_000, 1_000_000]),
                value: Tensor::scalar(0.5f32),
            }
        );
        assert_eq!(literal.to_tensor().unwrap_err().bytes, 4_000_000_000_000);
        assert_eq!(
            tensor("dense<0.5> : tensor<2xf32>"),
            Tensor::from_values([2], &[0.5f32; 2]).unwrap()
        );
    }

    #[test]
    fn empty_tensors_have_no_elements() {
        assert_eq!(
            tensor("dense<> : tensor<0x3xf32>"),
            Tensor::zeros(ElementType::F32, [0, 3]).unwrap()
        );
        assert_eq!(
            tensor("dense<[[], []]> : tensor<2x0xi8>"),
            Tensor::zeros(ElementType::I8, [2, 0]).unwrap()
        );
        assert_eq!(
            message("dense<> : tensor<2xf32>"),
            "expected the elements of tensor<2xf32>, found none"
        );
    }

    #[test]
    fn bytes_are_little_endian() {
        assert_eq!(
            tensor("dense<\"0x0100000002000000\"> : tensor<2xi32>"),
            Tensor::from_values([2], &[1i32, 2]).unwrap()
        );
        assert_eq!(
            read("dense<\"0x0000803F\"> : tensor<5xf32>"),
            read("dense<1.0> : tensor<5xf32>")
        );
    }

    #[test]
    fn booleans_are_packed_or_bytes() {
        let expected = Tensor::from_values(
            [9],
            &[true, false, true, false, false, false, false, false, true],
        );
        let expected = expected.unwrap();
        assert_eq!(tensor("dense<\"0x0501\"> : tensor<9xi1>"), expected);
        assert_eq!(
            tensor("dense<\"0x010001000000000001\"> : tensor<9xi1>"),
            expected
        );
        for splat in ["FF", "01"] {
            assert_eq!(
                read(&format!("dense<\"0x{splat}\"> : tensor<9xi1>")),
                read("dense<true> : tensor<9xi1>")
            );
        }
    }

    #[test]
    fn elements_that_do_not_fit_the_type_are_refused() {
        assert_eq!(
            message("dense<[1, 2]> : tensor<3xi32>"),
            "expected 3 item(s) in dimension 0 of tensor<3xi32>, found 2"
        );
        assert_eq!(
            message("dense<[[1], [2, 3]]> : tensor<2x1xi32>"),
            "expected 1 item(s) in dimension 1 of tensor<2x1xi32>, found 2"
        );
        assert_eq!(
            message("dense<[[1]]> : tensor<1xi32>"),
            "expected an element: tensor<1xi32> has 1 dimension(s)"
        );
        assert_eq!(
            message("dense<[1]> : tensor<1x1xi32>"),
            "expected '[', found '1'"
        );
        assert_eq!(
            message("dense<[1, 300]> : tensor<2xi8>"),
            "'300' is out of range for i8"
        );
        assert_eq!(
            message("dense<\"0x00\"> : tensor<2xi32>"),
            "expected 8 bytes for tensor<2xi32>, or 4 for one element, found 1"
        );
        assert_eq!(
            message("dense<\"xyz\"> : tensor<2xi32>"),
            "expected \"0x…\" with two hexadecimal digits for each byte"
        );
        assert_eq!(
            message("dense<[1, 2> : tensor<2xi32>"),
            "expected ']', found '>'"
        );
    }

    #[test]
    fn deep_lists_are_refused() {
        let text = format!(
            "dense<{0}1{1}> : tensor<1xi8>",
            "[".repeat(9999),
            "]".repeat(9999)
        );
        assert_eq!(
            message(&text),
            "expected an element: tensor<1xi8> has 1 dimension(s)"
        );
    }

    #[test]
    fn tensors_are_written_as_splat_list_or_bytes() {
        let written = |tensor: &Tensor| {
            let mut text = String::new();
            write_dense(&mut text, tensor);
            text
        };
        let cases = [
            (Tensor::scalar(1.5f32), "dense<1.5>"),
            (
                Tensor::zeros(ElementType::F32, [3, 4]).unwrap(),
                "dense<0.0>",
            ),
            (Tensor::zeros(ElementType::F32, [0]).unwrap(), "dense<>"),
            (
                Tensor::from_values([2, 1], &[0.0f32, -0.0]).unwrap(),
                "dense<[[0.0], [-0.0]]>",
            ),
        ];
        for (tensor, text) in cases {
            assert_eq!(written(&tensor), text);
        }
        let many: Vec<u8> = (0..100).collect();
        let many = Tensor::from_values([100], &many).unwrap();
        assert!(written(&many).starts_with("dense<\"0x000102"));
        let text = format!("{} : tensor<100xui8>", written(&many));
        assert_eq!(tensor(&text), many);
    }
}
