//! Instructions and their operands (PTX ISA 4.3.2, 6.4).

use super::super::{Address, Instruction, Operand, ParseError, Predicate};
use super::{Parser, Token};

impl Parser<'_> {
    /// `@!%p1 bra $L1;`
    pub(super) fn instruction(&mut self) -> Result<Instruction, ParseError> {
        let place = self.place();
        let mut predicate = None;
        if self.takes("@") {
            let negated = self.takes("!");
            let register = self.word("a predicate register")?.to_owned();
            predicate = Some(Predicate { register, negated });
        }
        let opcode = self.word("an instruction")?.to_owned();
        let mut modifiers = Vec::new();
        while let Token::Dotted(modifier) = self.peek() {
            self.take();
            modifiers.push(modifier.to_owned());
        }
        let mut operands = Vec::new();
        if self.peek() != Token::Sign(";") {
            let is_call = opcode == "call";
            operands = self.separated(|parser| parser.operand(is_call))?;
        }
        self.sign(";")?;
        Ok(Instruction {
            place,
            predicate,
            opcode,
            modifiers,
            operands,
            used_bytes: u32::MAX,
        })
    }

    fn operand(&mut self, is_call: bool) -> Result<Operand, ParseError> {
        match self.peek() {
            Token::Sign("[") => self.address(),
            Token::Sign("{") => Ok(Operand::Vector(self.list("{", "}")?)),
            Token::Sign("(") if is_call => Ok(Operand::List(self.list("(", ")")?)),
            Token::Sign("!") if matches!(self.peek_second(), Token::Word(_)) => {
                self.take();
                Ok(Operand::Not(self.word("a predicate register")?.to_owned()))
            }
            Token::Sign("-") if matches!(self.peek_second(), Token::Word(word) if word != "WARP_SZ") =>
            {
                self.take();
                Ok(Operand::Negative(self.word("a register")?.to_owned()))
            }
            Token::Word(word) if word != "WARP_SZ" => self.named(),
            _ => Ok(Operand::Literal(self.literal()?)),
        }
    }

    /// Operands between two signs, which may be none.
    fn list(
        &mut self,
        open: &'static str,
        close: &'static str,
    ) -> Result<Vec<Operand>, ParseError> {
        self.sign(open)?;
        if self.takes(close) {
            return Ok(Vec::new());
        }
        let operands = self.nested(|parser| parser.separated(|parser| parser.operand(false)))?;
        self.sign(close)?;
        Ok(operands)
    }

    /// A name and what belongs to it: `%tid.x`, `table+4`, `%r1|%p1`.
    fn named(&mut self) -> Result<Operand, ParseError> {
        let first = self.simple_name()?;
        if self.takes("|") {
            let second = self.simple_name()?;
            return Ok(Operand::Pair(Box::new(first), Box::new(second)));
        }
        match (first, self.peek()) {
            (Operand::Name(name), Token::Sign("+" | "-")) => {
                Ok(Operand::Offset(name, self.offset()?))
            }
            (first, _) => Ok(first),
        }
    }

    fn simple_name(&mut self) -> Result<Operand, ParseError> {
        let name = self.word("a register")?;
        if name == "_" {
            return Ok(Operand::Sink);
        }
        let component = self.dotted(|word| match word {
            "x" | "r" => Some(0),
            "y" | "g" => Some(1),
            "z" | "b" => Some(2),
            "w" | "a" => Some(3),
            _ => None,
        });
        Ok(match component {
            Some(component) => Operand::Component(name.to_owned(), component),
            None => Operand::Name(name.to_owned()),
        })
    }

    /// `[%rd1+16]`, `[table]`, `[%rd1, {%r1, %r2}]`.
    fn address(&mut self) -> Result<Operand, ParseError> {
        self.sign("[")?;
        let base = match self.peek() {
            Token::Word(_) => self.simple_name()?,
            _ => Operand::Literal(self.constant()?),
        };
        let offset = self.offset()?;
        let mut coordinates = Vec::new();
        if self.takes(",") {
            coordinates = self.nested(|parser| parser.separated(|parser| parser.operand(false)))?;
        }
        self.sign("]")?;
        Ok(Operand::Address(Address {
            base: Box::new(base),
            offset,
            coordinates,
        }))
    }
}
