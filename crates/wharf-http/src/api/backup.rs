//! `/api/v1/backup`: a client copies everything. It begins, waits until the database has been copied, reads that and the
//! content that it names, renews all the while, and ends.

use std::fmt::Write as _;
use std::time::Duration;

use http::{HeaderValue, StatusCode};
use wharf_base::BackupId;
use wharf_oci::Digest;
use wharf_policy::{Authorized, BackupCreate};
use wharf_registry::Backup;

use super::forms::DigestForm;
use super::types::{BackupDatabase, BackupState, NewBackup};
use super::{Answer, Call, Problem, done, json, ok};
use crate::reply::{Payload, Reply};

/// An hour: what nobody attends to must not hold collection for longer.
const RENEW_SECONDS_MAX: u32 = 3_600;

const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

impl From<Backup> for BackupState {
    fn from(backup: Backup) -> Self {
        Self {
            id: backup.id.to_string(),
            renew_seconds: backup.renewed_within.as_secs(),
            version: env!("CARGO_PKG_VERSION"),
            snapshot: backup.snapshot.map(|snapshot| BackupDatabase {
                taken_at: snapshot.taken_at.to_string(),
                bytes: snapshot.size_bytes,
                sha256: hex(&snapshot.sha256),
            }),
        }
    }
}

fn hex(hash: &[u8]) -> String {
    hash.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn id(call: &Call) -> Result<BackupId, Problem> {
    call.parameter(0).parse().map_err(|_| Problem::not_found("backup"))
}

/// Begins a backup: collection is held, and the database is being copied. 409 while there is another one.
#[utoipa::path(post, path = "/api/v1/backup", operation_id = "beginBackup", tag = "backup", request_body = NewBackup, responses((status = 201, body = BackupState), (status = 409)))]
pub(crate) async fn begin(proof: Authorized<BackupCreate>, mut call: Call) -> Answer {
    let new: NewBackup = call.json().await?;
    if !(1..=RENEW_SECONDS_MAX).contains(&new.renew_seconds) {
        return Err(Problem::field("renew_seconds", format!("must be from 1 to {RENEW_SECONDS_MAX}")));
    }
    let renewed_within = Duration::from_secs(u64::from(new.renew_seconds));
    let begun = call.app.parts.registry.begin_backup(&proof, renewed_within).await?;
    json(StatusCode::CREATED, &BackupState::from(begun))
}

/// Keeps a backup alive, and says how far it is. 404 when it has ended; 409 when its hold on collection is gone: then it is
/// no backup.
#[utoipa::path(post, path = "/api/v1/backup/{id}/renew", operation_id = "renewBackup", tag = "backup", params(("id" = String, Path)), responses((status = 200, body = BackupState), (status = 404), (status = 409)))]
pub(crate) async fn renew(proof: Authorized<BackupCreate>, call: Call) -> Answer {
    ok(&BackupState::from(call.app.parts.registry.renew_backup(&proof, id(&call)?).await?))
}

/// The copied database. There are hashes of passwords and tokens in it, and no keys.
#[utoipa::path(get, path = "/api/v1/backup/{id}/database", operation_id = "getBackupDatabase", tag = "backup", params(("id" = String, Path)), responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>), (status = 404)))]
pub(crate) async fn database(proof: Authorized<BackupCreate>, call: Call) -> Answer {
    let file = call.app.parts.registry.backup_database(&proof, id(&call)?)?;
    let content = Payload::Stream { length_bytes: file.size_bytes(), content: file.stream() };
    Ok(Reply::of(StatusCode::OK, OCTETS, content))
}

/// Content that the copied database names, from whatever repository. 409 when it is damaged.
#[utoipa::path(get, path = "/api/v1/backup/{id}/blobs/{digest}", operation_id = "getBackupBlob", tag = "backup", params(("id" = String, Path), ("digest" = inline(DigestForm), Path)), responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>), (status = 404), (status = 409)))]
pub(crate) async fn blob(proof: Authorized<BackupCreate>, call: Call) -> Answer {
    let id = id(&call)?;
    let digest: Digest = call.parameter(1).parse().map_err(|_| Problem::not_found("content"))?;
    let blob = call.app.parts.registry.backup_blob(&proof, id, &digest).await?;
    if blob.size_bytes == 0 {
        return Ok(Reply::of(StatusCode::OK, OCTETS, Payload::Empty));
    }
    let content = Payload::Stream { length_bytes: blob.size_bytes, content: blob.stream(0..blob.size_bytes) };
    Ok(Reply::of(StatusCode::OK, OCTETS, content))
}

/// Ends a backup: collection goes on. 409 when its hold was gone before: then it is no backup.
#[utoipa::path(delete, path = "/api/v1/backup/{id}", operation_id = "endBackup", tag = "backup", params(("id" = String, Path)), responses((status = 204), (status = 404), (status = 409)))]
pub(crate) async fn end(proof: Authorized<BackupCreate>, call: Call) -> Answer {
    call.app.parts.registry.end_backup(&proof, id(&call)?).await?;
    done()
}
