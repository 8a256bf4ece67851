//! Kernels compiled in processes of their own: the same bytes as in this one, and failures that name the kernel.

use super::{step, tessera, tessera_reading};
use std::collections::BTreeMap;
use std::path::Path;
use tessera::{Compiler, Source};

/// A bundle's files.
fn files(bundle: &Path) -> BTreeMap<std::ffi::OsString, Vec<u8>> {
    let entries = std::fs::read_dir(bundle).unwrap();
    let files = entries.map(|entry| {
        let entry = entry.unwrap();
        (entry.file_name(), std::fs::read(entry.path()).unwrap())
    });
    files.collect()
}

#[test]
fn a_bundle_does_not_depend_on_who_compiles_it() {
    let folder = tempfile::tempdir().unwrap();
    let (text, _) = step("llama_tiny");
    let here = folder.path().join("here.tessera");
    let module = Source::read(&text).unwrap().module().unwrap();
    let compiler = Compiler::new("cpu:x86-64-v3").unwrap();
    compiler.compile(&module, &here).unwrap();
    let expected = files(&here);
    assert!(expected.contains_key(std::ffi::OsStr::new("kernels.so")));
    for jobs in ["1", "3"] {
        let bundle = folder.path().join(format!("{jobs}.tessera"));
        let arguments = [
            "compile",
            &text,
            "--target",
            "cpu:x86-64-v3",
            "--jobs",
            jobs,
        ];
        let output = ["-o", bundle.to_str().unwrap()];
        let outcome = tessera([&arguments[..], &output].concat());
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        assert!(files(&bundle) == expected, "{jobs} workers");
    }
}

#[test]
fn a_worker_ends_with_its_input() {
    let outcome = tessera_reading(["worker"], b"");
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!(outcome.stdout, "");
}

#[test]
fn a_text_that_is_no_reproducer_is_refused() {
    let outcome = tessera_reading(["worker", "-"], b"module {\n}\n");
    assert_eq!(outcome.code, Some(1));
    assert_eq!(
        outcome.stderr,
        "<stdin>: error: expected a kernel's reproducer, whose second line begins with '// Wanted: '\n"
    );
}
