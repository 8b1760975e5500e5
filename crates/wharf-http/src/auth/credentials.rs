//! The header `Authorization` (P-078, P-079).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use wharf_base::Secret;
use wharf_identity::Credentials;

/// The longest header that is looked at, in bytes (security requirements, §3.3).
const HEADER_MAX_BYTES: usize = 16 << 10;

/// Why the header cannot be read. Never holds any of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadCredentials {
    /// There are several of them.
    #[error("there is more than one Authorization header")]
    Several,
    /// It is too long.
    #[error("the Authorization header has more than {HEADER_MAX_BYTES} bytes")]
    TooLong,
    /// It is in another scheme than Basic and Bearer.
    #[error("the Authorization header is neither Basic nor Bearer")]
    Scheme,
    /// It is Basic, and not base64 of a name, a colon and a password.
    #[error("the Basic credentials are not base64 of name:password")]
    Basic,
}

/// The credentials in `headers`. Nobody's are an empty bearer token and an empty name with an empty password.
///
/// # Errors
///
/// [`BadCredentials`].
///
/// # Source
///
/// P-078, P-079; RFC 7617, RFC 6750 §2.1.
pub(crate) fn read(headers: &HeaderMap) -> Result<Credentials<'_>, BadCredentials> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(Credentials::None) };
    if values.next().is_some() {
        return Err(BadCredentials::Several);
    }
    if value.len() > HEADER_MAX_BYTES {
        return Err(BadCredentials::TooLong);
    }
    let text = value.to_str().map_err(|_| BadCredentials::Scheme)?;
    let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(if rest.is_empty() { Credentials::None } else { Credentials::Bearer(rest) });
    }
    if scheme.eq_ignore_ascii_case("basic") {
        return basic(rest);
    }
    Err(BadCredentials::Scheme)
}

fn basic(encoded: &str) -> Result<Credentials<'static>, BadCredentials> {
    let decoded = STANDARD.decode(encoded).map_err(|_| BadCredentials::Basic)?;
    let decoded = Secret::new(String::from_utf8(decoded).map_err(|_| BadCredentials::Basic)?);
    let (username, password) = decoded.expose().split_once(':').ok_or(BadCredentials::Basic)?;
    if username.chars().chain(password.chars()).any(char::is_control) {
        return Err(BadCredentials::Basic);
    }
    if username.is_empty() && password.is_empty() {
        return Ok(Credentials::None);
    }
    Ok(Credentials::Basic { username: username.to_owned(), password: password.into() })
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};
    use wharf_identity::Credentials;

    use super::{BadCredentials, read};

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("authorization", HeaderValue::from_str(value).expect("a header value"));
        }
        headers
    }

    #[track_caller]
    fn check(values: &[&str], expected: &str) {
        let found = match read(&headers(values)) {
            Ok(Credentials::None) => "none".to_owned(),
            Ok(Credentials::Basic { username, password }) => format!("basic {username} {}", password.expose()),
            Ok(Credentials::Bearer(token)) => format!("bearer {token}"),
            Err(error) => format!("{error:?}"),
        };
        assert_eq!(found, expected, "{values:?}");
    }

    #[test]
    fn p078_p079_credentials_as_clients_send_them() {
        check(&[], "none");
        check(&["Bearer "], "none");
        check(&["Bearer"], "none");
        check(&["Basic Og=="], "none");
        check(&["Bearer abc"], "bearer abc");
        check(&["bEARER abc"], "bearer abc");
        check(&["Basic dTpwOnE="], "basic u p:q");
        check(&["basic dTo="], "basic u ");
    }

    #[test]
    fn b088_what_cannot_be_read_is_refused() {
        check(&["Basic dTpw", "Bearer abc"], "Several");
        check(&["Basic bm9jb2xvbg=="], "Basic");
        check(&["Basic ???"], "Basic");
        check(&["Basic"], "Basic");
        check(&["Basic dQA6cA=="], "Basic");
        check(&["Digest username=x"], "Scheme");
        check(&[&format!("Basic {}", "A".repeat(17 << 10))], "TooLong");
        assert_eq!(read(&headers(&["Basic /w=="])).expect_err("not text"), BadCredentials::Basic);
    }
}
