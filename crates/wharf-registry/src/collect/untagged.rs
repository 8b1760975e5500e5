//! Manifests that no tag names: kept, unless `gc.untagged` has a rule for their repository.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use wharf_base::{HumanDuration, Timestamp, failpoint};
use wharf_meta::{DueManifest, ManifestCursor, Retired, Untagged};
use wharf_oci::RepositoryName;
use wharf_policy::{AccountType, Action, Attribution, Pattern, Principal, Provider};

use super::steps::{REVIEWS, Totals};
use super::{GcConfig, Untagged as Entry};
use crate::{Error, Registry};

/// How many manifests one step walks past.
const WALK_SPAN: u32 = 1_000;

/// How often all manifests are walked past, to find those that never had a tag, or lost theirs before there was a rule.
const WALK_EVERY: Duration = Duration::from_secs(24 * 3600);

/// What goes, and how far the walk is. A restart begins it anew: entering a manifest twice is entering it once.
#[derive(Debug)]
pub(super) struct Rules {
    rules: Vec<Rule>,
    walk: Mutex<Walk>,
}

#[derive(Clone, Debug)]
struct Rule {
    repositories: Pattern,
    after: HumanDuration,
}

#[derive(Debug, Default)]
struct Walk {
    at: Option<ManifestCursor>,
    begun: Option<Instant>,
}

impl Rules {
    /// `config` has passed its check; a pattern that is none fits nothing.
    pub(super) fn new(config: &GcConfig) -> Self {
        let rule = |Entry { repositories, after }: &Entry| {
            Some(Rule { repositories: repositories.parse().ok()?, after: *after })
        };
        Self { rules: config.untagged.iter().filter_map(rule).collect(), walk: Mutex::default() }
    }

    fn of(&self, repository: &RepositoryName) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.repositories.matches(repository.as_str()))
    }

    /// Begins to walk if it is time, or if somebody asks for a run.
    pub(super) fn begin_walk(&self, is_wanted: bool) {
        let mut walk = self.walk();
        let is_time = walk.begun.is_none_or(|begun| begun.elapsed() >= WALK_EVERY);
        if !self.rules.is_empty() && walk.at.is_none() && (is_time || is_wanted) {
            *walk = Walk { at: Some(ManifestCursor::default()), begun: Some(Instant::now()) };
        }
    }

    pub(super) fn is_walking(&self) -> bool {
        self.walk().at.is_some()
    }

    fn walk(&self) -> std::sync::MutexGuard<'_, Walk> {
        self.walk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rule {
    /// On whose behalf its deletions are recorded. No account's name has a colon.
    fn attribution(&self) -> Attribution {
        let subject = format!("retention:{}", self.repositories);
        Attribution {
            principal: Principal::new(Provider::Local, &subject, AccountType::System, Vec::new()),
            source: None,
            request_id: "collector".into(),
            action: Action::Delete,
            rule: "gc.untagged".into(),
        }
    }
}

impl Registry {
    /// Looks at manifests that lost their tags a grace period ago, at most a step of them.
    pub(super) async fn review_manifests(&self, done: &mut Totals) -> Result<(), Error> {
        let failed = || Error::meta("reviewing manifests");
        let now = self.now();
        let due = self.parts.meta.due_manifests(now, REVIEWS).await.map_err(failed())?;
        done.reviewed += due.len() as u64;
        let (mut kept, mut waiting) = (Vec::new(), Vec::new());
        for manifest in due {
            match self.collector.untagged.of(&manifest.repository) {
                None => kept.push(manifest),
                Some(rule) => match self.rest_of_age(rule, &manifest).filter(|until| *until > now) {
                    Some(until) => waiting.push((manifest, until)),
                    None => self.retire(rule, &manifest, now, done).await?,
                },
            }
        }
        if !kept.is_empty() {
            self.parts.meta.keep_manifests(&kept).await.map_err(failed())?;
        }
        if !waiting.is_empty() {
            self.parts.meta.wait_for_manifests(&waiting).await.map_err(failed())?;
        }
        Ok(())
    }

    /// When the age that the rule asks for is over, counted from when the tag went; `None`: it has been waited for.
    fn rest_of_age(&self, rule: &Rule, manifest: &DueManifest) -> Option<Timestamp> {
        let rest = rule.after.get().saturating_sub(self.gc.review_after());
        (!manifest.waited).then(|| manifest.due_at.plus(rest))
    }

    async fn retire(
        &self,
        rule: &Rule,
        manifest: &DueManifest,
        now: Timestamp,
        done: &mut Totals,
    ) -> Result<(), Error> {
        let DueManifest { repository, digest, .. } = manifest;
        let meta = &self.parts.meta;
        let retired = meta.retire_manifest(repository, digest, &rule.attribution(), now, self.review_at(now)).await;
        failpoint::arrive("registry.manifest-retired").await;
        if retired.map_err(Error::meta("retiring a manifest"))? == Retired::Deleted {
            done.retired += 1;
            tracing::info!(
                repository.name = %repository,
                manifest.digest = %digest,
                "deleted {repository}@{digest}: it has had no tag for {} (gc.untagged)",
                rule.after
            );
        }
        Ok(())
    }

    /// Walks past some manifests, if it is time for that, and enters those that a rule is about.
    pub(super) async fn walk_untagged(&self) -> Result<(), Error> {
        let failed = || Error::meta("looking for manifests without a tag");
        let rules = &self.collector.untagged;
        let Some(at) = rules.walk().at else { return Ok(()) };
        let (found, next) = self.parts.meta.walk_untagged(at, WALK_SPAN).await.map_err(failed())?;
        let due = |untagged: Untagged| {
            let due_at = untagged.pushed_at.plus(rules.of(&untagged.repository)?.after.get());
            Some((untagged, due_at))
        };
        let entries: Vec<_> = found.into_iter().filter_map(due).collect();
        if !entries.is_empty() {
            self.parts.meta.enter_untagged(&entries).await.map_err(failed())?;
        }
        rules.walk().at = next;
        Ok(())
    }
}
