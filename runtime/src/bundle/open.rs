//! Opening a bundle: every file read, every hash and number checked.

use super::manifest::Manifest;
use super::validate::validate;
use super::{
    BundleError, CONSTANTS_FILE, DIGEST_FILE, FORMAT, KERNELS_FILE, MANIFEST_FILE, VERSION,
};
use serde::Deserialize;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// A bundle on disk that has been found whole and consistent.
///
/// It may be made for another machine than this one; loading it looks at that.
#[derive(Debug)]
pub struct Bundle {
    path: PathBuf,
    manifest: Manifest,
}

impl Bundle {
    /// Opens the bundle in the folder `path`, and checks all of it but the machine it is made for.
    ///
    /// # Errors
    /// It is not a bundle, of another version, truncated, altered, or contradicts itself.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, BundleError> {
        let path = path.as_ref();
        let manifest_path = path.join(MANIFEST_FILE);
        let text = read_manifest(path)?;
        let header = read_header(path, &text)?;
        if header.version != VERSION {
            return Err(BundleError::Version {
                path: manifest_path,
                expected: VERSION,
                found: header.version,
            });
        }
        check_digest(path, &text)?;
        let manifest: Manifest =
            serde_json::from_slice(&text).map_err(|error| BundleError::Malformed {
                path: manifest_path.clone(),
                message: error.to_string(),
            })?;
        validate(&manifest, &manifest_path)?;
        check_files(path, &manifest)?;
        // The dynamic linker looks for a path without a slash elsewhere.
        let path = fs::canonicalize(path).map_err(|error| BundleError::io(path, error))?;
        Ok(Self { path, manifest })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the bundle holds.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The path of the manifest.
    pub(crate) fn manifest_path(&self) -> PathBuf {
        self.path.join(MANIFEST_FILE)
    }

    /// The path of the machine code, where there is some.
    pub(crate) fn kernels_path(&self) -> Option<PathBuf> {
        let files = &self.manifest.files;
        files
            .contains_key(KERNELS_FILE)
            .then(|| self.path.join(KERNELS_FILE))
    }

    /// The path of the constants, where there are some.
    pub(crate) fn constants_path(&self) -> Option<PathBuf> {
        let constants = &self.manifest.constants;
        (!constants.is_empty()).then(|| self.path.join(CONSTANTS_FILE))
    }
}

/// The part of a manifest that is the same in every version.
#[derive(Deserialize)]
struct Header {
    format: String,
    version: u64,
}

/// Whether the folder `path` holds a bundle of some version; if not, what it is.
pub(super) fn looks_like_a_bundle(path: &Path) -> Result<(), BundleError> {
    let text = read_manifest(path)?;
    read_header(path, &text).map(|_| ())
}

fn read_manifest(path: &Path) -> Result<Vec<u8>, BundleError> {
    let not_a_bundle = |found: &str| BundleError::NotABundle {
        path: path.to_path_buf(),
        found: found.to_owned(),
    };
    let metadata = fs::metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => not_a_bundle("nothing there"),
        _ => BundleError::io(path, error),
    })?;
    if !metadata.is_dir() {
        return Err(not_a_bundle("a file"));
    }
    let manifest = path.join(MANIFEST_FILE);
    fs::read(&manifest).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => not_a_bundle(&format!("a folder without {MANIFEST_FILE}")),
        _ => BundleError::io(manifest, error),
    })
}

fn read_header(path: &Path, text: &[u8]) -> Result<Header, BundleError> {
    let header: Header = serde_json::from_slice(text).map_err(|error| BundleError::Malformed {
        path: path.join(MANIFEST_FILE),
        message: error.to_string(),
    })?;
    if header.format != FORMAT {
        return Err(BundleError::NotABundle {
            path: path.to_path_buf(),
            found: format!(
                "a manifest of format \"{}\" (not \"{FORMAT}\")",
                header.format
            ),
        });
    }
    Ok(header)
}

fn check_digest(path: &Path, manifest: &[u8]) -> Result<(), BundleError> {
    let digest_path = path.join(DIGEST_FILE);
    let line = fs::read_to_string(&digest_path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => BundleError::MissingFile {
            path: digest_path.clone(),
        },
        _ => BundleError::io(&digest_path, error),
    })?;
    let found = blake3::hash(manifest);
    if line == digest_line(found) {
        return Ok(());
    }
    Err(BundleError::FileHash {
        path: path.join(MANIFEST_FILE),
        expected: line
            .split_whitespace()
            .next()
            .unwrap_or("(none)")
            .to_owned(),
        found: found.to_string(),
    })
}

/// The contents of the digest file, in the form that `b3sum` writes and checks.
pub(super) fn digest_line(hash: blake3::Hash) -> String {
    format!("{hash}  {MANIFEST_FILE}\n")
}

fn check_files(path: &Path, manifest: &Manifest) -> Result<(), BundleError> {
    for (name, expected) in &manifest.files {
        let path = path.join(name);
        let metadata = fs::metadata(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => BundleError::MissingFile { path: path.clone() },
            _ => BundleError::io(&path, error),
        })?;
        if metadata.len() != expected.bytes {
            return Err(BundleError::FileSize {
                path,
                expected: expected.bytes,
                found: metadata.len(),
            });
        }
        let found = hash_file(&path).map_err(|error| BundleError::io(&path, error))?;
        if found != expected.blake3 {
            return Err(BundleError::FileHash {
                path,
                expected: expected.blake3.clone(),
                found,
            });
        }
    }
    Ok(())
}

fn hash_file(path: &Path) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    Ok(hasher.finalize().to_string())
}
