//! What happened: records, their chain of seals, and retention (S-076 … S-078).
//!
//! A record is written in the transaction of what it tells about, so neither is there without the other. Sealing comes
//! later and in batches: it gives each record the hash of everything up to it (`audit_chain`), in the order of
//! their sequence.

use std::net::IpAddr;

use wharf_base::Timestamp;
use wharf_oci::RepositoryName;
use wharf_policy::{AccountType, Attribution};

use crate::audit_chain::{Hash, record_hash};
use crate::sql::{Count, Locks, Micros, OptionalExtension as _, Result, Row, Tx, params, row, statements};

/// The most records that one transaction seals.
const SEAL_MAX: u32 = 10_000;

/// What became of what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was done.
    Done,
    /// Policy, or what credentials are limited to, stood against it.
    Denied,
    /// It was not possible: a wrong password, say.
    Failed,
}

impl Outcome {
    /// As rows spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }
}

/// A record to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditRecord {
    /// When.
    pub at: Timestamp,
    /// In which request.
    pub request_id: String,
    /// Who, by the name that records know.
    pub principal: String,
    /// What kind of account.
    pub account_type: AccountType,
    /// From which address.
    pub source: Option<IpAddr>,
    /// What, such as `manifest.push`.
    pub action: &'static str,
    /// Where.
    pub repository: Option<String>,
    /// To what: a digest, a tag, an account, a rule.
    pub target: Option<String>,
    /// What became of it.
    pub outcome: Outcome,
    /// The rule that decided.
    pub rule_id: Option<String>,
    /// More about it; never a secret.
    pub detail: Option<serde_json::Value>,
}

impl AuditRecord {
    /// What `by` did.
    pub fn done(by: &Attribution, at: Timestamp, action: &'static str) -> Self {
        Self {
            at,
            request_id: by.request_id.to_string(),
            principal: by.principal.name().to_owned(),
            account_type: by.principal.account_type(),
            source: by.source,
            action,
            repository: None,
            target: None,
            outcome: Outcome::Done,
            rule_id: Some(by.rule.to_string()),
            detail: Some(serde_json::json!({ "roles": by.principal.roles() })),
        }
    }

    /// With the repository that it is about.
    #[must_use]
    pub fn on(mut self, repository: &RepositoryName) -> Self {
        self.repository = Some(repository.to_string());
        self
    }

    /// With what it was done to.
    #[must_use]
    pub fn to(mut self, target: impl ToString) -> Self {
        self.target = Some(target.to_string());
        self
    }

    /// With more about it.
    #[must_use]
    pub fn with(mut self, detail: serde_json::Value) -> Self {
        match (&mut self.detail, detail) {
            (Some(serde_json::Value::Object(known)), serde_json::Value::Object(more)) => known.extend(more),
            (known, detail) => *known = Some(detail),
        }
        self
    }
}

/// A record as its row has it. Nothing is parsed, so that a row which somebody has edited can still be read and shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its place in the log.
    pub sequence: i64,
    /// When.
    pub at: Timestamp,
    /// In which request.
    pub request_id: String,
    /// Who.
    pub principal: String,
    /// What kind of account.
    pub account_type: String,
    /// From which address; empty if from none.
    pub source: String,
    /// What.
    pub action: String,
    /// Where.
    pub repository: Option<String>,
    /// To what.
    pub target: Option<String>,
    /// What became of it.
    pub outcome: String,
    /// The rule that decided.
    pub rule_id: Option<String>,
    /// More about it, in JSON.
    pub detail: Option<String>,
    /// The hash of the chain up to it, once it is sealed.
    pub sha256: Option<Hash>,
}

/// A seal: the head of the chain at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    /// The last record it covers.
    pub last_sequence: i64,
    /// How many it covers.
    pub records: u64,
    /// The head of the chain.
    pub sha256: Hash,
    /// The head before it.
    pub previous_sha256: Hash,
    /// When.
    pub sealed_at: Timestamp,
}

/// Which records are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Of this principal only.
    pub principal: Option<String>,
    /// Of this repository only.
    pub repository: Option<String>,
    /// Of this action only.
    pub action: Option<String>,
    /// With this outcome only.
    pub outcome: Option<String>,
    /// Of this request only.
    pub request_id: Option<String>,
    /// From this time on.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
}

macro_rules! page {
    ($first:literal) => {
        concat!(
            "select sequence, at_us, request_id, principal, account_type, source, action, repository, target, outcome,
                    rule_id, detail, sha256
               from audit_log
              where ",
            $first,
            " and sequence < $2
                and (cast($3 as text) is null or principal = $3)
                and (cast($4 as text) is null or repository = $4)
                and (cast($5 as text) is null or action = $5)
                and (cast($6 as text) is null or outcome = $6)
                and (cast($7 as text) is null or request_id = $7)
                and at_us >= $8 and at_us < $9
              order by sequence desc
              limit $10"
        )
    };
}

statements! {
    INSERT =
        "insert into audit_log (request_id, at_us, principal, account_type, source, action, repository, target, outcome,
                                rule_id, detail)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    postgres:
        "insert into audit_log (request_id, at_us, principal, account_type, source, action, repository, target, outcome,
                                rule_id, detail)
         select request_id, at_us, principal, account_type, source, action, repository, target, outcome, rule_id, detail
           from jsonb_to_recordset(cast(cast($1 as text) as jsonb))
             as record (request_id text, at_us bigint, principal text, account_type text, source text, action text,
                        repository text, target text, outcome text, rule_id text, detail text)";
    PAGE = page!("cast($1 as text) is null");
    PAGE_OF_PRINCIPAL = page!("principal = $1");
    PAGE_OF_REPOSITORY = page!("repository = $1");
    IN_ORDER =
        "select sequence, at_us, request_id, principal, account_type, source, action, repository, target, outcome,
                rule_id, detail, sha256
           from audit_log
          where sequence > $1
          order by sequence
          limit $2";
    LAST_SEAL =
        "select last_sequence, records, sha256, previous_sha256, sealed_at_us
           from audit_seals
          where last_sequence > $1
          order by last_sequence desc
          limit 1";
    SEALS =
        "select last_sequence, records, sha256, previous_sha256, sealed_at_us
           from audit_seals
          where last_sequence > $1
          order by last_sequence
          limit $2";
    LAST = "select coalesce(max(sequence), 0) from audit_log where sequence > $1";
    SEAL_RECORD = "update audit_log set sha256 = $1 where sequence = $2";
    INSERT_SEAL =
        "insert into audit_seals (last_sequence, records, sha256, previous_sha256, sealed_at_us)
         values ($1, $2, $3, $4, $5)";
    /// The newest segment whose last record is old enough to go.
    TRIMMABLE =
        "select s.last_sequence
           from audit_seals s
           join audit_log l on l.sequence = s.last_sequence
          where s.last_sequence > $1 and l.at_us < $2
          order by s.last_sequence desc
          limit 1";
    TRIM_RECORDS = "delete from audit_log where sequence <= $1";
    TRIM_SEALS = "delete from audit_seals where last_sequence < $1";
}

/// What [`INSERT`] writes of a record.
const COLUMNS: [&str; 11] = [
    "request_id",
    "at_us",
    "principal",
    "account_type",
    "source",
    "action",
    "repository",
    "target",
    "outcome",
    "rule_id",
    "detail",
];

/// Writes one record.
pub(crate) fn append(tx: &Tx<'_>, record: &AuditRecord) -> Result<()> {
    append_all(tx, std::slice::from_ref(record))
}

/// Writes several in their order.
pub(crate) fn append_all(tx: &Tx<'_>, records: &[AuditRecord]) -> Result<()> {
    let rows = records.iter().map(|record| {
        row![
            &*record.request_id,
            record.at.as_micros(),
            &*record.principal,
            record.account_type.as_str(),
            record.source.map_or_else(String::new, |source| source.to_string()),
            record.action,
            record.repository.as_deref(),
            record.target.as_deref(),
            record.outcome.as_str(),
            record.rule_id.as_deref(),
            record.detail.as_ref().map(ToString::to_string),
        ]
    });
    tx.insert_all(INSERT, COLUMNS, rows)
}

/// Records that pass `filter`, the newest first, strictly before `before`.
pub(crate) fn page(tx: &Tx<'_>, filter: &AuditFilter, before: Option<i64>, limit: u32) -> Result<Vec<AuditEntry>> {
    let (statement, key) = match (&filter.repository, &filter.principal) {
        (Some(repository), _) => (PAGE_OF_REPOSITORY, Some(repository)),
        (None, Some(principal)) => (PAGE_OF_PRINCIPAL, Some(principal)),
        (None, None) => (PAGE, None),
    };
    tx.prepare_cached(statement)?
        .query_map(
            params![
                key,
                before.unwrap_or(i64::MAX),
                filter.principal,
                filter.repository,
                filter.action,
                filter.outcome,
                filter.request_id,
                filter.since.map_or(i64::MIN, Timestamp::as_micros),
                filter.until.map_or(i64::MAX, Timestamp::as_micros),
                limit,
            ],
            entry,
        )?
        .collect()
}

/// Records in their order, strictly after `after`.
pub(crate) fn in_order(tx: &Tx<'_>, after: i64, limit: u32) -> Result<Vec<AuditEntry>> {
    tx.prepare_cached(IN_ORDER)?.query_map(params![after, limit], entry)?.collect()
}

/// Seals in their order, strictly after the one of `after`.
pub(crate) fn seals(tx: &Tx<'_>, after: i64, limit: u32) -> Result<Vec<Seal>> {
    tx.prepare_cached(SEALS)?.query_map(params![after, limit], seal_of)?.collect()
}

pub(crate) fn last_seal(tx: &Tx<'_>) -> Result<Option<Seal>> {
    tx.prepare_cached(LAST_SEAL)?.query_row([i64::MIN], seal_of).optional()
}

/// Gives the records since the last seal their hashes; `None` if there are none.
pub(crate) fn seal(tx: &Tx<'_>, now: Timestamp) -> Result<Option<Seal>> {
    tx.lock(Locks::seals)?;
    let (after, previous) = last_seal(tx)?.map_or((0, Hash::BEGINNING), |seal| (seal.last_sequence, seal.sha256));
    let settled: i64 = tx.at_a_settled_moment(|| tx.prepare_cached(LAST)?.query_row([after], |row| row.get(0)))?;
    let mut entries = in_order(tx, after, SEAL_MAX)?;
    entries.retain(|entry| entry.sequence <= settled);
    let Some(last) = entries.last().map(|entry| entry.sequence) else { return Ok(None) };
    let mut head = previous;
    for entry in &entries {
        head = record_hash(&head, entry);
        tx.prepare_cached(SEAL_RECORD)?.execute(params![head.as_bytes(), entry.sequence])?;
    }
    let seal = Seal {
        last_sequence: last,
        records: entries.len() as u64,
        sha256: head,
        previous_sha256: previous,
        sealed_at: now,
    };
    tx.prepare_cached(INSERT_SEAL)?.execute(params![
        seal.last_sequence,
        Count(seal.records),
        seal.sha256.as_bytes(),
        seal.previous_sha256.as_bytes(),
        Micros(now),
    ])?;
    Ok(Some(seal))
}

/// Forgets whole segments that ended before `before`; the seal of the last of them stays, and a record says so, so that
/// the chain still has a beginning that nobody can choose. How many records went.
pub(crate) fn trim(tx: &Tx<'_>, before: Timestamp, now: Timestamp) -> Result<u64> {
    tx.lock(Locks::seals)?;
    let last: Option<i64> =
        tx.prepare_cached(TRIMMABLE)?.query_row(params![i64::MIN, Micros(before)], |row| row.get(0)).optional()?;
    let Some(last) = last else { return Ok(0) };
    let removed = tx.prepare_cached(TRIM_RECORDS)?.execute([last])?;
    tx.prepare_cached(TRIM_SEALS)?.execute([last])?;
    let detail = serde_json::json!({ "last_sequence": last, "records": removed });
    append(
        tx,
        &AuditRecord {
            at: now,
            request_id: String::new(),
            principal: "wharf".to_owned(),
            account_type: AccountType::System,
            source: None,
            action: TRIM_ACTION,
            repository: None,
            target: Some(last.to_string()),
            outcome: Outcome::Done,
            rule_id: None,
            detail: Some(detail),
        },
    )?;
    Ok(removed as u64)
}

/// The action of the record that says where the log was cut by retention.
pub(crate) const TRIM_ACTION: &str = "audit.trim";

fn entry(row: &Row<'_>) -> Result<AuditEntry> {
    Ok(AuditEntry {
        sequence: row.get(0)?,
        at: row.get::<Micros>(1)?.0,
        request_id: row.get(2)?,
        principal: row.get(3)?,
        account_type: row.get(4)?,
        source: row.get(5)?,
        action: row.get(6)?,
        repository: row.get(7)?,
        target: row.get(8)?,
        outcome: row.get(9)?,
        rule_id: row.get(10)?,
        detail: row.get(11)?,
        sha256: row.get::<Option<[u8; 32]>>(12)?.map(Hash::new),
    })
}

fn seal_of(row: &Row<'_>) -> Result<Seal> {
    Ok(Seal {
        last_sequence: row.get(0)?,
        records: row.get::<Count>(1)?.0,
        sha256: Hash::new(row.get(2)?),
        previous_sha256: Hash::new(row.get(3)?),
        sealed_at: row.get::<Micros>(4)?.0,
    })
}
