//! The address of an endpoint: what may stand in a file that is shown.

use super::Setting;

/// An address of HTTP, without anything secret in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd)]
pub struct EndpointUrl(String);

/// Most characters of an address.
const URL_LEN_MAX: usize = 2_000;

impl EndpointUrl {
    /// The address as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Setting for Option<EndpointUrl> {
    const EXPECTS: &'static str =
        "an address such as http://127.0.0.1:11434/v1, without a password in it, or `off`";
    const IS_BARE: bool = false;

    fn parse(text: &str) -> Option<Self> {
        if matches!(text, "" | "off") {
            return Some(None);
        }
        let rest = text.strip_prefix("http://").or(text.strip_prefix("https://"))?;
        // A password or a key in an address would be shown wherever the configuration is.
        let is_plain = |c: char| c.is_ascii_graphic() && !"@?#\\\"".contains(c);
        let is_address = !rest.is_empty() && rest.chars().all(is_plain) && text.len() <= URL_LEN_MAX;
        is_address.then(|| Some(EndpointUrl(text.into())))
    }

    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "off".into(), |url| url.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_of_http_and_hold_no_secret() {
        let parse = <Option<EndpointUrl>>::parse;
        for text in [
            "http://127.0.0.1:11434/v1",
            "https://models.example/v1/",
            "http://[::1]:80/v1",
        ] {
            assert_eq!(parse(text).map(|url| url.show()), Some(text.into()));
        }
        assert_eq!(parse("off"), Some(None));
        for text in [
            "http://",
            "127.0.0.1",
            "ftp://x",
            "http://user:password@x/v1",
            "http://x/v1?key=1",
            "http://x/\u{1b}",
            "http://x y",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
