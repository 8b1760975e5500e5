//! API tokens, and the refresh tokens that clients keep. Only the SHA-256 of their secrets is here (S-036).

use wharf_base::{Timestamp, TokenId};
use wharf_policy::Attribution;

use crate::accounts::{self, Account};
use crate::audit::{self, AuditRecord};
use crate::changes::{self, Kind};
use crate::sql::{
    Contradiction, Locks, Micros, OptionalExtension as _, Result, Row, Tx, params, parsed, statements, text_list, texts,
};

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// Instead of a password, for people's tools and for robots.
    Api,
    /// To fetch bearer tokens with; what `docker login` keeps.
    Refresh,
}

impl TokenKind {
    /// As rows spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Refresh => "refresh",
        }
    }
}

/// A token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiToken {
    /// Its id; not a secret.
    pub id: TokenId,
    /// The name of the account it is of.
    pub account: String,
    /// What it is for.
    pub kind: TokenKind,
    /// For people.
    pub description: String,
    /// What it is limited to; empty: nothing but what its account may do.
    pub scopes: Vec<String>,
    /// The networks it may be used from; empty: any.
    pub networks: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: String,
    /// From when on it is nothing.
    pub expires_at: Timestamp,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
}

/// A token to be made.
#[derive(Clone, Debug)]
pub struct NewApiToken {
    /// Everything but the secret.
    pub token: ApiToken,
    /// The SHA-256 of the secret.
    pub secret_sha256: [u8; 32],
    /// How many its account may have of its kind.
    pub tokens_max: u32,
}

/// The answer to making a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateToken {
    /// It is there.
    Created,
    /// There is no such account.
    AccountUnknown,
    /// The account has as many as it may have; nothing has changed.
    TooMany,
}

statements! {
    BY_SECRET =
        "select t.id, a.name, t.kind, t.description, t.scopes, t.networks, t.created_at_us, t.created_by,
                t.expires_at_us, t.last_used_at_us,
                a.id, a.name, a.account_type, a.roles, a.password_hash, a.enabled, a.created_at_us, a.created_by,
                a.updated_at_us
           from api_tokens t
           join accounts a on a.id = t.account_id
          where t.secret_sha256 = $1";
    BY_ID =
        "select t.id, a.name, t.kind, t.description, t.scopes, t.networks, t.created_at_us, t.created_by,
                t.expires_at_us, t.last_used_at_us,
                a.id, a.name, a.account_type, a.roles, a.password_hash, a.enabled, a.created_at_us, a.created_by,
                a.updated_at_us
           from api_tokens t
           join accounts a on a.id = t.account_id
          where t.id = $1";
    PAGE =
        "select t.id, a.name, t.kind, t.description, t.scopes, t.networks, t.created_at_us, t.created_by,
                t.expires_at_us, t.last_used_at_us
           from api_tokens t
           join accounts a on a.id = t.account_id
          where t.id > $1
          order by t.id
          limit $2";
    /// At most some hundred a head, so the page may be cut from all of them.
    PAGE_OF_ACCOUNT =
        "select t.id, a.name, t.kind, t.description, t.scopes, t.networks, t.created_at_us, t.created_by,
                t.expires_at_us, t.last_used_at_us
           from accounts a
           join api_tokens t on t.account_id = a.id
          where a.name = $1 and t.kind = $2 and t.id > $3
          order by t.id
          limit $4";
    OF_ACCOUNT =
        "select t.id from api_tokens t where t.account_id = $1 and t.kind = $2 order by t.id";
    INSERT =
        "insert into api_tokens (id, account_id, kind, secret_sha256, description, scopes, networks, created_at_us,
                                 created_by, expires_at_us)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    DELETE = "delete from api_tokens where id = $1";
    USED = "update api_tokens set last_used_at_us = $1 where id = $2";
    EXPIRED = "delete from api_tokens where expires_at_us < $1";
}

pub(crate) fn by_secret(tx: &Tx<'_>, sha256: &[u8; 32]) -> Result<Option<(ApiToken, Account)>> {
    tx.prepare_cached(BY_SECRET)?.query_row([sha256], with_account).optional()
}

pub(crate) fn by_id(tx: &Tx<'_>, id: TokenId) -> Result<Option<(ApiToken, Account)>> {
    tx.prepare_cached(BY_ID)?.query_row([id.to_string()], with_account).optional()
}

/// Tokens of all accounts by id, which is the order they were made in.
pub(crate) fn page(tx: &Tx<'_>, after: Option<TokenId>, limit: u32) -> Result<Vec<ApiToken>> {
    let after = after.map_or_else(String::new, |id| id.to_string());
    tx.prepare_cached(PAGE)?.query_map(params![after, limit], token)?.collect()
}

/// Tokens of one account and kind.
pub(crate) fn page_of(
    tx: &Tx<'_>,
    account: &str,
    kind: TokenKind,
    after: Option<TokenId>,
    limit: u32,
) -> Result<Vec<ApiToken>> {
    let after = after.map_or_else(String::new, |id| id.to_string());
    tx.prepare_cached(PAGE_OF_ACCOUNT)?.query_map(params![account, kind.as_str(), after, limit], token)?.collect()
}

/// Of refresh tokens the oldest makes room: nobody is there to delete one when `docker login` wants another.
pub(crate) fn create(tx: &Tx<'_>, new: &NewApiToken, by: &Attribution) -> Result<CreateToken> {
    tx.lock(Locks::identities)?;
    let token = &new.token;
    let Some(account) = accounts::find(tx, &token.account)? else { return Ok(CreateToken::AccountUnknown) };
    let known: Vec<String> = tx
        .prepare_cached(OF_ACCOUNT)?
        .query_map(params![account.id.to_string(), token.kind.as_str()], |row| row.get(0))?
        .collect::<Result<_>>()?;
    let too_many = (known.len() + 1).saturating_sub(new.tokens_max as usize);
    if too_many > 0 && token.kind == TokenKind::Api {
        return Ok(CreateToken::TooMany);
    }
    for oldest in known.iter().take(too_many) {
        tx.prepare_cached(DELETE)?.execute([oldest])?;
    }
    tx.prepare_cached(INSERT)?.execute(params![
        token.id.to_string(),
        account.id.to_string(),
        token.kind.as_str(),
        new.secret_sha256,
        token.description,
        texts(&token.scopes),
        texts(&token.networks),
        Micros(token.created_at),
        token.created_by,
        Micros(token.expires_at),
    ])?;
    let detail = serde_json::json!({
        "account": token.account, "kind": token.kind.as_str(), "scopes": token.scopes,
        "expires_at": token.expires_at.to_string(),
    });
    audit::append(tx, &AuditRecord::done(by, token.created_at, "token.create").to(token.id).with(detail))?;
    changes::note(tx, Kind::Identities)?;
    Ok(CreateToken::Created)
}

/// Deletes a token; only one of `account`, unless that is `None`. Whose it is otherwise makes no difference (S-010).
pub(crate) fn delete(
    tx: &Tx<'_>,
    account: Option<&str>,
    id: TokenId,
    by: &Attribution,
    now: Timestamp,
) -> Result<bool> {
    tx.lock(Locks::identities)?;
    let Some((token, _)) = by_id(tx, id)? else { return Ok(false) };
    if account.is_some_and(|account| account != token.account) {
        return Ok(false);
    }
    tx.prepare_cached(DELETE)?.execute([id.to_string()])?;
    let detail = serde_json::json!({ "account": token.account, "kind": token.kind.as_str() });
    audit::append(tx, &AuditRecord::done(by, now, "token.delete").to(id).with(detail))?;
    changes::note(tx, Kind::Identities)?;
    Ok(true)
}

pub(crate) fn note_used(tx: &Tx<'_>, used: &[(TokenId, Timestamp)]) -> Result<()> {
    for (id, at) in used {
        tx.prepare_cached(USED)?.execute(params![Micros(*at), id.to_string()])?;
    }
    Ok(())
}

/// Forgets those that ended before `before`. How many.
pub(crate) fn remove_expired(tx: &Tx<'_>, before: Timestamp) -> Result<u64> {
    Ok(tx.prepare_cached(EXPIRED)?.execute([Micros(before)])? as u64)
}

fn with_account(row: &Row<'_>) -> Result<(ApiToken, Account)> {
    Ok((token(row)?, accounts::account(row, 10)?))
}

fn token(row: &Row<'_>) -> Result<ApiToken> {
    let kind = match row.get_str(2)? {
        "api" => TokenKind::Api,
        "refresh" => TokenKind::Refresh,
        other => return Err(Contradiction(format!("{other} is no kind of token")).into()),
    };
    Ok(ApiToken {
        id: parsed(row, 0)?,
        account: row.get(1)?,
        kind,
        description: row.get(3)?,
        scopes: text_list(row, 4)?,
        networks: text_list(row, 5)?,
        created_at: row.get::<Micros>(6)?.0,
        created_by: row.get(7)?,
        expires_at: row.get::<Micros>(8)?.0,
        last_used_at: row.get::<Option<Micros>>(9)?.map(|at| at.0),
    })
}
