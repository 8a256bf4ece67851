//! `cvt.pack`: two integers made narrow and put side by side (PTX ISA 9.7.9.23).

use super::words::Words;
use super::{Action, Refusal};
use crate::arithmetic::integer::Integer;

/// The first operand is above the second; with a third one, its low bits are above both.
pub(super) fn decode(words: &mut Words<'_>) -> Result<Action, Refusal> {
    words.needed("saturation", |word| (word == "sat").then_some(()))?;
    let narrow = words.needed("result type", |word| {
        let (signed, bits) = match word.split_at_checked(1)? {
            ("s", bits) => (true, bits),
            ("u", bits) => (false, bits),
            _ => return None,
        };
        let bits = bits
            .parse()
            .ok()
            .filter(|bits| [2, 4, 8, 16].contains(bits))?;
        Some(Integer { bits, signed })
    })?;
    words.needed("operand type", |word| (word == "s32").then_some(()))?;
    let fit = move |value: u64| narrow.saturate(i128::from(value as u32 as i32)) & narrow.mask();
    let both = move |a, b| fit(a) << narrow.bits | fit(b);
    if narrow.bits == 16 {
        return words.compute(move |[a, b]| both(a, b));
    }
    words.needed("type of what is above", |word| {
        (word == "b32").then_some(())
    })?;
    words.compute(move |[a, b, c]| (c << (2 * narrow.bits) | both(a, b)) & 0xffff_ffff)
}
