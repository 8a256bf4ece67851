//! Writing a bundle, whole or not at all.

use super::manifest::{BundleFile, Constant, Manifest};
use super::open::{digest_line, looks_like_a_bundle};
use super::validate::{is_plain_file_name, validate};
use super::{
    ALIGNMENT, BundleError, CONSTANTS_FILE, CUBIN_FILE, DIGEST_FILE, KERNELS_FILE, MANIFEST_FILE,
    PTX_FILE, TensorType, json,
};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tessera_numerics::Tensor;

/// Collects the parts of a bundle and writes them.
///
/// Equal parts give equal bytes.
#[derive(Debug)]
pub struct BundleWriter {
    manifest: Manifest,
    files: BTreeMap<String, Vec<u8>>,
}

impl BundleWriter {
    /// Begins a bundle with this manifest. Its `constants` and `files` are replaced by what the writer is given.
    pub fn new(mut manifest: Manifest) -> Self {
        manifest.constants.clear();
        manifest.files.clear();
        Self {
            manifest,
            files: BTreeMap::new(),
        }
    }

    /// Adds the shared object with the kernels' functions.
    #[must_use]
    pub fn kernels(self, shared_object: Vec<u8>) -> Self {
        self.file(KERNELS_FILE, shared_object)
    }

    /// Adds the text of a GPU's kernels.
    #[must_use]
    pub fn ptx(self, text: impl Into<String>) -> Self {
        self.file(PTX_FILE, text.into().into_bytes())
    }

    /// Adds a GPU's kernels as assembled, beside their text.
    #[must_use]
    pub fn cubin(self, contents: Vec<u8>) -> Self {
        self.file(CUBIN_FILE, contents)
    }

    /// Adds the constants, in the order in which [`Place::Constant`](super::Place::Constant) counts them.
    #[must_use]
    pub fn constants(mut self, constants: &[Tensor]) -> Self {
        let mut contents = Vec::new();
        self.manifest.constants.clear();
        for constant in constants {
            contents.resize(contents.len().next_multiple_of(ALIGNMENT), 0);
            self.manifest.constants.push(Constant {
                tensor_type: TensorType::of(constant),
                offset: contents.len(),
                bytes: constant.bytes().len(),
            });
            contents.extend_from_slice(constant.bytes());
        }
        if constants.is_empty() {
            self.files.remove(CONSTANTS_FILE);
            return self;
        }
        self.file(CONSTANTS_FILE, contents)
    }

    /// Adds a further file, a C header for instance.
    #[must_use]
    pub fn file(mut self, name: impl Into<String>, contents: Vec<u8>) -> Self {
        self.files.insert(name.into(), contents);
        self
    }

    /// The manifest as it will be written, with constants and files filled in.
    pub fn manifest(&self) -> Manifest {
        let mut manifest = self.manifest.clone();
        manifest.files = self
            .files
            .iter()
            .map(|(name, contents)| {
                let file = BundleFile {
                    bytes: contents.len() as u64,
                    blake3: blake3::hash(contents).to_string(),
                };
                (name.clone(), file)
            })
            .collect();
        manifest
    }

    /// Writes the bundle as the folder `path`.
    ///
    /// A bundle or an empty folder that is there is replaced; anything else is left alone. A new bundle appears under
    /// its name in one step. Where one is replaced, the old one gives up the name just before the new one takes it, and
    /// gets it back should that fail (or else is kept beside it, in a folder whose name begins with `.tessera-old-`).
    ///
    /// # Errors
    /// The manifest contradicts itself or the files, something that is no bundle is in the way, or the folder cannot
    /// be written. Nothing is left behind then.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), BundleError> {
        let path = path.as_ref();
        let manifest = self.manifest();
        let manifest_path = path.join(MANIFEST_FILE);
        validate(&manifest, &manifest_path)?;
        let text = json::to_vec(&manifest).map_err(|error| BundleError::Malformed {
            path: manifest_path,
            message: error.to_string(),
        })?;

        let destination = Destination::find(path)?;
        let fail = |error| BundleError::io(path, error);
        let staging = folder_builder()
            .prefix(".tessera-")
            .tempdir_in(&destination.parent)
            .map_err(fail)?;
        let digest = digest_line(blake3::hash(&text));
        for (name, contents) in self
            .files
            .iter()
            .map(|(name, contents)| (name.as_str(), contents.as_slice()))
            .chain([(MANIFEST_FILE, &text[..]), (DIGEST_FILE, digest.as_bytes())])
        {
            debug_assert!(is_plain_file_name(name), "validated with the manifest");
            write_durably(&staging.path().join(name), contents).map_err(fail)?;
        }
        sync_folder(staging.path()).map_err(fail)?;
        destination.take(staging).map_err(fail)
    }
}

/// Refuses to replace a bundle in whose folder somebody put files of their own.
fn holds_nothing_else(path: &Path) -> Result<(), BundleError> {
    let fail = |error| BundleError::io(path, error);
    let manifest = fs::read(path.join(MANIFEST_FILE)).map_err(fail)?;
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap_or_default();
    for entry in fs::read_dir(path).map_err(fail)? {
        let name = entry.map_err(fail)?.file_name();
        let name = name.to_string_lossy();
        let known = [MANIFEST_FILE, DIGEST_FILE].contains(&name.as_ref())
            || manifest["files"].get(name.as_ref()).is_some();
        if !known {
            return Err(BundleError::NotABundle {
                path: path.to_path_buf(),
                found: format!("one with a file that is not part of it, '{name}'"),
            });
        }
    }
    Ok(())
}

/// Where a bundle goes.
struct Destination {
    path: PathBuf,
    parent: PathBuf,
    replaces: bool,
}

impl Destination {
    fn find(path: &Path) -> Result<Self, BundleError> {
        let replaces = match fs::symlink_metadata(path) {
            Ok(_) => {
                if !is_empty_folder(path) {
                    looks_like_a_bundle(path)?;
                    holds_nothing_else(path)?;
                }
                true
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(BundleError::io(path, error)),
        };
        // A link is followed, so that the bundle it points to is replaced and not the link.
        let path = if replaces {
            fs::canonicalize(path).map_err(|error| BundleError::io(path, error))?
        } else {
            path.to_path_buf()
        };
        let parent = match path.parent() {
            Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
            Some(parent) => parent.to_path_buf(),
            None => {
                let error = io::Error::new(io::ErrorKind::InvalidInput, "not a folder's name");
                return Err(BundleError::io(path, error));
            }
        };
        Ok(Self {
            path,
            parent,
            replaces,
        })
    }

    /// Gives the folder `staging` the destination's name.
    fn take(&self, staging: tempfile::TempDir) -> io::Result<()> {
        if self.replaces {
            let aside = folder_builder()
                .prefix(".tessera-old-")
                .tempdir_in(&self.parent)?;
            let old = aside.path().join("bundle");
            fs::rename(&self.path, &old)?;
            if let Err(error) = fs::rename(staging.path(), &self.path) {
                if fs::rename(&old, &self.path).is_err() {
                    let _ = aside.keep();
                }
                return Err(error);
            }
        } else {
            fs::rename(staging.path(), &self.path)?;
        }
        // The folder has moved away, so there is nothing left for the guard to remove.
        let _ = staging.keep();
        sync_folder(&self.parent)
    }
}

fn is_empty_folder(path: &Path) -> bool {
    fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

/// Folders that everyone may read, as far as the process's mask allows; temporary ones are private otherwise.
fn folder_builder() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o777));
    }
    builder
}

fn write_durably(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(contents)?;
    file.sync_all()
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
