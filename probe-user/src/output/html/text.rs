//! Text for the page: the only place that makes it safe.

use maud::{Markup, Render, html};
use twtrace_core::event::text::escape;

/// Untrusted text. First what hides or reverses text is made visible, as on a terminal; then it is escaped for HTML, as
/// maud does with every string.
pub fn shown(text: &str) -> Markup {
    // Markup of a single string: escaped completely.
    html! { (escape(text)) }
}

/// The same for attributes, which maud escapes itself.
pub fn attribute(text: &str) -> String {
    escape(text)
}

/// A number with separators between thousands.
pub struct Number(pub u64);

impl Render for Number {
    fn render(&self) -> Markup {
        shown(&grouped(self.0))
    }
}

/// Such as `1 234 567`, with non-breaking spaces.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_make_no_elements() {
        let page = |name: &str| html! { p title=(attribute(name)) { (shown(name)) } }.into_string();
        assert_eq!(
            page("</p><script>'\"&\u{202e}\x1b"),
            "<p title=\"&lt;/p&gt;&lt;script&gt;'&quot;&amp;\\u{202e}\\x1b\">\
             &lt;/p&gt;&lt;script&gt;'&quot;&amp;\\u{202e}\\x1b</p>"
        );
    }

    #[test]
    fn thousands_stand_apart() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(grouped(100_000), "100\u{202f}000");
    }
}
