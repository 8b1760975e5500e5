//! How values look to people. Nothing here is markup but [`Time`], which is made of digits and fixed words.

use std::fmt;

use askama::filters::HtmlSafe;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use wharf_base::Timestamp;
use wharf_oci::Digest;

/// What stays as it is in a query: letters, digits and what no reader takes for anything else.
const PLAIN: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/').remove(b':');

/// How many hexadecimal digits tell one digest from another where a page has little room.
const SHORT_DIGITS: usize = 12;

/// The longest text of a stranger that is shown in one piece, in characters.
const SHOWN_MAX: usize = 4_096;

/// Bytes in the largest unit of which there is at least one, with three digits: `12.3 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let exponent = (bytes.ilog2() / 10).min(6);
    let whole = bytes >> (10 * exponent);
    let tenths = ((u128::from(bytes) * 10) >> (10 * exponent)) % 10;
    let unit = UNITS[exponent as usize - 1];
    if whole < 100 { format!("{whole}.{tenths} {unit}") } else { format!("{whole} {unit}") }
}

/// A number with its digits in threes: `12,345`.
pub(crate) fn number(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 tag`, `2 tags`.
pub(crate) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(count), if count == 1 { one } else { many })
}

/// The beginning of a digest's hexadecimal part.
pub(crate) fn short(digest: &Digest) -> String {
    let text = digest.to_string();
    let hex = text.split_once(':').map_or(text.as_str(), |(_, hex)| hex);
    hex.chars().take(SHORT_DIGITS).collect()
}

/// A stranger's text, cut where it is longer than anybody reads, without characters that change how what is around them is
/// read: controls, and marks of direction (B-068).
pub(crate) fn shown(text: &str) -> String {
    let plain = |c: char| match c {
        '\n' | '\t' => c,
        c if c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
        {
            '\u{fffd}'
        }
        c => c,
    };
    let mut shown: String = text.chars().take(SHOWN_MAX).map(plain).collect();
    if text.chars().nth(SHOWN_MAX).is_some() {
        shown.push('…');
    }
    shown
}

/// The text as a link, if it is one that a browser may follow (S-060).
pub(crate) fn link_to(text: &str) -> Option<String> {
    let url = url::Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    (url.has_host() && text.len() <= 2_048).then(|| url.into())
}

/// A path of this site with its parameters.
pub(crate) fn href(root: &str, path: &str, parameters: &[(&str, &str)]) -> String {
    let mut text = format!("{root}{path}");
    for (index, (name, value)) in parameters.iter().enumerate() {
        text.push(if index == 0 { '?' } else { '&' });
        text.push_str(name);
        text.push('=');
        text.extend(utf8_percent_encode(value, PLAIN));
    }
    text
}

/// The day of a moment: `2027-01-31`.
pub(crate) fn date(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}

/// A moment: how long ago it was, and which it was.
#[derive(Clone, Debug)]
pub(crate) struct Time {
    exact: String,
    ago: String,
}

impl Time {
    pub(crate) fn new(at: Timestamp, now: Timestamp) -> Self {
        let text = at.to_string();
        let exact = text.get(..19).map_or_else(|| text.clone(), |seconds| format!("{seconds}Z"));
        Self { exact, ago: ago(at, now) }
    }

    /// The moment without markup, for labels.
    pub(crate) fn plain(&self) -> &str {
        &self.ago
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let readable = self.exact.replace('T', " ").replace('Z', " UTC");
        write!(f, "<time datetime=\"{}\" title=\"{readable}\">{}</time>", self.exact, self.ago)
    }
}

impl HtmlSafe for Time {}

fn ago(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_micros().saturating_sub(at.as_micros()) / 1_000_000;
    let (span, is_past) = (seconds.unsigned_abs(), seconds >= 0);
    let (count, unit) = match span {
        0..45 if is_past => return "just now".to_owned(),
        0..90 => (1, "minute"),
        90..3_600 => (span.div_ceil(60).min(59), "minute"),
        3_600..86_400 => (span / 3_600, "hour"),
        86_400..5_184_000 => (span / 86_400, "day"),
        5_184_000..63_072_000 => (span / 2_592_000, "month"),
        _ => (span / 31_536_000, "year"),
    };
    let plural = if count == 1 { "" } else { "s" };
    if is_past { format!("{count} {unit}{plural} ago") } else { format!("in {count} {unit}{plural}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        for (bytes, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_500_000, "1.4 MiB"),
            (200 << 20, "200 MiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
    }

    #[test]
    fn numbers_are_read_in_threes() {
        for (count, expected) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(number(count), expected);
        }
        assert_eq!(counted(1, "tag", "tags"), "1 tag");
    }

    #[test]
    fn times_are_told_as_people_do() {
        let now = Timestamp::from_micros(1_800_000_000_000_000);
        let before = |seconds: i64| ago(Timestamp::from_micros(now.as_micros() - seconds * 1_000_000), now);
        for (seconds, expected) in [
            (3, "just now"),
            (60, "1 minute ago"),
            (600, "10 minutes ago"),
            (3_600, "1 hour ago"),
            (86_400, "1 day ago"),
            (-7_200, "in 2 hours"),
            (70_000_000, "2 years ago"),
        ] {
            assert_eq!(before(seconds), expected);
        }
    }

    #[test]
    fn b068_text_of_strangers_does_not_turn_what_is_around_it() {
        assert_eq!(shown("a\u{202e}b\u{1b}[31m"), "a\u{fffd}b\u{fffd}[31m");
        assert_eq!(shown(&"x".repeat(5_000)).chars().count(), SHOWN_MAX + 1);
    }

    #[test]
    fn s060_only_links_of_the_web_are_links() {
        assert_eq!(link_to("https://example.org/a?b"), Some("https://example.org/a?b".to_owned()));
        for text in ["javascript:alert(1)", "JAVASCRIPT:x", "data:text/html,x", "//example.org", "ftp://x.org", "x", ""]
        {
            assert_eq!(link_to(text), None, "{text}");
        }
    }

    #[test]
    fn parameters_cannot_end_each_other() {
        let link = href("/prefix", "/image", &[("repository", "a/b"), ("reference", "v1&x=\"<\u{e9}")]);
        assert_eq!(link, "/prefix/image?repository=a/b&reference=v1%26x%3D%22%3C%C3%A9");
    }
}
