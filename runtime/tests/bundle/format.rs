//! What a bundle looks like on disk, and how it gets there.

use crate::sample::*;
use std::fs;
use tessera_numerics::Tensor;
use tessera_runtime::Bundle;
use tessera_runtime::bundle::{BundleWriter, Place, Step};

#[test]
fn a_bundle_reads_back() {
    let mut manifest = step_manifest();
    manifest.schedule.extend([
        Step::Copy {
            source: 4,
            destination: 5,
        },
        Step::While {
            condition: vec![launch(NOT_A_BOOLEAN, [], [6])],
            predicate: 6,
            body: vec![],
        },
        Step::Case {
            index: 7,
            branches: vec![vec![], vec![launch(ADD, [0, 1], [2])]],
        },
    ]);
    manifest.buffers.extend([
        buffer(ty(tessera_numerics::ElementType::I1, []), Place::Arena(0)),
        buffer(ty(tessera_numerics::ElementType::I32, []), Place::Arena(0)),
    ]);
    let sample = Sample::write(manifest.clone());
    let bundle = Bundle::open(sample.path()).unwrap();
    assert_eq!(*bundle.manifest(), writer(manifest).manifest());
}

#[test]
fn the_manifest_is_readable() {
    let mut manifest = step_manifest();
    manifest.target.architecture = "x86_64".to_owned();
    manifest.target.features = vec!["avx2".to_owned(), "fma".to_owned()];
    manifest.kernels.truncate(1);
    manifest.schedule.truncate(1);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("step.tessera");
    BundleWriter::new(manifest)
        .kernels(b"code".to_vec())
        .constants(&[ones(), Tensor::scalar(1i32)])
        .write(&path)
        .unwrap();
    let text = fs::read_to_string(path.join("manifest.json")).unwrap();
    let hash = |contents: &[u8]| blake3::hash(contents).to_string();
    let constants = hash(&fs::read(path.join("constants.bin")).unwrap());
    let expected = r#"{
  "format": "tessera-bundle",
  "version": 1,
  "compiler": {
    "name": "tessera",
    "version": "0.1.0"
  },
  "graph": "main",
  "target": {
    "name": "cpu",
    "architecture": "x86_64",
    "features": ["avx2", "fma"]
  },
  "pipeline": "inline,canonicalize,fuse,plan",
  "inputs": [
    {"name": "state", "type": {"element_type": "f32", "shape": [1000]}, "donate": 0},
    {"name": "gradient", "type": {"element_type": "f32", "shape": [1000]}}
  ],
  "results": [
    {"type": {"element_type": "f32", "shape": [1000]}},
    {"name": "loss", "type": {"element_type": "f32", "shape": [1000]}}
  ],
  "constants": [
    {"type": {"element_type": "f32", "shape": [1000]}, "offset": 0, "bytes": 4000},
    {"type": {"element_type": "i32", "shape": []}, "offset": 4032, "bytes": 4}
  ],
  "buffers": [
    {"type": {"element_type": "f32", "shape": [1000]}, "place": {"input": 0}},
    {"type": {"element_type": "f32", "shape": [1000]}, "place": {"input": 1}},
    {"type": {"element_type": "f32", "shape": [1000]}, "place": {"result": 0}},
    {"type": {"element_type": "f32", "shape": [1000]}, "place": {"constant": 0}},
    {"type": {"element_type": "f32", "shape": [1000]}, "place": {"arena": 64}},
    {"type": {"element_type": "f32", "shape": [1000]}, "place": {"result": 1}}
  ],
  "arena_bytes": 4096,
  "kernels": [
    {"name": "add", "family": "loop", "operands": [{"element_type": "f32", "shape": [1000]}, {"element_type": "f32", "shape": [1000]}], "results": [{"element_type": "f32", "shape": [1000]}], "work": {"bytes": 0, "operations": 0, "matrix_operations": 0}, "code": {"function": {"symbol": "add", "blocks": 125, "grain": 2, "scratch_bytes": 0}}}
  ],
  "schedule": [
    {"launch": {"kernel": 0, "operands": [0, 1], "results": [2]}}
  ],
  "files": {
    "constants.bin": {"bytes": 4036, "blake3": "CONSTANTS"},
    "kernels.so": {"bytes": 4, "blake3": "CODE"}
  }
}
"#;
    assert_eq!(
        text,
        expected
            .replace("CONSTANTS", &constants)
            .replace("CODE", &hash(b"code"))
    );
}

#[test]
fn the_digest_file_is_what_b3sum_writes() {
    let sample = Sample::write(step_manifest());
    let manifest = fs::read(sample.path().join("manifest.json")).unwrap();
    let digest = fs::read_to_string(sample.path().join("manifest.blake3")).unwrap();
    assert_eq!(
        digest,
        format!("{}  manifest.json\n", blake3::hash(&manifest))
    );
}

#[test]
fn equal_bundles_have_equal_bytes() {
    let samples = [
        Sample::write(step_manifest()),
        Sample::write(step_manifest()),
    ];
    let contents = samples.each_ref().map(|sample| {
        let mut files: Vec<_> = fs::read_dir(sample.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| {
                (
                    path.file_name().unwrap().to_owned(),
                    fs::read(&path).unwrap(),
                )
            })
            .collect();
        files.sort();
        files
    });
    assert!(contents[0] == contents[1]);
    let names: Vec<_> = contents[0].iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [
            "constants.bin",
            "kernels.so",
            "manifest.blake3",
            "manifest.json",
            "step.h"
        ]
    );
}

#[test]
fn a_bundle_without_code_or_constants_has_neither_file() {
    let mut manifest = empty_manifest();
    manifest.kernels.clear();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("empty.tessera");
    BundleWriter::new(manifest)
        .constants(&[])
        .write(&path)
        .unwrap();
    assert_eq!(fs::read_dir(&path).unwrap().count(), 2);
    Bundle::open(&path).unwrap();
}

#[test]
fn an_older_bundle_is_replaced_whole() {
    let sample = Sample::write(step_manifest());
    let mut manifest = empty_manifest();
    manifest.kernels.clear();
    BundleWriter::new(manifest).write(sample.path()).unwrap();
    assert_eq!(fs::read_dir(sample.path()).unwrap().count(), 2);
    assert_eq!(fs::read_dir(sample.folder()).unwrap().count(), 1);
}

#[test]
fn what_is_no_bundle_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("photos");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("holiday.jpg"), "precious").unwrap();
    let error = writer(step_manifest()).write(&path).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{}: expected a bundle, found a folder without manifest.json",
            path.display()
        )
    );
    assert_eq!(fs::read(path.join("holiday.jpg")).unwrap(), b"precious");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

    let file = folder.path().join("file");
    fs::write(&file, "precious").unwrap();
    let error = writer(step_manifest()).write(&file).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("expected a bundle, found a file"),
        "{error}"
    );
    assert_eq!(fs::read(&file).unwrap(), b"precious");
}

#[test]
fn an_empty_folder_becomes_a_bundle() {
    let folder = tempfile::tempdir().unwrap();
    writer(step_manifest()).write(folder.path()).unwrap();
    Bundle::open(folder.path()).unwrap();
}

#[test]
fn nothing_is_written_of_a_bundle_that_contradicts_itself() {
    let mut manifest = step_manifest();
    manifest.schedule.push(launch(99, [], []));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("step.tessera");
    let error = writer(manifest).write(&path).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{}/manifest.json: schedule[3].launch.kernel: expected kernel 0 to 5, found 99",
            path.display()
        )
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_file_cannot_leave_the_bundle() {
    for name in [
        "../escape",
        "/etc/escape",
        "a/b",
        "",
        ".hidden",
        "manifest.json",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("step.tessera");
        let error = writer(step_manifest())
            .file(name, Vec::new())
            .write(&path)
            .unwrap_err();
        let expected = format!(
            "files.\"{name}\": expected the plain name of a file besides the manifest, found \"{name}\""
        );
        assert!(error.to_string().ends_with(&expected), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
