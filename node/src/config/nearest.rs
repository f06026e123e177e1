//! The valid key that somebody who wrote another one most likely meant.

use super::KEYS;

/// The key whose name is the fewest edits away; the field alone counts too, for keys without their plane.
pub(super) fn nearest(name: &str) -> &'static str {
    let distance = |key: &str| {
        let field = key.rsplit('.').next().unwrap_or(key);
        edits(name, key).min(edits(name, field) + 1)
    };
    KEYS.iter()
        .map(|key| key.name)
        .min_by_key(|key| distance(key))
        .expect("there are keys")
}

/// Insertions, deletions and replacements that turn `a` into `b` (Levenshtein), without regard to case and `-`.
fn edits(a: &str, b: &str) -> usize {
    let plain = |text: &str| {
        text.to_ascii_lowercase()
            .replace('-', "_")
            .chars()
            .take(NAME_LEN_MAX)
            .collect::<Vec<_>>()
    };
    let (a, b) = (plain(a), plain(b));
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (at, a_char) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (to, b_char) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(a_char != b_char);
            diagonal = row[to + 1];
            row[to + 1] = replaced.min(row[to] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Characters of a wrong name that are looked at.
const NAME_LEN_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_was_meant() {
        for (wrong, meant) in [
            ("ingest.listn", "ingest.listen"),
            ("Ingest.Connections-Max", "ingest.connections_max"),
            ("retention_bytes", "storage.retention_bytes"),
            ("log_lvl", "telemetry.log_level"),
            ("datadir", "data_dir"),
        ] {
            assert_eq!(nearest(wrong), meant, "{wrong}");
        }
    }
}
