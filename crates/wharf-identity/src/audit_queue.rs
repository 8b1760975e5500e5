//! Records of what changes nothing in the database: logins, tokens issued, denials. They wait in a bounded queue, are
//! written in batches, and never hold up a request; what does not fit is counted, and the count is recorded (S-077).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use wharf_base::{Clock, Shutdown, Timestamp};
use wharf_meta::{AuditRecord, Metadata, Outcome};
use wharf_policy::{AccountType, Action, Asker, Denied, Limit, Reason};

use crate::AuditConfig;

/// How many records wait.
const QUEUE_MAX: usize = 10_000;

/// How many are written in one transaction, and how long the first of them waits.
const BATCH_MAX: usize = 256;
const BATCH_WAIT: Duration = Duration::from_millis(500);

/// How often the log is sealed, how often the head is told, and how often retention looks at it.
const SEAL_EVERY: Duration = Duration::from_secs(5);
const TELL_EVERY: Duration = Duration::from_secs(3_600);

/// Denials of one principal, action and source within this time are one record and a count.
const DENIALS_WITHIN: Duration = Duration::from_secs(60);
const DENIALS_MAX: usize = 10_000;

/// The queue, and the counts of denials.
pub(crate) struct AuditQueue {
    queue: mpsc::Sender<AuditRecord>,
    waiting: tokio::sync::Mutex<mpsc::Receiver<AuditRecord>>,
    /// Not recorded as lost yet.
    lost: AtomicU64,
    lost_in_all: AtomicU64,
    serves: AtomicBool,
    denials: Mutex<HashMap<DenialKey, Denials>>,
    meta: Arc<dyn Metadata>,
    clock: Arc<dyn Clock>,
    config: AuditConfig,
}

type DenialKey = (String, Action, Option<IpAddr>);

struct Denials {
    since: Duration,
    more: u64,
    last: AuditRecord,
}

impl AuditQueue {
    pub(crate) fn new(meta: Arc<dyn Metadata>, clock: Arc<dyn Clock>, config: AuditConfig) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        Self {
            queue,
            waiting: tokio::sync::Mutex::new(waiting),
            lost: AtomicU64::new(0),
            lost_in_all: AtomicU64::new(0),
            serves: AtomicBool::new(false),
            denials: Mutex::default(),
            meta,
            clock,
            config,
        }
    }

    /// Records that were lost since the start.
    pub(crate) fn lost_in_all(&self) -> u64 {
        self.lost_in_all.load(Ordering::Relaxed)
    }

    fn lose(&self, records: u64) {
        self.lost.fetch_add(records, Ordering::Relaxed);
        self.lost_in_all.fetch_add(records, Ordering::Relaxed);
    }

    /// Takes a record, if there is room.
    pub(crate) fn note(&self, record: AuditRecord) {
        if self.queue.try_send(record).is_err() {
            self.lose(1);
        }
    }

    /// The registry begins to serve; that it ends is recorded by [`keep`](Self::keep).
    pub(crate) fn note_start(&self) {
        self.serves.store(true, Ordering::Relaxed);
        self.note(own(self.clock.now(), "server.start"));
    }

    /// Takes a denial: the first of its kind at once, the others of the next minute as a count (S-076).
    pub(crate) fn note_denial(&self, asker: &Asker, denied: &Denied) {
        let record = denial(asker, denied, self.clock.now());
        let key = (record.principal.clone(), denied.action, asker.source);
        let now = self.clock.monotonic();
        let mut denials = self.denials.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = denials.get_mut(&key) {
            known.more += 1;
            known.last = record;
            return;
        }
        if denials.len() < DENIALS_MAX {
            denials.insert(key, Denials { since: now, more: 0, last: record.clone() });
        }
        drop(denials);
        self.note(record);
    }

    /// The counts whose minute is over, or all of them.
    fn counted_denials(&self, all: bool) -> Vec<AuditRecord> {
        let now = self.clock.monotonic();
        let mut counted = Vec::new();
        self.denials.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, denials| {
            let is_over = all || now.saturating_sub(denials.since) >= DENIALS_WITHIN;
            if is_over && denials.more > 0 {
                let mut record = denials.last.clone();
                if let Some(serde_json::Value::Object(detail)) = &mut record.detail {
                    detail.insert("times".into(), denials.more.into());
                }
                counted.push(record);
            }
            !is_over
        });
        counted
    }

    /// Writes, seals and trims until shutdown, then writes what is left.
    pub(crate) async fn keep(self: Arc<Self>, shutdown: Shutdown) {
        let mut waiting = self.waiting.lock().await;
        let (mut sealed, mut told) = (self.clock.monotonic(), None);
        loop {
            let is_last = shutdown.has_started();
            let mut batch = Vec::new();
            if is_last {
                while let Ok(record) = waiting.try_recv() {
                    batch.push(record);
                }
                if self.serves.load(Ordering::Relaxed) {
                    batch.push(own(self.clock.now(), "server.stop"));
                }
            } else {
                tokio::select! {
                    () = shutdown.started() => continue,
                    first = waiting.recv() => batch.extend(first),
                    () = tokio::time::sleep(SEAL_EVERY) => {}
                }
                collect(&mut waiting, &mut batch, &shutdown).await;
            }
            batch.extend(self.counted_denials(is_last));
            batch.extend(self.losses());
            for records in batch.chunks(BATCH_MAX) {
                self.write(records.to_vec()).await;
            }
            let now = self.clock.monotonic();
            if is_last || now.saturating_sub(sealed) >= SEAL_EVERY {
                sealed = now;
                let sealing = self.seal(&mut told, now);
                if let Err(error) = wharf_meta::under_lease(&*self.meta, "audit log", sealing).await {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the audit log could not be sealed: nobody knows who does it"
                    );
                }
            }
            if is_last {
                return;
            }
        }
    }

    async fn write(&self, records: Vec<AuditRecord>) {
        let count = records.len() as u64;
        if let Err(error) = self.meta.append_audit(records).await {
            self.lose(count);
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "audit records could not be written and are counted"
            );
        }
    }

    fn losses(&self) -> Option<AuditRecord> {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        (lost > 0).then(|| {
            tracing::error!(records = lost, "{lost} audit records were lost");
            let mut record = own(self.clock.now(), "audit.lost");
            record.outcome = Outcome::Failed;
            record.detail = Some(serde_json::json!({ "records": lost }));
            record
        })
    }

    /// Seals what is there, and tells the head of the chain once an hour: kept elsewhere, it shows a log that was cut
    /// short (S-078).
    async fn seal(&self, told: &mut Option<Duration>, now: Duration) {
        match self.meta.seal_audit(self.clock.now()).await {
            Ok(Some(seal)) if told.is_none_or(|told| now.saturating_sub(told) >= TELL_EVERY) => {
                *told = Some(now);
                tracing::info!(
                    audit.sequence = seal.last_sequence,
                    audit.head = %seal.sha256,
                    "the audit log is sealed up to record {}",
                    seal.last_sequence
                );
                self.trim().await;
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "the audit log could not be sealed"),
        }
    }

    async fn trim(&self) {
        let retention = self.config.retention.get();
        if retention.is_zero() {
            return;
        }
        let now = self.clock.now();
        match self.meta.trim_audit(now.minus(retention), now).await {
            Ok(0) => {}
            Ok(records) => {
                tracing::info!(records, "{records} audit records were older than audit.retention and are gone")
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the audit log could not be trimmed")
            }
        }
    }
}

/// What else comes within a moment, up to a batch.
async fn collect(waiting: &mut mpsc::Receiver<AuditRecord>, batch: &mut Vec<AuditRecord>, shutdown: &Shutdown) {
    let until = tokio::time::Instant::now() + BATCH_WAIT;
    while !batch.is_empty() && batch.len() < BATCH_MAX {
        tokio::select! {
            () = shutdown.started() => return,
            () = tokio::time::sleep_until(until) => return,
            next = waiting.recv() => batch.extend(next),
        }
    }
}

/// A record of what the registry does by itself.
fn own(at: Timestamp, action: &'static str) -> AuditRecord {
    AuditRecord {
        at,
        request_id: String::new(),
        principal: "wharf".to_owned(),
        account_type: AccountType::System,
        source: None,
        action,
        repository: None,
        target: None,
        outcome: Outcome::Done,
        rule_id: None,
        detail: None,
    }
}

fn denial(asker: &Asker, denied: &Denied, at: Timestamp) -> AuditRecord {
    let (rule, why) = match &denied.reason {
        Reason::BearerScope => (None, Limit::Bearer.to_string()),
        Reason::TokenScope => (None, Limit::ApiToken.to_string()),
        Reason::Policy { rule: Some(rule) } => (Some(rule.to_string()), "a rule denies it".to_owned()),
        Reason::Policy { rule: None } => (None, "no rule allows it".to_owned()),
    };
    AuditRecord {
        at,
        request_id: asker.request_id.to_string(),
        principal: asker.principal.name().to_owned(),
        account_type: asker.principal.account_type(),
        source: asker.source,
        action: "denied",
        repository: denied.repository.as_ref().map(ToString::to_string),
        target: Some(denied.action.to_string()),
        outcome: Outcome::Denied,
        rule_id: rule,
        detail: Some(serde_json::json!({ "why": why, "roles": asker.principal.roles() })),
    }
}
