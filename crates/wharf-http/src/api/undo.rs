//! `/api/v1/tags/history`, `/api/v1/deleted`, `/api/v1/restore`: what was changed, and changing it back. The repository is
//! the parameter `repository`, because its name has slashes.

use wharf_oci::{Digest, Tag};
use wharf_policy::{Authorized, Pull, Push};
use wharf_registry::{Deleted, Listing, RestoreFrom};

use super::forms::{CursorForm, PageLengthForm, RepositoryForm, TagForm};
use super::types::{DeletedManifest, Page, Restoration, Restored, TagChange};
use super::{Answer, Call, Problem, ok};

impl From<wharf_registry::TagChange> for TagChange {
    fn from(change: wharf_registry::TagChange) -> Self {
        Self {
            version: change.version,
            at: change.at.to_string(),
            by: change.by,
            from: change.from.map(|digest| digest.to_string()),
            to: change.to.map(|digest| digest.to_string()),
        }
    }
}

impl From<Deleted> for DeletedManifest {
    fn from(deleted: Deleted) -> Self {
        Self {
            digest: deleted.digest.to_string(),
            media_type: deleted.media_type,
            tags: deleted.tags.iter().map(Tag::to_string).collect(),
            deleted_at: deleted.deleted_at.to_string(),
            deleted_by: deleted.deleted_by,
            until: deleted.until.to_string(),
        }
    }
}

/// A tag that a request names.
pub(crate) fn tag(text: &str) -> Result<Tag, Problem> {
    text.parse().map_err(|error: wharf_oci::TagError| Problem::field("tag", format!("is not a tag: {error}")))
}

/// The changes of a tag, the newest first.
#[utoipa::path(get, path = "/api/v1/tags/history", operation_id = "getTagHistory", tag = "undo", params(("repository" = inline(RepositoryForm), Query), ("tag" = inline(TagForm), Query), ("limit" = inline(Option<PageLengthForm>), Query), ("after" = inline(Option<CursorForm>), Query)), responses((status = 200, body = Page<TagChange>)))]
pub(crate) async fn history(proof: Authorized<Pull>, call: Call) -> Answer {
    let limit = call.limit()?;
    let tag = tag(call.query.first("tag").ok_or_else(|| Problem::field("tag", "is missing"))?)?;
    let found = call.app.parts.registry.tag_history(&proof, &tag, call.after()?, limit + 1).await?;
    let found = Listing::cut(found, limit);
    let next = found.next(|change| change.version.to_string());
    ok(&Page { items: found.items.into_iter().map(TagChange::from).collect(), next })
}

/// Deleted manifests of a repository that can be restored.
#[utoipa::path(get, path = "/api/v1/deleted", operation_id = "listDeleted", tag = "undo", params(("repository" = inline(RepositoryForm), Query), ("limit" = inline(Option<PageLengthForm>), Query), ("after" = inline(Option<CursorForm>), Query)), responses((status = 200, body = Page<DeletedManifest>)))]
pub(crate) async fn deleted(proof: Authorized<Pull>, call: Call) -> Answer {
    let limit = call.limit()?;
    let after: Option<Digest> = call.after()?;
    let found = call.app.parts.registry.deleted_manifests(&proof, after.as_ref(), limit + 1).await?;
    let found = Listing::cut(found, limit);
    let next = found.next(|deleted| deleted.digest.to_string());
    ok(&Page { items: found.items.into_iter().map(DeletedManifest::from).collect(), next })
}

/// Brings back a deleted manifest, or what a tag pointed at.
#[utoipa::path(post, path = "/api/v1/restore", operation_id = "restore", tag = "undo", params(("repository" = inline(RepositoryForm), Query)), request_body = Restoration, responses((status = 200, body = Restored), (status = 404), (status = 409)))]
pub(crate) async fn restore(proof: Authorized<Push>, mut call: Call) -> Answer {
    let wish: Restoration = call.json().await?;
    let at = match &wish.at {
        None => None,
        Some(text) => {
            let problem = |_| Problem::field("at", "must be a time such as 2027-01-31T12:00:00Z");
            Some(text.parse().map_err(problem)?)
        }
    };
    let from = match (&wish.digest, &wish.tag) {
        (Some(_), None) if at.is_some() => return Err(Problem::field("at", "is for tags")),
        (Some(text), None) => {
            let problem = |error: wharf_oci::DigestError| Problem::field("digest", format!("is not a digest: {error}"));
            RestoreFrom::Manifest(text.parse().map_err(problem)?)
        }
        (None, Some(text)) => RestoreFrom::Tag(tag(text)?, at),
        _ => return Err(Problem::invalid("say either digest or tag")),
    };
    let restored = call.app.parts.registry.restore(&proof, &from).await?;
    ok(&Restored {
        digest: restored.digest.to_string(),
        tags: restored.tags.iter().map(Tag::to_string).collect(),
        was_deleted: restored.was_deleted,
    })
}
