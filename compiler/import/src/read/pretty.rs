//! The pretty form: each op's own spelling, made into what the generic form says.

use super::{Reader, entry, named};
use crate::raw::{RawArgument, RawOp, RawRegion};
use tessera_ir::Location;
use tessera_ir::diagnostic::Diagnostic;
use tessera_ir::text::{AttributeValue, Dictionary, ParsedAttribute, TokenKind};

impl<'s> Reader<'s> {
    pub(super) fn pretty_op(&mut self) -> Result<RawOp<'s>, Diagnostic> {
        let token = self.cursor.peek();
        let mut op = match token.text {
            "call" => named("func.call", token.span()),
            "return" => named("func.return", token.span()),
            name => named(name, token.span()),
        };
        if !crate::convert::is_supported(&op.name) {
            return Err(crate::convert::unsupported(&op));
        }
        self.cursor.advance();
        match op.name.as_str() {
            "func.call" => self.call(&mut op)?,
            "stablehlo.constant" => self.constant(&mut op)?,
            "stablehlo.compare" => self.compare(&mut op)?,
            "stablehlo.slice" => self.slice(&mut op)?,
            "stablehlo.dot_general" => self.dot_general(&mut op)?,
            "stablehlo.reduce" => self.reduce(&mut op)?,
            "stablehlo.while" => self.while_loop(&mut op)?,
            "stablehlo.composite" => self.composite(&mut op)?,
            // Its attributes are the library's own; the target says enough.
            "stablehlo.custom_call" => {
                let target = self.cursor.symbol()?;
                return Err(crate::convert::custom_call(&op, &target));
            }
            "chlo.top_k" => {
                self.cursor.expect(TokenKind::LeftParenthesis)?;
                self.items(&mut op)?;
                self.cursor.expect(TokenKind::RightParenthesis)?;
                self.signature(&mut op)?;
            }
            _ => {
                self.items(&mut op)?;
                self.signature(&mut op)?;
            }
        }
        Ok(op)
    }

    /// Operands, then clauses `key = value`, in any order, commas between them.
    fn items(&mut self, op: &mut RawOp<'s>) -> Result<(), Diagnostic> {
        loop {
            match self.cursor.peek().kind {
                TokenKind::Value => op.operands.push(self.cursor.value_use()?),
                // `return loc(#loc)`: nothing is given back.
                TokenKind::Bare if op.operands.is_empty() && self.cursor.peek().text == "loc" => {
                    return Ok(());
                }
                TokenKind::Bare => self.clause(op)?,
                _ if op.operands.is_empty() => return Ok(()),
                _ => return Err(self.cursor.unexpected("an operand")),
            }
            if !self.cursor.eat(TokenKind::Comma) {
                return Ok(());
            }
        }
    }

    /// `dims = [0, 1]`, under the name the generic form has for it.
    fn clause(&mut self, op: &mut RawOp<'s>) -> Result<(), Diagnostic> {
        let token = self.cursor.expect(TokenKind::Bare)?;
        self.cursor.expect(TokenKind::Equal)?;
        let name = match (op.name.as_str(), token.text) {
            ("stablehlo.broadcast_in_dim", "dims") => "broadcast_dimensions",
            ("stablehlo.transpose", "dims") => "permutation",
            ("stablehlo.reverse", "dims") => "dimensions",
            ("stablehlo.iota", "dim") => "iota_dimension",
            ("stablehlo.concatenate", "dim") => "dimension",
            ("stablehlo.dynamic_slice", "sizes") => "slice_sizes",
            ("stablehlo.pad", "low") => "edge_padding_low",
            ("stablehlo.pad", "high") => "edge_padding_high",
            ("stablehlo.pad", "interior") => "interior_padding",
            ("stablehlo.reduce_precision", "format") => "format",
            ("chlo.top_k", "k") => "k",
            (_, other) => return Err(op.error(format!("the clause '{other}' is not known"))),
        };
        // A number here has no type: the colon behind it begins the op's types.
        let attribute = match self.cursor.at(TokenKind::Integer) {
            true => self.integer("an integer")?,
            false => self.cursor.attribute()?,
        };
        op.attributes
            .entries
            .push(entry(name, attribute.value, attribute.span));
        Ok(())
    }

    /// Attributes in braces, then the types: `: type`, `: type, type`, `: (types) -> type` or `: type -> type`.
    fn signature(&mut self, op: &mut RawOp<'s>) -> Result<(), Diagnostic> {
        let dictionary = self.optional_dictionary()?;
        op.attributes.entries.extend(dictionary.entries);
        if op.operands.is_empty()
            && op.name.ends_with(".return")
            && !self.cursor.at(TokenKind::Colon)
        {
            return Ok(());
        }
        self.cursor.expect(TokenKind::Colon)?;
        if self.cursor.at(TokenKind::LeftParenthesis) {
            let function_type = self.cursor.tensor_function_type()?;
            op.operand_types = function_type.inputs;
            op.result_types = function_type.results;
            return Ok(());
        }
        let mut types = vec![self.cursor.tensor_type()?];
        while self.cursor.eat(TokenKind::Comma) {
            types.push(self.cursor.tensor_type()?);
        }
        if self.cursor.eat(TokenKind::Arrow) {
            op.result_types = match self.cursor.at(TokenKind::LeftParenthesis) {
                true => self.cursor.tensor_list()?,
                false => vec![self.cursor.tensor_type()?],
            };
            op.operand_types = types;
            return Ok(());
        }
        match (op.name.as_str(), types.as_slice()) {
            ("func.return" | "stablehlo.return", _) => op.operand_types = types,
            ("stablehlo.optimization_barrier" | "stablehlo.while", _) => {
                op.operand_types.clone_from(&types);
                op.result_types = types;
            }
            ("stablehlo.select", [predicate, chosen]) => {
                op.operand_types = vec![predicate.clone(), chosen.clone(), chosen.clone()];
                op.result_types = vec![chosen.clone()];
            }
            (_, [one]) => {
                op.operand_types = vec![one.clone(); op.operands.len()];
                op.result_types = vec![one.clone()];
            }
            _ => return Err(op.error(format!("expected one type, found {}", types.len()))),
        }
        Ok(())
    }

    /// `call @name(%a, …) : (types) -> type`.
    fn call(&mut self, op: &mut RawOp<'s>) -> Result<(), Diagnostic> {
        let span = self.cursor.span();
        let callee = self.cursor.symbol()?;
        let value = AttributeValue::Symbol(vec![callee]);
        op.attributes.entries.push(entry("callee", value, span));
        let (open, close) = (TokenKind::LeftParenthesis, TokenKind::RightParenthesis);
        self.each(open, close, |reader| {
            op.operands.push(reader.cursor.value_use()?);
            Ok(())
        })?;
        self.signature(op)
    }

    /// `stablehlo.constant dense<…> : type`.
    fn constant(&mut self, op: &mut RawOp<'s>) -> Result<(), Diagnostic> {
        let dictionary = self.optional_dictionary()?;
        op.attributes.entries.extend(dictionary.entries);
        let value = self.cursor.attribute()?;
        op.result_types = vec![value.dense()?.tensor_type()];
        op.attributes
            .entries
            .push(entry("value", value.value, value.span));
        Ok(())
    }

    /// `stablehlo.compare LT, %a, %b, FLOAT : …`.
    fn compare(&mut self, op: &mut RawOp<'s>) -> Result<(), Diagnostic> {
        let direction = self.cursor.attribute()?;
        op.attributes.entries.push(entry(
            "comparison_direction",
            direction.value,
            direction.span,
        ));
        self.cursor.expect(TokenKind::Comma)?;
        op.operands.push(self.cursor.value_use()?);
        self.cursor.expect(TokenKind::Comma)?;
        op.operands.push(self.cursor.value_use()?);
        if self.cursor.eat(TokenKind::Comma) {
            let kind = self.cursor.attribute()?;
            op.attributes
                .entries
                .push(entry("compare_type", kind.value, kind.span));
        }
        self.signature(op)
    }

    /// `stablehlo.slice %a [0:4, 0:8:2] : …`.
    fn slice(&mut self, op: &mut RawOp<'s>) -> Result<(), Diagnostic> {
        op.operands.push(self.cursor.value_use()?);
        let span = self.cursor.span();
        let (mut starts, mut limits, mut strides) = (Vec::new(), Vec::new(), Vec::new());
        self.each(TokenKind::LeftBracket, TokenKind::RightBracket, |reader| {
            starts.push(reader.integer("the first index")?);
            reader.cursor.expect(TokenKind::Colon)?;
            limits.push(reader.integer("the limit")?);
            strides.push(match reader.cursor.eat(TokenKind::Colon) {
                true => reader.integer("the stride")?,
                false => integer_attribute(1, reader.cursor.span()),
            });
            Ok(())
        })?;
        for (name, values) in [
            ("start_indices", starts),
            ("limit_indices", limits),
            ("strides", strides),
        ] {
            let value = AttributeValue::Array(values);
            op.attributes.entries.push(entry(name, value, span.clone()));
        }
        self.signature(op)
    }

    fn integer(&mut self, expected: &str) -> Result<ParsedAttribute, Diagnostic> {
        let span = self.cursor.span();
        let value = self.cursor.integer::<i64>(expected)?;
        Ok(integer_attribute(value.into(), span))
    }

    /// `stablehlo.dot_general %a, %b, batching_dims = [0] x [0], contracting_dims = [2] x [1], precision = […] : …`.
    fn dot_general(&mut self, op: &mut RawOp<'s>) -> Result<(), Diagnostic> {
        op.operands.push(self.cursor.value_use()?);
        self.cursor.expect(TokenKind::Comma)?;
        op.operands.push(self.cursor.value_use()?);
        let mut numbers = Dictionary::default();
        let span = self.cursor.span();
        while self.cursor.eat(TokenKind::Comma) {
            let key = self.cursor.expect(TokenKind::Bare)?;
            self.cursor.expect(TokenKind::Equal)?;
            let kind = match key.text {
                "batching_dims" => "batching_dimensions",
                "contracting_dims" => "contracting_dimensions",
                // How a product of floats is made is for hardware that makes it with less than the type's precision.
                "precision" => {
                    self.cursor.attribute()?;
                    continue;
                }
                "algorithm" => {
                    let algorithm = self.algorithm()?;
                    let value = AttributeValue::Dictionary(algorithm);
                    op.attributes
                        .entries
                        .push(entry("algorithm", value, key.span()));
                    continue;
                }
                other => return Err(op.error(format!("the clause '{other}' is not known"))),
            };
            for (side, separated) in [("lhs", false), ("rhs", true)] {
                if separated {
                    self.cursor.expect_keyword("x")?;
                }
                let dimensions = self.cursor.attribute()?;
                let name = format!("{side}_{kind}");
                numbers
                    .entries
                    .push(entry(&name, dimensions.value, dimensions.span));
            }
        }
        let value = AttributeValue::Dictionary(numbers);
        op.attributes
            .entries
            .push(entry("dot_dimension_numbers", value, span));
        self.signature(op)
    }

    /// `<lhs_precision_type = bf16, …>`.
    fn algorithm(&mut self) -> Result<Dictionary, Diagnostic> {
        let mut dictionary = Dictionary::default();
        self.each(TokenKind::Less, TokenKind::Greater, |reader| {
            let key = reader.cursor.expect(TokenKind::Bare)?;
            reader.cursor.expect(TokenKind::Equal)?;
            let value = reader.cursor.attribute()?;
            dictionary
                .entries
                .push(entry(key.text, value.value, value.span));
            Ok(())
        })?;
        Ok(dictionary)
    }

    /// `stablehlo.reduce(%a init: %i), … applies stablehlo.add across dimensions = [0] : …`, or with a reducer's
    /// region behind the types.
    fn reduce(&mut self, op: &mut RawOp<'s>) -> Result<(), Diagnostic> {
        let mut inits = Vec::new();
        loop {
            self.cursor.expect(TokenKind::LeftParenthesis)?;
            op.operands.push(self.cursor.value_use()?);
            self.cursor.expect_keyword("init")?;
            self.cursor.expect(TokenKind::Colon)?;
            inits.push(self.cursor.value_use()?);
            self.cursor.expect(TokenKind::RightParenthesis)?;
            if !self.cursor.eat(TokenKind::Comma) {
                break;
            }
        }
        let count = inits.len();
        op.operands.append(&mut inits);
        let applied = match self.cursor.eat_keyword("applies") {
            true => Some(self.cursor.expect(TokenKind::Bare)?),
            false => None,
        };
        self.cursor.expect_keyword("across")?;
        self.cursor.expect_keyword("dimensions")?;
        self.cursor.expect(TokenKind::Equal)?;
        let dimensions = self.cursor.attribute()?;
        op.attributes
            .entries
            .push(entry("dimensions", dimensions.value, dimensions.span));
        self.signature(op)?;
        op.regions.push(match applied {
            Some(name) => applied_reducer(op, name.text, name.span())?,
            None => self.reducer(count)?,
        });
        Ok(())
    }

    /// `reducer(%a: type, %b: type) (%c: type, %d: type) { … }`: for each input its accumulator and its element.
    fn reducer(&mut self, count: usize) -> Result<RawRegion<'s>, Diagnostic> {
        self.cursor.expect_keyword("reducer")?;
        let (mut accumulators, mut elements) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let span = self.cursor.span();
            let pair = self.typed_arguments()?;
            let [accumulator, element] = <[RawArgument<'s>; 2]>::try_from(pair)
                .map_err(|_| Diagnostic::new("expected an accumulator and an element", span))?;
            accumulators.push(accumulator);
            elements.push(element);
        }
        let mut region = self.braced_region()?;
        accumulators.append(&mut elements);
        region.arguments = accumulators;
        Ok(region)
    }

    /// `stablehlo.while(%a = %init, …) : types cond { … } do { … }`.
    fn while_loop(&mut self, op: &mut RawOp<'s>) -> Result<(), Diagnostic> {
        let mut names = Vec::new();
        let (open, close) = (TokenKind::LeftParenthesis, TokenKind::RightParenthesis);
        self.each(open, close, |reader| {
            names.push(reader.cursor.expect(TokenKind::Value)?);
            reader.cursor.expect(TokenKind::Equal)?;
            op.operands.push(reader.cursor.value_use()?);
            Ok(())
        })?;
        if !names.is_empty() {
            self.signature(op)?;
        }
        if op.operand_types.len() != names.len() {
            let found = op.operand_types.len();
            return Err(op.error(format!("expected {} types, found {found}", names.len())));
        }
        if self.cursor.eat_keyword("attributes") {
            self.cursor.dictionary()?;
        }
        for keyword in ["cond", "do"] {
            self.cursor.expect_keyword(keyword)?;
            let mut region = self.braced_region()?;
            let typed = names.iter().zip(&op.operand_types);
            region.arguments = typed
                .map(|(name, tensor_type)| RawArgument {
                    name: name.name(),
                    span: name.span(),
                    tensor_type: tensor_type.clone(),
                    location: Location::Unknown,
                })
                .collect();
            op.regions.push(region);
        }
        Ok(())
    }

    /// `stablehlo.composite "name" %a, … {decomposition = @f, …} : (types) -> type`.
    fn composite(&mut self, op: &mut RawOp<'s>) -> Result<(), Diagnostic> {
        let name = self.cursor.attribute()?;
        op.attributes
            .entries
            .push(entry("name", name.value, name.span));
        self.items(op)?;
        self.signature(op)
    }
}

fn integer_attribute(value: i128, span: std::ops::Range<usize>) -> ParsedAttribute {
    let element = None;
    ParsedAttribute {
        value: AttributeValue::Integer { value, element },
        span,
    }
}

/// The region that `applies stablehlo.add` stands for.
fn applied_reducer<'s>(
    op: &RawOp<'s>,
    name: &str,
    span: std::ops::Range<usize>,
) -> Result<RawRegion<'s>, Diagnostic> {
    let [input, _] = op.operand_types.as_slice() else {
        return Err(op.error("'applies' goes with one input and its init"));
    };
    let scalar = input.with_shape([]);
    let argument = |name| RawArgument {
        name,
        span: span.clone(),
        tensor_type: scalar.clone(),
        location: Location::Unknown,
    };
    let value = |name| tessera_ir::text::ValueUse {
        name,
        number: 0,
        span: span.clone(),
    };
    let mut combine = named(name, span.clone());
    combine.results = vec![tessera_ir::text::ValueDefinition {
        name: "combined",
        count: 1,
        span: span.clone(),
    }];
    combine.operands = vec![value("accumulator"), value("element")];
    combine.operand_types = vec![scalar.clone(), scalar.clone()];
    combine.result_types = vec![scalar.clone()];
    let mut give_back = named("stablehlo.return", span.clone());
    give_back.operands = vec![value("combined")];
    give_back.operand_types = vec![scalar.clone()];
    Ok(RawRegion {
        arguments: vec![argument("accumulator"), argument("element")],
        ops: vec![combine, give_back],
        span,
    })
}
