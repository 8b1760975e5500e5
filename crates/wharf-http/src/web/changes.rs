//! What was changed, and changing it: the past of a tag, deleted images, deleting and restoring.

use askama::Template;
use wharf_oci::{Reference, Tag};
use wharf_policy::{Action, Authorized, Delete, Pull, Push};
use wharf_registry::{Listing, RestoreFrom};

use super::image::{self, Link};
use super::page::{self, Frame};
use super::text::{self, Time};
use super::{Answer, Visit};
use crate::api::Problem;
use crate::api::undo::tag;

/// How many changes or deleted images are on a page.
const PAGE: u32 = 50;

#[derive(Template)]
#[template(path = "tag.html")]
struct TagPage {
    f: Frame,
    repository: String,
    repository_href: String,
    tag: String,
    image_href: String,
    restore_path: String,
    can_restore: bool,
    lines: Vec<HistoryLine>,
    next: Option<String>,
}

struct HistoryLine {
    at: Time,
    exact: String,
    by: String,
    what: &'static str,
    from: Option<Link>,
    to: Option<Link>,
    /// Whether it stands so now.
    is_current: bool,
}

/// The changes of a tag, the newest first.
pub(super) async fn show_tag(ok: Authorized<Pull>, visit: Visit) -> Answer {
    let repository = ok.repository().as_str();
    let tag = tag(visit.parameter("tag"))?;
    let before: Option<i64> = visit.after_as()?;
    let found = visit.app.parts.registry.tag_history(&ok, &tag, before, PAGE + 1).await?;
    if found.is_empty() && before.is_none() {
        return Err(Problem::not_found("tag").into());
    }
    let found = Listing::cut(found, PAGE);
    let next = found.next(|change| change.version.to_string());
    let link = |digest: &wharf_oci::Digest| Link {
        text: text::short(digest),
        href: visit.href("/image", &[("repository", repository), ("reference", &digest.to_string())]),
    };
    let lines = found.items.iter().enumerate().map(|(index, change)| HistoryLine {
        at: visit.time(change.at),
        exact: change.at.to_string(),
        by: if change.by.is_empty() { "anonymous".to_owned() } else { text::shown(&change.by) },
        what: match (&change.from, &change.to) {
            (None, _) => "created",
            (_, None) => "deleted",
            _ => "moved",
        },
        from: change.from.as_ref().map(link),
        to: change.to.as_ref().map(link),
        is_current: index == 0 && before.is_none(),
    });
    let parameters = [("repository", repository), ("tag", tag.as_str())];
    let view = TagPage {
        f: Frame::of(&visit, &format!("History of {repository}:{tag}")),
        repository: repository.to_owned(),
        repository_href: visit.href("/repository", &[("repository", repository)]),
        image_href: visit.href("/image", &[("repository", repository), ("reference", tag.as_str())]),
        restore_path: visit.href("/restore", &[("repository", repository)]),
        can_restore: visit.may(Action::Push, Some(ok.repository())),
        lines: lines.collect(),
        next: page::next_page(&visit, "/tag", &parameters, next.as_deref()),
        tag: tag.to_string(),
    };
    page::ok(&view)
}

#[derive(Template)]
#[template(path = "deleted.html")]
struct DeletedPage {
    f: Frame,
    repository: String,
    repository_href: String,
    restore_path: String,
    can_restore: bool,
    lines: Vec<DeletedLine>,
    next: Option<String>,
}

struct DeletedLine {
    digest: String,
    short: String,
    tags: String,
    deleted: Time,
    by: String,
    until: Time,
}

/// Images that were deleted and can be restored.
pub(super) async fn show_deleted(ok: Authorized<Pull>, visit: Visit) -> Answer {
    let repository = ok.repository().as_str();
    let after = visit.after_as()?;
    let found = visit.app.parts.registry.deleted_manifests(&ok, after.as_ref(), PAGE + 1).await?;
    let found = Listing::cut(found, PAGE);
    let next = found.next(|deleted| deleted.digest.to_string());
    let lines = found.items.iter().map(|deleted| DeletedLine {
        digest: deleted.digest.to_string(),
        short: text::short(&deleted.digest),
        tags: deleted.tags.iter().map(Tag::to_string).collect::<Vec<_>>().join(", "),
        deleted: visit.time(deleted.deleted_at),
        by: if deleted.deleted_by.is_empty() { "anonymous".to_owned() } else { text::shown(&deleted.deleted_by) },
        until: visit.time(deleted.until),
    });
    let view = DeletedPage {
        f: Frame::of(&visit, &format!("Deleted from {repository}")),
        repository: repository.to_owned(),
        repository_href: visit.href("/repository", &[("repository", repository)]),
        restore_path: visit.href("/restore", &[("repository", repository)]),
        can_restore: visit.may(Action::Push, Some(ok.repository())),
        lines: lines.collect(),
        next: page::next_page(&visit, "/deleted", &[("repository", repository)], next.as_deref()),
    };
    page::ok(&view)
}

/// Brings back a deleted image, or what a tag pointed at.
pub(super) async fn restore(ok: Authorized<Push>, visit: Visit) -> Answer {
    let repository = ok.repository().as_str();
    let at = visit.form.text("at");
    let at = if at.is_empty() { None } else { Some(at.parse()) };
    let at = at.transpose().map_err(|_| Problem::field("at", "is not a time that this page gave out"))?;
    let digest = visit.form.text("digest");
    let from = if digest.is_empty() {
        RestoreFrom::Tag(tag(visit.form.text("tag"))?, at)
    } else {
        let problem = |error: wharf_oci::DigestError| Problem::field("digest", format!("is not a digest: {error}"));
        RestoreFrom::Manifest(digest.parse().map_err(problem)?)
    };
    let restored = visit.app.parts.registry.restore(&ok, &from).await?;
    let reference = match &from {
        RestoreFrom::Tag(tag, _) => tag.to_string(),
        RestoreFrom::Manifest(_) => restored.digest.to_string(),
    };
    Ok(visit.see("/image", &[("repository", repository), ("reference", &reference), ("done", "restored")]))
}

#[derive(Template)]
#[template(path = "delete.html")]
struct DeletePage {
    f: Frame,
    repository: String,
    reference: String,
    image_href: String,
    path: String,
    digest: String,
    tags: Vec<String>,
    parents: Vec<Link>,
    referrers: u64,
    children: usize,
    freed: String,
    kept: String,
    /// The tag alone can go too.
    tag: Option<String>,
    refused: Option<String>,
}

/// What deleting would do. Reading it needs pull as well: it tells what is there.
pub(super) async fn preview(ok: Authorized<Delete>, visit: Visit) -> Answer {
    let repository = ok.repository();
    let pull = visit.also::<Pull>(repository.clone());
    let pull =
        pull.ok_or_else(|| Problem::new(http::StatusCode::FORBIDDEN, "policy does not let you see this image"))?;
    let reference = image::reference(visit.parameter("reference"))?;
    let registry = &visit.app.parts.registry;
    let pulled = registry.pull_manifest(&pull, &reference).await?;
    let details = registry.manifest_details(&pull, &pulled.digest).await?;
    let details = details.ok_or_else(|| Problem::not_found("image"))?;
    let (freed, kept) = details.blobs.iter().fold((0_u64, 0_u64), |(freed, kept), blob| {
        if blob.is_last { (freed + blob.size_bytes, kept) } else { (freed, kept + blob.size_bytes) }
    });
    let of_image = [("repository", repository.as_str()), ("reference", visit.parameter("reference"))];
    let view = DeletePage {
        f: Frame::of(&visit, &format!("Delete from {repository}")),
        repository: repository.to_string(),
        reference: reference.to_string(),
        image_href: visit.href("/image", &of_image),
        path: visit.href("/delete", &of_image[..1]),
        digest: pulled.digest.to_string(),
        tags: details.tags.iter().map(Tag::to_string).collect(),
        parents: details
            .parents
            .iter()
            .map(|digest| Link {
                text: text::short(digest),
                href: visit.href("/image", &[of_image[0], ("reference", &digest.to_string())]),
            })
            .collect(),
        referrers: details.referrers,
        children: image::read(&pulled)?.children.len(),
        freed: text::size(freed),
        kept: text::size(kept),
        tag: match &reference {
            Reference::Tag(tag) if registry.may_delete_tags().is_ok() => Some(tag.to_string()),
            _ => None,
        },
        refused: registry.may_delete_manifests(&ok).err().map(|error| Problem::from(error).sentence()),
    };
    page::ok(&view)
}

/// Deletes an image, or a tag alone where that is allowed.
pub(super) async fn delete(ok: Authorized<Delete>, visit: Visit) -> Answer {
    let registry = &visit.app.parts.registry;
    let of_repository = ("repository", ok.repository().as_str());
    let digest = visit.form.text("digest");
    if digest.is_empty() {
        registry.delete_tag(&ok, &tag(visit.form.text("tag"))?).await?;
        return Ok(visit.see("/repository", &[of_repository, ("done", "tag-deleted")]));
    }
    let problem = |error: wharf_oci::DigestError| Problem::field("digest", format!("is not a digest: {error}"));
    registry.delete_manifest(&ok, &digest.parse().map_err(problem)?).await?;
    Ok(visit.see("/deleted", &[of_repository, ("done", "deleted")]))
}
