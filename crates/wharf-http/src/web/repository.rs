//! One repository: its tags, and how to fetch what they name.

use std::sync::Arc;

use askama::Template;
use futures_util::{StreamExt as _, stream};
use wharf_oci::Manifest;
use wharf_policy::{Action, Authorized, Pull};
use wharf_registry::{Registry, TagSummary};

use super::artifact::{self, Command, Kind};
use super::config_blob;
use super::page::{self, Frame};
use super::text::{self, Time};
use super::{Answer, Visit};

/// How many tags are on a page.
const PAGE: u32 = 50;

/// How many configs are read at once to find out what images run on.
const CONFIGS_AT_ONCE: usize = 8;

/// How many platforms are named before the rest is counted.
const PLATFORMS_SHOWN: usize = 6;

#[derive(Template)]
#[template(path = "repository.html")]
struct RepositoryPage {
    f: Frame,
    name: String,
    repositories_href: String,
    deleted_href: String,
    compare_path: String,
    query: String,
    is_continued: bool,
    lines: Vec<Line>,
    next: Option<String>,
    commands: Vec<Command>,
    push: Option<Vec<String>>,
}

struct Line {
    tag: String,
    href: String,
    history_href: String,
    digest: String,
    kind: String,
    platforms: Vec<String>,
    more_platforms: usize,
    size: String,
    updated: Time,
    updated_by: String,
    pulled: Option<Time>,
}

/// What a tag points at, as far as it is known.
struct Look {
    kind: Kind,
    platforms: Vec<String>,
}

pub(super) async fn show(ok: Authorized<Pull>, visit: Visit) -> Answer {
    let name = ok.repository().as_str();
    let query = visit.parameter("q").to_owned();
    let registry = &visit.app.parts.registry;
    let found = registry.search_tags(&ok, &query, visit.after(), PAGE).await?;
    let last = found.next(|summary| summary.tag.to_string());
    let looking: Vec<_> = found.items.iter().map(|summary| look(registry, &ok, summary)).collect();
    let looks: Vec<Look> = stream::iter(looking).buffered(CONFIGS_AT_ONCE).collect().await;
    let host = visit.inbound.host(&visit.app.origins).unwrap_or_default();
    let newest = found.items.iter().zip(&looks).max_by_key(|(summary, _)| summary.updated_at);
    let commands = newest.map(|(summary, look)| look.kind.commands(&host, name, summary.tag.as_str()));
    let of_this = [("repository", name)];
    let view = RepositoryPage {
        f: Frame::of(&visit, name),
        name: name.to_owned(),
        repositories_href: visit.href("/repositories", &[]),
        deleted_href: visit.href("/deleted", &of_this),
        compare_path: visit.href("/compare", &[]),
        is_continued: visit.after().is_some(),
        lines: found.items.iter().zip(&looks).map(|(summary, look)| line(&visit, name, summary, look)).collect(),
        next: page::next_page(&visit, "/repository", &[("repository", name), ("q", &query)], last.as_deref()),
        commands: commands.unwrap_or_default(),
        push: visit
            .may(Action::Push, Some(ok.repository()))
            .then(|| vec![format!("docker tag IMAGE {host}/{name}:TAG"), format!("docker push {host}/{name}:TAG")]),
        query: text::shown(&query),
    };
    page::ok(&view)
}

fn line(visit: &Visit, repository: &str, summary: &TagSummary, look: &Look) -> Line {
    let tag = summary.tag.as_str();
    let mut platforms = look.platforms.clone();
    let more_platforms = platforms.len().saturating_sub(PLATFORMS_SHOWN);
    platforms.truncate(PLATFORMS_SHOWN);
    Line {
        href: visit.href("/image", &[("repository", repository), ("reference", tag)]),
        history_href: visit.href("/tag", &[("repository", repository), ("tag", tag)]),
        tag: tag.to_owned(),
        digest: text::short(&summary.digest),
        kind: look.kind.label(),
        platforms,
        more_platforms,
        size: text::size(summary.size_bytes),
        updated: visit.time(summary.updated_at),
        pulled: summary.last_pulled_at.map(|at| visit.time(at)),
        updated_by: if summary.updated_by.is_empty() {
            "anonymous".to_owned()
        } else {
            text::shown(&summary.updated_by)
        },
    }
}

async fn look(registry: &Arc<Registry>, ok: &Authorized<Pull>, summary: &TagSummary) -> Look {
    let unknown = Look { kind: Kind::Other(summary.media_type.clone()), platforms: Vec::new() };
    let Some(body) = &summary.body else { return unknown };
    let Ok(manifest) = Manifest::parse(Some(&summary.media_type), body) else { return unknown };
    let kind = Kind::of(&manifest);
    let platforms = match (&kind, &manifest.config) {
        (Kind::MultiPlatform, _) => {
            let mut platforms: Vec<String> =
                manifest.children.iter().filter_map(|child| artifact::platform(child.platform.as_ref()?)).collect();
            platforms.dedup();
            platforms
        }
        (Kind::Image, Some(config)) => {
            let found = config_blob::read(registry, ok, config).await;
            found.map(|config| config.platform()).filter(|platform| !platform.is_empty()).into_iter().collect()
        }
        _ => Vec::new(),
    };
    Look { kind, platforms }
}
