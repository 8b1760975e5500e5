//! Where a backup comes from: a running registry, or the data directory of one that does not run.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _};
use reqwest::Method;
use serde_json::{Value, json};
use wharf_base::{Clock, SystemClock, Timestamp};
use wharf_meta::Snapshot;
use wharf_oci::Digest;
use wharf_store::{Bytewise, bytes_of};

use super::BackupPlace;
use crate::app;
use crate::client::{Api, Fetched, escape};
use crate::config::Config;
use crate::error::{CommandError, Exit};

/// The registry ends a backup that is not renewed within this time.
const RENEWED_WITHIN: Duration = Duration::from_secs(60);

/// How long until it is asked whether the snapshot is there; every time twice as long, up to a second.
const POLL: Duration = Duration::from_millis(50);
const POLL_MAX: Duration = Duration::from_secs(1);

/// The database, copied at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) taken_at: Timestamp,
    pub(crate) bytes: u64,
    /// In hexadecimal.
    pub(crate) sha256: String,
    /// The version of Wharf that copied it.
    pub(crate) wharf_version: String,
}

/// Content, or why there is none.
pub(crate) enum Blob {
    /// The bytes.
    Bytes(Bytewise),
    /// The registry itself has lost it.
    Lost,
}

/// A registry that lets itself be copied. Nothing that its snapshot names goes until the backup has ended.
#[async_trait]
pub(crate) trait Source: Send + Sync {
    /// Holds collection, and has the database copied. The session of a process that was killed at `place` ends; the new one
    /// is noted there as soon as it is known. Without a place it ends by itself a minute after we are killed.
    async fn begin(&self, place: Option<&dyn BackupPlace>) -> Result<Taken, CommandError>;

    /// The copied database.
    async fn database(&self) -> Result<Bytewise, CommandError>;

    /// Content that it names.
    async fn blob(&self, digest: &Digest, size_bytes: u64) -> Result<Blob, CommandError>;

    /// Resolves when the hold cannot be relied on any more, and never otherwise.
    async fn hold_lost(&self) -> CommandError;

    /// Whether the hold has stood from the beginning until now.
    async fn confirm_hold(&self) -> Result<(), CommandError>;

    /// The backup is over, well or not.
    async fn end(&self) -> Result<(), CommandError>;
}

/// A running registry, over its administration API.
pub(crate) struct Server {
    api: Api,
    session: Mutex<Option<String>>,
}

impl Server {
    /// The registry that `api` speaks to.
    pub(crate) fn new(api: Api) -> Self {
        Self { api, session: Mutex::new(None) }
    }

    fn has_session(&self) -> bool {
        self.session.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Where the session's parts are; empty before there is one.
    fn path(&self) -> String {
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        format!("/backup/{}", escape(session.as_deref().unwrap_or_default()))
    }

    async fn renew(&self) -> Result<Value, CommandError> {
        let path = format!("{}/renew", self.path());
        self.api.exchange(Method::POST, &path, Some(&json!({})), &[]).await?.json()
    }

    async fn fetch(&self, path: &str) -> Result<Fetched, CommandError> {
        self.api.fetch(&format!("{}{path}", self.path())).await
    }
}

#[async_trait]
impl Source for Server {
    async fn begin(&self, place: Option<&dyn BackupPlace>) -> Result<Taken, CommandError> {
        if let Some(left) = place.and_then(BackupPlace::left_session) {
            // It may have ended by itself.
            let _ = self.api.exchange(Method::DELETE, &format!("/backup/{}", escape(left)), None, &[]).await;
        }
        let wish = json!({ "renew_seconds": RENEWED_WITHIN.as_secs() });
        let mut state = self.api.exchange(Method::POST, "/backup", Some(&wish), &[]).await?.json()?;
        let id = state["id"].as_str().map(str::to_owned);
        if let (Some(place), Some(id)) = (place, &id) {
            place.note_session(id).await?;
        }
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = id;
        let mut poll = POLL;
        while state["snapshot"].is_null() {
            tokio::time::sleep(poll).await;
            poll = (poll * 2).min(POLL_MAX);
            state = self.renew().await?;
        }
        taken(&state).ok_or_else(|| {
            CommandError::new(Exit::Unexpected, "the server's answer does not describe a snapshot")
                .with_hint("use the version of Wharf that the server has")
        })
    }

    async fn database(&self) -> Result<Bytewise, CommandError> {
        match self.fetch("/database").await? {
            Fetched::Content(bytes) => Ok(bytes),
            Fetched::Conflict(detail) => Err(CommandError::new(Exit::Refused, detail)),
        }
    }

    async fn blob(&self, digest: &Digest, _size_bytes: u64) -> Result<Blob, CommandError> {
        match self.fetch(&format!("/blobs/{}", escape(&digest.to_string()))).await? {
            Fetched::Content(bytes) => Ok(Blob::Bytes(bytes)),
            Fetched::Conflict(_) => Ok(Blob::Lost),
        }
    }

    async fn hold_lost(&self) -> CommandError {
        let mut renewed = tokio::time::Instant::now();
        loop {
            tokio::time::sleep(RENEWED_WITHIN / 6).await;
            if !self.has_session() {
                continue;
            }
            let sent = tokio::time::Instant::now();
            match self.renew().await {
                Ok(_) => renewed = sent,
                // It may answer again in time.
                Err(error) if error.exit() == Exit::Unreachable && renewed.elapsed() < RENEWED_WITHIN => {}
                Err(error) => return error,
            }
        }
    }

    async fn confirm_hold(&self) -> Result<(), CommandError> {
        self.renew().await.map(|_| ())
    }

    async fn end(&self) -> Result<(), CommandError> {
        if !self.has_session() {
            return Ok(());
        }
        self.api.exchange(Method::DELETE, &self.path(), None, &[]).await.map(|_| ())
    }
}

fn taken(state: &Value) -> Option<Taken> {
    let snapshot = &state["snapshot"];
    Some(Taken {
        taken_at: snapshot["taken_at"].as_str()?.parse().ok()?,
        bytes: snapshot["bytes"].as_u64()?,
        sha256: snapshot["sha256"].as_str()?.to_owned(),
        wharf_version: state["version"].as_str()?.to_owned(),
    })
}

/// A data directory that no registry runs on. Nobody else can use it until this is dropped, so nothing needs a hold.
pub(crate) struct Offline {
    opened: app::Offline,
    snapshot: Mutex<Option<Arc<Snapshot>>>,
}

impl Offline {
    /// The data directory that `config` names.
    pub(crate) async fn open(config: &Config) -> Result<Self, CommandError> {
        app::check_data(config)?;
        let opened = app::open_offline(config, Arc::new(SystemClock::new())).await?;
        Ok(Self::of(opened))
    }

    /// What somebody has opened.
    pub(crate) fn of(opened: app::Offline) -> Self {
        Self { opened, snapshot: Mutex::new(None) }
    }

    /// What is copied.
    pub(crate) fn opened(&self) -> &app::Offline {
        &self.opened
    }

    fn snapshot(&self) -> Result<Arc<Snapshot>, CommandError> {
        let snapshot = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner).clone();
        snapshot.ok_or_else(|| CommandError::new(Exit::Unexpected, "the snapshot has not been taken"))
    }
}

#[async_trait]
impl Source for Offline {
    async fn begin(&self, _: Option<&dyn BackupPlace>) -> Result<Taken, CommandError> {
        let taken_at = SystemClock::new().now();
        let recorded = self.opened.meta.append_audit(vec![super::record(taken_at, "backup.begin", "offline")]).await;
        recorded.map_err(|error| CommandError::from_source(Exit::WrongStore, error))?;
        let snapshot = self.opened.meta.take_snapshot().await;
        let snapshot = snapshot.map_err(|error| CommandError::from_source(Exit::WrongStore, error))?;
        let taken = Taken {
            taken_at,
            bytes: snapshot.size_bytes(),
            sha256: hex::encode(snapshot.sha256()),
            wharf_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(snapshot));
        Ok(taken)
    }

    async fn database(&self) -> Result<Bytewise, CommandError> {
        let snapshot = self.snapshot()?;
        let file = snapshot.file().map_err(|error| CommandError::from_source(Exit::Unexpected, error))?;
        bytes_of(file).map_err(|error| CommandError::unexpected("reading the snapshot", error))
    }

    async fn blob(&self, digest: &Digest, size_bytes: u64) -> Result<Blob, CommandError> {
        let place = self.opened.place(digest).await?;
        match self.opened.store.open(&place, size_bytes).await {
            Ok(Some(content)) => Ok(Blob::Bytes(content.stream(0..size_bytes).into_stream().boxed())),
            Ok(None) | Err(wharf_store::Error::Damaged { .. }) => Ok(Blob::Lost),
            Err(error) => Err(CommandError::from_source(Exit::Unexpected, error)),
        }
    }

    async fn hold_lost(&self) -> CommandError {
        std::future::pending().await
    }

    async fn confirm_hold(&self) -> Result<(), CommandError> {
        Ok(())
    }

    async fn end(&self) -> Result<(), CommandError> {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(self.opened.close().await?)
    }
}
