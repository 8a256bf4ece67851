//! Transposes matrices of 16×16 words in registers.

use std::arch::x86_64::*;

/// Rows, and columns, of such a matrix.
pub(super) const SIDE: usize = 16;

/// Transposes a matrix of words.
#[target_feature(enable = "avx512f")]
pub(super) fn transpose(rows: [__m512i; SIDE]) -> [__m512i; SIDE] {
    // In each quarter of a vector, the words of four rows of one column.
    let mut fours = rows;
    for (four, rows) in fours
        .as_chunks_mut::<4>()
        .0
        .iter_mut()
        .zip(rows.as_chunks::<4>().0)
    {
        let low = [0, 2].map(|row| _mm512_unpacklo_epi32(rows[row], rows[row + 1]));
        let high = [0, 2].map(|row| _mm512_unpackhi_epi32(rows[row], rows[row + 1]));
        *four = [
            _mm512_unpacklo_epi64(low[0], low[1]),
            _mm512_unpackhi_epi64(low[0], low[1]),
            _mm512_unpacklo_epi64(high[0], high[1]),
            _mm512_unpackhi_epi64(high[0], high[1]),
        ];
    }
    let mut columns = rows;
    for column in 0..4 {
        let [a, b, c, d] = [0, 4, 8, 12].map(|row| fours[row + column]);
        let even = [(a, b), (c, d)].map(|(a, b)| _mm512_shuffle_i32x4::<0x88>(a, b));
        let odd = [(a, b), (c, d)].map(|(a, b)| _mm512_shuffle_i32x4::<0xdd>(a, b));
        columns[column] = _mm512_shuffle_i32x4::<0x88>(even[0], even[1]);
        columns[column + 4] = _mm512_shuffle_i32x4::<0x88>(odd[0], odd[1]);
        columns[column + 8] = _mm512_shuffle_i32x4::<0xdd>(even[0], even[1]);
        columns[column + 12] = _mm512_shuffle_i32x4::<0xdd>(odd[0], odd[1]);
    }
    columns
}
