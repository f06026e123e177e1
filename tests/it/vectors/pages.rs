//! The byte tables of `docs/formats/` against the vectors: offset, length and name of every fixed field.

use serde_json::Value;

use super::{file, page, unhex};

/// A table after `marker` on a page, the vector that it describes, where in its bytes the table starts, what the
/// names of its fields begin with there, and how many of its rows can be compared.
struct Table {
    page: &'static str,
    marker: &'static str,
    format: &'static str,
    vector: &'static str,
    start: usize,
    prefix: &'static str,
    rows: usize,
}

const fn table(
    page: &'static str,
    marker: &'static str,
    format: &'static str,
    vector: &'static str,
    rows: usize,
) -> Table {
    Table {
        page,
        marker,
        format,
        vector,
        start: 0,
        prefix: "",
        rows,
    }
}

const TABLES: [Table; 13] = [
    table("envelope", "\n## Front\n", "envelope", "two signers and a fee", 7),
    table("block", "\n## Header\n", "header", "two models", 16),
    table(
        "certificate",
        "\n# Certificate\n",
        "certificate",
        "two of three",
        3,
    ),
    table("records", "\n## Account\n", "records", "account", 9),
    Table {
        start: 96,
        prefix: "cold_",
        ..table("records", "The cold half", "records", "account", 6)
    },
    table("records", "\n## Key\n", "records", "key", 5),
    table("records", "\n## Identity\n", "records", "identity", 9),
    table("records", "\n## Session\n", "records", "session", 7),
    table("records", "\n## Pending\n", "records", "pending", 12),
    table("records", "\n## Asset\n", "records", "asset", 4),
    table("message", "\n## Request\n", "request", "submit", 1),
    table("message", "\n## Reply\n", "reply", "accepted", 1),
    Table {
        start: 9,
        ..table("message", "**Committed**", "reply", "committed", 5)
    },
];

#[test]
fn the_byte_tables_say_what_the_bytes_hold() {
    for table in TABLES {
        let (compared, findings) = compare(&table, &page(table.page));
        assert_eq!(findings, Vec::<String>::new());
        assert_eq!(
            compared, table.rows,
            "rows compared on {} after {:?}",
            table.page, table.marker
        );
    }
}

#[test]
fn a_wrong_offset_or_length_on_a_page_is_noticed() {
    let header = &TABLES[1];
    let text = page("block");
    let moved = text.replacen("| 34 | 8 | `height`", "| 35 | 8 | `height`", 1);
    let longer = text.replacen("| 42 | 4 | `round`", "| 42 | 8 | `round`", 1);
    assert_eq!(compare(header, &moved).1.len(), 1);
    assert_eq!(compare(header, &longer).1.len(), 1);
}

/// How many rows were compared, and what does not hold.
fn compare(table: &Table, text: &str) -> (usize, Vec<String>) {
    let text = format!("\n{text}");
    let (_, after) = text
        .split_once(table.marker)
        .unwrap_or_else(|| panic!("{:?}", table.marker));
    let lines = after.lines().skip_while(|line| !line.starts_with("| Offset"));
    let rows = lines.take_while(|line| line.starts_with('|')).filter_map(row);
    let vector = stored(table.format, table.vector);
    let bytes = unhex(vector["bytes"].as_str().unwrap());
    let (mut compared, mut findings) = (0, Vec::new());
    for (offset, len, name) in rows {
        let field = &vector["fields"][format!("{}{name}", table.prefix)];
        let Some(wanted) = number_or_hash(field) else {
            continue;
        };
        compared += 1;
        let at = table.start + offset;
        if bytes.get(at..at + len) != Some(wanted.resized(len).as_slice()) {
            findings.push(format!(
                "docs/formats/{}.md: {name} is not at {offset}, {len} bytes long",
                table.page
            ));
        }
    }
    (compared, findings)
}

/// Offset, length and name of a row ``| 34 | 8 | `height` | … |`` of fixed place.
fn row(line: &str) -> Option<(usize, usize, &str)> {
    let mut cells = line.split('|').skip(1).map(str::trim);
    let offset = cells.next()?.parse().ok()?;
    let len = cells.next()?.parse().ok()?;
    let name = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
    Some((offset, len, name))
}

enum Wanted {
    Number(u128),
    Hash(Vec<u8>),
}

impl Wanted {
    /// The bytes of a field of `len` bytes. A number that has no field of that length gives none.
    fn resized(&self, len: usize) -> Vec<u8> {
        match self {
            Self::Number(number) => number
                .to_le_bytes()
                .get(..len)
                .map(<[u8]>::to_vec)
                .unwrap_or_default(),
            Self::Hash(bytes) => bytes.clone(),
        }
    }
}

fn number_or_hash(field: &Value) -> Option<Wanted> {
    match field {
        Value::Bool(set) => Some(Wanted::Number(u128::from(*set))),
        Value::Number(number) => number.as_u64().map(|number| Wanted::Number(u128::from(number))),
        Value::String(text) if text.len() == 64 => Some(Wanted::Hash(unhex(text))),
        Value::String(text) => text.parse().ok().map(Wanted::Number),
        _ => None,
    }
}

fn stored(format: &str, vector: &str) -> Value {
    let text = std::fs::read_to_string(file(format)).unwrap();
    let stored: Value = serde_json::from_str(&text).unwrap();
    let vectors = stored["vectors"].as_array().unwrap();
    vectors
        .iter()
        .find(|stored| stored["name"] == vector)
        .unwrap_or_else(|| panic!("{vector}"))
        .clone()
}
