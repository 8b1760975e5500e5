//! One image or other artifact: what it is made of, how it was built, what refers to it.

use askama::Template;
use wharf_oci::{AnyDigest, Manifest, Reference};
use wharf_policy::{Action, Authorized, Pull};
use wharf_registry::{HOLDERS_COUNTED_MAX, ManifestDetails, PulledManifest, ReferrersPage};

use super::artifact::{self, Command, Kind};
use super::config_blob::{self, ImageConfig};
use super::page::{self, Frame};
use super::sbom;
use super::text::{self, Time};
use super::{Answer, Visit};
use crate::api::Problem;

/// How many children, referrers, labels and so on are shown of each.
const SHOWN_MAX: usize = 200;

#[derive(Template)]
#[template(path = "image.html")]
struct ImagePage {
    f: Frame,
    repository: String,
    repository_href: String,
    reference: String,
    digest: String,
    kind: String,
    media_type: String,
    artifact_type: Option<String>,
    size: String,
    pushed: Time,
    pushed_by: String,
    tags: Vec<Link>,
    parents: Vec<Link>,
    subject: Option<Link>,
    commands: Vec<Command>,
    platforms: Vec<Child>,
    layers: Layers,
    history: Vec<HistoryLine>,
    run: Vec<(&'static str, Vec<String>)>,
    labels: Vec<Pair>,
    annotations: Vec<Pair>,
    referrers: Vec<ReferrerLine>,
    has_more_referrers: bool,
    history_href: Option<String>,
    compare_href: String,
    delete_href: Option<String>,
    packages: Option<Vec<(String, String)>>,
    manifest_json: String,
}

pub(super) struct Link {
    pub(super) text: String,
    pub(super) href: String,
}

/// A name and a stranger's value, which is a link if it looks like one.
pub(super) struct Pair {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) href: Option<String>,
}

struct Child {
    platform: String,
    href: String,
    digest: String,
    size: String,
    is_attestation: bool,
}

/// The layers, and the bar that shows what takes the space.
struct Layers {
    lines: Vec<LayerLine>,
    bar: Vec<Segment>,
    shared: String,
    own: String,
}

struct LayerLine {
    number: usize,
    digest: String,
    media_type: String,
    size: String,
    share: String,
    sharing: Option<String>,
}

/// A part of a bar that is 1,000 units wide.
struct Segment {
    x: u64,
    width: u64,
    is_shared: bool,
    number: usize,
}

struct HistoryLine {
    number: usize,
    instruction: String,
    size: Option<String>,
}

struct ReferrerLine {
    kind: String,
    href: String,
    digest: String,
    size: String,
    about: Option<String>,
}

pub(super) async fn show(ok: Authorized<Pull>, visit: Visit) -> Answer {
    let reference: Reference = reference(visit.parameter("reference"))?;
    let registry = &visit.app.parts.registry;
    let pulled = registry.pull_manifest(&ok, &reference).await?;
    let details = registry.manifest_details(&ok, &pulled.digest).await?;
    let details = details.ok_or_else(|| Problem::not_found("image"))?;
    let manifest = read(&pulled)?;
    let subject = AnyDigest::from(pulled.digest);
    let referrers = registry.referrers(&ok, &subject, &[], None).await?;
    let config = match &manifest.config {
        Some(config) => config_blob::read(registry, &ok, config).await,
        None => None,
    };
    let packages = sbom::of_artifact(registry, &ok, &manifest).await;
    page::ok(&Seen { ok: &ok, reference, pulled, manifest, details, referrers, config, packages }.view(&visit))
}

/// Everything that is known of what an address names.
struct Seen<'s> {
    ok: &'s Authorized<Pull>,
    reference: Reference,
    pulled: PulledManifest,
    manifest: Manifest,
    details: ManifestDetails,
    referrers: ReferrersPage,
    config: Option<ImageConfig>,
    packages: Option<sbom::Packages>,
}

/// The manifest of what was pulled. It was read once when it was pushed, so it can be read again.
pub(super) fn read(pulled: &PulledManifest) -> Result<Manifest, Problem> {
    Manifest::parse(Some(&pulled.media_type), &pulled.body).map_err(|_| Problem::internal())
}

/// A tag or a digest, as an address names it.
pub(super) fn reference(text: &str) -> Result<Reference, Problem> {
    text.parse().map_err(|error: wharf_oci::ReferenceError| {
        Problem::field("reference", format!("is neither a tag nor a digest: {error}"))
    })
}

impl Seen<'_> {
    fn view(self, visit: &Visit) -> ImagePage {
        let Self { ok, reference, pulled, manifest, details, referrers, config, packages } = self;
        let manifest = &manifest;
        let repository = ok.repository().as_str();
        let (name, digest) = (reference.to_string(), pulled.digest.to_string());
        let kind = Kind::of(manifest);
        let host = visit.inbound.host(&visit.app.origins).unwrap_or_default();
        let image = |reference: &str| visit.href("/image", &[("repository", repository), ("reference", reference)]);
        let of_digest =
            |digest: &wharf_oci::Digest| Link { text: text::short(digest), href: image(&digest.to_string()) };
        let held: u64 = details.blobs.iter().map(|blob| blob.size_bytes).sum();
        let children: u64 = manifest.children.iter().map(|child| child.size).sum();
        ImagePage {
            f: Frame::of(visit, &format!("{repository} {}", short_name(&reference))),
            repository: repository.to_owned(),
            repository_href: visit.href("/repository", &[("repository", repository)]),
            kind: kind.label(),
            media_type: pulled.media_type.clone(),
            artifact_type: manifest.artifact_type.as_deref().filter(|_| kind != Kind::Image).map(text::shown),
            size: text::size(held.saturating_add(children).saturating_add(pulled.body.len() as u64)),
            pushed: visit.time(details.pushed_at),
            pushed_by: if details.pushed_by.is_empty() {
                "anonymous".to_owned()
            } else {
                text::shown(&details.pushed_by)
            },
            tags: details.tags.iter().map(|tag| Link { text: tag.to_string(), href: image(tag.as_str()) }).collect(),
            parents: details.parents.iter().map(of_digest).collect(),
            subject: manifest
                .subject
                .as_ref()
                .map(|subject| Link { text: subject.to_string(), href: image(subject.as_ref()) }),
            commands: kind.commands(&host, repository, &name),
            platforms: platforms(manifest, &image),
            layers: layers(manifest, &details),
            history: config.as_ref().map(|config| history(config, manifest)).unwrap_or_default(),
            run: config.as_ref().map(run).unwrap_or_default(),
            labels: config
                .and_then(|config| config.config?.labels)
                .map(|labels| labels.iter().take(SHOWN_MAX).map(pair).collect())
                .unwrap_or_default(),
            annotations: manifest.annotations.iter().take(SHOWN_MAX).map(pair).collect(),
            has_more_referrers: referrers.next.is_some() || referrers.referrers.len() > SHOWN_MAX,
            referrers: referrers
                .referrers
                .iter()
                .take(SHOWN_MAX)
                .map(|referrer| referrer_line(referrer, &image))
                .collect(),
            history_href: match &reference {
                Reference::Tag(tag) => Some(visit.href("/tag", &[("repository", repository), ("tag", tag.as_str())])),
                Reference::Digest(_) => None,
            },
            compare_href: visit.href("/compare", &[("repository", repository), ("from", &name)]),
            delete_href: visit
                .may(Action::Delete, Some(ok.repository()))
                .then(|| visit.href("/delete", &[("repository", repository), ("reference", &name)])),
            packages: packages.map(|packages| packages.into_iter().collect()),
            manifest_json: indented(&pulled.body),
            reference: name,
            digest,
        }
    }
}

fn short_name(reference: &Reference) -> String {
    match reference {
        Reference::Tag(tag) => tag.to_string(),
        Reference::Digest(digest) => text::short(digest),
    }
}

fn platforms(manifest: &Manifest, image: &dyn Fn(&str) -> String) -> Vec<Child> {
    let child = |child: &wharf_oci::Descriptor| {
        let is_attestation =
            child.annotations.get("vnd.docker.reference.type").is_some_and(|kind| kind == "attestation-manifest");
        let platform = child.platform.as_ref().and_then(artifact::platform);
        Child {
            platform: platform.unwrap_or_else(|| "no platform".to_owned()),
            href: image(&child.digest.to_string()),
            digest: text::short(&child.digest),
            size: text::size(child.size),
            is_attestation,
        }
    };
    manifest.children.iter().take(SHOWN_MAX).map(child).collect()
}

fn layers(manifest: &Manifest, details: &ManifestDetails) -> Layers {
    let total: u64 = manifest.layers.iter().map(|layer| layer.size).sum();
    let others = |digest: &wharf_oci::Digest| {
        details.blobs.iter().find(|blob| blob.digest == *digest).map_or(0, |blob| blob.others)
    };
    let permille = |bytes: u64| {
        u64::try_from((u128::from(bytes) * 1_000).checked_div(u128::from(total)).unwrap_or(0)).unwrap_or(0)
    };
    let (mut lines, mut bar) = (Vec::new(), Vec::new());
    let (mut before, mut shared, mut own) = (0_u64, 0_u64, 0_u64);
    for (index, layer) in manifest.layers.iter().enumerate() {
        let others = others(&layer.digest);
        let is_shared = others > 0;
        if is_shared {
            shared += layer.size
        } else {
            own += layer.size
        }
        let x = permille(before);
        before = before.saturating_add(layer.size);
        bar.push(Segment { x, width: permille(before).saturating_sub(x).max(2), is_shared, number: index + 1 });
        let share = permille(layer.size);
        lines.push(LayerLine {
            number: index + 1,
            digest: text::short(&layer.digest),
            media_type: text::shown(&layer.media_type),
            size: text::size(layer.size),
            share: format!("{}.{} %", share / 10, share % 10),
            sharing: is_shared.then(|| sharing(others)),
        });
    }
    Layers { lines, bar, shared: text::size(shared), own: text::size(own) }
}

fn sharing(others: u64) -> String {
    if others >= u64::from(HOLDERS_COUNTED_MAX) {
        format!("{HOLDERS_COUNTED_MAX} others or more")
    } else {
        text::counted(others, "other", "others")
    }
}

/// The steps, each with the size of the layer that it made.
fn history(config: &ImageConfig, manifest: &Manifest) -> Vec<HistoryLine> {
    let mut sizes = manifest.layers.iter().map(|layer| layer.size);
    let steps = config.history.as_deref().unwrap_or_default().iter().enumerate();
    let lines = steps.map(|(index, step)| HistoryLine {
        number: index + 1,
        instruction: text::shown(&step.instruction()),
        size: if step.empty_layer { None } else { sizes.next().map(text::size) },
    });
    lines.collect()
}

/// How it is run, as a list of terms; what is not said is left out.
pub(super) fn run(config: &ImageConfig) -> Vec<(&'static str, Vec<String>)> {
    let empty = super::config_blob::Run::default();
    let run = config.config.as_ref().unwrap_or(&empty);
    let one =
        |text: &Option<String>| text.iter().filter(|text| !text.is_empty()).map(|text| text::shown(text)).collect();
    let command = |words: &Option<Vec<String>>| {
        let words: Vec<String> = words.iter().flatten().map(|word| text::shown(word)).collect();
        if words.is_empty() { Vec::new() } else { vec![serde_json::to_string(&words).unwrap_or_default()] }
    };
    let keys = |map: &Option<std::collections::BTreeMap<String, super::config_blob::IgnoredAnyEq>>| {
        map.iter().flat_map(|map| map.keys()).take(SHOWN_MAX).map(|key| text::shown(key)).collect()
    };
    let platform = config.platform();
    let terms: [(&'static str, Vec<String>); 11] = [
        ("Platform", if platform.is_empty() { Vec::new() } else { vec![platform] }),
        ("Created", one(&config.created)),
        ("Author", one(&config.author)),
        ("User", one(&run.user)),
        ("Working directory", one(&run.working_dir)),
        ("Entrypoint", command(&run.entrypoint)),
        ("Command", command(&run.cmd)),
        ("Ports", keys(&run.exposed_ports)),
        ("Volumes", keys(&run.volumes)),
        ("Stop signal", one(&run.stop_signal)),
        ("Environment", run.env.iter().flatten().take(SHOWN_MAX).map(|line| text::shown(line)).collect()),
    ];
    terms.into_iter().filter(|(_, values)| !values.is_empty()).collect()
}

fn pair((name, value): (&String, &String)) -> Pair {
    Pair { name: text::shown(name), value: text::shown(value), href: text::link_to(value) }
}

fn referrer_line(referrer: &wharf_oci::ReferrerDescriptor, image: &dyn Fn(&str) -> String) -> ReferrerLine {
    let artifact_type = referrer.artifact_type.as_deref().unwrap_or_default();
    let kind = Kind::of_type(artifact_type).unwrap_or_else(|| Kind::Other(artifact_type.to_owned()));
    let about =
        ["org.opencontainers.image.title", "org.opencontainers.image.description", "dev.sigstore.bundle.predicateType"];
    let about = about.iter().find_map(|key| referrer.annotations.get(*key)).map(|text| text::shown(text));
    let created = referrer.annotations.get("org.opencontainers.image.created").map(|text| text::shown(text));
    ReferrerLine {
        kind: kind.label(),
        href: image(&referrer.digest.to_string()),
        digest: text::short(&referrer.digest),
        size: text::size(referrer.size),
        about: about.or(created),
    }
}

/// The manifest to read, as it was pushed if it cannot be indented.
fn indented(body: &[u8]) -> String {
    let value: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let text = value.and_then(|value| serde_json::to_string_pretty(&value).ok());
    let text = text.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    const SHOWN_BYTES: usize = 64 << 10;
    let shown: String = text.chars().take(SHOWN_BYTES).filter(|c| !c.is_control() || *c == '\n').collect();
    if text.chars().nth(SHOWN_BYTES).is_some() { format!("{shown}\n…") } else { shown }
}
