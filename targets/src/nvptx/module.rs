//! The PTX of many kernels as one module.

use crate::llvm::LoweringError;

/// Joins modules for one target: the directives that begin a module once, then what each holds.
///
/// # Errors
/// A module does not begin as LLVM's do.
pub fn join(modules: &[&[u8]]) -> Result<String, LoweringError> {
    let mut text = String::new();
    let mut header: Option<String> = None;
    for module in modules {
        let module = String::from_utf8_lossy(module);
        let (own, body) = split(&module)?;
        match &header {
            None => {
                text.push_str(&own);
                header = Some(own);
            }
            Some(header) if *header == own => {}
            Some(header) => {
                return Err(fail(format!("expected {header:?}, found {own:?}")));
            }
        }
        text.push('\n');
        text.push_str(body.trim());
        text.push('\n');
    }
    Ok(text)
}

/// The directives `.version`, `.target` and `.address_size`, and what comes after them. (PTX ISA, "PTX Module
/// Directives".)
fn split(module: &str) -> Result<(String, &str), LoweringError> {
    let last = ".address_size";
    let at = (module.find(last)).ok_or_else(|| fail(format!("expected {last}, found none")))?;
    let end = module[at..].find('\n').map_or(module.len(), |n| at + n + 1);
    let is_directive = |line: &&str| line.starts_with('.');
    let directives: Vec<&str> = module[..end].lines().filter(is_directive).collect();
    Ok((directives.join("\n") + "\n", &module[end..]))
}

fn fail(message: String) -> LoweringError {
    LoweringError {
        stage: "the joining of PTX modules",
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directives_of_a_module_stand_once() {
        let module = |name: &str| {
            format!(
                "//\n// Generated\n//\n\n.version 8.0\n.target sm_90a\n.address_size 64\n\n.entry {name}()\n{{\n}}\n"
            )
        };
        let (a, b) = (module("a"), module("b"));
        let joined = join(&[a.as_bytes(), b.as_bytes()]).unwrap();
        assert_eq!(
            joined,
            ".version 8.0\n.target sm_90a\n.address_size 64\n\n.entry a()\n{\n}\n\n.entry b()\n{\n}\n"
        );
    }

    #[test]
    fn modules_for_several_targets_do_not_join() {
        let module = |target: &str| format!(".version 8.0\n.target {target}\n.address_size 64\n");
        let (a, b) = (module("sm_90a"), module("sm_80"));
        assert!(join(&[a.as_bytes(), b.as_bytes()]).is_err());
    }
}
