//! A table for people: columns as wide as what is in them, numbers to the right.

/// Which side a column's cells stand on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// Lines of a table: the heads of its columns, then its rows. Every row has as many cells as there are heads.
pub(super) fn table(heads: &[(&str, Side)], rows: &[Vec<String>]) -> String {
    let width = |at: usize, head: &str| {
        let cells = rows.iter().filter_map(|row| row.get(at));
        cells
            .map(|cell| cell.chars().count())
            .fold(head.chars().count(), usize::max)
    };
    let widths: Vec<usize> = heads
        .iter()
        .enumerate()
        .map(|(at, (head, _))| width(at, head))
        .collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells = cells
            .zip(heads)
            .zip(&widths)
            .map(|((cell, (_, side)), width)| match side {
                Side::Left => format!("{cell:<width$}"),
                Side::Right => format!("{cell:>width$}"),
            });
        let line = cells.collect::<Vec<_>>().join("  ");
        format!("{}\n", line.trim_end())
    };
    let mut text = line(&mut heads.iter().map(|(head, _)| *head));
    for row in rows {
        text += &line(&mut row.iter().map(String::as_str));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let rows = [["a", "1,000", "x"], ["longer", "5", ""]].map(|row| row.map(str::to_owned).to_vec());
        let heads = [("key", Side::Left), ("n", Side::Right), ("why", Side::Left)];
        assert_eq!(
            table(&heads, &rows),
            "key         n  why\na       1,000  x\nlonger      5\n"
        );
    }
}
