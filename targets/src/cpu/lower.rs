//! MLIR to LLVM IR.

use super::CpuError;
use inkwell::{
    context::{AsContextRef, Context as LlvmContext},
    module::Module as LlvmModule,
};
use melior::{
    Context,
    ir::Module,
    pass::{PassManager, conversion},
};

// The binding of mlir-sys names LLVM's types by its own, which inkwell does not know.
unsafe extern "C" {
    fn mlirTranslateModuleToLLVMIR(
        module: mlir_sys::MlirOperation,
        context: *mut std::ffi::c_void,
    ) -> *mut std::ffi::c_void;
}

/// Lowers a module to the `llvm` dialect, in place.
pub fn lower(context: &Context, module: &mut Module<'_>) -> Result<(), CpuError> {
    let passes = PassManager::new(context);
    passes.enable_verifier(true);
    passes.add_pass(conversion::create_scf_to_control_flow());
    passes.add_pass(conversion::create_math_to_llvm());
    passes.add_pass(conversion::create_arith_to_llvm());
    passes.add_pass(conversion::create_control_flow_to_llvm());
    passes.add_pass(conversion::create_reconcile_unrealized_casts());
    passes.run(module).map_err(|error| CpuError::Lowering {
        stage: "MLIR's passes",
        message: error.to_string(),
    })
}

/// Makes LLVM IR of a module of the `llvm` dialect.
pub fn translate<'l>(
    module: &Module<'_>,
    context: &'l LlvmContext,
) -> Result<LlvmModule<'l>, CpuError> {
    // SAFETY: the operation is a verified module of the llvm dialect whose translations are registered. The module
    // made belongs to the LLVM context, which outlives what takes ownership of it here.
    let raw = unsafe {
        mlirTranslateModuleToLLVMIR(module.as_operation().to_raw(), context.as_ctx_ref().cast())
    };
    if raw.is_null() {
        return Err(CpuError::Lowering {
            stage: "the translation to LLVM IR",
            message: "MLIR gives no reason".to_owned(),
        });
    }
    // SAFETY: as above; the module is not null and nobody else owns it.
    Ok(unsafe { LlvmModule::new(raw.cast()) })
}
