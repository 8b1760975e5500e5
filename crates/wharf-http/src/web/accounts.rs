//! People and robots, their roles, passwords and tokens.

use askama::Template;
use http::StatusCode;
use wharf_base::TokenId;
use wharf_identity::{Account, ChangeAccount, NewAccount};
use wharf_policy::{AccountManage, AccountType, Authorized};
use wharf_registry::Listing;

use super::account::{Created, TokenLine, token_line, wanted_token};
use super::page::{self, Frame};
use super::text::{self, Time};
use super::{Answer, Visit, to_mend};
use crate::api::Problem;

/// How many accounts are on a page, and how many tokens of one are shown.
const PAGE: u32 = 100;
const TOKENS_SHOWN: u32 = 200;

#[derive(Template)]
#[template(path = "accounts.html")]
struct AccountsPage {
    f: Frame,
    path: String,
    lines: Vec<AccountLine>,
    next: Option<String>,
    problem: Option<String>,
    name: String,
    roles: String,
    is_robot: bool,
}

struct AccountLine {
    name: String,
    href: String,
    kind: &'static str,
    roles: String,
    is_enabled: bool,
    created: Time,
}

/// The accounts, by name.
pub(super) async fn list(ok: Authorized<AccountManage>, visit: Visit) -> Answer {
    render_list(&ok, &visit, StatusCode::OK, None).await
}

async fn render_list(
    ok: &Authorized<AccountManage>,
    visit: &Visit,
    status: StatusCode,
    problem: Option<String>,
) -> Answer {
    let found = visit.identity()?.accounts(ok, visit.after(), PAGE + 1).await?;
    let found = Listing::cut(found, PAGE);
    let next = found.next(|account| account.name.clone());
    let view = AccountsPage {
        f: Frame::of(visit, "Accounts"),
        path: visit.href("/accounts", &[]),
        lines: found.items.iter().map(|account| line(visit, account)).collect(),
        next: page::next_page(visit, "/accounts", &[], next.as_deref()),
        problem,
        name: text::shown(visit.form.text("name")),
        roles: text::shown(visit.form.text("roles")),
        is_robot: visit.form.text("account_type") == "system",
    };
    Ok(page::answer(status, &view)?)
}

fn kind(account: &Account) -> &'static str {
    if account.account_type == AccountType::System { "robot" } else { "person" }
}

fn line(visit: &Visit, account: &Account) -> AccountLine {
    AccountLine {
        href: visit.href("/accounts/one", &[("name", &account.name)]),
        name: account.name.clone(),
        kind: kind(account),
        roles: account.roles.join(", "),
        is_enabled: account.enabled,
        created: visit.time(account.created_at),
    }
}

/// Makes an account.
pub(super) async fn create(ok: Authorized<AccountManage>, visit: Visit) -> Answer {
    let made = match wanted(&visit) {
        Ok(wanted) => visit.identity()?.create_account(&ok, wanted).await.map_err(Problem::from),
        Err(problem) => Err(problem),
    };
    match made {
        Ok(account) => Ok(visit.see("/accounts/one", &[("name", &account.name), ("done", "saved")])),
        Err(problem) => {
            let (status, wrong) = to_mend(problem)?;
            render_list(&ok, &visit, status, Some(wrong)).await
        }
    }
}

fn wanted(visit: &Visit) -> Result<NewAccount, Problem> {
    let name = visit.form.text("name").parse();
    let name = name.map_err(|error: wharf_identity::NameError| Problem::field("name", error.to_string()))?;
    let account_type: AccountType = visit
        .form
        .text("account_type")
        .parse()
        .map_err(|_| Problem::field("account_type", "must be human or system"))?;
    let password = Some(visit.form.secret("password")).filter(|password| !password.expose().is_empty());
    Ok(NewAccount { name, account_type, roles: visit.form.words("roles"), password })
}

#[derive(Template)]
#[template(path = "one_account.html")]
struct OneAccountPage {
    f: Frame,
    accounts_href: String,
    name: String,
    kind: &'static str,
    is_robot: bool,
    is_enabled: bool,
    roles: String,
    version: i64,
    created: Time,
    created_by: String,
    tokens: Vec<TokenLine>,
    made: Option<Created>,
    problem: Option<String>,
    host: String,
}

/// One account.
pub(super) async fn show(ok: Authorized<AccountManage>, visit: Visit) -> Answer {
    let name = visit.parameter("name").to_owned();
    render_one(&ok, &visit, &name, StatusCode::OK, None, None).await
}

async fn render_one(
    ok: &Authorized<AccountManage>,
    visit: &Visit,
    name: &str,
    status: StatusCode,
    made: Option<Created>,
    problem: Option<String>,
) -> Answer {
    let identity = visit.identity()?;
    let account = identity.account(ok, name).await?;
    let tokens = identity.tokens_of(ok, name, None, TOKENS_SHOWN).await?;
    let view = OneAccountPage {
        f: Frame::of(visit, &account.name),
        accounts_href: visit.href("/accounts", &[]),
        kind: kind(&account),
        is_robot: account.account_type == AccountType::System,
        is_enabled: account.enabled,
        roles: account.roles.join("\n"),
        version: account.version(),
        created: visit.time(account.created_at),
        created_by: text::shown(&account.created_by),
        name: account.name,
        tokens: tokens.iter().map(|token| token_line(visit, token)).collect(),
        made,
        problem,
        host: visit.inbound.host(&visit.app.origins).unwrap_or_default(),
    };
    Ok(page::answer(status, &view)?)
}

/// Back to the account, with what was done or what was wrong.
async fn after(
    ok: &Authorized<AccountManage>,
    visit: &Visit,
    name: &str,
    outcome: Result<(), Problem>,
    done: &str,
) -> Answer {
    match outcome {
        Ok(()) => Ok(visit.see("/accounts/one", &[("name", name), ("done", done)])),
        Err(problem) => {
            let (status, wrong) = to_mend(problem)?;
            render_one(ok, visit, name, status, None, Some(wrong)).await
        }
    }
}

/// Changes roles, or whether it can be logged into.
pub(super) async fn change(ok: Authorized<AccountManage>, visit: Visit) -> Answer {
    let name = visit.form.text("name");
    let (roles, enabled) = (visit.form.words("roles"), visit.form.is_ticked("enabled"));
    let version = visit.form.text("version").parse().map_err(|_| Problem::field("version", "is missing"))?;
    let wanted = ChangeAccount { roles: Some(roles), enabled: Some(enabled), version: Some(version) };
    let changed = visit.identity()?.change_account(&ok, name, wanted).await;
    after(&ok, &visit, name, changed.map(|_| ()).map_err(Problem::from), "saved").await
}

/// Gives a new password.
pub(super) async fn set_password(ok: Authorized<AccountManage>, visit: Visit) -> Answer {
    let name = visit.form.text("name");
    let set = visit.identity()?.set_password(&ok, name, visit.form.secret("password")).await;
    after(&ok, &visit, name, set.map_err(Problem::from), "saved").await
}

/// Deletes it with its tokens.
pub(super) async fn delete(ok: Authorized<AccountManage>, visit: Visit) -> Answer {
    let name = visit.form.text("name");
    match visit.identity()?.delete_account(&ok, name, None).await.map_err(Problem::from) {
        Ok(()) => Ok(visit.see("/accounts", &[("done", "removed")])),
        Err(problem) => after(&ok, &visit, name, Err(problem), "removed").await,
    }
}

/// Makes a token for it; the answer shows its secret.
pub(super) async fn create_token(ok: Authorized<AccountManage>, visit: Visit) -> Answer {
    let name = visit.form.text("name");
    let made = match wanted_token(&visit) {
        Ok(wanted) => visit.identity()?.create_token(&ok, name, wanted).await.map_err(Problem::from),
        Err(problem) => Err(problem),
    };
    match made {
        Ok((token, secret)) => {
            let made = Created { secret: secret.expose().clone(), account: token.account };
            render_one(&ok, &visit, name, StatusCode::CREATED, Some(made), None).await
        }
        Err(problem) => after(&ok, &visit, name, Err(problem), "saved").await,
    }
}

/// Deletes one of its tokens.
pub(super) async fn delete_token(ok: Authorized<AccountManage>, visit: Visit) -> Answer {
    let name = visit.form.text("name");
    let id: TokenId = visit.form.text("id").parse().map_err(|_| Problem::not_found("token"))?;
    let deleted = visit.identity()?.delete_token(&ok, id).await;
    after(&ok, &visit, name, deleted.map_err(Problem::from), "token-deleted").await
}
