//! Tables for people: columns without lines, as kubectl writes them.

use comfy_table::{Table, presets};

use super::console::printable;

/// Rows under a header.
pub(crate) fn columns<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    list(&header.map(str::to_owned), rows.into_iter().map(Vec::from))
}

/// As [`columns`], where only the running program knows how many.
pub(crate) fn list(header: &[String], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = plain();
    table.set_header(header.iter().map(|cell| printable(cell)));
    for row in rows {
        table.add_row(row.iter().map(|cell| printable(cell)));
    }
    text(table)
}

/// Names and values.
pub(crate) fn fields<N: AsRef<str>>(fields: impl IntoIterator<Item = (N, String)>) -> String {
    let mut table = plain();
    for (name, value) in fields {
        table.add_row([printable(name.as_ref()), printable(&value)]);
    }
    text(table)
}

fn plain() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

fn text(mut table: Table) -> String {
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 2));
    });
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_no_line_ends_in_space() {
        let rows = [["a".to_owned(), "1".to_owned()], ["longer".to_owned(), "2\n3".to_owned()]];
        assert_eq!(columns(["ID", "VERSION"], rows), "ID      VERSION\na       1\nlonger  2\\n3");
        assert_eq!(fields([("head", "3".to_owned())]), "head  3");
    }
}
