//! Policy rules as they are kept (F-08).

use wharf_base::{RuleId, Timestamp};
use wharf_policy::{Attribution, StoredRule};

use crate::audit::{self, AuditRecord};
use crate::changes::{self, Kind};
use crate::sql::{Locks, Micros, OptionalExtension as _, Result, Row, Tx, params, statements};

/// The most rules there may be (security requirements, §3.4).
const RULES_MAX: i64 = 10_000;

/// A row of `policy_rules`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRule {
    /// What policy reads of it.
    pub rule: StoredRule,
    /// Whether it is in force.
    pub enabled: bool,
    /// Grows by one with each change.
    pub version: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: String,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// By whom.
    pub updated_by: String,
}

/// What a rule shall be; `rule_json` has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleText {
    /// Lower comes first.
    pub priority: i64,
    /// Whether it is in force.
    pub enabled: bool,
    /// The rule in its canonical form.
    pub rule_json: String,
    /// What it is for.
    pub description: String,
}

/// The answer to writing a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteRule {
    /// As it is now.
    Written(PolicyRule),
    /// There is none of that id.
    Unknown,
    /// Somebody else has changed it since; nothing has changed.
    Conflict,
    /// There are as many as there may be; nothing has changed.
    TooMany,
}

statements! {
    ENABLED =
        "select id, priority, enabled, rule_json, description, version, created_at_us, created_by, updated_at_us,
                updated_by
           from policy_rules indexed by policy_rules_in_order
          where priority >= $1 and enabled = 1
          order by priority, id";
    PAGE =
        "select id, priority, enabled, rule_json, description, version, created_at_us, created_by, updated_at_us,
                updated_by
           from policy_rules
          where (priority, id) > ($1, $2)
          order by priority, id
          limit $3";
    FIND =
        "select id, priority, enabled, rule_json, description, version, created_at_us, created_by, updated_at_us,
                updated_by
           from policy_rules
          where id = $1";
    COUNT = "select count(*) from policy_rules where id > ''";
    INSERT =
        "insert into policy_rules (id, priority, enabled, rule_json, description, created_at_us, created_by, updated_at_us,
                                   updated_by)
         values ($1, $2, $3, $4, $5, $6, $7, $6, $7)";
    UPDATE =
        "update policy_rules
            set priority = $1, enabled = $2, rule_json = $3, description = $4, version = version + 1, updated_at_us = $5,
                updated_by = $6
          where id = $7";
    DELETE = "delete from policy_rules where id = $1";
}

/// The rules in force, by priority and then id.
pub(crate) fn enabled(tx: &Tx<'_>) -> Result<Vec<StoredRule>> {
    let rules: Result<Vec<PolicyRule>> = tx.prepare_cached(ENABLED)?.query_map([i64::MIN], rule)?.collect();
    Ok(rules?.into_iter().map(|rule| rule.rule).collect())
}

/// Rules by priority and then id, strictly after `after`.
pub(crate) fn page(tx: &Tx<'_>, after: Option<(i64, &str)>, limit: u32) -> Result<Vec<PolicyRule>> {
    let (priority, id) = after.unwrap_or((i64::MIN, ""));
    tx.prepare_cached(PAGE)?.query_map(params![priority, id, limit], rule)?.collect()
}

pub(crate) fn find(tx: &Tx<'_>, id: &str) -> Result<Option<PolicyRule>> {
    tx.prepare_cached(FIND)?.query_row([id], rule).optional()
}

pub(crate) fn create(tx: &Tx<'_>, id: RuleId, text: &RuleText, by: &Attribution, now: Timestamp) -> Result<WriteRule> {
    tx.lock(Locks::rules)?;
    let count: i64 = tx.prepare_cached(COUNT)?.query_row((), |row| row.get(0))?;
    if count >= RULES_MAX {
        return Ok(WriteRule::TooMany);
    }
    let id = id.to_string();
    tx.prepare_cached(INSERT)?.execute(params![
        id,
        text.priority,
        text.enabled,
        text.rule_json,
        text.description,
        Micros(now),
        by.principal.name(),
    ])?;
    written(tx, &id, "rule.create", by, now)
}

/// Changes the rule, if it is still in `version`; `None`: whatever it is.
pub(crate) fn replace(
    tx: &Tx<'_>,
    id: &str,
    version: Option<i64>,
    text: &RuleText,
    by: &Attribution,
    now: Timestamp,
) -> Result<WriteRule> {
    tx.lock(Locks::rules)?;
    if let Some(refusal) = refusal(tx, id, version)? {
        return Ok(refusal);
    }
    tx.prepare_cached(UPDATE)?.execute(params![
        text.priority,
        text.enabled,
        text.rule_json,
        text.description,
        Micros(now),
        by.principal.name(),
        id,
    ])?;
    written(tx, id, "rule.change", by, now)
}

/// Deletes the rule, if it is still in `version`; `None`: whatever it is. Answers with what it was.
pub(crate) fn delete(
    tx: &Tx<'_>,
    id: &str,
    version: Option<i64>,
    by: &Attribution,
    now: Timestamp,
) -> Result<WriteRule> {
    tx.lock(Locks::rules)?;
    if let Some(refusal) = refusal(tx, id, version)? {
        return Ok(refusal);
    }
    let deleted = written(tx, id, "rule.delete", by, now)?;
    tx.prepare_cached(DELETE)?.execute([id])?;
    Ok(deleted)
}

fn refusal(tx: &Tx<'_>, id: &str, version: Option<i64>) -> Result<Option<WriteRule>> {
    let Some(found) = find(tx, id)? else { return Ok(Some(WriteRule::Unknown)) };
    Ok(version.filter(|version| *version != found.version).map(|_| WriteRule::Conflict))
}

/// Records what the rule says now, so that the log alone tells which rules were in force when.
fn written(tx: &Tx<'_>, id: &str, action: &'static str, by: &Attribution, now: Timestamp) -> Result<WriteRule> {
    let Some(found) = find(tx, id)? else { return Ok(WriteRule::Unknown) };
    let detail = serde_json::json!({
        "priority": found.rule.priority, "enabled": found.enabled, "rule": found.rule.rule_json,
    });
    audit::append(tx, &AuditRecord::done(by, now, action).to(id).with(detail))?;
    changes::note(tx, Kind::Rules)?;
    Ok(WriteRule::Written(found))
}

fn rule(row: &Row<'_>) -> Result<PolicyRule> {
    Ok(PolicyRule {
        rule: StoredRule { id: row.get(0)?, priority: row.get(1)?, rule_json: row.get(3)?, description: row.get(4)? },
        enabled: row.get(2)?,
        version: row.get(5)?,
        created_at: row.get::<Micros>(6)?.0,
        created_by: row.get(7)?,
        updated_at: row.get::<Micros>(8)?.0,
        updated_by: row.get(9)?,
    })
}
