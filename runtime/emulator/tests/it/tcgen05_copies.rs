//! `tcgen05.cp` in every form: rows of shared memory become lanes of tensor memory (PTX ISA 9.7.16.9).

use super::modifiers::row::forms;
use super::tcgen05_forms::begin;
use super::tcgen05_kernels::{IMAGE, N, descriptor, words};
use super::tcgen05_products::{first, run_in};

/// Copies.
pub const COPIES: &[&str] = &[
    "tcgen05.cp[.cta_group::1|.cta_group::2][.128x256b|.4x256b|.128x128b|.64x128b.warpx2::02_13|.64x128b.warpx2::01_23\
     |.32x128b.warpx4][.b8x16.b6x16_p32|.b8x16.b4x16_p64|]",
];

/// The lanes that a row goes to.
type Lanes = fn(usize) -> Vec<usize>;

/// Rows, columns of each, and the lanes that a row goes to (PTX ISA 9.7.16.9.1).
const SHAPES: [(&str, usize, usize, Lanes); 6] = [
    ("128x256b", 128, 8, |row| vec![row]),
    ("4x256b", 4, 8, |row| vec![32 * row]),
    ("128x128b", 128, 4, |row| vec![row]),
    ("warpx2::02_13", 64, 4, |row| vec![row, row + 64]),
    ("warpx2::01_23", 64, 4, |row| {
        vec![row % 32 + row / 32 * 64, row % 32 + row / 32 * 64 + 32]
    }),
    ("warpx4", 32, 4, |row| {
        (0..4).map(|warp| 32 * warp + row).collect()
    }),
];

#[test]
fn copies_of_every_form() {
    for form in forms(COPIES[0]) {
        let ctas = 1 + usize::from(form.has("cta_group::2"));
        let (_, rows, columns, lanes) = SHAPES
            .into_iter()
            .find(|(shape, ..)| form.has(shape))
            .expect("a shape");
        let bits = match form.one_of(&["b6x16_p32", "b4x16_p64"]) {
            Some("b6x16_p32") => 6,
            Some(_) => 4,
            None => 8,
        };
        let image: Vec<u8> = words(ctas * IMAGE, 77)
            .map(|word| (word >> 3) as u8)
            .collect();
        let issue = begin(1, 0, descriptor(2048, 128))
            + &format!("add.u32 %r2, %t, 4;\n{} [%r2], %x1;\n", form.text());
        let found = run_in(ctas, &image, &issue);
        for (cta, image) in image.chunks(IMAGE).enumerate() {
            let mut expected: Vec<[u32; N]> = (0..128)
                .map(|lane| std::array::from_fn(|column| first(lane, column)))
                .collect();
            for row in 0..rows {
                for piece in 0..columns / 4 {
                    let bytes = &image[2048 * piece + 16 * row..][..16];
                    for (i, word) in in_bytes(bits, bytes).chunks(4).enumerate() {
                        for lane in lanes(row) {
                            expected[lane][4 + 4 * piece + i] =
                                u32::from_le_bytes(word.try_into().unwrap());
                        }
                    }
                }
            }
            assert_eq!(
                found[128 * cta..][..128],
                expected,
                "{}, CTA {cta}",
                form.text()
            );
        }
    }
}

/// Sixteen elements one behind the other, of sixteen bytes with padding, each in a byte: of four bits in its middle, of six at
/// its end.
fn in_bytes(bits: usize, bytes: &[u8]) -> Vec<u8> {
    let all = u128::from_le_bytes(bytes.try_into().unwrap());
    let each = (0..16).map(|i| (all >> (bits * i)) as u8);
    each.map(|own| match bits {
        4 => (own & 15) << 2,
        6 => own & 63,
        _ => own,
    })
    .collect()
}
