//! Shared memory that a kernel declares.

use crate::mlir::{Builder, Value};
use melior::{
    Context,
    dialect::llvm,
    ir::{
        Attribute, BlockLike, Identifier, Location, Module, Region,
        attribute::{FlatSymbolRefAttribute, StringAttribute, TypeAttribute},
        operation::OperationBuilder,
    },
};

/// The arrays of a kernel's shared memory.
pub struct Shared {
    symbol: String,
    /// Bytes of each.
    arrays: Vec<u32>,
    /// The alignment of what the launch gives beside.
    dynamic: Option<u32>,
}

/// The state space of shared memory, as LLVM's NVPTX back end numbers them.
const SPACE: u32 = 3;

/// An address in shared memory as one of its own state space, which some instructions ask for.
pub fn own<'c>(b: &Builder<'c>, address: Value<'c>) -> Value<'c> {
    let own = llvm::r#type::pointer(b.context(), SPACE);
    b.cast("llvm.addrspacecast", address, own)
}

impl Shared {
    /// None yet, of the kernel of that name.
    pub fn new(symbol: &str) -> Self {
        Self {
            symbol: symbol.to_owned(),
            arrays: Vec::new(),
            dynamic: None,
        }
    }

    /// The address of a new array of so many bytes, from a multiple of 16 on.
    pub fn array<'c>(&mut self, b: &Builder<'c>, bytes: u32) -> Value<'c> {
        let name = self.name(self.arrays.len());
        self.arrays.push(bytes);
        let symbol = FlatSymbolRefAttribute::new(b.context(), &name).into();
        let own = llvm::r#type::pointer(b.context(), SPACE);
        let address = b.value("llvm.mlir.addressof", &[], own, &[("global_name", symbol)]);
        b.cast("llvm.addrspacecast", address, b.pointer())
    }

    /// The address, an `i32` in the window of shared memory, of the memory that the launch gives: the grid's
    /// `shared_bytes`, from a multiple of `alignment` on. It alone can have more than 48 KiB. (CUDA C++ Programming
    /// Guide, "Technical Specifications per Compute Capability".)
    pub fn dynamic<'c>(&mut self, b: &Builder<'c>, alignment: u32) -> Value<'c> {
        self.dynamic = Some(alignment);
        let symbol = FlatSymbolRefAttribute::new(b.context(), &self.dynamic_name()).into();
        let own = llvm::r#type::pointer(b.context(), SPACE);
        let address = b.value("llvm.mlir.addressof", &[], own, &[("global_name", symbol)]);
        b.cast("llvm.ptrtoint", address, b.integer(32))
    }

    /// The address of the kernel's only memory, of so many bytes from a multiple of 16 on, and how many of them the launch
    /// has to give: all where they are more than a kernel may declare.
    pub fn memory<'c>(&mut self, b: &Builder<'c>, bytes: u32) -> (Value<'c>, u32) {
        /// CUDA C++ Programming Guide, "Technical Specifications per Compute Capability".
        const DECLARED: u32 = 48 << 10;
        if bytes <= DECLARED {
            return (self.array(b, bytes), 0);
        }
        let own = llvm::r#type::pointer(b.context(), SPACE);
        let address = b.cast("llvm.inttoptr", self.dynamic(b, 16), own);
        (b.cast("llvm.addrspacecast", address, b.pointer()), bytes)
    }

    fn dynamic_name(&self) -> String {
        format!("{}_dynamic", self.symbol)
    }

    fn name(&self, number: usize) -> String {
        format!("{}_shared{number}", self.symbol)
    }

    /// Defines them in a module.
    pub fn define<'c>(&self, context: &'c Context, module: &Module<'c>) {
        let attribute = |text: &str| {
            Attribute::parse(context, text).expect("the attribute is written in this file")
        };
        let byte = melior::ir::r#type::IntegerType::new(context, 8).into();
        for (number, &bytes) in self.arrays.iter().enumerate() {
            let name = StringAttribute::new(context, &self.name(number));
            let array = TypeAttribute::new(llvm::r#type::array(byte, bytes));
            let attributes = [
                ("sym_name", name.into()),
                ("global_type", array.into()),
                ("linkage", attribute("#llvm.linkage<internal>")),
                ("alignment", attribute("16 : i64")),
                ("addr_space", attribute(&format!("{SPACE} : i32"))),
            ]
            .map(|(name, attribute)| (Identifier::new(context, name), attribute));
            // Without a value: shared memory begins undefined.
            let region = Region::new();
            let (inner, _) = Builder::append_block(context, &region, &[]);
            let undefined = inner.value("llvm.mlir.undef", &[], array.value(), &[]);
            inner.operation("llvm.return", &[undefined], &[], &[]);
            let operation = OperationBuilder::new("llvm.mlir.global", Location::unknown(context))
                .add_attributes(&attributes)
                .add_regions([region])
                .build()
                .expect("the attributes are those of a global");
            module.body().append_operation(operation);
        }
        let Some(alignment) = self.dynamic else {
            return;
        };
        let name = StringAttribute::new(context, &self.dynamic_name());
        let array = TypeAttribute::new(llvm::r#type::array(byte, 0));
        let attributes = [
            ("sym_name", name.into()),
            ("global_type", array.into()),
            ("linkage", attribute("#llvm.linkage<external>")),
            ("alignment", attribute(&format!("{alignment} : i64"))),
            ("addr_space", attribute(&format!("{SPACE} : i32"))),
        ]
        .map(|(name, attribute)| (Identifier::new(context, name), attribute));
        let operation = OperationBuilder::new("llvm.mlir.global", Location::unknown(context))
            .add_attributes(&attributes)
            .add_regions([Region::new()])
            .build()
            .expect("the attributes are those of a global");
        module.body().append_operation(operation);
    }
}
