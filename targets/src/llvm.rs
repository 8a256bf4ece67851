//! MLIR to LLVM IR to code.

use inkwell::{
    context::{AsContextRef, Context as LlvmContext},
    module::Module as LlvmModule,
    passes::PassBuilderOptions,
    targets::{FileType, TargetMachine},
};
use melior::{
    Context,
    ir::Module,
    pass::{PassManager, conversion},
};
use std::sync::{Arc, Mutex, PoisonError};

/// MLIR or LLVM refused a kernel: a defect of this compiler.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{stage} failed: {message}")]
pub struct LoweringError {
    /// Who refused.
    pub stage: &'static str,
    /// What they said.
    pub message: String,
}

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

    fn error(&self, stage: &'static str) -> LoweringError {
        let text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        LoweringError {
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
) -> Result<(), LoweringError> {
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
) -> Result<LlvmModule<'l>, LoweringError> {
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

/// LLVM's code generator.
pub struct Machine(pub TargetMachine);

impl Machine {
    /// Optimises a module in place.
    pub fn optimise(&self, module: &LlvmModule<'_>) -> Result<(), LoweringError> {
        module.set_triple(&self.0.get_triple());
        module.set_data_layout(&self.0.get_target_data().get_data_layout());
        // Level 3 takes twice as long and its code is no faster here.
        module
            .run_passes("default<O2>", &self.0, PassBuilderOptions::create())
            .map_err(|error| LoweringError {
                stage: "LLVM's optimiser",
                message: error.to_string(),
            })
    }

    /// Machine code of an optimised module.
    pub fn object(&self, module: &LlvmModule<'_>) -> Result<Vec<u8>, LoweringError> {
        self.emit(module, FileType::Object)
    }

    /// Assembly text of an optimised module.
    pub fn assembly(&self, module: &LlvmModule<'_>) -> Result<String, LoweringError> {
        let text = self.emit(module, FileType::Assembly)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn emit(&self, module: &LlvmModule<'_>, file_type: FileType) -> Result<Vec<u8>, LoweringError> {
        let buffer = self.0.write_to_memory_buffer(module, file_type);
        let buffer = buffer.map_err(|error| LoweringError {
            stage: "LLVM's code generator",
            message: error.to_string(),
        })?;
        Ok(buffer.as_slice().to_vec())
    }
}
