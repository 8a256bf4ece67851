//! Bundles that were damaged, altered or made for another machine.

use crate::sample::*;
use std::fs;
use tessera_runtime::bundle::{BundleWriter, Manifest, known_features};
use tessera_runtime::{Bundle, Program};

/// Cuts a file short.
fn truncate(sample: &Sample, name: &str, bytes: usize) {
    let path = sample.path().join(name);
    let contents = fs::read(&path).unwrap();
    fs::write(path, &contents[..contents.len() - bytes]).unwrap();
}

/// Changes one bit of a file.
fn flip(sample: &Sample, name: &str, byte: usize) {
    let path = sample.path().join(name);
    let mut contents = fs::read(&path).unwrap();
    contents[byte] ^= 1;
    fs::write(path, contents).unwrap();
}

/// Replaces text in the manifest and signs it anew, as a program that writes bundles of its own would.
fn resign(sample: &Sample, from: &str, to: &str) {
    let path = sample.path().join("manifest.json");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    let text = text.replacen(from, to, 1);
    let digest = format!("{}  manifest.json\n", blake3::hash(text.as_bytes()));
    fs::write(path, text).unwrap();
    fs::write(sample.path().join("manifest.blake3"), digest).unwrap();
}

fn sample() -> Sample {
    Sample::write(step_manifest())
}

#[test]
fn a_sound_bundle_is_accepted() {
    Program::load(&Bundle::open(sample().path()).unwrap()).unwrap();
}

#[test]
fn nothing_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing");
    let error = Bundle::open(&path).unwrap_err().to_string();
    assert_eq!(
        error,
        format!("{}: expected a bundle, found nothing there", path.display())
    );
}

#[test]
fn a_folder_that_is_no_bundle() {
    let sample = sample();
    fs::remove_file(sample.path().join("manifest.json")).unwrap();
    assert!(
        sample
            .refusal()
            .ends_with("expected a bundle, found a folder without manifest.json")
    );
}

#[test]
fn another_format() {
    let sample = sample();
    resign(&sample, "tessera-bundle", "onnx");
    assert!(
        sample.refusal().ends_with(
            "expected a bundle, found a manifest of format \"onnx\" (not \"tessera-bundle\")"
        ),
        "{}",
        sample.refusal()
    );
}

#[test]
fn another_version() {
    let sample = sample();
    resign(&sample, "\"version\": 1", "\"version\": 2");
    assert!(
        sample
            .refusal()
            .ends_with("manifest.json: expected bundle version 1, found 2")
    );
}

#[test]
fn a_truncated_manifest() {
    let sample = sample();
    truncate(&sample, "manifest.json", 10);
    let refusal = sample.refusal();
    assert!(
        refusal.contains("manifest.json: malformed manifest: EOF while parsing"),
        "{refusal}"
    );
}

#[test]
fn an_altered_manifest() {
    let sample = sample();
    let path = sample.path().join("manifest.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"grain\": 2", "\"grain\": 3")).unwrap();
    let refusal = sample.refusal();
    assert!(
        refusal.contains("manifest.json: expected BLAKE3 hash "),
        "{refusal}"
    );
    assert!(refusal.ends_with(": the file is altered"), "{refusal}");
}

#[test]
fn a_manifest_with_a_field_that_is_not_known() {
    let sample = sample();
    resign(&sample, "\"arena_bytes\"", "\"colour\": 1, \"arena_bytes\"");
    let refusal = sample.refusal();
    assert!(
        refusal.contains("malformed manifest: unknown field `colour`"),
        "{refusal}"
    );
}

#[test]
fn a_manifest_without_a_field() {
    let sample = sample();
    resign(&sample, "\"graph\": \"main\",", "");
    let refusal = sample.refusal();
    assert!(
        refusal.contains("malformed manifest: missing field `graph`"),
        "{refusal}"
    );
}

#[test]
fn a_manifest_that_contradicts_itself() {
    let sample = sample();
    resign(&sample, "{\"arena\": 64}", "{\"arena\": 128}");
    assert!(
        sample.refusal().ends_with(
            "manifest.json: buffers[4].place: expected bytes inside the 4096 of the arena, \
             found 4000 bytes from 128 on"
        ),
        "{}",
        sample.refusal()
    );
}

#[test]
fn very_deep_nesting() {
    let sample = sample();
    let (begin, end) = (r#"{"case": {"index": 0, "branches": [["#, "]]}}");
    let nested = format!("{}{}", begin.repeat(5000), end.repeat(5000));
    resign(
        &sample,
        "\"schedule\": [",
        &format!("\"schedule\": [{nested},"),
    );
    let refusal = sample.refusal();
    assert!(refusal.contains("recursion limit exceeded"), "{refusal}");
}

#[test]
fn no_manifest_makes_opening_panic() {
    let sample = sample();
    let path = sample.path().join("manifest.json");
    let original = fs::read(&path).unwrap();
    let mut state = 1u64;
    let mut random = |below: usize| {
        // Knuth's linear congruential generator for 64 bits; the upper bits are the random ones.
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) as usize % below
    };
    let mut refused = 0;
    for _ in 0..500 {
        let mut text = original.clone();
        for _ in 0..1 + random(3) {
            let place = random(text.len());
            // What is likely to keep the JSON in order and change what it says.
            text[place] = b"0123456789-,:[]{}\"ae"[random(20)];
        }
        let digest = format!("{}  manifest.json\n", blake3::hash(&text));
        fs::write(&path, &text).unwrap();
        fs::write(sample.path().join("manifest.blake3"), digest).unwrap();
        refused += usize::from(Bundle::open(sample.path()).is_err());
    }
    assert!(refused > 400, "{refused}");
}

#[test]
fn a_missing_digest() {
    let sample = sample();
    fs::remove_file(sample.path().join("manifest.blake3")).unwrap();
    let refusal = sample.refusal();
    assert!(
        refusal.ends_with("manifest.blake3: the bundle lists this file, but it is missing"),
        "{refusal}"
    );
}

#[test]
fn every_file_is_needed_whole_and_unaltered() {
    for name in ["kernels.so", "constants.bin", "step.h"] {
        let sample = sample();
        let bytes = fs::metadata(sample.path().join(name)).unwrap().len();
        flip(&sample, name, bytes as usize / 2);
        let refusal = sample.refusal();
        assert!(
            refusal.contains(&format!("{name}: expected BLAKE3 hash ")),
            "{refusal}"
        );

        truncate(&sample, name, 1);
        let expected = format!(
            "{name}: expected {bytes} bytes, found {}: the file is truncated or altered",
            bytes - 1
        );
        assert!(
            sample.refusal().ends_with(&expected),
            "{}",
            sample.refusal()
        );

        fs::remove_file(sample.path().join(name)).unwrap();
        let expected = format!("{name}: the bundle lists this file, but it is missing");
        assert!(
            sample.refusal().ends_with(&expected),
            "{}",
            sample.refusal()
        );
    }
}

#[test]
fn code_that_is_no_shared_object() {
    let sample = write_with_code(step_manifest(), b"\x7fEL".to_vec());
    assert_eq!(
        sample.refusal(),
        "step.tessera/kernels.so: cannot load: not an ELF shared object"
    );
}

#[test]
fn code_that_the_system_cannot_load() {
    let mut code = kernels();
    code.truncate(100);
    let sample = write_with_code(step_manifest(), code);
    let refusal = sample.refusal();
    assert!(
        refusal.starts_with("step.tessera/kernels.so: cannot load: "),
        "{refusal}"
    );
}

#[test]
fn code_without_a_kernels_function() {
    let sample = write_with_code(step_manifest(), compile("void add(void) {}"));
    assert_eq!(
        sample.refusal(),
        "step.tessera/kernels.so: kernel \"negate\" needs the function \"negate\", \
         which the file lacks"
    );
}

#[test]
fn code_that_refers_to_what_is_not_there() {
    let source = "void elsewhere(void); void add(void) { elsewhere(); }";
    let sample = write_with_code(step_manifest(), compile(source));
    let refusal = sample.refusal();
    assert!(
        refusal.contains("cannot load: ") && refusal.contains("elsewhere"),
        "{refusal}"
    );
}

#[test]
fn a_target_that_is_no_cpu() {
    let mut manifest = step_manifest();
    manifest.target.name = "sm_100a".to_owned();
    assert_eq!(
        Sample::write(manifest).refusal(),
        "step.tessera/manifest.json: made for sm_100a, but this program runs code for cpu"
    );
}

#[test]
fn another_architecture() {
    let mut manifest = step_manifest();
    manifest.target.architecture = "sparc64".to_owned();
    let sample = Sample::write(manifest);
    assert_eq!(
        sample.refusal(),
        format!(
            "step.tessera/manifest.json: made for sparc64, but this program runs code for {}",
            std::env::consts::ARCH
        )
    );
    // It can still be looked at.
    Bundle::open(sample.path()).unwrap();
}

#[test]
fn an_object_file_for_another_architecture() {
    let mut code = kernels();
    code[18..20].copy_from_slice(&21u16.to_le_bytes());
    let sample = write_with_code(step_manifest(), code);
    assert_eq!(
        sample.refusal(),
        format!(
            "step.tessera/kernels.so: made for ELF machine 21, but this program runs code for {}",
            std::env::consts::ARCH
        )
    );
}

#[test]
fn a_cpu_feature_that_nobody_knows() {
    let mut manifest = step_manifest();
    manifest.target.features = vec!["quantum".to_owned()];
    assert_eq!(
        Sample::write(manifest).refusal(),
        format!(
            "step.tessera/manifest.json: the code needs the CPU feature \"quantum\", \
             which is not known on {}",
            std::env::consts::ARCH
        )
    );
}

#[test]
fn cpu_features_that_this_machine_lacks() {
    let here: Vec<&str> = tessera_runtime::bundle::host_features().collect();
    let missing: Vec<&str> = known_features()
        .filter(|name| !here.contains(name))
        .collect();
    let mut manifest = step_manifest();
    manifest.target.features = known_features().map(str::to_owned).collect();
    let sample = Sample::write(manifest);
    if missing.is_empty() {
        sample.program();
        return;
    }
    assert_eq!(
        sample.refusal(),
        format!(
            "step.tessera/manifest.json: the code needs CPU features that this machine lacks: {}",
            missing.join(", ")
        )
    );
}

fn write_with_code(manifest: Manifest, code: Vec<u8>) -> Sample {
    let sample = Sample::write(manifest.clone());
    BundleWriter::new(manifest)
        .kernels(code)
        .constants(&[ones()])
        .write(sample.path())
        .unwrap();
    sample
}
