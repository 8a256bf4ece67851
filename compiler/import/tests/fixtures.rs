//! Every StableHLO text of the fixtures imports, and in each of its forms to the same graph.

use std::fs;
use std::path::{Path, PathBuf};
use tessera_import::import;
use tessera_ir::Module;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures")
}

fn read(path: &Path) -> Module {
    let source = fs::read_to_string(path).unwrap();
    let name = path.file_name().unwrap().to_string_lossy();
    import(&source, &name).unwrap_or_else(|error| panic!("{}", error.render(&name, &source)))
}

fn texts(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(fixtures().join(folder)).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "mlir")
    });
    paths.sort();
    assert!(!paths.is_empty(), "no texts in {folder}");
    paths
}

/// The module without the names that only locations carry.
fn without_input_names(mut module: Module) -> Module {
    let graphs: Vec<_> = module.graphs().cloned().collect();
    for mut graph in graphs {
        for input in graph.inputs_mut() {
            *input.name = None;
        }
        module.insert(graph);
    }
    module
}

#[test]
fn training_steps_import() {
    for step in ["llama", "llama_tiny", "moe", "moe_tiny", "moe_ragged_tiny"] {
        let module = read(&fixtures().join("steps").join(step).join("step.mlir"));
        let entry = module.entry().unwrap();
        let donated = entry
            .inputs()
            .iter()
            .filter(|input| input.donate.is_some())
            .count();
        // All of the state is donated, and the loss alone is not state.
        assert_eq!(donated + 1, entry.results().len(), "{step}");
    }
}

#[test]
fn operations_import() {
    for path in texts("operations") {
        read(&path);
    }
}

#[test]
fn the_generic_form_is_the_same_graph() {
    let folder = fixtures().join("steps/llama_tiny");
    let pretty = read(&folder.join("step.mlir"));
    assert_eq!(read(&folder.join("step_generic.mlir")), pretty);
}

#[test]
fn locations_change_nothing_but_names() {
    for step in ["llama_tiny", "moe_tiny"] {
        let folder = fixtures().join("steps").join(step);
        let plain = read(&folder.join("step.mlir"));
        let located = read(&folder.join("step_debug.mlir"));
        assert_eq!(without_input_names(located), plain, "{step}");
    }
}

#[test]
fn a_function_gives_back_nothing_with_or_without_a_location() {
    let text = |location: &str| {
        format!(
            "module @m {{\n\
             func.func public @main(%arg0: tensor<2xf32>) -> tensor<2xf32> {{\n\
             call @nothing() : () -> () {location}\n\
             return %arg0 : tensor<2xf32> {location}\n}}\n\
             func.func private @nothing() {{\n\
             return {location}\n}} {location}\n}}\n"
        )
    };
    let plain = import(&text(""), "step.mlir").unwrap();
    for location in ["loc(unknown)", "loc(\"silu\"(\"model.py\":3:4))"] {
        let located = import(&text(location), "step.mlir").unwrap();
        assert_eq!(located.graphs().len(), 2);
        assert_eq!(located.to_string(), plain.to_string(), "{location}");
    }
}

#[test]
fn what_is_not_supported_is_refused_by_name_and_place() {
    for path in texts("refused") {
        let source = fs::read_to_string(&path).unwrap();
        let error = import(&source, "step.mlir").unwrap_err();
        let rendered = error.render("step.mlir", &source);
        assert!(
            rendered.contains("supported"),
            "{}: {rendered}",
            path.display()
        );
        assert!(!error.span.is_empty(), "{}: {rendered}", path.display());
    }
}
