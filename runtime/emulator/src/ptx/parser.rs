//! Tokens to a module (PTX ISA, chapters 4, 5, 10.2 and 11).

mod constant;
mod function;
mod instruction;
mod variable;

use super::lexer::{Token, tokens};
use super::{Linkage, Module, ParseError, Place};

/// Reads a text.
pub fn module(text: &str) -> Result<Module, ParseError> {
    let mut parser = Parser {
        tokens: tokens(text)?,
        next: 0,
        depth: 0,
    };
    let mut module = Module {
        version: parser.version()?,
        target: Vec::new(),
        address_size: 64,
        variables: Vec::new(),
        functions: Vec::new(),
        aliases: Vec::new(),
    };
    while parser.peek() != Token::End {
        parser.item(&mut module)?;
    }
    Ok(module)
}

/// The tokens that are left.
struct Parser<'t> {
    tokens: Vec<(Token<'t>, Place)>,
    next: usize,
    /// Braces and parentheses around the next token.
    depth: usize,
}

/// Braces and parentheses inside of each other that a text may have: more than anyone writes, fewer than a stack holds.
const DEPTH: usize = 128;

impl<'t> Parser<'t> {
    fn peek(&self) -> Token<'t> {
        self.tokens[self.next].0
    }

    /// The token behind the next one.
    fn peek_second(&self) -> Token<'t> {
        let last = self.tokens.len() - 1;
        self.tokens[(self.next + 1).min(last)].0
    }

    fn place(&self) -> Place {
        self.tokens[self.next].1
    }

    /// Takes the next token; the end stays.
    fn take(&mut self) -> Token<'t> {
        let token = self.peek();
        if token != Token::End {
            self.next += 1;
        }
        token
    }

    fn error<T>(&self, expected: &str) -> Result<T, ParseError> {
        Err(ParseError {
            place: self.place(),
            expected: expected.into(),
            found: self.peek().to_string(),
        })
    }

    /// Takes a sign if it is the next token.
    fn takes(&mut self, sign: &'static str) -> bool {
        let is_next = self.peek() == Token::Sign(sign);
        self.next += usize::from(is_next);
        is_next
    }

    fn sign(&mut self, sign: &'static str) -> Result<(), ParseError> {
        if self.takes(sign) {
            Ok(())
        } else {
            self.error(&format!("'{sign}'"))
        }
    }

    /// Takes a word behind a dot if it is the next token.
    fn takes_dotted(&mut self, word: &str) -> bool {
        let is_next = self.peek() == Token::Dotted(word);
        self.next += usize::from(is_next);
        is_next
    }

    fn word(&mut self, expected: &str) -> Result<&'t str, ParseError> {
        let Token::Word(word) = self.peek() else {
            return self.error(expected);
        };
        self.take();
        Ok(word)
    }

    fn integer(&mut self, expected: &str) -> Result<u64, ParseError> {
        let Token::Integer { value, .. } = self.peek() else {
            return self.error(expected);
        };
        self.take();
        Ok(value)
    }

    /// An integer that fits 32 bits.
    fn number(&mut self, expected: &str) -> Result<u32, ParseError> {
        let Token::Integer { value, .. } = self.peek() else {
            return self.error(expected);
        };
        let Ok(value) = value.try_into() else {
            return self.error(expected);
        };
        self.take();
        Ok(value)
    }

    /// Reads what stands inside of braces or parentheses, which has an end.
    fn nested<T>(
        &mut self,
        inside: impl FnOnce(&mut Self) -> Result<T, ParseError>,
    ) -> Result<T, ParseError> {
        if self.depth == DEPTH {
            return self.error("fewer braces and parentheses inside of each other");
        }
        self.depth += 1;
        let read = inside(self);
        self.depth -= 1;
        read
    }

    /// One and more of something, with commas between.
    fn separated<T>(
        &mut self,
        mut one: impl FnMut(&mut Self) -> Result<T, ParseError>,
    ) -> Result<Vec<T>, ParseError> {
        let mut all = vec![one(self)?];
        while self.takes(",") {
            all.push(one(self)?);
        }
        Ok(all)
    }

    /// `.version 8.7`, with which a text begins.
    fn version(&mut self) -> Result<(u32, u32), ParseError> {
        if !self.takes_dotted("version") {
            return self.error("'.version', with which a module begins");
        }
        let Token::Double(version) = self.peek() else {
            return self.error("a version such as 8.7");
        };
        self.take();
        let (major, minor) = (version.trunc(), (version.fract() * 10.0).round());
        Ok((major as u32, minor as u32))
    }

    /// A directive of module scope and what it declares.
    fn item(&mut self, module: &mut Module) -> Result<(), ParseError> {
        let place = self.place();
        let linkage = self.linkage();
        let Token::Dotted(directive) = self.peek() else {
            return self.error("a directive");
        };
        match directive {
            "target" => {
                self.take();
                module.target = self.separated(|parser| Ok(parser.word("a target")?.to_owned()))?;
            }
            "address_size" => {
                self.take();
                if self.peek()
                    != (Token::Integer {
                        value: 64,
                        unsigned: false,
                    })
                {
                    return self.error("64, since addresses of 32 bits are not modelled");
                }
                module.address_size = self.number("64")?;
            }
            "entry" | "func" => module.functions.push(self.function(place, linkage)?),
            "global" | "const" | "shared" => module.variables.extend(self.variables(linkage)?),
            "alias" => {
                self.take();
                let alias = self.word("a function's name")?.to_owned();
                self.sign(",")?;
                module
                    .aliases
                    .push((alias, self.word("a function's name")?.to_owned()));
                self.sign(";")?;
            }
            "file" | "section" | "loc" | "pragma" => self.skip_directive()?,
            _ => return self.error("a directive of module scope"),
        }
        Ok(())
    }

    fn linkage(&mut self) -> Linkage {
        let linkage = match self.peek() {
            Token::Dotted("extern") => Linkage::External,
            Token::Dotted("visible") => Linkage::Visible,
            Token::Dotted("weak") => Linkage::Weak,
            Token::Dotted("common") => Linkage::Common,
            _ => return Linkage::Internal,
        };
        self.take();
        linkage
    }

    /// Whether the next token begins a directive that says nothing about what is executed.
    fn at_skipped_directive(&self) -> bool {
        matches!(
            self.peek(),
            Token::Dotted("file" | "section" | "loc" | "pragma")
        )
    }

    /// Takes a pragma: the bytes of the next load that are used, if it says which.
    fn pragma(&mut self) -> Result<Option<u32>, ParseError> {
        self.take();
        let mut mask = None;
        while !self.takes(";") {
            match self.take() {
                Token::End => return self.error("';'"),
                Token::Text(text) => {
                    let own = text.strip_prefix("used_bytes_mask");
                    let digits = own.and_then(|own| own.trim().strip_prefix("0x"));
                    let own = digits.and_then(|own| u32::from_str_radix(own, 16).ok());
                    mask = own.or(mask);
                }
                _ => {}
            }
        }
        Ok(mask)
    }

    /// Takes a directive that is for debuggers and optimizers.
    fn skip_directive(&mut self) -> Result<(), ParseError> {
        if self.peek() == Token::Dotted("pragma") {
            return self.pragma().map(|_| ());
        }
        match self.take() {
            Token::Dotted("section") => {
                while !self.takes("{") {
                    if self.take() == Token::End {
                        return self.error("'{'");
                    }
                }
                let mut depth = 1;
                while depth > 0 {
                    match self.take() {
                        Token::Sign("{") => depth += 1,
                        Token::Sign("}") => depth -= 1,
                        Token::End => return self.error("'}'"),
                        _ => {}
                    }
                }
            }
            // `.file 1 "name", time, size` and `.loc 1 2 3, function_name label + 4, inlined_at 1 2 3`.
            _ => loop {
                match self.peek() {
                    Token::Integer { .. } | Token::Text(_) | Token::Sign("," | "+") => {}
                    Token::Word("function_name") => {
                        self.take();
                    }
                    Token::Word("inlined_at") => {}
                    _ => break,
                }
                self.take();
            },
        }
        Ok(())
    }
}
