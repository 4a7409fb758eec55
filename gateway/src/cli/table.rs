//! Lists for people: a heading line, then a line for each item, in columns. The same on a terminal and in a pipe; what a script wants
//! to be sure of, `--json` says.

/// Between columns.
const GAP: &str = "  ";
/// In place of what is empty, so that columns can be counted.
const NOTHING: &str = "-";

/// A list on its way out.
pub(super) struct Table<const COLUMNS: usize> {
    headings: [&'static str; COLUMNS],
    rows: Vec<([String; COLUMNS], Vec<String>)>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    /// Without rows so far.
    pub(super) fn new(headings: [&'static str; COLUMNS]) -> Self {
        Self { headings, rows: Vec::new() }
    }

    /// Adds a row.
    pub(super) fn row(&mut self, cells: [String; COLUMNS]) {
        self.row_with(cells, Vec::new());
    }

    /// Adds a row, and lines to stand indented below it.
    pub(super) fn row_with(&mut self, cells: [String; COLUMNS], below: Vec<String>) {
        self.rows.push((cells.map(|cell| if cell.is_empty() { NOTHING.into() } else { cell }), below));
    }

    /// Prints it.
    pub(super) fn print(&self) {
        print!("{}", self.text());
    }

    fn text(&self) -> String {
        let headings = self.headings.map(str::to_owned);
        let lines = || std::iter::once(&headings).chain(self.rows.iter().map(|(cells, _)| cells));
        let widths: [usize; COLUMNS] =
            std::array::from_fn(|column| lines().map(|cells| cells[column].chars().count()).max().unwrap_or_default());
        let line = |cells: &[String; COLUMNS]| {
            let cells = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
            cells.collect::<Vec<_>>().join(GAP).trim_end().to_owned() + "\n"
        };
        let mut text = line(&headings);
        for (cells, below) in &self.rows {
            text += &line(cells);
            below.iter().for_each(|below| text += &format!("    {below}\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Columns begin where their headings do, whatever is in them; an empty list has its heading, too.
    #[test]
    fn columns_stand_below_their_headings() {
        let mut table = Table::new(["ID", "NAME", "STATE"]);
        assert_eq!(table.text(), "ID  NAME  STATE\n");
        table.row(["1".into(), "Straße 7".into(), "enabled".into()]);
        table.row_with(["20".into(), String::new(), String::new()], vec!["until 2027".into()]);
        assert_eq!(table.text(), "ID  NAME      STATE\n1   Straße 7  enabled\n20  -         -\n    until 2027\n");
    }
}
