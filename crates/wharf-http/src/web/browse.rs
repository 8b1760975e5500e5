//! The repositories: searched while one types, by pages.

use askama::Template;
use wharf_policy::{Authorized, Catalog};
use wharf_registry::TAGS_COUNTED_MAX;

use super::page::{self, Frame};
use super::text::{self, Time};
use super::{Answer, Visit};

/// How many repositories are on a page.
const PAGE: u32 = 50;

#[derive(Template)]
#[template(path = "repositories.html")]
struct RepositoriesPage {
    f: Frame,
    query: String,
    is_continued: bool,
    lines: Vec<Line>,
    next: Option<String>,
}

struct Line {
    name: String,
    href: String,
    tags: String,
    changed: Option<Time>,
}

pub(super) async fn show(ok: Authorized<Catalog>, visit: Visit) -> Answer {
    let query = visit.parameter("q").to_owned();
    let found = visit.app.parts.registry.search_repositories(&ok, &query, visit.after(), PAGE).await?;
    let last = found.next(|summary| summary.name.to_string());
    let lines = found.items.iter().map(|summary| Line {
        name: summary.name.to_string(),
        href: visit.href("/repository", &[("repository", summary.name.as_str())]),
        tags: tags(summary.tags),
        changed: summary.changed_at.map(|at| visit.time(at)),
    });
    let view = RepositoriesPage {
        lines: lines.collect(),
        next: page::next_page(&visit, "/repositories", &[("q", &query)], last.as_deref()),
        is_continued: visit.after().is_some(),
        f: Frame::of(&visit, "Repositories"),
        query: text::shown(&query),
    };
    page::ok(&view)
}

fn tags(count: u64) -> String {
    let max = u64::from(TAGS_COUNTED_MAX);
    if count > max { format!("more than {}", text::number(max)) } else { text::number(count) }
}
