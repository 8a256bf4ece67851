//! The Hadamard transform against its matrix.

use tessera_numerics::philox::philox_4x32_10;
use tessera_numerics::{
    HADAMARD_SIZES, HadamardError, HadamardTransform, SimdLevel, hadamard, inverse_hadamard,
    random_signs, transformer_engine_signs,
};

/// Small integers, whose sums are exact in f32.
fn integers(count: usize) -> Vec<f32> {
    (0..count)
        .map(|index| ((index * 37 + 11) % 64) as f32 - 32.0)
        .collect()
}

#[test]
fn it_is_the_matrix_of_sylvester_after_the_signs() {
    for size in HADAMARD_SIZES {
        let signs = random_signs(size, 7, 1).unwrap();
        let values = integers(2 * size);
        let mut found = values.clone();
        hadamard(&mut found, size, &signs).unwrap();
        let norm = (1.0 / (size as f64).sqrt()) as f32;
        for (block, found) in values.chunks(size).zip(found.chunks(size)) {
            for (i, found) in found.iter().enumerate() {
                let sum: f32 = (0..size)
                    .map(|j| {
                        let negative = ((i & j).count_ones() % 2 == 1) != signs[j];
                        if negative { -block[j] } else { block[j] }
                    })
                    .sum();
                // Sums of integers are exact; what is left is one product.
                assert_eq!(*found, sum * norm, "size {size}, row {i}");
            }
        }
    }
}

#[test]
fn the_inverse_gives_back_what_was_transformed() {
    for size in HADAMARD_SIZES {
        let signs = random_signs(size, 7, 1).unwrap();
        let values = integers(3 * size);
        let mut found = values.clone();
        hadamard(&mut found, size, &signs).unwrap();
        inverse_hadamard(&mut found, size, &signs).unwrap();
        // The way there rounds once per number, the norm; the way back in log2(size) sums and a norm. Each rounding errs
        // by at most 2^-24 of numbers that stay below 32 · √size, and a sum of `size` errors is divided by √size.
        let roundings = 2.0 + (size as f32).log2();
        let bound = roundings * 2f32.powi(-24) * 32.0 * size as f32;
        for (found, value) in found.iter().zip(&values) {
            assert!((found - value).abs() <= bound, "{found} {value}");
        }
    }
}

#[test]
fn signs_are_drawn_from_seed_and_site() {
    let signs = random_signs(128, 7, 1).unwrap();
    assert_eq!(signs[..16], random_signs(16, 7, 1).unwrap());
    assert_ne!(signs, random_signs(128, 8, 1).unwrap());
    assert_ne!(signs, random_signs(128, 7, 2).unwrap());
    // Half of them negative, within four deviations of √128 / 2.
    let negative = signs.iter().filter(|&&sign| sign).count();
    assert!((41..=87).contains(&negative), "{negative}");
}

#[test]
fn transformer_engines_signs_read_as_published() {
    let text: String = transformer_engine_signs()
        .map(|negative| if negative { '-' } else { '+' })
        .iter()
        .collect();
    assert_eq!(text, "+++-+------+-+--");
}

#[test]
fn what_does_not_fit_is_refused() {
    let signs = [false; 16];
    assert_eq!(
        hadamard(&mut [0.0; 24], 24, &[false; 24]),
        Err(HadamardError::Size { found: 24 })
    );
    assert_eq!(
        hadamard(&mut [0.0; 24], 16, &signs),
        Err(HadamardError::Length {
            size: 16,
            found: 24
        })
    );
    assert_eq!(
        hadamard(&mut [0.0; 32], 32, &signs),
        Err(HadamardError::Signs {
            size: 32,
            found: 16
        })
    );
    assert_eq!(random_signs(8, 0, 0), Err(HadamardError::Size { found: 8 }));
}

/// Numbers of many sizes.
fn numbers(count: usize) -> Vec<f32> {
    let number = |index: usize| {
        let [a, b, ..] = philox_4x32_10([index as u32, 0, 0, 0], [5, 6]);
        a as i32 as f32 / 2f32.powi((b % 64) as i32)
    };
    (0..count).map(number).collect()
}

#[test]
fn the_fast_transform_gives_the_same_bits_on_every_level() {
    let bits =
        |values: &[f32]| -> Vec<u32> { values.iter().map(|value| value.to_bits()).collect() };
    for size in HADAMARD_SIZES {
        let signs = random_signs(size, 9, 2).unwrap();
        let values = numbers(5 * size);
        let mut expected = values.clone();
        hadamard(&mut expected, size, &signs).unwrap();
        // The same blocks side by side.
        let place = |index: usize| index % size * 5 + index / size;
        let mut rows = vec![0.0; values.len()];
        for (index, value) in values.iter().enumerate() {
            rows[place(index)] = *value;
        }
        for level in SimdLevel::available() {
            let transform = HadamardTransform::new(&signs).unwrap().with_level(level);
            let mut found = vec![0.0; values.len()];
            transform.along(&values, &mut found);
            assert_eq!(bits(&found), bits(&expected), "{size} {level:?}");
            let mut across = rows.clone();
            transform.across(&mut across);
            let found: Vec<f32> = (0..across.len())
                .map(|index| across[place(index)])
                .collect();
            assert_eq!(bits(&found), bits(&expected), "{size} {level:?}, across");
        }
    }
    assert_eq!(
        HadamardTransform::new(&[false; 8]).unwrap_err(),
        HadamardError::Size { found: 8 }
    );
}
