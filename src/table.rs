//! Tables for people.

use comfy_table::{CellAlignment, Table, TableComponent, presets};

/// A table with `header` over `rows`; columns of numbers are aligned to the right.
pub fn render(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header);
    table.set_style(TableComponent::HeaderLines, '─');
    let numeric = |text: &str| {
        let first = text.split_whitespace().next().unwrap_or("");
        first == "-" || first.parse::<f64>().is_ok()
    };
    let width = header.len();
    let right: Vec<bool> = (0..width)
        .map(|i| !rows.is_empty() && rows.iter().all(|row| row.get(i).is_some_and(|cell| numeric(cell))))
        .collect();
    table.add_rows(rows);
    for (column, right) in table.column_iter_mut().zip(right) {
        if right {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text: String = table.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    if text.is_empty() {
        text.push('\n');
    }
    text
}

/// Bytes in the largest binary unit that leaves no fraction.
pub fn size(bytes: u64) -> String {
    match bytes {
        b if b >= 1 << 30 && b % (1 << 30) == 0 => format!("{} GiB", b >> 30),
        b if b >= 1 << 20 && b % (1 << 20) == 0 => format!("{} MiB", b >> 20),
        b if b >= 1 << 10 && b % (1 << 10) == 0 => format!("{} KiB", b >> 10),
        b => format!("{b} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_to_the_right_and_words_to_the_left() {
        let text =
            render(&["name", "us"], vec![vec!["a".into(), "1.5".into()], vec!["b".into(), "100.25".into()]]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.iter().any(|line| line.ends_with("   1.5")), "{text}");
        assert!(lines.iter().any(|line| line.trim_start().starts_with("b ")), "{text}");
    }

    #[test]
    fn sizes_take_the_largest_whole_unit() {
        assert_eq!(
            [size(65_536), size(3 << 20), size(1 << 30), size(1000)],
            ["64 KiB", "3 MiB", "1 GiB", "1000 B"]
        );
    }
}
