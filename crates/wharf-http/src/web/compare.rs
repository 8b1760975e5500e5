//! Two images of a repository side by side: what came, what went, what both have.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;
use wharf_oci::{Manifest, Reference};
use wharf_policy::{Authorized, Pull};

use super::config_blob::{self, ImageConfig};
use super::image;
use super::page::{self, Frame};
use super::sbom::{self, Packages};
use super::text;
use super::{Answer, Failure, Visit};

/// How many tags are offered to choose from.
const TAGS_OFFERED: u32 = 200;

#[derive(Template)]
#[template(path = "compare.html")]
struct ComparePage {
    f: Frame,
    repository: String,
    repository_href: String,
    path: String,
    tags: Vec<String>,
    from: String,
    to: String,
    comparison: Option<Comparison>,
}

/// What is different.
struct Comparison {
    is_same: bool,
    is_index: bool,
    summary: String,
    layers: Vec<Row>,
    children: Vec<Row>,
    tables: Vec<Table>,
}

/// Values of one kind that are different.
struct Table {
    id: &'static str,
    heading: &'static str,
    changes: Vec<Changed>,
}

/// A layer or a child.
struct Row {
    state: State,
    name: String,
    size: String,
}

/// Where something is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Both,
    Removed,
    Added,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Removed => "removed",
            Self::Added => "added",
        }
    }
}

/// A value that is not the same in both; absent in one is empty there.
struct Changed {
    name: String,
    before: String,
    after: String,
}

/// One of the two.
struct Side {
    manifest: Manifest,
    config: Option<ImageConfig>,
    digest: wharf_oci::Digest,
    packages: Option<Packages>,
}

pub(super) async fn show(ok: Authorized<Pull>, visit: Visit) -> Answer {
    let repository = ok.repository().as_str();
    let (from, to) = (visit.parameter("from"), visit.parameter("to"));
    let tags = visit.app.parts.registry.tags(&ok, None, Some(TAGS_OFFERED)).await?;
    let comparison = match (from, to) {
        ("", _) | (_, "") => None,
        _ => {
            let before = side(&visit, &ok, image::reference(from)?).await?;
            let after = side(&visit, &ok, image::reference(to)?).await?;
            Some(compare(&before, &after))
        }
    };
    let view = ComparePage {
        f: Frame::of(&visit, &format!("Compare in {repository}")),
        repository: repository.to_owned(),
        repository_href: visit.href("/repository", &[("repository", repository)]),
        path: visit.href("/compare", &[]),
        tags: tags.items.iter().map(ToString::to_string).collect(),
        from: text::shown(from),
        to: text::shown(to),
        comparison,
    };
    page::ok(&view)
}

async fn side(visit: &Visit, ok: &Authorized<Pull>, reference: Reference) -> Result<Side, Failure> {
    let registry = &visit.app.parts.registry;
    let pulled = registry.pull_manifest(ok, &reference).await?;
    let manifest = image::read(&pulled)?;
    let config = match &manifest.config {
        Some(config) => config_blob::read(registry, ok, config).await,
        None => None,
    };
    let packages = sbom::of_image(registry, ok, pulled.digest).await;
    Ok(Side { manifest, config, digest: pulled.digest, packages })
}

fn compare(before: &Side, after: &Side) -> Comparison {
    let bytes = |side: &Side| side.manifest.layers.iter().map(|layer| layer.size).sum::<u64>();
    let (old, new) = (bytes(before), bytes(after));
    let summary = match old.cmp(&new) {
        std::cmp::Ordering::Equal => format!("Both have {} of layers.", text::size(new)),
        std::cmp::Ordering::Less => {
            format!("{} → {}: {} more.", text::size(old), text::size(new), text::size(new - old))
        }
        std::cmp::Ordering::Greater => {
            format!("{} → {}: {} less.", text::size(old), text::size(new), text::size(old - new))
        }
    };
    Comparison {
        is_same: before.digest == after.digest,
        is_index: before.manifest.kind.is_index() || after.manifest.kind.is_index(),
        summary,
        layers: rows(&before.manifest.layers, &after.manifest.layers, |layer| text::short(&layer.digest)),
        children: rows(&before.manifest.children, &after.manifest.children, |child| {
            let platform = child.platform.as_ref().and_then(super::artifact::platform);
            platform
                .map_or_else(|| text::short(&child.digest), |name| format!("{name} · {}", text::short(&child.digest)))
        }),
        tables: tables(before, after),
    }
}

fn tables(before: &Side, after: &Side) -> Vec<Table> {
    let table = |id, heading, changes| Table { id, heading, changes };
    let mut tables = vec![
        table("settings", "How it runs", changed(&settings(before), &settings(after))),
        table("labels", "Labels", changed(&labels(before), &labels(after))),
        table("annotations", "Annotations", changed(&before.manifest.annotations, &after.manifest.annotations)),
    ];
    if let (Some(old), Some(new)) = (&before.packages, &after.packages) {
        tables.insert(0, table("packages", "Packages, by their SBOMs", changed(old, new)));
    }
    tables.retain(|table| !table.changes.is_empty());
    tables
}

/// What the first has in its order, then what only the second has.
fn rows(
    before: &[wharf_oci::Descriptor],
    after: &[wharf_oci::Descriptor],
    name: impl Fn(&wharf_oci::Descriptor) -> String,
) -> Vec<Row> {
    let known = |list: &[wharf_oci::Descriptor]| list.iter().map(|item| item.digest).collect::<BTreeSet<_>>();
    let (in_before, in_after) = (known(before), known(after));
    let row = |item: &wharf_oci::Descriptor, state| Row { state, name: name(item), size: text::size(item.size) };
    let old =
        before.iter().map(|item| row(item, if in_after.contains(&item.digest) { State::Both } else { State::Removed }));
    let new = after.iter().filter(|item| !in_before.contains(&item.digest)).map(|item| row(item, State::Added));
    old.chain(new).collect()
}

fn changed(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<Changed> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let value =
        |side: &BTreeMap<String, String>, name: &str| side.get(name).map_or(String::new(), |text| text::shown(text));
    names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name))
        .map(|name| Changed { name: text::shown(name), before: value(before, name), after: value(after, name) })
        .collect()
}

/// How the image is run, one entry for each variable of its environment.
fn settings(side: &Side) -> BTreeMap<String, String> {
    let Some(config) = &side.config else { return BTreeMap::new() };
    let mut settings = BTreeMap::new();
    for (name, values) in image::run(config) {
        if name == "Environment" {
            for line in values {
                let (variable, value) = line.split_once('=').unwrap_or((&line, ""));
                settings.insert(format!("${variable}"), value.to_owned());
            }
        } else {
            settings.insert(name.to_owned(), values.join(", "));
        }
    }
    settings
}

fn labels(side: &Side) -> BTreeMap<String, String> {
    let run = side.config.as_ref().and_then(|config| config.config.as_ref());
    run.and_then(|run| run.labels.clone()).unwrap_or_default()
}
