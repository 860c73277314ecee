//! Tables: columns as wide as their widest cell, two blanks between.

/// Lays rows out. Cells may hold anything; their width is counted in characters. The last column is not padded.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width_of = |column: usize| {
        let cells = rows.iter().filter_map(|r| r.get(column));
        cells.map(|c| c.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width_of).collect();
    let line = |row: &Vec<String>| {
        let mut text = String::new();
        for (i, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if i + 1 < row.len() {
                let pad = widths[i] - cell.chars().count() + 2;
                text.extend(std::iter::repeat_n(' ', pad));
            }
        }
        text
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Rows from texts.
pub(crate) fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_line_up_under_their_heads() {
        let rows = [
            row(["Node", "DC"]),
            row(["a|b", "dc1"]),
            row(["größer", ""]),
        ];
        assert_eq!(table(&rows), "Node    DC\na|b     dc1\ngrößer  ");
        assert_eq!(table(&[]), "");
    }
}
