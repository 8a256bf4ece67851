//! As much of ELF as it takes to see what a shared object imports (System V ABI, "Object Files").

/// The names of the functions that a 64-bit little-endian shared object wants from others; `None` where the bytes are
/// not one.
pub fn imports(bytes: &[u8]) -> Option<Vec<String>> {
    /// The type of a section with the dynamic linker's symbols.
    const SHT_DYNSYM: u32 = 11;
    const SECTION_HEADER: usize = 64;
    const SYMBOL: usize = 24;
    let header = bytes.get(..64)?;
    if header.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let sections = usize::try_from(number(header, 40, 8)?).ok()?;
    let count = usize::try_from(number(header, 60, 2)?).ok()?;
    let section = |index: usize| -> Option<Section<'_>> {
        let at = sections.checked_add(index.checked_mul(SECTION_HEADER)?)?;
        let header = bytes.get(at..)?.get(..SECTION_HEADER)?;
        let [offset, size] = [24, 32].map(|field| number(header, field, 8));
        let (offset, size) = (usize::try_from(offset?).ok()?, usize::try_from(size?).ok()?);
        Some(Section {
            kind: u32::try_from(number(header, 4, 4)?).ok()?,
            link: usize::try_from(number(header, 40, 4)?).ok()?,
            bytes: bytes.get(offset..)?.get(..size).unwrap_or_default(),
        })
    };
    let symbols = (0..count)
        .filter_map(section)
        .find(|section| section.kind == SHT_DYNSYM);
    let Some(symbols) = symbols else {
        return Some(Vec::new());
    };
    let names = section(symbols.link)?.bytes;
    // The first symbol is none.
    let symbols = symbols.bytes.chunks_exact(SYMBOL).skip(1);
    let undefined = symbols.filter(|symbol| number(symbol, 6, 2) == Some(0));
    undefined
        .map(|symbol| {
            let name = names.get(usize::try_from(number(symbol, 0, 4)?).ok()?..)?;
            let end = name.iter().position(|&byte| byte == 0)?;
            String::from_utf8(name[..end].to_vec()).ok()
        })
        .collect()
}

struct Section<'a> {
    kind: u32,
    link: usize,
    bytes: &'a [u8],
}

/// A little-endian number of some bytes.
fn number(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    let bytes = bytes.get(at..)?.get(..length)?;
    Some(
        bytes
            .iter()
            .rev()
            .fold(0, |number, &byte| number << 8 | u64::from(byte)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_shared_object_has_no_imports_to_read() {
        assert_eq!(imports(b""), None);
        assert_eq!(imports(&[0x7f; 100]), None);
    }
}
