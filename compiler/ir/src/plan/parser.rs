//! Text as plans: what [`print()`](super::print) writes.

use super::{Buffer, BufferId, Family, Kernel, KernelId, Place, Plan, PlanInput, PlanResult, Step};
use crate::diagnostic::Diagnostic;
use crate::text::parser::Parser;
use crate::text::{Cursor, TokenKind};
use std::collections::HashMap;
use std::ops::Range;
use tessera_numerics::Initialiser;
use tessera_numerics::initialiser::ParseInitialiserError;

/// Reads a plan. The `file` name is as in [`text::parse`](crate::text::parse).
///
/// # Errors
/// The first thing in the text that is wrong, a kernel's ill-typed op or a buffer without definition among it. What
/// the plan as a whole promises, [`Plan::check`] says.
pub fn parse(source: &str, file: Option<&str>) -> Result<Plan, Diagnostic> {
    let mut parser = PlanParser {
        parser: Parser::new(Cursor::new(source), file),
        kernels: HashMap::new(),
    };
    let plan = parser.plan()?;
    parser.parser.expect_end()?;
    Ok(plan)
}

struct PlanParser<'s> {
    parser: Parser<'s>,
    kernels: HashMap<String, (KernelId, Range<usize>)>,
}

/// What stands in a plan besides steps.
const SECTIONS: [&str; 5] = ["input", "result", "constant", "buffer", "kernel"];

impl<'s> PlanParser<'s> {
    fn cursor(&mut self) -> &mut Cursor<'s> {
        &mut self.parser.cursor
    }

    fn plan(&mut self) -> Result<Plan, Diagnostic> {
        while self.cursor().eat_alias_definition()? {}
        self.cursor().expect_keyword("plan")?;
        let name = self.cursor().symbol()?;
        self.cursor().expect_keyword("arena")?;
        self.cursor().expect(TokenKind::Equal)?;
        let mut plan = Plan {
            name,
            inputs: Vec::new(),
            results: Vec::new(),
            constants: Vec::new(),
            buffers: Vec::new(),
            kernels: Vec::new(),
            schedule: Vec::new(),
            arena_bytes: self.cursor().integer("the arena's bytes")?,
        };
        self.cursor().expect(TokenKind::LeftBrace)?;
        while SECTIONS.iter().any(|word| self.cursor().at_keyword(word)) {
            self.definition(&mut plan)?;
        }
        plan.schedule = self.steps(plan.buffers.len())?;
        self.cursor().expect(TokenKind::RightBrace)?;
        Ok(plan)
    }

    /// One line before the schedule.
    fn definition(&mut self, plan: &mut Plan) -> Result<(), Diagnostic> {
        match self.cursor().advance().text {
            "input" => {
                self.number("input", plan.inputs.len())?;
                let tensor_type = self.cursor().tensor_type()?;
                let donate = if self.cursor().eat_keyword("donate") {
                    Some(self.cursor().integer("a result's number")?)
                } else {
                    None
                };
                let initialiser = self.initialiser()?;
                let name = self.name()?;
                plan.inputs.push(PlanInput {
                    tensor_type,
                    name,
                    donate,
                    initialiser,
                });
            }
            "result" => {
                self.number("result", plan.results.len())?;
                let tensor_type = self.cursor().tensor_type()?;
                let name = self.name()?;
                plan.results.push(PlanResult { tensor_type, name });
            }
            "constant" => {
                self.number("constant", plan.constants.len())?;
                let start = self.cursor().offset();
                let literal = self.cursor().dense()?;
                let span = self.cursor().span_from(start);
                let tensor = literal.to_tensor();
                let tensor = tensor.map_err(|error| Diagnostic::new(error.to_string(), span))?;
                plan.constants.push(tensor);
            }
            "buffer" => {
                let buffer = self.buffer(plan.buffers.len())?;
                plan.buffers.push(buffer);
            }
            _ => {
                let kernel = self.kernel(plan.kernels.len())?;
                plan.kernels.push(kernel);
            }
        }
        Ok(())
    }

    /// Passes the number that comes next, and `:`.
    fn number(&mut self, what: &str, expected: usize) -> Result<(), Diagnostic> {
        let span = self.cursor().span();
        let found: usize = self.cursor().integer("a number")?;
        if found != expected {
            let message = format!("expected {what} {expected}, found {what} {found}");
            return Err(Diagnostic::new(message, span));
        }
        self.cursor().expect(TokenKind::Colon).map(drop)
    }

    /// Passes `name "w"`, if it stands there.
    fn name(&mut self) -> Result<Option<String>, Diagnostic> {
        if self.cursor().eat_keyword("name") {
            self.cursor().string().map(Some)
        } else {
            Ok(None)
        }
    }

    fn initialiser(&mut self) -> Result<Option<Initialiser>, Diagnostic> {
        if !self.cursor().eat_keyword("initialiser") {
            return Ok(None);
        }
        let span = self.cursor().span();
        let initialiser = self.cursor().string()?.parse();
        let initialiser = initialiser
            .map_err(|error: ParseInitialiserError| Diagnostic::new(error.to_string(), span));
        initialiser.map(Some)
    }

    /// `%b3 : tensor<4xf32> at arena(128)`.
    fn buffer(&mut self, number: usize) -> Result<Buffer, Diagnostic> {
        let token = self.cursor().expect(TokenKind::Value)?;
        if token.name().strip_prefix('b') != Some(number.to_string().as_str()) {
            let message = format!("expected %b{number}, found {}", token.text);
            return Err(Diagnostic::new(message, token.span()));
        }
        self.cursor().expect(TokenKind::Colon)?;
        let value_type = self.cursor().value_type()?;
        self.cursor().expect_keyword("at")?;
        let place: fn(usize) -> Place = match self.cursor().peek().text {
            "input" => Place::Input,
            "result" => Place::Result,
            "constant" => Place::Constant,
            "arena" => Place::Arena,
            _ => return Err(self.cursor().unexpected("input, result, constant or arena")),
        };
        self.cursor().advance();
        self.cursor().expect(TokenKind::LeftParenthesis)?;
        let place = place(self.cursor().integer("a number")?);
        self.cursor().expect(TokenKind::RightParenthesis)?;
        Ok(Buffer { value_type, place })
    }

    /// `@loop_add_0 loop(%arg0: tensor<4xf32>) -> tensor<4xf32> { … }`.
    fn kernel(&mut self, number: usize) -> Result<Kernel, Diagnostic> {
        let start = self.cursor().offset();
        let span = self.cursor().span();
        let name = self.cursor().symbol()?;
        let token = self.cursor().peek();
        let family = Family::ALL.into_iter().find(|f| f.name() == token.text);
        let family = family.ok_or_else(|| {
            let names = Family::ALL.map(Family::name).join(", ");
            self.cursor().unexpected(&format!("one of {names}"))
        })?;
        self.cursor().advance();
        let visibility = self.parser.visibility();
        let body_name = if visibility.is_some() {
            self.cursor().symbol()?
        } else {
            String::new()
        };
        let mut body = self.parser.signature_and_body(body_name)?;
        body.visibility = visibility.unwrap_or_default();
        body.location = self.parser.location_of(start)?;
        let id = u32::try_from(number).map(KernelId);
        let id = id.expect("each kernel takes many bytes of a text that is in memory");
        if let Some((_, first)) = self.kernels.insert(name.clone(), (id, span.clone())) {
            let message = format!("a kernel '@{name}' is defined already");
            return Err(Diagnostic::new(message, span).with_note("first defined here", Some(first)));
        }
        Ok(Kernel { name, family, body })
    }

    /// Steps up to a `}`, which is left to the caller.
    fn steps(&mut self, buffers: usize) -> Result<Vec<Step>, Diagnostic> {
        let mut steps = Vec::new();
        while !self.cursor().at(TokenKind::RightBrace) {
            steps.push(self.step(buffers)?);
        }
        Ok(steps)
    }

    fn step(&mut self, buffers: usize) -> Result<Step, Diagnostic> {
        let token = self.cursor().peek();
        match token.text {
            "launch" => self.launch(buffers),
            "copy" => {
                self.cursor().advance();
                let source = self.buffer_use(buffers)?;
                self.cursor().expect(TokenKind::Arrow)?;
                let destination = self.buffer_use(buffers)?;
                Ok(Step::Copy {
                    source,
                    destination,
                })
            }
            "while" => {
                self.cursor().advance();
                let predicate = self.buffer_use(buffers)?;
                let condition = self.block(buffers)?;
                self.cursor().expect_keyword("do")?;
                Ok(Step::While {
                    condition,
                    predicate,
                    body: self.block(buffers)?,
                })
            }
            "case" => {
                self.cursor().advance();
                let index = self.buffer_use(buffers)?;
                let mut branches = Vec::new();
                while self.cursor().at(TokenKind::LeftBrace) {
                    branches.push(self.block(buffers)?);
                    if !self.cursor().eat(TokenKind::Comma) {
                        break;
                    }
                }
                Ok(Step::Case { index, branches })
            }
            _ => Err(self.cursor().unexpected("launch, copy, while, case or '}'")),
        }
    }

    fn launch(&mut self, buffers: usize) -> Result<Step, Diagnostic> {
        let start = self.cursor().advance().start;
        let span = self.cursor().span();
        let name = self.cursor().symbol()?;
        let kernel = self.kernels.get(&name).map(|(kernel, _)| *kernel);
        let kernel = kernel
            .ok_or_else(|| Diagnostic::new(format!("the kernel '@{name}' is not defined"), span))?;
        let operands = self.buffer_list(buffers)?;
        self.cursor().expect(TokenKind::Arrow)?;
        let results = self.buffer_list(buffers)?;
        Ok(Step::Launch {
            kernel,
            operands,
            results,
            location: self.parser.location_of(start)?,
        })
    }

    fn block(&mut self, buffers: usize) -> Result<Vec<Step>, Diagnostic> {
        self.cursor().expect(TokenKind::LeftBrace)?;
        self.cursor().descend()?;
        let steps = self.steps(buffers);
        self.cursor().ascend();
        let steps = steps?;
        self.cursor().expect(TokenKind::RightBrace)?;
        Ok(steps)
    }

    fn buffer_list(&mut self, buffers: usize) -> Result<Vec<BufferId>, Diagnostic> {
        let (open, close) = (TokenKind::LeftParenthesis, TokenKind::RightParenthesis);
        self.cursor()
            .list(open, close, |cursor| buffer_use(cursor, buffers))
    }

    fn buffer_use(&mut self, buffers: usize) -> Result<BufferId, Diagnostic> {
        buffer_use(self.cursor(), buffers)
    }
}

/// Passes a buffer that is defined.
fn buffer_use(cursor: &mut Cursor<'_>, buffers: usize) -> Result<BufferId, Diagnostic> {
    if !cursor.at(TokenKind::Value) {
        return Err(cursor.unexpected("a buffer such as %b0"));
    }
    let token = cursor.advance();
    let number = token.name().strip_prefix('b');
    let number = number.and_then(|number| number.parse::<u32>().ok());
    number
        .filter(|&number| (number as usize) < buffers)
        .map(BufferId)
        .ok_or_else(|| {
            let message = format!("the buffer '{}' is not defined", token.text);
            Diagnostic::new(message, token.span())
        })
}
