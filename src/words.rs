//! Words that users write for one of several things: the thing, or which words there are and the nearest of them.

use tessera_ir::diagnostic::edit_distance;

/// The one of `all` that is called `word`.
///
/// # Errors
/// None is; the message says what was looked for, the nearest word and all there are.
pub(crate) fn find<T: Copy>(
    what: &str,
    word: &str,
    all: &[T],
    name: impl Fn(T) -> &'static str,
) -> Result<T, String> {
    let found = all.iter().copied().find(|&one| name(one) == word);
    found.ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|&one| name(one)).collect();
        let suggestion = suggestion(word, names.iter().copied());
        let names = names.join(", ");
        format!("unknown {what} '{word}'{suggestion}\nnote: there are: {names}")
    })
}

/// `, did you mean 'x'?` with the words that go on where it ends, or the nearest word, where one is near.
pub(crate) fn suggestion<'a>(word: &str, words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<&str> = words.collect();
    let goes_on = |candidate: &&&str| !word.is_empty() && candidate.starts_with(word);
    let longer = words.iter().filter(goes_on);
    let longer: Vec<String> = longer.map(|candidate| format!("'{candidate}'")).collect();
    if (1..=3).contains(&longer.len()) {
        return format!(", did you mean {}?", longer.join(" or "));
    }
    let distances = words
        .iter()
        .map(|&candidate| (edit_distance(word, candidate), candidate));
    let nearest = distances.min_by_key(|&(distance, _)| distance);
    match nearest.filter(|&(distance, _)| 2 * distance <= word.len()) {
        Some((_, nearest)) => format!(", did you mean '{nearest}'?"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tessera_numerics::Format;

    #[test]
    fn a_word_is_found_or_the_nearest_is_named() {
        let format = |word: &str| find("format", word, &Format::ALL, Format::name);
        assert_eq!(format("nvfp4"), Ok(Format::Nvfp4));
        assert_eq!(
            format("nvfp5"),
            Err(
                "unknown format 'nvfp5', did you mean 'nvfp4'?\nnote: there are: nvfp4, mxfp4, mxfp6_e2m3, \
                 mxfp6_e3m2, mxfp8_e4m3, mxfp8_e5m2, fp8_e4m3, fp8_e5m2"
                    .to_owned()
            )
        );
        assert!(
            format("mxfp8").unwrap_err().starts_with(
                "unknown format 'mxfp8', did you mean 'mxfp8_e4m3' or 'mxfp8_e5m2'?\n"
            )
        );
        assert!(
            format("int")
                .unwrap_err()
                .starts_with("unknown format 'int'\n")
        );
    }
}
