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
use std::sync::{Arc, Mutex, PoisonError};

// The binding of mlir-sys names LLVM's types by its own, which inkwell does not know.
unsafe extern "C" {
    fn mlirTranslateModuleToLLVMIR(
        module: mlir_sys::MlirOperation,
        context: *mut std::ffi::c_void,
    ) -> *mut std::ffi::c_void;
}

/// What MLIR reports about a context's modules.
#[derive(Clone, Default)]
pub struct Diagnostics(Arc<Mutex<String>>);

impl Diagnostics {
    /// Takes the context's reports from now on; without this they go to the standard error.
    pub fn of(context: &Context) -> Self {
        let diagnostics = Self::default();
        let text = Arc::clone(&diagnostics.0);
        context.attach_diagnostic_handler(move |diagnostic| {
            let mut text = text.lock().unwrap_or_else(PoisonError::into_inner);
            text.push_str(&diagnostic.to_string());
            text.push('\n');
            true
        });
        diagnostics
    }

    fn error(&self, stage: &'static str) -> CpuError {
        let text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        CpuError::Lowering {
            stage,
            message: text.trim_end().to_owned(),
        }
    }
}

/// Lowers a module to the `llvm` dialect, in place.
pub fn lower(
    context: &Context,
    module: &mut Module<'_>,
    diagnostics: &Diagnostics,
) -> Result<(), CpuError> {
    let passes = PassManager::new(context);
    passes.enable_verifier(true);
    passes.add_pass(conversion::create_scf_to_control_flow());
    passes.add_pass(conversion::create_math_to_llvm());
    passes.add_pass(conversion::create_arith_to_llvm());
    passes.add_pass(conversion::create_control_flow_to_llvm());
    passes.add_pass(conversion::create_reconcile_unrealized_casts());
    passes
        .run(module)
        .map_err(|_| diagnostics.error("MLIR's passes"))
}

/// Makes LLVM IR of a module of the `llvm` dialect.
pub fn translate<'l>(
    module: &Module<'_>,
    context: &'l LlvmContext,
    diagnostics: &Diagnostics,
) -> Result<LlvmModule<'l>, CpuError> {
    // SAFETY: the operation is a verified module of the llvm dialect whose translations are registered. The module
    // made belongs to the LLVM context, which outlives what takes ownership of it here.
    let raw = unsafe {
        mlirTranslateModuleToLLVMIR(module.as_operation().to_raw(), context.as_ctx_ref().cast())
    };
    if raw.is_null() {
        return Err(diagnostics.error("the translation to LLVM IR"));
    }
    // SAFETY: as above; the module is not null and nobody else owns it.
    Ok(unsafe { LlvmModule::new(raw.cast()) })
}
