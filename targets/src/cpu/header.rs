//! The C header of a bundle: how to call its functions from another runtime.

use std::fmt::Write;
use tessera_runtime::bundle::Manifest;

/// `step.h`: the functions of kernels.so, what their buffers hold, and what goes in and out of the step.
pub fn header(manifest: &Manifest) -> String {
    let mut text = String::from(
        "/* The kernels of kernels.so. buffers holds the addresses of a kernel's operands, then of its results, then,\n   \
         where it needs scratch memory, of that many bytes aligned to 64, which no other thread uses. A call does the\n   \
         blocks begin to end (excluded) of all its blocks; blocks are independent. manifest.json says which kernel runs\n   \
         when, and on which buffers. */\n#pragma once\n#include <stdint.h>\n\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n",
    );
    let mut tensors = |what: &str, types: Vec<(Option<&String>, String)>| {
        let _ = writeln!(text, "\n/* {what}:");
        for (number, (name, tensor_type)) in types.iter().enumerate() {
            let name = name.map(|name| format!(" {name}")).unwrap_or_default();
            // A name cannot end the comment.
            let name = name.replace("*/", "* /");
            let _ = writeln!(text, "   {number}: {tensor_type}{name}");
        }
        let _ = writeln!(text, "*/");
    };
    let inputs = manifest.inputs.iter();
    tensors(
        "Inputs",
        inputs
            .map(|i| (i.name.as_ref(), i.tensor_type.to_string()))
            .collect(),
    );
    let results = manifest.results.iter();
    tensors(
        "Results",
        results
            .map(|r| (r.name.as_ref(), r.tensor_type.to_string()))
            .collect(),
    );
    for kernel in &manifest.kernels {
        let Some(function) = kernel.code.as_function() else {
            continue;
        };
        let list = |types: &[tessera_runtime::bundle::ValueType]| {
            types
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", ")
        };
        let _ = writeln!(
            text,
            "\n/* ({}) -> ({}); {} blocks, {} bytes of scratch memory */",
            list(&kernel.operands),
            list(&kernel.results),
            function.blocks,
            function.scratch_bytes,
        );
        let _ = writeln!(
            text,
            "void {}(void *const *buffers, int64_t begin, int64_t end);",
            function.symbol
        );
    }
    text.push_str("\n#ifdef __cplusplus\n}\n#endif\n");
    text
}
