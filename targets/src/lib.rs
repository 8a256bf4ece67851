//! Plan to bundle: MLIR, LLVM and machine code.
