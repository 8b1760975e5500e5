//! Signing in with another provider: there, and back.

use http::StatusCode;
use wharf_base::Secret;
use wharf_identity::oidc::{SignInAnswer, SignInError};
use wharf_policy::{Authorized, VersionCheck};

use super::cookie::{self, Kind};
use super::{Answer, Visit, sign_in};
use crate::api::Problem;

/// Sends the browser to the provider, with a secret that it brings back.
pub(super) async fn leave(_ok: Authorized<VersionCheck>, visit: Visit) -> Answer {
    let identity = visit.identity()?;
    let next = sign_in::way_back(visit.parameter("next"));
    if !visit.may_have_sessions() {
        return sign_in::render(&visit, StatusCode::FORBIDDEN, next, "", None);
    }
    let id = visit.parameter("provider");
    let Some(origin) = visit.inbound.origin(&visit.app.origins) else {
        return Err(Problem::invalid("the request names no valid host to come back to").into());
    };
    let redirect_uri = format!("{origin}{}", visit.href(&format!("/login/back/{id}"), &[]));
    match identity.begin_sign_in(id, &redirect_uri, next, &visit.inbound.asked()).await {
        Ok(begun) => {
            let reply = super::see_other(begun.address.as_str());
            Ok(reply.with(cookie::SET, cookie::set(Kind::SignIn, &begun.secret, visit.is_secure())))
        }
        Err(error) => failed(&visit, next, error),
    }
}

/// Takes what the browser brings back, begins a session, always a new one, and goes on where somebody wanted to go.
pub(super) async fn come_back(_ok: Authorized<VersionCheck>, visit: Visit) -> Answer {
    let identity = visit.identity()?;
    if !visit.may_have_sessions() {
        return sign_in::render(&visit, StatusCode::FORBIDDEN, "/", "", None);
    }
    let id = visit.parts_of_path.first().map_or("", String::as_str);
    let Some(secret) = cookie::read(Kind::SignIn, &visit.inbound.headers, visit.is_secure()) else {
        return failed(&visit, "/", SignInError::Stale);
    };
    let given = |name: &str| visit.query.first(name).map(str::to_owned);
    let answer = SignInAnswer {
        state: given("state").unwrap_or_default().into(),
        code: given("code").map(Secret::from),
        issuer: given("iss"),
        error: given("error"),
    };
    let (begun, next) = match identity.finish_sign_in(id, &secret, &answer, &visit.inbound.asked()).await {
        Ok(finished) => finished,
        Err(error) => return failed(&visit, "/", error),
    };
    // A session that this browser had before is not gone on with (S-038).
    if let Some(before) = &visit.visitor {
        identity.sign_out(before).await?;
    }
    let reply = super::see_other(&format!("{}{next}", visit.root()));
    let reply = reply.with(cookie::SET, cookie::set(Kind::Session, &begun.secret, visit.is_secure()));
    Ok(reply.with(cookie::SET, cookie::clear(Kind::SignIn, visit.is_secure())))
}

/// The sign-in page once more, with what was wrong.
fn failed(visit: &Visit, next: &str, error: SignInError) -> Answer {
    tracing::warn!(
        request.id = &*visit.inbound.request_id,
        error = &error as &dyn std::error::Error,
        "a sign-in with another provider has failed: {error}"
    );
    let problem = Problem::from(error);
    sign_in::render(visit, problem.status(), next, "", Some(problem.sentence()))
}
