//! `/api/v1/me`: who one is, one's own password and tokens.

use http::StatusCode;
use wharf_base::TokenId;
use wharf_identity::NewToken as Wanted;
use wharf_policy::{AccountSelf, Action, Asker, Authorized, VersionCheck};

use super::forms::{CursorForm, PageLengthForm};
use super::types::{CreatedToken, Me, NewToken, OwnPassword, Page, Token};
use super::{Answer, Call, Problem, done, json, ok, tokens};

/// Who asks.
#[utoipa::path(get, path = "/api/v1/me", operation_id = "getMe", tag = "me", responses((status = 200, body = Me)))]
pub(crate) async fn get(proof: Authorized<VersionCheck>, call: Call) -> Answer {
    ok(&about(&call, proof.asker()))
}

/// A principal, and what it may do with the registry as a whole.
pub(super) fn about(call: &Call, asker: &Asker) -> Me {
    let principal = &asker.principal;
    let global = [Action::Catalog, Action::PolicyManage, Action::AccountManage, Action::AccountSelf, Action::AuditRead];
    let may = |action: &Action| call.app.parts.policy.permits(asker, *action, None).is_ok();
    Me {
        name: principal.name().to_owned(),
        account_type: principal.account_type().as_str(),
        provider: principal.provider().as_str(),
        roles: principal.roles().to_vec(),
        actions: global.into_iter().filter(may).map(Action::as_str).collect(),
    }
}

/// Change one's own password.
#[utoipa::path(put, path = "/api/v1/me/password", operation_id = "setMyPassword", tag = "me", request_body = OwnPassword, responses((status = 204)))]
pub(crate) async fn set_password(proof: Authorized<AccountSelf>, mut call: Call) -> Answer {
    let body: OwnPassword = call.json().await?;
    call.identity()?.set_own_password(&proof, &body.current.0, body.new.0).await?;
    done()
}

/// One's own API tokens.
#[utoipa::path(get, path = "/api/v1/me/tokens", operation_id = "listMyTokens", tag = "me", params(("limit" = inline(Option<PageLengthForm>), Query), ("after" = inline(Option<CursorForm>), Query)), responses((status = 200, body = Page<Token>)))]
pub(crate) async fn list_tokens(proof: Authorized<AccountSelf>, call: Call) -> Answer {
    let limit = call.limit()?;
    let found = call.identity()?.own_tokens(&proof, call.after()?, limit).await?;
    ok(&tokens::page(found, limit))
}

/// Make an API token for oneself. An API token that is limited to scopes cannot make others.
#[utoipa::path(post, path = "/api/v1/me/tokens", operation_id = "createMyToken", tag = "me", request_body = NewToken, responses((status = 201, body = CreatedToken)))]
pub(crate) async fn create_token(proof: Authorized<AccountSelf>, mut call: Call) -> Answer {
    let wanted: NewToken = call.json().await?;
    let (token, secret) = call.identity()?.create_own_token(&proof, Wanted::from(wanted)).await?;
    json(StatusCode::CREATED, &CreatedToken { token: Token::from(token), secret: secret.expose() })
}

/// Delete one of one's own tokens.
#[utoipa::path(delete, path = "/api/v1/me/tokens/{id}", operation_id = "deleteMyToken", tag = "me", params(("id" = String, Path)), responses((status = 204)))]
pub(crate) async fn delete_token(proof: Authorized<AccountSelf>, call: Call) -> Answer {
    let id: TokenId = call.parameter(0).parse().map_err(|_| Problem::not_found("token"))?;
    call.identity()?.delete_own_token(&proof, id).await?;
    done()
}
