//! Declarations of variables (PTX ISA 5.4) and of parameters.

use super::super::{Initializer, Linkage, Literal, ParseError, ScalarType, StateSpace, Variable};
use super::{Parser, Token};

/// Variables that one declaration `%r<n>` stands for, at most.
const MOST_VARIABLES: u32 = 1 << 20;
/// Bytes of a variable, at most.
const MOST_BYTES: u64 = 1 << 32;

impl Parser<'_> {
    /// `.shared .align 16 .b8 a[64], b[64];`
    pub(super) fn variables(&mut self, linkage: Linkage) -> Result<Vec<Variable>, ParseError> {
        let template = self.declaration(linkage)?;
        let variables = self.separated(|parser| {
            let mut variable = parser.declared(template.clone())?;
            if parser.takes("=") {
                variable.initializer = Some(parser.initializer()?);
            }
            Ok(variable)
        })?;
        self.sign(";")?;
        Ok(variables)
    }

    /// `(.param .b64 a, .param .b32 b)`, if there is a parenthesis.
    pub(super) fn parameters(&mut self) -> Result<Vec<Variable>, ParseError> {
        if !self.takes("(") || self.takes(")") {
            return Ok(Vec::new());
        }
        let parameters = self.separated(|parser| {
            let template = parser.declaration(Linkage::Internal)?;
            parser.declared(template)
        })?;
        self.sign(")")?;
        Ok(parameters)
    }

    /// Space, alignment, vector and type: what stands before a name.
    fn declaration(&mut self, linkage: Linkage) -> Result<Variable, ParseError> {
        let place = self.place();
        let Some(space) = self.dotted(StateSpace::from_name) else {
            return self.error("a state space");
        };
        let mut variable = Variable {
            name: String::new(),
            place,
            space,
            linkage,
            element: ScalarType::B8,
            vector: 1,
            alignment: None,
            dimensions: Vec::new(),
            count: None,
            initializer: None,
            pointee_alignment: None,
        };
        let mut element = None;
        // Attributes and type may stand in any order: `.b32 .ptr .global .align 4`, `.align 4 .b32`.
        let mut points = false;
        while let Token::Dotted(word) = self.peek() {
            self.take();
            match word {
                "align" => {
                    let alignment = self.integer("an alignment in bytes")?;
                    if !alignment.is_power_of_two() || alignment > MOST_BYTES {
                        self.next -= 1;
                        return self.error("an alignment that is a power of two");
                    }
                    let own = if points {
                        &mut variable.pointee_alignment
                    } else {
                        &mut variable.alignment
                    };
                    *own = Some(alignment);
                }
                "v2" => variable.vector = 2,
                "v4" => variable.vector = 4,
                "v8" => variable.vector = 8,
                "ptr" => points = true,
                "global" | "const" | "shared" | "local" if points => {}
                "attribute" => self.attribute()?,
                "texref" | "samplerref" | "surfref" => {
                    self.next -= 1;
                    return self.error("a variable of numbers, since textures are not modelled");
                }
                _ => match ScalarType::from_name(word) {
                    Some(scalar) if element.is_none() => element = Some(scalar),
                    _ => {
                        self.next -= 1;
                        return self.error("a variable's type");
                    }
                },
            }
        }
        let Some(element) = element else {
            return self.error("a variable's type");
        };
        variable.element = element;
        Ok(variable)
    }

    /// `(.managed)`, `(.unified(1, 2))`: where the driver puts it.
    fn attribute(&mut self) -> Result<(), ParseError> {
        self.sign("(")?;
        let mut depth = 1;
        while depth > 0 {
            match self.take() {
                Token::Sign("(") => depth += 1,
                Token::Sign(")") => depth -= 1,
                Token::End => return self.error("')'"),
                _ => {}
            }
        }
        Ok(())
    }

    /// A name with its count or its dimensions.
    fn declared(&mut self, mut variable: Variable) -> Result<Variable, ParseError> {
        variable.place = self.place();
        variable.name = self.word("a variable's name")?.to_owned();
        if self.takes("<") {
            let count = self.number("a number of variables")?;
            if count > MOST_VARIABLES {
                self.next -= 1;
                return self.error("at most 2^20 variables of one name");
            }
            variable.count = Some(count);
            self.sign(">")?;
        }
        while self.takes("[") {
            if self.takes("]") {
                variable.dimensions.push(None);
                continue;
            }
            let dimension = match self.constant()? {
                Literal::Signed(size) => u64::try_from(size).ok(),
                Literal::Unsigned(size) => Some(size),
                Literal::Single(_) | Literal::Double(_) => None,
            };
            let Some(dimension) = dimension else {
                return self.error("a dimension that is not negative");
            };
            variable.dimensions.push(Some(dimension));
            if variable.dimensions.iter().all(Option::is_some)
                && variable.bytes().is_none_or(|bytes| bytes > MOST_BYTES)
            {
                return self.error("a variable of at most 2^32 bytes");
            }
            self.sign("]")?;
        }
        Ok(variable)
    }

    fn initializer(&mut self) -> Result<Initializer, ParseError> {
        if self.takes("{") {
            if self.takes("}") {
                return Ok(Initializer::List(Vec::new()));
            }
            let list = self.nested(|parser| parser.separated(Self::initializer))?;
            self.sign("}")?;
            return Ok(Initializer::List(list));
        }
        match self.peek() {
            Token::Word("mask") if self.peek_second() == Token::Sign("(") => {
                self.next += 2;
                let mask = self.integer("a mask")?;
                self.sign(",")?;
                let address = self.initial_address(Some(mask))?;
                self.sign(")")?;
                Ok(address)
            }
            Token::Word(word) if word != "WARP_SZ" => self.initial_address(None),
            _ => Ok(Initializer::Literal(self.literal()?)),
        }
    }

    /// `name`, `name+4`, `generic(name)+4`.
    fn initial_address(&mut self, mask: Option<u64>) -> Result<Initializer, ParseError> {
        let mut name = self.word("a variable's name")?;
        let generic = name == "generic" && self.takes("(");
        if generic {
            name = self.word("a variable's name")?;
            self.sign(")")?;
        }
        Ok(Initializer::Address {
            name: name.to_owned(),
            offset: self.offset()?,
            generic,
            mask,
        })
    }

    /// `+4`, `-4`, `+-4` or nothing.
    pub(super) fn offset(&mut self) -> Result<i64, ParseError> {
        let negative = self.peek() == Token::Sign("-");
        if !negative && !self.takes("+") {
            return Ok(0);
        }
        match self.constant()? {
            Literal::Signed(offset) => Ok(offset),
            Literal::Unsigned(offset) => Ok(offset as i64),
            Literal::Single(_) | Literal::Double(_) => self.error("an offset in bytes"),
        }
    }

    /// Takes a word behind a dot that means something.
    pub(super) fn dotted<T>(&mut self, meaning: impl Fn(&str) -> Option<T>) -> Option<T> {
        let Token::Dotted(word) = self.peek() else {
            return None;
        };
        let meaning = meaning(word)?;
        self.take();
        Some(meaning)
    }
}
