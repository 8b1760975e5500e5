//! The cookie that a browser keeps of its session (S-038).
//!
//! Over TLS, ours or that of a proxy that is declared, its name says that nobody but this host may have set it. Without TLS
//! sessions begin only on the machine itself, where nobody listens on the way, and the name is another one.

use http::header::{COOKIE, HeaderValue};
use http::{HeaderMap, header};
use wharf_base::Secret;

use crate::reply::header_value;

/// What a cookie is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A session.
    Session,
    /// A sign-in with another provider, until the browser comes back from there.
    SignIn,
}

impl Kind {
    fn name(self, is_secure: bool) -> &'static str {
        match (self, is_secure) {
            (Self::Session, true) => "__Host-wharf",
            (Self::Session, false) => "wharf-session",
            (Self::SignIn, true) => "__Host-wharf-sign-in",
            (Self::SignIn, false) => "wharf-sign-in",
        }
    }
}

/// The header that cookies are set with.
pub(super) const SET: header::HeaderName = header::SET_COOKIE;

/// What the browser holds; nothing if it sends two of them, because one of them may be a stranger's (B-103).
pub(super) fn read(kind: Kind, headers: &HeaderMap, is_secure: bool) -> Option<Secret<String>> {
    let pairs = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut found = pairs
        .flat_map(|text| text.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(known, _)| *known == kind.name(is_secure))
        .map(|(_, value)| value);
    let first = found.next()?;
    found.next().is_none().then(|| first.into())
}

/// Hands the browser its secret, for as long as it runs.
pub(super) fn set(kind: Kind, secret: &Secret<String>, is_secure: bool) -> HeaderValue {
    let mut value = header_value(&attributes(kind, secret.expose(), is_secure, ""));
    value.set_sensitive(true);
    value
}

/// Makes the browser forget.
pub(super) fn clear(kind: Kind, is_secure: bool) -> HeaderValue {
    header_value(&attributes(kind, "", is_secure, "; Max-Age=0"))
}

fn attributes(kind: Kind, value: &str, is_secure: bool, more: &str) -> String {
    let secure = if is_secure { "; Secure" } else { "" };
    format!("{}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{more}", kind.name(is_secure))
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http::header::{COOKIE, HeaderValue};

    #[track_caller]
    fn check(headers: &[&'static str], is_secure: bool, expected: Option<&str>) {
        let mut map = HeaderMap::new();
        for text in headers {
            map.append(COOKIE, HeaderValue::from_static(text));
        }
        let found = super::read(super::Kind::Session, &map, is_secure).map(|secret| secret.expose().clone());
        assert_eq!(found.as_deref(), expected, "{headers:?}");
    }

    #[test]
    fn s038_the_name_says_how_it_was_set() {
        check(&["a=b; __Host-wharf=one"], true, Some("one"));
        check(&["wharf-session=one"], true, None);
        check(&["wharf-session=one"], false, Some("one"));
        check(&["__Host-wharf=one"], false, None);
        check(&[], true, None);
    }

    #[test]
    fn b103_of_two_cookies_none_counts() {
        check(&["__Host-wharf=one; __Host-wharf=two"], true, None);
        check(&["__Host-wharf=one", "__Host-wharf=two"], true, None);
    }
}
