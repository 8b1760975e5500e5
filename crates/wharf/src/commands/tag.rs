//! `wharf tag`.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};
use wharf_copy::{Document, Error, Registry, Source as _};
use wharf_oci::{Manifest, Reference, RepositoryName, Tag};

use super::copying::{failed, filter, parse_name, parse_tag, registry};
use super::remote::{list, say, show};
use super::{block_on, undo};
use crate::cli::{RemoteArgs, TagCommand};
use crate::error::{CommandError, Exit};
use crate::table::{self, Column};

const COLUMNS: [Column; 5] =
    [("TAG", "tag"), ("DIGEST", "digest"), ("KIND", "kind"), ("PLATFORMS", "platforms"), ("SIZE", "size")];

/// How many manifests are fetched at the same time.
const AT_ONCE: usize = 8;

/// Carries out the command.
pub(super) fn run(command: &TagCommand) -> Result<(), CommandError> {
    match command {
        TagCommand::Ls { repository, pattern, limit, remote } => ls(repository, pattern.as_ref(), *limit, remote),
        TagCommand::Show(args) => {
            let (repository, tag) = parse_tag(&args.tag)?;
            let server = registry(&args.remote)?;
            let item = block_on(async { describe(&server, &repository, tag).await.map_err(failed) })?;
            show(&item, &COLUMNS, &args.remote.output)
        }
        TagCommand::Set { tag, reference, remote } => set(tag, reference, remote),
        TagCommand::Delete(args) => delete(&args.tag, &args.remote),
        TagCommand::History { tag, limit, remote } => undo::history(tag, *limit, remote),
    }
}

fn ls(repository: &str, pattern: Option<&String>, limit: usize, remote: &RemoteArgs) -> Result<(), CommandError> {
    let (repository, None) = parse_name(repository)? else {
        return Err(CommandError::new(Exit::Usage, format!("{repository:?} names an image; name a repository")));
    };
    let wanted = filter(pattern.map(std::slice::from_ref).unwrap_or_default())?;
    let server = registry(remote)?;
    let (items, left) = block_on(async {
        let tags = server.tags(&repository).await.map_err(failed)?;
        let tags: Vec<String> =
            tags.into_iter().filter(|tag| wanted.as_ref().is_none_or(|wanted| wanted(tag))).collect();
        if remote.output.quiet {
            return Ok((tags.into_iter().map(|tag| json!({ "tag": tag })).collect(), 0));
        }
        let left = tags.len().saturating_sub(limit);
        let described = stream::iter(tags.into_iter().take(limit))
            .map(async |tag: String| {
                let tag: Tag = tag.parse().map_err(|error: wharf_oci::TagError| Error::Usage(error.to_string()))?;
                describe(&server, &repository, tag).await
            })
            .buffered(AT_ONCE);
        Ok((described.try_collect::<Vec<Value>>().await.map_err(failed)?, left))
    })?;
    list(items, &COLUMNS, &remote.output)?;
    if left > 0 {
        anstream::eprintln!("{left} more tags are not shown; raise --limit, or list names only with --quiet");
    }
    Ok(())
}

/// What a tag points at.
async fn describe(server: &Registry, repository: &RepositoryName, tag: Tag) -> Result<Value, Error> {
    let reference = Reference::Tag(tag.clone());
    let document = server.document(repository, &reference).await?;
    let manifest = document.read()?;
    let platforms: Vec<String> =
        manifest.children.iter().filter_map(|child| Some(child.platform.as_ref()?.to_string())).collect();
    let size_bytes: u64 =
        manifest.config.iter().chain(&manifest.layers).map(|blob| blob.size).fold(0, u64::saturating_add);
    Ok(json!({
        "tag": tag.as_str(), "digest": document.digest, "kind": kind(&manifest), "platforms": platforms,
        "media_type": manifest.kind.as_str(), "artifact_type": manifest.artifact_type,
        "size": (!manifest.kind.is_index()).then(|| table::size(size_bytes)),
        "size_bytes": (!manifest.kind.is_index()).then_some(size_bytes),
    }))
}

/// In a word.
fn kind(manifest: &Manifest) -> String {
    match manifest.artifact_type.as_deref() {
        _ if manifest.kind.is_index() => "index".to_owned(),
        Some(kind) if kind.contains("image.config") || kind.contains("container.image") => "image".to_owned(),
        Some(kind) => kind.to_owned(),
        None => "image".to_owned(),
    }
}

fn set(tag: &str, reference: &str, remote: &RemoteArgs) -> Result<(), CommandError> {
    let (repository, tag) = parse_tag(tag)?;
    let reference: Reference = reference.parse().map_err(|error| {
        CommandError::new(Exit::Usage, format!("{reference:?} is neither a tag nor a digest: {error}"))
    })?;
    let server = registry(remote)?;
    let document = block_on(async {
        let document: Document = server.document(&repository, &reference).await.map_err(failed)?;
        let kind = document.read().map_err(failed)?.kind;
        let target = Reference::Tag(tag.clone());
        server.push(&repository, &target, &document, kind.as_str(), None).await.map_err(failed)?;
        Ok(document)
    })?;
    let done = json!({ "repository": repository.as_str(), "tag": tag.as_str(), "digest": document.digest });
    say(&remote.output, &done, &format!("{repository}:{tag} is {}\n", document.digest))
}

fn delete(tag: &str, remote: &RemoteArgs) -> Result<(), CommandError> {
    let (repository, tag) = parse_tag(tag)?;
    let server = registry(remote)?;
    block_on(async {
        let digest = server.resolve(&repository, &tag).await.map_err(failed)?;
        match server.delete(&repository, &Reference::Tag(tag.clone())).await {
            Err(error @ Error::Refused { status: 405, .. }) => Err(failed(error).with_hint(format!(
                "delete the manifest with all its tags: wharf manifest delete {repository}@{digest}"
            ))),
            other => other.map_err(failed),
        }
    })?;
    let done = json!({ "repository": repository.as_str(), "deleted": tag.as_str() });
    say(&remote.output, &done, &format!("{repository}:{tag} is deleted\n"))
}
