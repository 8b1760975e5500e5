//! `wharf manifest`.

use serde_json::{Map, Value, json};
use wharf_copy::{Document, Error, Registry};
use wharf_oci::{Algorithm, Descriptor, Digest, Manifest, Reference, RepositoryName};

use super::copying::{failed, parse_image, parse_tag, registry};
use super::remote::{list, say};
use super::{block_on, print, undo};
use crate::cli::{ManifestCommand, RemoteArgs};
use crate::error::{CommandError, Exit};
use crate::table::{self, Column};
use crate::text::visible;

const CONTENT_COLUMNS: [Column; 5] =
    [("PART", "part"), ("DIGEST", "digest"), ("SIZE", "size"), ("PLATFORM", "platform"), ("MEDIA TYPE", "media_type")];

const REFERRER_COLUMNS: [Column; 4] =
    [("DIGEST", "digest"), ("ARTIFACT TYPE", "artifactType"), ("SIZE", "size"), ("ANNOTATIONS", "annotations")];

/// Carries out the command.
pub(super) fn run(command: &ManifestCommand) -> Result<(), CommandError> {
    match command {
        ManifestCommand::Show(args) => show(&args.image, &args.remote),
        ManifestCommand::Referrers(args) => referrers(&args.image, &args.remote),
        ManifestCommand::Annotate { tag, annotations, remove, remote } => annotate(tag, annotations, remove, remote),
        ManifestCommand::Delete { manifest, remote } => delete(manifest, remote),
        ManifestCommand::Deleted { repository, remote } => undo::deleted(repository, remote),
    }
}

fn show(image: &str, remote: &RemoteArgs) -> Result<(), CommandError> {
    let (repository, reference) = parse_image(image)?;
    let server = registry(remote)?;
    let document = block_on(async { server.document(&repository, &reference).await.map_err(failed) })?;
    if remote.output.json {
        return print(&String::from_utf8_lossy(&document.body));
    }
    if remote.output.quiet {
        return print(&format!("{}\n", document.digest));
    }
    print(&describe(&document, &document.read().map_err(failed)?))
}

fn describe(document: &Document, manifest: &Manifest) -> String {
    let mut text = format!("digest      {}\nmedia type  {}\n", document.digest, manifest.kind);
    let mut line = |name: &str, value: &str| text += &format!("{name:<12}{}\n", visible(value));
    if let Some(artifact_type) = &manifest.artifact_type {
        line("artifact", artifact_type);
    }
    if let Some(subject) = &manifest.subject {
        line("refers to", subject.as_str());
    }
    for (key, value) in &manifest.annotations {
        line("annotation", &format!("{key}={value}"));
    }
    let parts = manifest.config.iter().map(|config| part("config", config));
    let parts = parts.chain(manifest.layers.iter().map(|layer| part("layer", layer)));
    let parts: Vec<Value> = parts.chain(manifest.children.iter().map(|child| part("manifest", child))).collect();
    text + "\n" + &table::render(&CONTENT_COLUMNS, &parts)
}

fn part(name: &str, descriptor: &Descriptor) -> Value {
    json!({
        "part": name, "digest": descriptor.digest, "size": table::size(descriptor.size),
        "platform": descriptor.platform.as_ref().map(ToString::to_string), "media_type": descriptor.media_type,
    })
}

fn referrers(image: &str, remote: &RemoteArgs) -> Result<(), CommandError> {
    let (repository, reference) = parse_image(image)?;
    let server = registry(remote)?;
    let mut found = block_on(async {
        let digest = digest_of(&server, &repository, &reference).await?;
        server.referrer_list(&repository, &digest).await.map_err(failed)
    })?;
    if !remote.output.json {
        for referrer in &mut found {
            let pairs = referrer["annotations"].as_object().cloned().unwrap_or_default();
            referrer["annotations"] =
                pairs.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
            referrer["size"] = referrer["size"].as_u64().map(table::size).into();
        }
    }
    list(found, &REFERRER_COLUMNS, &remote.output)
}

async fn digest_of(
    server: &Registry,
    repository: &RepositoryName,
    reference: &Reference,
) -> Result<Digest, CommandError> {
    match reference {
        Reference::Digest(digest) => Ok(*digest),
        Reference::Tag(_) => Ok(server.document(repository, reference).await.map_err(failed)?.digest),
    }
}

fn annotate(
    tag: &str,
    annotations: &[(String, String)],
    remove: &[String],
    remote: &RemoteArgs,
) -> Result<(), CommandError> {
    let (repository, tag) = parse_tag(tag)?;
    let reference = Reference::Tag(tag.clone());
    let server = registry(remote)?;
    let (before, after) = block_on(async {
        let before = server.document(&repository, &reference).await.map_err(failed)?;
        let kind = before.read().map_err(failed)?.kind;
        if kind.is_docker() {
            let problem = format!("{repository}:{tag} is a {kind}, which has no annotations");
            return Err(CommandError::new(Exit::Usage, problem)
                .with_hint("push it as an OCI image, for example with `skopeo copy --format oci`"));
        }
        let after = annotated(&before, annotations, remove)?;
        match server.push(&repository, &reference, &after, kind.as_str(), Some(&before.digest)).await {
            Err(error @ Error::Refused { status: 412, .. }) => {
                Err(failed(error).with_hint("the tag was moved meanwhile; look at it, and run the command again"))
            }
            Err(error) => Err(failed(error)),
            Ok(()) => Ok((before.digest, after.digest)),
        }
    })?;
    let done = json!({ "repository": repository.as_str(), "tag": tag.as_str(), "before": before, "digest": after });
    say(&remote.output, &done, &format!("{repository}:{tag} is {after}\n"))
}

/// The same manifest with other annotations; everything else stays as it is, also what is not known here.
fn annotated(
    document: &Document,
    annotations: &[(String, String)],
    remove: &[String],
) -> Result<Document, CommandError> {
    let mut manifest: Map<String, Value> = serde_json::from_slice(&document.body)
        .map_err(|error| CommandError::unexpected("reading the manifest", error))?;
    let kept = manifest.entry("annotations").or_insert_with(|| json!({}));
    if let Value::Object(kept) = kept {
        kept.extend(annotations.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))));
        kept.retain(|key, _| !remove.contains(key));
    }
    if kept.as_object().is_some_and(Map::is_empty) {
        manifest.remove("annotations");
    }
    let body =
        serde_json::to_vec(&manifest).map_err(|error| CommandError::unexpected("writing the manifest", error))?;
    let digest = Digest::of(Algorithm::Sha256, &body);
    Document::new(digest, document.content_type.clone(), body.into()).map_err(failed)
}

fn delete(manifest: &str, remote: &RemoteArgs) -> Result<(), CommandError> {
    let (repository, reference) = parse_image(manifest)?;
    let Reference::Digest(digest) = reference else {
        return Err(CommandError::new(
            Exit::Usage,
            format!("{manifest:?} names a tag; name the manifest by its digest"),
        )
        .with_hint(format!("`wharf tag show {manifest}` says which that is")));
    };
    let server = registry(remote)?;
    block_on(async { server.delete(&repository, &reference).await.map_err(failed) })?;
    let done = json!({ "repository": repository.as_str(), "deleted": digest });
    say(
        &remote.output,
        &done,
        &format!("{repository}@{digest} is deleted; bring it back with: wharf restore {repository}@{digest}\n"),
    )
}
