//! Every small program of `tests/fixtures/operations`.

use super::{fixtures, floats, numbered, roundings};
use safetensors::SafeTensors;
use std::path::Path;
use tessera_import::import;
use tessera_interpreter::evaluate;
use tessera_ir::{Graph, Module, Tensor};

#[test]
fn every_program_computes_what_jax_computes() {
    let folder = std::fs::read_dir(fixtures().join("operations")).unwrap();
    let mut programs: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    programs.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "mlir")
    });
    programs.sort();
    let mut compared = 0;
    let mut failures = Vec::new();
    for path in &programs {
        let name = path.file_stem().unwrap().to_string_lossy();
        let text = std::fs::read_to_string(path).unwrap();
        // What the importer refuses is the concern of its own tests.
        if let Ok(module) = import(&text, &name) {
            compared += 1;
            if let Err(difference) = compare(&module, path) {
                failures.push(format!("{name}: {difference}"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(
        compared > 450,
        "only {compared} of {} programs",
        programs.len()
    );
}

fn compare(module: &Module, program: &Path) -> Result<(), String> {
    let graph = module.entry().unwrap();
    let file = std::fs::read(program.with_extension("safetensors")).unwrap();
    let file = SafeTensors::deserialize(&file).unwrap();
    let expected = numbered(&file, "result");
    let found =
        evaluate(module, graph, &numbered(&file, "arg")).map_err(|error| error.to_string())?;
    if found.len() != expected.len() {
        return Err(format!(
            "expected {} results, found {}",
            expected.len(),
            found.len()
        ));
    }
    let bound = Bound::of(module, graph);
    for (number, (found, expected)) in found.iter().zip(&expected).enumerate() {
        bound
            .check(found, expected)
            .map_err(|difference| format!("result {number}: {difference}"))?;
    }
    Ok(())
}

/// How far an element of a program's result may be off.
enum Bound {
    /// Not at all: on every path lies at most one rounding, which both sides do correctly.
    Exact,
    /// By so much of its own size: the only op that rounds is elementwise.
    OfElement(f64),
    /// By so much of the largest element's size.
    OfLargest(f64),
}

impl Bound {
    fn of(module: &Module, graph: &Graph) -> Self {
        let epsilon = roundings::coarsest(module, graph);
        match roundings::on_longest_path(module, graph) {
            0 | 1 => Self::Exact,
            longest => match roundings::of_elementwise(module, graph) {
                Some(roundings) => Self::OfElement(epsilon * roundings as f64),
                None => Self::OfLargest(epsilon * longest as f64),
            },
        }
    }

    fn check(&self, found: &Tensor, expected: &Tensor) -> Result<(), String> {
        if (found.element(), found.shape()) != (expected.element(), expected.shape()) {
            return Err(format!("expected {expected:?}, found {found:?}"));
        }
        if !found.element().is_float() {
            return match found == expected {
                true => Ok(()),
                false => Err(format!("expected {expected:?}, found {found:?}")),
            };
        }
        let (found, expected) = (floats(found), floats(expected));
        let finite = expected.iter().filter(|x| x.is_finite());
        let largest = finite.fold(0.0, |largest: f64, x| largest.max(x.abs()));
        for (index, (found, expected)) in found.into_iter().zip(expected).enumerate() {
            let bound = match self {
                Self::Exact => 0.0,
                Self::OfElement(part) => part * expected.abs(),
                Self::OfLargest(part) => part * largest,
            };
            let same = found == expected || found.is_nan() && expected.is_nan();
            let close = (found - expected).abs() <= bound;
            if !same && !close {
                return Err(format!(
                    "element {index}: expected {expected} ± {bound}, found {found}"
                ));
            }
        }
        Ok(())
    }
}
