//! `WWW-Authenticate` as other registries write it.

use std::collections::BTreeMap;

/// Most parameters of one challenge.
const PARAMETERS_MAX: usize = 16;

/// How a registry wants to be told who asks.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// By a token, from `realm`.
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
    /// By name and password.
    Basic,
}

/// Reads one value of the header; `None` if it is neither of the two, or nothing that can be read.
pub(super) fn parse(header: &str) -> Option<Wanted> {
    let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Wanted::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let mut parameters = parameters(rest)?;
    let realm = parameters.remove("realm")?;
    Some(Wanted::Bearer { realm, service: parameters.remove("service"), scope: parameters.remove("scope") })
}

/// `name="value",name=value`, with `\` before what is meant as it is.
fn parameters(mut rest: &str) -> Option<BTreeMap<String, String>> {
    let mut parameters = BTreeMap::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return Some(parameters);
        }
        let (name, after) = rest.split_once('=')?;
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let (value, after) = after.split_at(after.find(',').unwrap_or(after.len()));
                (value.trim().to_owned(), after)
            }
        };
        parameters.insert(name.trim().to_ascii_lowercase(), value);
        if parameters.len() > PARAMETERS_MAX {
            return None;
        }
        rest = after;
    }
}

/// The text up to the closing quote, and what follows that.
fn unquote(quoted: &str) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut is_escaped = false;
    for (at, c) in quoted.char_indices() {
        match c {
            '\\' if !is_escaped => is_escaped = true,
            '"' if !is_escaped => return Some((text, &quoted[at + 1..])),
            c => {
                text.push(c);
                is_escaped = false;
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Wanted, parse};

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| {
            Some(Wanted::Bearer {
                realm: realm.to_owned(),
                service: service.map(str::to_owned),
                scope: scope.map(str::to_owned),
            })
        };
        for (header, expected) in [
            (
                r#"Bearer realm="https://a.example/token",service="r.example",scope="repository:a/b:pull,push""#,
                bearer("https://a.example/token", Some("r.example"), Some("repository:a/b:pull,push")),
            ),
            (r#"bearer Realm="https://a.example/t" , Service=r"#, bearer("https://a.example/t", Some("r"), None)),
            (r#"Bearer realm="a\"b\\c""#, bearer(r#"a"b\c"#, None, None)),
            (r#"Basic realm="Registry Realm""#, Some(Wanted::Basic)),
            ("BASIC", Some(Wanted::Basic)),
            (r#"Bearer service="no realm""#, None),
            (r#"Bearer realm="not closed"#, None),
            ("Bearer realm", None),
            ("Negotiate", None),
            ("", None),
        ] {
            assert_eq!(parse(header), expected, "{header}");
        }
    }
}
