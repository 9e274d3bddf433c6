//! Tables of measurements, as text and as comma-separated values.

use crate::cli::raw::csv_text;
use serde_json::{Map, Value};

/// A column of a text table.
#[derive(Debug, Clone, Copy)]
pub struct TableColumn {
    title: &'static str,
    width: usize,
    right: bool,
}

/// A left-aligned column.
pub const fn left(title: &'static str, width: usize) -> TableColumn {
    TableColumn { title, width, right: false }
}

/// A right-aligned column.
pub const fn right(title: &'static str, width: usize) -> TableColumn {
    TableColumn { title, width, right: true }
}

/// The titles of the columns.
pub fn header(columns: &[TableColumn]) -> String {
    line(columns, columns.iter().map(|c| c.title))
}

/// Cells padded to the widths of their columns; missing cells are empty.
pub fn line(columns: &[TableColumn], cells: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let cell = |(column, text): (&TableColumn, &str)| match (column.right, column.width) {
        (true, width) => format!("{text:>width$}"),
        (false, width) => format!("{text:width$}"),
    };
    columns.iter().zip(cells).map(|(column, text)| cell((column, text.as_ref()))).collect::<Vec<_>>().join(" ")
}

/// CSV from JSON objects of equal keys, with the keys as header. Null is empty.
pub fn csv(rows: &[Map<String, Value>]) -> String {
    let field = |v: &Value| match v {
        Value::Null => String::new(),
        Value::String(s) => csv_text(s),
        other => other.to_string(),
    };
    let header = rows.first().map(|r| r.keys().cloned().collect::<Vec<_>>().join(",")).into_iter();
    header.chain(rows.iter().map(|r| r.values().map(field).collect::<Vec<_>>().join(","))).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stand_under_their_titles() {
        let columns = [left("name", 6), right("ms", 5)];
        assert_eq!(header(&columns), "name      ms");
        assert_eq!(line(&columns, ["a", "1.5"]), "a        1.5");
        assert_eq!(line(&columns, ["a longer name", "12345.6"]), "a longer name 12345.6");
        assert_eq!(line(&columns, ["only"]), "only  ");
    }

    #[test]
    fn no_formula_starts_a_cell() {
        let row = |name: &str| Map::from_iter([("name".to_string(), Value::from(name)), ("x".to_string(), Value::from(-1.5))]);
        let rows = [row("=cmd|' /C calc'!A0"), row("@a,b"), row("say \"=\""), row("plain")];
        assert_eq!(csv(&rows), "name,x\n'=cmd|' /C calc'!A0,-1.5\n\"'@a,b\",-1.5\n\"say \"\"=\"\"\",-1.5\nplain,-1.5");
    }
}
