//! The answer: the paragraph inside a stranger's bytes, without anything that a terminal would obey.

use serde::Deserialize;
use std::iter::Peekable;
use std::str::Chars;
use thiserror::Error;

/// Most characters of a paragraph; the rest is cut off, and an ellipsis says so.
pub const PARAGRAPH_CHARS_MAX: usize = 1_200;

/// Why an answer holds no paragraph.
#[derive(Debug, Error)]
pub enum AnswerError {
    /// It is not what a chat completion looks like.
    #[error("the answer is no chat completion: {0}")]
    Shape(#[source] serde_json::Error),
    /// It has no text, or none that may be shown.
    #[error("the answer has no text: name another model with advisor.model")]
    Empty,
}

/// The part of a chat completion that is looked at.
#[derive(Deserialize)]
struct Completion {
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<String>,
}

/// The paragraph in the bytes of a chat completion.
///
/// # Errors
/// [`AnswerError`].
pub fn paragraph(bytes: &[u8]) -> Result<String, AnswerError> {
    let completion: Completion = serde_json::from_slice(bytes).map_err(AnswerError::Shape)?;
    let choice = completion.choices.into_iter().next().ok_or(AnswerError::Empty)?;
    let mut text = clean(&choice.message.content.unwrap_or_default());
    if text.is_empty() {
        return Err(AnswerError::Empty);
    }
    // The model was stopped at its limit of tokens.
    if choice.finish_reason.as_deref() == Some("length") && !text.ends_with(CUT) {
        text.push(CUT);
    }
    Ok(text)
}

/// One line of at most [`PARAGRAPH_CHARS_MAX`] characters that may be shown: letters and digits of any script, ASCII
/// marks and some typographic ones, single spaces. Escape sequences go whole; control characters, marks that turn
/// the direction of writing and invisible ones go too.
pub fn clean(text: &str) -> String {
    let mut out = String::new();
    let mut len = 0;
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        if skip_sequence(char, &mut chars) {
            continue;
        }
        let shown = match char {
            space if space.is_whitespace() => ' ',
            char if is_shown(char) => char,
            _ => continue,
        };
        if shown == ' ' && (out.is_empty() || out.ends_with(' ')) {
            continue;
        }
        if len == PARAGRAPH_CHARS_MAX {
            out.push(CUT);
            return out;
        }
        out.push(shown);
        len += 1;
    }
    out.truncate(out.trim_end().len());
    out
}

/// What stands for what was cut off.
const CUT: char = '…';

fn is_shown(char: char) -> bool {
    char.is_ascii_graphic() || char.is_alphanumeric() || "–—‘’“”…€£¥°·×".contains(char)
}

/// Skips the rest of an escape sequence of ECMA-48 that `first` begins; false when it begins none.
fn skip_sequence(first: char, chars: &mut Peekable<Chars<'_>>) -> bool {
    let kind = match first {
        '\u{1b}' => chars.next(),
        '\u{9b}' => Some('['),
        '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => Some(']'),
        _ => return false,
    };
    match kind {
        Some('[') => {
            while chars.next_if(|char| (' '..='?').contains(char)).is_some() {}
            // The letter that ends it; without one the sequence is broken, and what follows is text.
            chars.next_if(|char| ('@'..='~').contains(char));
        }
        Some(']' | 'P' | 'X' | '^' | '_') => {
            while let Some(char) = chars.next() {
                match char {
                    '\u{7}' | '\u{9c}' => break,
                    '\u{1b}' => {
                        chars.next_if_eq(&'\\');
                        break;
                    }
                    _ => {}
                }
            }
        }
        _ => {}
    }
    true
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        let check = |text: &str, want: &str| assert_eq!(clean(text), want, "{text:?}");
        check("  two\n\n lines\t", "two lines");
        check("\u{1b}[31mred\u{1b}[0m", "red");
        check("\u{9b}2Jred", "red");
        check("\u{1b}]0;title\u{7}a\u{1b}]8;;http://x\u{1b}\\link", "alink");
        check("\u{9d}52;c;cGFzdGU=\u{9c}pasted", "pasted");
        check("\u{1b}P+q544e\u{1b}\\dcs", "dcs");
        check("\u{1b}cfull reset", "full reset");
        check("\u{1b}[12\u{1}broken", "broken");
        check("\u{1b}]never ends", "");
        check("a\rb\u{8}c\0d\u{7f}", "a bcd");
        check("\u{202e}esrever\u{2066}x\u{200b}y\u{feff}", "esreverxy");
        check(
            "paid — “déjà vu”, 12,50 €… 支払い",
            "paid — “déjà vu”, 12,50 €… 支払い",
        );
        check(&"x".repeat(PARAGRAPH_CHARS_MAX), &"x".repeat(PARAGRAPH_CHARS_MAX));
    }

    #[test]
    fn a_long_paragraph_is_cut() {
        let text = clean(&"é".repeat(PARAGRAPH_CHARS_MAX + 1));
        assert_eq!(text.chars().count(), PARAGRAPH_CHARS_MAX + 1);
        assert!(text.ends_with("é…"));
    }

    #[test]
    fn the_first_choice_is_the_paragraph_and_anything_else_is_refused() {
        let text = |json: &str| paragraph(json.as_bytes());
        assert_eq!(
            text(r#"{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":" It. "},"finish_reason":"stop"}]}"#).unwrap(),
            "It."
        );
        assert_eq!(
            text(r#"{"choices":[{"message":{"content":"It goes"},"finish_reason":"length"}]}"#).unwrap(),
            "It goes…"
        );
        for empty in [
            r#"{"choices":[]}"#,
            r#"{"choices":[{"message":{"content":null}}]}"#,
            r#"{"choices":[{"message":{"content":"\u001b[2J\u0007"}}]}"#,
        ] {
            assert!(matches!(text(empty), Err(AnswerError::Empty)), "{empty}");
        }
        for shape in ["", "not JSON", "[]", r#"{"error":"no"}"#, &"[".repeat(10_000)] {
            assert!(matches!(text(shape), Err(AnswerError::Shape(_))), "{shape:.20}");
        }
    }

    proptest! {
        #[test]
        fn any_text_becomes_a_line_of_shown_characters(chars in proptest::collection::vec(any::<char>(), 0..80)) {
            let line = clean(&chars.iter().collect::<String>());
            prop_assert!(line.chars().all(|char| char == ' ' || is_shown(char)), "{line:?}");
            prop_assert!(line.chars().count() <= PARAGRAPH_CHARS_MAX + 1);
            prop_assert_eq!(clean(&line), line);
        }

        #[test]
        fn any_bytes_are_an_answer_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(paragraph(&bytes).is_err());
        }
    }
}
