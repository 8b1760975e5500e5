//! `/api/v1/accounts`: people and robots.

use http::StatusCode;
use wharf_identity::{ChangeAccount as Change, NewAccount as Wanted};
use wharf_policy::{AccountManage, AccountType, Authorized};
use wharf_registry::Listing;

use super::forms::{AccountForm, CursorForm, EtagForm, PageLengthForm};
use super::types::{Account, AccountChange, NewAccount, NewPassword, Page};
use super::{Answer, Call, Problem, done, json, ok, with_etag};

impl From<wharf_identity::Account> for Account {
    fn from(account: wharf_identity::Account) -> Self {
        Self {
            name: account.name,
            account_type: account.account_type.as_str(),
            roles: account.roles,
            enabled: account.enabled,
            has_password: account.password_hash.is_some(),
            created_at: account.created_at.to_string(),
            created_by: account.created_by,
            updated_at: account.updated_at.to_string(),
        }
    }
}

/// The accounts, by name.
#[utoipa::path(get, path = "/api/v1/accounts", operation_id = "listAccounts", tag = "accounts", params(("limit" = inline(Option<PageLengthForm>), Query), ("after" = inline(Option<CursorForm>), Query)), responses((status = 200, body = Page<Account>)))]
pub(crate) async fn list(proof: Authorized<AccountManage>, call: Call) -> Answer {
    let limit = call.limit()?;
    let found = call.identity()?.accounts(&proof, call.after::<String>()?.as_deref(), limit + 1).await?;
    let found = Listing::cut(found, limit);
    let next = found.next(|account| account.name.clone());
    ok(&Page { items: found.items.into_iter().map(Account::from).collect(), next })
}

/// Make an account.
#[utoipa::path(post, path = "/api/v1/accounts", operation_id = "createAccount", tag = "accounts", request_body = NewAccount, responses((status = 201, body = Account)))]
pub(crate) async fn create(proof: Authorized<AccountManage>, mut call: Call) -> Answer {
    let body: NewAccount = call.json().await?;
    let name =
        body.name.parse().map_err(|error: wharf_identity::NameError| Problem::field("name", error.to_string()))?;
    let account_type = match body.account_type.as_deref() {
        None => AccountType::Human,
        Some(text) => text.parse().map_err(|_| Problem::field("account_type", "must be human or system"))?,
    };
    let password = body.password.map(|password| password.0);
    let wanted = Wanted { name, account_type, roles: body.roles, password };
    let account = call.identity()?.create_account(&proof, wanted).await?;
    let version = account.version();
    with_etag(json(StatusCode::CREATED, &Account::from(account)), version)
}

/// One account.
#[utoipa::path(get, path = "/api/v1/accounts/{name}", operation_id = "getAccount", tag = "accounts", params(("name" = inline(AccountForm), Path)), responses((status = 200, body = Account, headers(("ETag" = String, description = "For `If-Match`")))))]
pub(crate) async fn get(proof: Authorized<AccountManage>, call: Call) -> Answer {
    let account = call.identity()?.account(&proof, call.parameter(0)).await?;
    let version = account.version();
    with_etag(ok(&Account::from(account)), version)
}

/// Change an account's roles, or whether it can be logged into. What is absent stays. With `If-Match`, only if
/// nobody has changed it since.
#[utoipa::path(patch, path = "/api/v1/accounts/{name}", operation_id = "changeAccount", tag = "accounts", params(("name" = inline(AccountForm), Path), ("If-Match" = inline(Option<EtagForm>), Header)), request_body = AccountChange, responses((status = 200, body = Account, headers(("ETag" = String, description = "For `If-Match`")))))]
pub(crate) async fn change(proof: Authorized<AccountManage>, mut call: Call) -> Answer {
    let version = call.expected_version()?;
    let body: AccountChange = call.json().await?;
    let wanted = Change { roles: body.roles, enabled: body.enabled, version };
    let account = call.identity()?.change_account(&proof, call.parameter(0), wanted).await?;
    let version = account.version();
    with_etag(ok(&Account::from(account)), version)
}

/// Delete an account with its tokens. With `If-Match`, only if nobody has changed it since.
#[utoipa::path(delete, path = "/api/v1/accounts/{name}", operation_id = "deleteAccount", tag = "accounts", params(("name" = inline(AccountForm), Path), ("If-Match" = inline(Option<EtagForm>), Header)), responses((status = 204)))]
pub(crate) async fn delete(proof: Authorized<AccountManage>, call: Call) -> Answer {
    call.identity()?.delete_account(&proof, call.parameter(0), call.expected_version()?).await?;
    done()
}

/// Give an account a new password.
#[utoipa::path(put, path = "/api/v1/accounts/{name}/password", operation_id = "setPassword", tag = "accounts", params(("name" = inline(AccountForm), Path)), request_body = NewPassword, responses((status = 204)))]
pub(crate) async fn set_password(proof: Authorized<AccountManage>, mut call: Call) -> Answer {
    let body: NewPassword = call.json().await?;
    call.identity()?.set_password(&proof, call.parameter(0), body.password.0).await?;
    done()
}
