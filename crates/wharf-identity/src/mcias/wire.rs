//! The wire format: what is sent, and what is believed of an answer. Every member is typed; what is missing, or of
//! another type, makes the whole answer none (S-031, B-099).

use chrono::DateTime;
use serde::{Deserialize, Serialize};
use wharf_base::Timestamp;
use wharf_policy::{AccountType, Principal, Provider};

use super::{McIasLogin, Vouched};

/// The longest subject, in characters; the most roles, and the longest of them.
const SUBJECT_MAX: usize = 255;
const ROLES_MAX: usize = 64;
const ROLE_MAX: usize = 64;

/// Why an answer is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    /// A status that means nothing here.
    #[error("it answered with status {0}")]
    Status(u16),
    /// Not the JSON that it should be.
    #[error("its answer is not what is expected: {0}")]
    Form(String),
    /// It has failed too often to be asked now.
    #[error("it has failed several times and is not asked for a moment")]
    Open,
}

#[derive(Serialize)]
struct LoginRequest<'a> {
    username: &'a str,
    password: &'a str,
}

#[derive(Serialize)]
struct ValidateRequest<'a> {
    token: &'a str,
}

#[derive(Deserialize)]
struct LoginAnswer {
    token: String,
    expires_at: String,
}

#[derive(Deserialize)]
struct ValidityAnswer {
    valid: bool,
}

#[derive(Deserialize)]
struct ValidAnswer {
    subject: String,
    account_type: String,
    roles: Vec<String>,
    expires_at: String,
}

pub(super) fn login_request(username: &str, password: &str) -> Vec<u8> {
    serde_json::to_vec(&LoginRequest { username, password }).expect("texts have a JSON form")
}

pub(super) fn validate_request(token: &str) -> Vec<u8> {
    serde_json::to_vec(&ValidateRequest { token }).expect("texts have a JSON form")
}

pub(super) fn login(body: &[u8]) -> Result<McIasLogin, Problem> {
    let answer: LoginAnswer = parse(body)?;
    if answer.token.is_empty() || !answer.token.chars().all(|c| c.is_ascii_graphic()) {
        return Err(Problem::Form("the token is not one that fits a header".into()));
    }
    Ok(McIasLogin { token: answer.token.into(), expires_at: time(&answer.expires_at)? })
}

/// `None`: the token is nobody's.
pub(super) fn validation(body: &[u8]) -> Result<Option<Vouched>, Problem> {
    if !parse::<ValidityAnswer>(body)?.valid {
        return Ok(None);
    }
    let answer: ValidAnswer = parse(body)?;
    let is_subject = |text: &str| {
        !text.is_empty()
            && text.chars().count() <= SUBJECT_MAX
            && !text.chars().any(|c| c.is_control() || c.is_whitespace())
    };
    if !is_subject(&answer.subject) {
        return Err(Problem::Form("the subject is empty, too long, or not text".into()));
    }
    let expires_at = time(&answer.expires_at)?;
    let account_type = match answer.account_type.as_str() {
        "human" => AccountType::Human,
        "system" => AccountType::System,
        // A kind of account that is not known here has no rights here, not even by its subject (S-090).
        _ => return Ok(None),
    };
    // Nor has a role that no rule could name.
    let is_role = |role: &String| {
        !role.is_empty()
            && role.len() <= ROLE_MAX
            && role.chars().all(|c| c.is_ascii_alphanumeric() || "._:-".contains(c))
    };
    let roles = answer.roles.into_iter().filter(is_role).take(ROLES_MAX).collect();
    let principal = Principal::new(Provider::Mcias, &answer.subject, account_type, roles);
    Ok(Some(Vouched { principal, expires_at }))
}

fn parse<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, Problem> {
    // What serde says names members and places, never values that were read.
    serde_json::from_slice(body)
        .map_err(|error| Problem::Form(format!("{:?} at column {}", error.classify(), error.column())))
}

/// RFC 3339, with or without fractions, in any offset.
fn time(text: &str) -> Result<Timestamp, Problem> {
    let time = DateTime::parse_from_rfc3339(text).map_err(|_| Problem::Form("expires_at is not a time".into()))?;
    Ok(Timestamp::from_micros(time.timestamp_micros()))
}
