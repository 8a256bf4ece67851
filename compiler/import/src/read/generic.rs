//! The generic form: `"stablehlo.add"(%a, %b) <{…}> ({…}) {…} : (type, type) -> type`.

use super::{Reader, named};
use crate::raw::{RawFunction, RawOp};
use tessera_ir::Type;
use tessera_ir::diagnostic::Diagnostic;
use tessera_ir::text::{AttributeValue, Dictionary, TokenKind};

impl<'s> Reader<'s> {
    pub(super) fn generic_op(&mut self) -> Result<RawOp<'s>, Diagnostic> {
        let span = self.cursor.span();
        let name = self.cursor.string()?;
        let mut op = named(&name, span);
        let (open, close) = (TokenKind::LeftParenthesis, TokenKind::RightParenthesis);
        self.each(open, close, |reader| {
            op.operands.push(reader.cursor.value_use()?);
            Ok(())
        })?;
        op.attributes = self.properties()?;
        if self.cursor.at(TokenKind::LeftParenthesis) {
            self.each(open, close, |reader| {
                op.regions.push(reader.braced_region()?);
                Ok(())
            })?;
        }
        let discardable = self.optional_dictionary()?;
        op.attributes.entries.extend(discardable.entries);
        self.cursor.expect(TokenKind::Colon)?;
        let signature = self.cursor.tensor_function_type()?;
        op.operand_types = signature.inputs;
        op.result_types = signature.results;
        Ok(op)
    }

    /// `"func.func"() <{function_type = …, sym_name = …}> ({…}) : () -> ()`.
    pub(super) fn generic_function(&mut self) -> Result<RawFunction<'s>, Diagnostic> {
        let start = self.cursor.offset();
        let mut op = self.nested(Self::generic_op)?;
        let name = op.attribute("sym_name")?.string()?.to_owned();
        let function_type = match &op.attribute("function_type")?.value {
            AttributeValue::FunctionType(function_type) => function_type.clone(),
            _ => return Err(op.attribute("function_type")?.unexpected("a function type")),
        };
        let tensor = |one: &Type| one.as_tensor().cloned();
        let result_types: Option<Vec<_>> = function_type.results.iter().map(tensor).collect();
        let result_types =
            result_types.ok_or_else(|| op.error("the results of a function are tensors"))?;
        let private = match op.attributes.get("sym_visibility") {
            Some(visibility) => visibility.string()? == "private",
            None => false,
        };
        let argument_attributes = dictionaries(&op, "arg_attrs", function_type.inputs.len())?;
        let result_attributes = dictionaries(&op, "res_attrs", function_type.results.len())?;
        op.regions::<1>()?;
        let body = op.regions.remove(0);
        let types = body.arguments.iter().map(|argument| &argument.tensor_type);
        if !function_type.inputs.iter().eq(types) {
            return Err(op.error("the block's arguments are not those of the function's type"));
        }
        Ok(RawFunction {
            name,
            span: op.span,
            private,
            argument_attributes,
            result_types,
            result_attributes,
            body,
            location: self.location_or(start)?,
        })
    }
}

/// A list of `count` dictionaries; empty ones where the attribute is not there.
fn dictionaries(op: &RawOp<'_>, name: &str, count: usize) -> Result<Vec<Dictionary>, Diagnostic> {
    let Some(attribute) = op.attributes.get(name) else {
        return Ok(vec![Dictionary::default(); count]);
    };
    let items = attribute.array()?;
    if items.len() != count {
        return Err(attribute.unexpected(&format!("{count} dictionaries")));
    }
    items
        .iter()
        .map(|item| item.dictionary().cloned())
        .collect()
}
