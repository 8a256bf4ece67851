//! Constants that a kernel's module holds in memory.

use melior::{
    Context,
    dialect::llvm,
    ir::{
        Attribute, BlockLike, Identifier, Location, Module, Region,
        attribute::{DenseElementsAttribute, StringAttribute, TypeAttribute},
        operation::OperationBuilder,
    },
};
use tessera_ir::Tensor;

/// Constants with more than one value, which the kernel's module has to hold in memory.
#[derive(Debug, Default)]
pub struct Constants {
    prefix: String,
    tensors: Vec<Tensor>,
}

impl Constants {
    /// No constants yet; the symbols of those that come begin with `prefix`.
    pub fn new(prefix: impl Into<String>) -> Self {
        Self {
            prefix: prefix.into(),
            tensors: Vec::new(),
        }
    }

    /// The symbol of a tensor, which is kept.
    pub(super) fn symbol(&mut self, tensor: &Tensor) -> String {
        let known = self.tensors.iter().position(|t| t == tensor);
        let number = known.unwrap_or_else(|| {
            self.tensors.push(tensor.clone());
            self.tensors.len() - 1
        });
        self.name(number)
    }

    fn name(&self, number: usize) -> String {
        format!("{}.constant{number}", self.prefix)
    }

    /// Defines them in a module.
    pub fn define<'c>(&self, context: &'c Context, module: &Module<'c>) {
        for (number, tensor) in self.tensors.iter().enumerate() {
            global(context, module, &self.name(number), tensor.bytes());
        }
    }
}

/// A constant array of bytes.
fn global<'c>(context: &'c Context, module: &Module<'c>, name: &str, bytes: &[u8]) {
    let attribute = |text: &str| {
        Attribute::parse(context, text).expect("the attribute is written in this file")
    };
    let i8 = melior::ir::r#type::IntegerType::new(context, 8).into();
    let array = llvm::r#type::array(i8, bytes.len() as u32);
    let tensor = melior::ir::r#type::RankedTensorType::new(&[bytes.len() as u64], i8, None);
    let value = DenseElementsAttribute::u8_values(tensor.into(), bytes);
    let attributes = [
        ("sym_name", StringAttribute::new(context, name).into()),
        ("global_type", TypeAttribute::new(array).into()),
        ("constant", Attribute::unit(context)),
        ("linkage", attribute("#llvm.linkage<internal>")),
        ("value", value.into()),
        ("alignment", attribute("64 : i64")),
        ("addr_space", attribute("0 : i32")),
    ]
    .map(|(name, attribute)| (Identifier::new(context, name), attribute));
    let operation = OperationBuilder::new("llvm.mlir.global", Location::unknown(context))
        .add_attributes(&attributes)
        .add_regions([Region::new()])
        .build()
        .expect("the attributes are those of a global");
    module.body().append_operation(operation);
}
