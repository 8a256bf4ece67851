//! PTX written as text, for instructions that LLVM has no operation for, or none that can be relied on.

use crate::mlir::{Builder, Value};
use inkwell::attributes::{Attribute as LlvmAttribute, AttributeLoc};
use inkwell::values::{CallSiteValue, InstructionOpcode};
use melior::{
    dialect::llvm,
    ir::{
        Attribute, Type, ValueLike,
        attribute::{DenseI64ArrayAttribute, StringAttribute},
    },
};

/// Instructions as text. `$0`, `$1` … are the results, then the operands.
pub struct Ptx<'t> {
    text: &'t str,
    memory: bool,
}

impl<'t> Ptx<'t> {
    /// Instructions that compute results from operands.
    pub fn new(text: &'t str) -> Self {
        Self {
            text,
            memory: false,
        }
    }

    /// They read or write memory, or order what does: they stay, and stay where they are among others of that sort.
    pub fn memory(self) -> Self {
        Self {
            memory: true,
            ..self
        }
    }

    /// Without a result.
    pub fn run<'c>(self, b: &Builder<'c>, operands: &[Value<'c>]) {
        self.operation(b, (operands, 0), &[], &[]);
    }

    /// With an `i32` as the result.
    pub fn word<'c>(self, b: &Builder<'c>, operands: &[Value<'c>]) -> Value<'c> {
        let word = b.integer(32);
        self.operation(b, (operands, 0), &[word], &[word])[0]
    }

    /// With several results.
    pub fn all<'c>(
        self,
        b: &Builder<'c>,
        operands: &[Value<'c>],
        types: &[Type<'c>],
    ) -> Vec<Value<'c>> {
        self.parts(b, operands, types, 0)
    }

    /// With results that take over the registers of the first operands, one each. These are `$0` … alone.
    pub fn updating<'c>(
        self,
        b: &Builder<'c>,
        updated: &[Value<'c>],
        operands: &[Value<'c>],
    ) -> Vec<Value<'c>> {
        let types: Vec<_> = updated.iter().map(ValueLike::r#type).collect();
        self.parts(b, &[updated, operands].concat(), &types, updated.len())
    }

    fn parts<'c>(
        self,
        b: &Builder<'c>,
        operands: &[Value<'c>],
        types: &[Type<'c>],
        updated: usize,
    ) -> Vec<Value<'c>> {
        let all = llvm::r#type::r#struct(b.context(), types, false);
        let found = self.operation(b, (operands, updated), types, &[all])[0];
        let part = |(number, &t): (usize, &Type<'c>)| {
            let position = DenseI64ArrayAttribute::new(b.context(), &[number as i64]).into();
            b.value("llvm.extractvalue", &[found], t, &[("position", position)])
        };
        types.iter().enumerate().map(part).collect()
    }

    fn operation<'c>(
        self,
        b: &Builder<'c>,
        (operands, updated): (&[Value<'c>], usize),
        registers: &[Type<'c>],
        results: &[Type<'c>],
    ) -> Vec<Value<'c>> {
        let register = |t: Type<'c>| match t {
            t if t == b.i64() => "l",
            t if t == b.f32() => "f",
            _ => "r",
        };
        let results_of = registers.iter().map(|&t| format!("={}", register(t)));
        let operands_of = operands.iter().enumerate().map(|(number, x)| {
            // A number stands for the register of that result.
            match number < updated {
                true => number.to_string(),
                false => register(x.r#type()).to_owned(),
            }
        });
        let memory = self.memory.then(|| "~{memory}".to_owned());
        let constraints: Vec<String> = results_of.chain(operands_of).chain(memory).collect();
        let context = b.context();
        let mut attributes = vec![
            (
                "asm_string",
                StringAttribute::new(context, self.text).into(),
            ),
            (
                "constraints",
                StringAttribute::new(context, &constraints.join(",")).into(),
            ),
        ];
        if self.memory {
            attributes.push(("has_side_effects", Attribute::unit(context)));
        }
        b.operation("llvm.inline_asm", operands, results, &attributes)
    }
}

/// Has LLVM keep what is written as text where the threads of a warp are together: it puts no branch around it that some
/// of them take and others do not. MLIR has no way to say so.
pub fn keep_together(module: &inkwell::module::Module<'_>) {
    let kind = LlvmAttribute::get_named_enum_kind_id("convergent");
    let convergent = module.get_context().create_enum_attribute(kind, 0);
    let blocks = module
        .get_functions()
        .flat_map(|f| f.get_basic_block_iter());
    for instruction in blocks.flat_map(|block| block.get_instructions()) {
        if instruction.get_opcode() != InstructionOpcode::Call {
            continue;
        }
        // A call of no function is one of a text: kernels call by name.
        if let Ok(call) = CallSiteValue::try_from(instruction)
            && call.get_called_fn_value().is_none()
        {
            call.add_attribute(AttributeLoc::Function, convergent);
        }
    }
}
