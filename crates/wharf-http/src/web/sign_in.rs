//! Signing in and out.

use askama::Template;
use http::StatusCode;
use wharf_identity::AuthError;
use wharf_policy::{Authorized, VersionCheck};

use super::page::{self, Frame};
use super::{Answer, Visit, cookie};
use crate::api::Problem;
use crate::reply::Reply;

/// The longest way back that is kept, in bytes (S-064).
const NEXT_MAX_BYTES: usize = 512;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage {
    f: Frame,
    next: String,
    username: String,
    problem: Option<String>,
    /// Other providers, by their names.
    providers: Vec<Button>,
    /// Why nobody can sign in over this connection.
    is_refused: bool,
}

struct Button {
    href: String,
    name: String,
}

/// The form.
pub(super) async fn show(_ok: Authorized<VersionCheck>, visit: Visit) -> Answer {
    visit.identity()?;
    if visit.visitor.is_some() {
        return Ok(super::see_other(&format!("{}{}", visit.root(), way_back(visit.parameter("next")))));
    }
    render(&visit, StatusCode::OK, way_back(visit.parameter("next")), "", None)
}

/// Begins a session, always a new one, and leads back to where somebody wanted to go.
pub(super) async fn submit(_ok: Authorized<VersionCheck>, visit: Visit) -> Answer {
    let identity = visit.identity()?;
    let next = way_back(visit.form.text("next"));
    let username = visit.form.text("username");
    if !visit.may_have_sessions() {
        return render(&visit, StatusCode::FORBIDDEN, next, username, None);
    }
    let begun = match identity.sign_in(username, &visit.form.secret("password"), &visit.inbound.asked()).await {
        Ok(begun) => begun,
        Err(error @ (AuthError::WrongCredentials | AuthError::InvalidToken)) => {
            let problem = Some(Problem::from(error).sentence());
            return render(&visit, StatusCode::UNAUTHORIZED, next, username, problem);
        }
        Err(error) => {
            let problem = Problem::from(error);
            return render(&visit, problem.status(), next, username, Some(problem.sentence()));
        }
    };
    // A session that this browser had before is not gone on with (S-038).
    if let Some(before) = &visit.visitor {
        identity.sign_out(before).await?;
    }
    let reply = super::see_other(&format!("{}{next}", visit.root()));
    Ok(reply.with(cookie::SET, cookie::set(cookie::Kind::Session, &begun.secret, visit.is_secure())))
}

pub(super) fn render(visit: &Visit, status: StatusCode, next: &str, username: &str, problem: Option<String>) -> Answer {
    let providers = visit.identity()?.sign_in_providers();
    let view = SignInPage {
        f: Frame::of(visit, "Sign in"),
        next: next.to_owned(),
        username: super::text::shown(username),
        problem,
        providers: providers
            .into_iter()
            .map(|provider| Button {
                href: visit.href("/login/with", &[("provider", &provider.id), ("next", next)]),
                name: provider.name,
            })
            .collect(),
        is_refused: !visit.may_have_sessions(),
    };
    Ok(page::answer(status, &view)?)
}

/// Ends this session.
pub(super) async fn sign_out(_ok: Authorized<VersionCheck>, visit: Visit) -> Answer {
    if let Some(visitor) = &visit.visitor {
        visit.identity()?.sign_out(visitor).await?;
    }
    Ok(signed_out(&visit, "signed-out"))
}

/// Ends all sessions of whoever asks.
pub(super) async fn sign_out_everywhere(_ok: Authorized<VersionCheck>, visit: Visit) -> Answer {
    if let Some(visitor) = &visit.visitor {
        visit.identity()?.sign_out_everywhere(visitor).await?;
    }
    Ok(signed_out(&visit, "signed-out-everywhere"))
}

fn signed_out(visit: &Visit, done: &str) -> Reply {
    visit.see("/login", &[("done", done)]).with(cookie::SET, cookie::clear(cookie::Kind::Session, visit.is_secure()))
}

/// A path on this site, and nothing that a browser could take for another one (S-064, B-102).
pub(super) fn way_back(next: &str) -> &str {
    let is_path = next.starts_with('/') && !next[1..].starts_with(['/', '\\']);
    let is_plain = next.len() <= NEXT_MAX_BYTES && next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if is_path && is_plain { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::way_back;

    #[test]
    fn b102_the_way_back_is_a_path_of_this_site() {
        for path in ["/", "/image?repository=a/b&reference=v1", "/repositories?q=%2F%2Fx"] {
            assert_eq!(way_back(path), path);
        }
        let long = format!("/{}", "x".repeat(1024));
        for text in [
            "",
            "//evil",
            "/\\evil",
            "https:evil",
            "/%09/evil\t",
            "javascript:1",
            "/a\nb",
            "/a b",
            "/\u{e9}",
            "evil",
            &long,
        ] {
            assert_eq!(way_back(text), "/", "{text:?}");
        }
    }
}
