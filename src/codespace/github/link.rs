//! The `Link` header (RFC 8288): only the address of the next page.

use reqwest::header::{HeaderMap, LINK};

/// The target of the first link whose `rel` holds `next`, as it was sent.
pub(super) fn next(headers: &HeaderMap) -> Option<&str> {
    headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok()).find_map(next_in)
}

fn next_in(mut text: &str) -> Option<&str> {
    loop {
        let (target, rest) = text.split_once('<')?.1.split_once('>')?;
        // Parameters reach to the next `<`; a comma inside of a target has been passed already.
        let parameters = rest.split('<').next().unwrap_or(rest);
        let is_next = parameters.split([';', ',']).filter_map(|p| p.trim().split_once('=')).any(|(key, value)| {
            key.trim().eq_ignore_ascii_case("rel") && value.trim().trim_matches('"').split(' ').any(|rel| rel.eq_ignore_ascii_case("next"))
        });
        if is_next {
            return Some(target);
        }
        text = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::next_in;

    #[test]
    fn the_next_page_is_found_among_the_links() {
        for (text, expected) in [
            (r#"<https://a/x?page=2>; rel="next", <https://a/x?page=9>; rel="last""#, Some("https://a/x?page=2")),
            (r#"<https://a/x?page=1>; rel="prev", <https://a/x?page=3>; rel="next""#, Some("https://a/x?page=3")),
            (r#"<https://a/x?q=1,2>; title="x"; rel=next"#, Some("https://a/x?q=1,2")),
            (r#"<https://a/x>;rel="last next""#, Some("https://a/x")),
            (r#"<https://a/x>; rel="last""#, None),
            (r#"<https://a/next>; rel="nextish""#, None),
            (r#"<https://a/x; rel="next""#, None),
            ("", None),
            ("rel=next", None),
        ] {
            assert_eq!(next_in(text), expected, "{text}");
        }
    }
}
