//! `/api/v1/tokens`: API tokens of all accounts.

use std::time::Duration;

use http::StatusCode;
use wharf_base::TokenId;
use wharf_identity::{ApiToken, NewToken as Wanted};
use wharf_policy::{AccountManage, Authorized};

use super::forms::{AccountForm, CursorForm, PageLengthForm};
use super::types::{CreatedToken, NewToken, Page, Token};
use super::{Answer, Call, Problem, done, json, ok};

impl From<ApiToken> for Token {
    fn from(token: ApiToken) -> Self {
        Self {
            id: token.id.to_string(),
            account: token.account,
            kind: token.kind.as_str(),
            description: token.description,
            scopes: token.scopes,
            networks: token.networks,
            created_at: token.created_at.to_string(),
            created_by: token.created_by,
            expires_at: token.expires_at.to_string(),
            last_used_at: token.last_used_at.map(|at| at.to_string()),
        }
    }
}

impl From<NewToken> for Wanted {
    fn from(new: NewToken) -> Self {
        let life = new.life_days.map(|days| Duration::from_secs(u64::from(days) * 86_400));
        Self { description: new.description, scopes: new.scopes, networks: new.networks, life }
    }
}

/// A page that is as long as it may be goes on behind its last item, perhaps with an empty one.
pub(super) fn page(found: Vec<ApiToken>, limit: u32) -> Page<Token> {
    let next = found.last().filter(|_| found.len() == limit as usize).map(|token| token.id.to_string());
    Page { items: found.into_iter().map(Token::from).collect(), next }
}

/// The tokens, in the order they were made; with `account`, those of one.
#[utoipa::path(get, path = "/api/v1/tokens", operation_id = "listTokens", tag = "tokens", params(("account" = inline(Option<AccountForm>), Query), ("limit" = inline(Option<PageLengthForm>), Query), ("after" = inline(Option<CursorForm>), Query)), responses((status = 200, body = Page<Token>), (status = 404)))]
pub(crate) async fn list(proof: Authorized<AccountManage>, call: Call) -> Answer {
    let limit = call.limit()?;
    let identity = call.identity()?;
    let found = match call.query.first("account") {
        Some(account) => identity.tokens_of(&proof, account, call.after()?, limit).await?,
        None => identity.tokens(&proof, call.after()?, limit).await?,
    };
    ok(&page(found, limit))
}

/// Make an API token for an account. Its secret is in the answer, and nowhere else.
#[utoipa::path(post, path = "/api/v1/accounts/{name}/tokens", operation_id = "createToken", tag = "tokens", params(("name" = inline(AccountForm), Path)), request_body = NewToken, responses((status = 201, body = CreatedToken)))]
pub(crate) async fn create(proof: Authorized<AccountManage>, mut call: Call) -> Answer {
    let wanted: NewToken = call.json().await?;
    let (token, secret) = call.identity()?.create_token(&proof, call.parameter(0), Wanted::from(wanted)).await?;
    json(StatusCode::CREATED, &CreatedToken { token: Token::from(token), secret: secret.expose() })
}

/// Delete a token, whosever it is.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", operation_id = "deleteToken", tag = "tokens", params(("id" = String, Path)), responses((status = 204)))]
pub(crate) async fn delete(proof: Authorized<AccountManage>, call: Call) -> Answer {
    let id: TokenId = call.parameter(0).parse().map_err(|_| Problem::not_found("token"))?;
    call.identity()?.delete_token(&proof, id).await?;
    done()
}
