//! One's own account: password, tokens, sessions.

use std::time::Duration;

use askama::Template;
use http::StatusCode;
use wharf_base::TokenId;
use wharf_identity::{ApiToken, NewToken};
use wharf_policy::{AccountSelf, Authorized, Provider};

use super::page::{self, Frame};
use super::text::{self, Time};
use super::{Answer, Visit, to_mend};
use crate::api::Problem;

/// An account has at most some dozens.
const TOKENS_SHOWN: u32 = 200;

const DAY_SECONDS: u64 = 86_400;

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    f: Frame,
    name: String,
    roles: String,
    provider: &'static str,
    /// Passwords and tokens are kept here, not elsewhere.
    is_local: bool,
    tokens: Vec<TokenLine>,
    sessions: Vec<SessionLine>,
    created: Option<Created>,
    problem: Option<String>,
    host: String,
    password_path: String,
    tokens_path: String,
    delete_path: String,
    everywhere_path: String,
}

/// A token that has just been made. Its secret is on this page and nowhere else.
pub(super) struct Created {
    pub(super) secret: String,
    pub(super) account: String,
}

pub(super) struct TokenLine {
    pub(super) id: String,
    pub(super) account: String,
    pub(super) description: String,
    pub(super) scopes: String,
    pub(super) expires: Time,
    pub(super) used: Option<Time>,
    pub(super) is_over: bool,
}

struct SessionLine {
    begun: Time,
    seen: Time,
    source: String,
    is_this: bool,
}

/// The page.
pub(super) async fn show(ok: Authorized<AccountSelf>, visit: Visit) -> Answer {
    render(&ok, &visit, StatusCode::OK, None, None).await
}

async fn render(
    ok: &Authorized<AccountSelf>,
    visit: &Visit,
    status: StatusCode,
    created: Option<Created>,
    problem: Option<String>,
) -> Answer {
    let identity = visit.identity()?;
    let principal = ok.principal();
    let is_local = principal.provider() == Provider::Local;
    let tokens = if is_local { identity.own_tokens(ok, None, TOKENS_SHOWN).await? } else { Vec::new() };
    let sessions = identity.own_sessions(ok).await?;
    let this = visit.visitor.as_ref().map(|visitor| visitor.session);
    let sessions = sessions.iter().map(|session| SessionLine {
        begun: visit.time(session.created_at),
        seen: visit.time(session.seen_at),
        source: session.source.clone(),
        is_this: Some(session.id_sha256) == this,
    });
    let view = AccountPage {
        f: Frame::of(visit, "Your account"),
        name: principal.name().to_owned(),
        roles: principal.roles().join(", "),
        provider: principal.provider().as_str(),
        is_local,
        tokens: tokens.iter().map(|token| token_line(visit, token)).collect(),
        sessions: sessions.collect(),
        created,
        problem,
        host: visit.inbound.host(&visit.app.origins).unwrap_or_default(),
        password_path: visit.href("/account/password", &[]),
        tokens_path: visit.href("/account/tokens", &[]),
        delete_path: visit.href("/account/tokens/delete", &[]),
        everywhere_path: visit.href("/logout/everywhere", &[]),
    };
    Ok(page::answer(status, &view)?)
}

pub(super) fn token_line(visit: &Visit, token: &ApiToken) -> TokenLine {
    TokenLine {
        id: token.id.to_string(),
        account: token.account.clone(),
        description: if token.description.is_empty() {
            "(no description)".to_owned()
        } else {
            text::shown(&token.description)
        },
        scopes: if token.scopes.is_empty() {
            "everything that the account may do".to_owned()
        } else {
            token.scopes.join(", ")
        },
        expires: visit.time(token.expires_at),
        used: token.last_used_at.map(|at| visit.time(at)),
        is_over: token.expires_at <= visit.now(),
    }
}

/// A token as the form on a page asks for it.
pub(super) fn wanted_token(visit: &Visit) -> Result<NewToken, Problem> {
    let days = visit.form.text("life_days");
    let life = match days {
        "" => None,
        text => {
            let days: u64 = text.parse().map_err(|_| Problem::field("life_days", "must be a number of days"))?;
            Some(Duration::from_secs(days.saturating_mul(DAY_SECONDS)))
        }
    };
    Ok(NewToken {
        description: visit.form.text("description").to_owned(),
        scopes: visit.form.words("scopes"),
        networks: visit.form.words("networks"),
        life,
    })
}

/// Makes a token for oneself; the answer shows its secret.
pub(super) async fn create_token(ok: Authorized<AccountSelf>, visit: Visit) -> Answer {
    let made = match wanted_token(&visit) {
        Ok(wanted) => visit.identity()?.create_own_token(&ok, wanted).await.map_err(Problem::from),
        Err(problem) => Err(problem),
    };
    match made {
        Ok((token, secret)) => {
            let created = Created { secret: secret.expose().clone(), account: token.account };
            render(&ok, &visit, StatusCode::CREATED, Some(created), None).await
        }
        Err(problem) => again(&ok, &visit, problem).await,
    }
}

/// Deletes one of one's own tokens.
pub(super) async fn delete_token(ok: Authorized<AccountSelf>, visit: Visit) -> Answer {
    let id: TokenId = visit.form.text("id").parse().map_err(|_| Problem::not_found("token"))?;
    visit.identity()?.delete_own_token(&ok, id).await?;
    Ok(visit.see("/account", &[("done", "token-deleted")]))
}

/// Changes one's own password. All sessions end with it, and this browser gets another one (S-038).
pub(super) async fn set_password(ok: Authorized<AccountSelf>, visit: Visit) -> Answer {
    let identity = visit.identity()?;
    let (new, again_typed) = (visit.form.secret("new"), visit.form.secret("again"));
    if new != again_typed {
        return again(&ok, &visit, Problem::field("new", "is not what was typed again")).await;
    }
    if let Err(error) = identity.set_own_password(&ok, &visit.form.secret("current"), new.clone()).await {
        return again(&ok, &visit, error.into()).await;
    }
    let begun = identity.sign_in(ok.principal().subject(), &new, &visit.inbound.asked()).await?;
    let reply = visit.see("/account", &[("done", "password")]);
    Ok(reply
        .with(super::cookie::SET, super::cookie::set(super::cookie::Kind::Session, &begun.secret, visit.is_secure())))
}

/// The page once more, with what was wrong.
async fn again(ok: &Authorized<AccountSelf>, visit: &Visit, problem: Problem) -> Answer {
    let (status, wrong) = to_mend(problem)?;
    render(ok, visit, status, None, Some(wrong)).await
}
