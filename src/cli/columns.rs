//! Tables for people: columns as wide as what stands in them, the first ones to the left, numbers to the right.

/// The table as text: headings, rows, the first `names` columns to the left.
pub(super) fn columns(headings: &[&str], rows: &[Vec<String>], names: usize) -> String {
    let widths: Vec<usize> = headings
        .iter()
        .enumerate()
        .map(|(column, heading)| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
            widest.max(heading.chars().count())
        })
        .collect();
    let mut text = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut own = String::new();
        for (column, (cell, &width)) in cells.zip(&widths).enumerate() {
            let gap = if column > 0 { "  " } else { "" };
            own += gap;
            own += &match column < names {
                true => format!("{cell:<width$}"),
                false => format!("{cell:>width$}"),
            };
        }
        text += own.trim_end();
        text.push('\n');
    };
    line(&mut headings.iter().copied());
    for row in rows {
        line(&mut row.iter().map(String::as_str));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_to_the_left_and_numbers_to_the_right() {
        let rows = [["w", "1.5"], ["weight", "10.25"]].map(|row| row.map(str::to_owned).to_vec());
        let expected = "tensor  error\n\
                        w         1.5\n\
                        weight  10.25\n";
        assert_eq!(columns(&["tensor", "error"], &rows, 1), expected);
    }
}
