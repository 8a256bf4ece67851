//! Kernels, functions and their bodies.

use super::super::{Body, Function, FunctionKind, Linkage, ParseError, Place, Statement};
use super::{Parser, Token};

impl Parser<'_> {
    /// From `.entry` or `.func` to its body's end, or the declaration's.
    pub(super) fn function(
        &mut self,
        place: Place,
        linkage: Linkage,
    ) -> Result<Function, ParseError> {
        let kind = if self.takes_dotted("entry") {
            FunctionKind::Kernel
        } else {
            self.take();
            FunctionKind::Device
        };
        if self.takes_dotted("attribute") {
            self.parameters()?;
        }
        let results = if kind == FunctionKind::Device {
            self.parameters()?
        } else {
            Vec::new()
        };
        let name = self.word("a function's name")?.to_owned();
        let mut function = Function {
            name,
            place,
            kind,
            linkage,
            results,
            parameters: self.parameters()?,
            directives: Vec::new(),
            body: None,
        };
        while let Token::Dotted(directive) = self.peek() {
            if self.at_skipped_directive() {
                self.skip_directive()?;
                continue;
            }
            self.take();
            let mut numbers = Vec::new();
            if matches!(self.peek(), Token::Integer { .. }) {
                numbers = self.separated(|parser| parser.integer("a number"))?;
            }
            function.directives.push((directive.to_owned(), numbers));
        }
        if self.takes(";") {
            return Ok(function);
        }
        self.sign("{")?;
        function.body = Some(self.body()?);
        // Some writers end a definition as they end a declaration.
        self.takes(";");
        Ok(function)
    }

    /// Statements up to the brace that closes them, which is taken.
    fn body(&mut self) -> Result<Body, ParseError> {
        let mut body = Vec::new();
        let mut used_bytes = None;
        loop {
            match self.peek() {
                Token::Sign("}") => {
                    self.take();
                    return Ok(body);
                }
                Token::Sign("{") => {
                    self.take();
                    body.push(Statement::Block(self.nested(Self::body)?));
                }
                Token::Sign(";") => {
                    self.take();
                }
                Token::Word(name) if self.peek_second() == Token::Sign(":") => {
                    let place = self.place();
                    self.next += 2;
                    body.push(self.labelled(name.to_owned(), place)?);
                }
                Token::Word(_) | Token::Sign("@") => {
                    let mut instruction = self.instruction()?;
                    instruction.used_bytes = used_bytes.take().unwrap_or(u32::MAX);
                    body.push(Statement::Instruction(instruction));
                }
                Token::Dotted("pragma") => used_bytes = self.pragma()?.or(used_bytes),
                Token::Dotted(_) if self.at_skipped_directive() => self.skip_directive()?,
                Token::Dotted(
                    "reg" | "local" | "shared" | "param" | "const" | "global" | "extern",
                ) => {
                    let linkage = self.linkage();
                    let variables = self.variables(linkage)?;
                    body.extend(variables.into_iter().map(Statement::Variable));
                }
                _ => return self.error("a statement"),
            }
        }
    }

    /// What a label stands before: a list of targets, a prototype, or any statement.
    fn labelled(&mut self, name: String, place: Place) -> Result<Statement, ParseError> {
        if self.takes_dotted("branchtargets") || self.takes_dotted("calltargets") {
            let targets = self.separated(|parser| Ok(parser.word("a target")?.to_owned()))?;
            self.sign(";")?;
            return Ok(Statement::Targets {
                name,
                place,
                targets,
            });
        }
        if self.takes_dotted("callprototype") {
            let results = self.parameters()?;
            self.word("'_'")?;
            let parameters = self.parameters()?;
            while let Token::Dotted(_) = self.peek() {
                self.take();
                if matches!(self.peek(), Token::Integer { .. }) {
                    self.take();
                }
            }
            self.sign(";")?;
            return Ok(Statement::Prototype {
                name,
                place,
                results,
                parameters,
            });
        }
        Ok(Statement::Label { name, place })
    }
}
