use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharf_base::HumanDuration;
use wharf_policy::Pattern;

/// `[gc]`: when what nobody needs any more goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GcConfig {
    /// Whether the collector runs by itself. `wharf gc run` works either way.
    pub enabled: bool,
    /// How long what no manifest references stays in a repository after its upload, after its last reference went, or
    /// after a client that may push was told that it is there; also how long deletions can be undone.
    pub grace: HumanDuration,
    /// How long content that nothing needs any more stays on the disk.
    pub trash: HumanDuration,
    /// Whether content stays only 2 hours, where `trash` says longer, while less than `storage.min_free` is free; the oldest
    /// goes first. Never shortens `grace`.
    pub pressure: bool,
    /// How long the collector waits when nothing was due.
    pub interval: HumanDuration,
    /// The share of its time that the collector works, in percent; the rest it leaves to requests.
    pub share_percent: u8,
    /// How old content without a row, or staged bytes without an upload session, must be before it counts as left behind;
    /// a day more than the longest upload session (`registry.upload_life`) at least.
    pub orphan_age: HumanDuration,
    /// How often everything is listed, to find files that belong to nothing. 0 turns that off; `wharf gc run --orphans`
    /// works either way.
    pub sweep_period: HumanDuration,
    /// How long nothing is collected after a stop that was not in order.
    pub hold_after_crash: HumanDuration,
    /// Where manifests that no tag names go by themselves. None by default: people deploy by digest. The first entry whose
    /// pattern fits a repository counts.
    pub untagged: Vec<Untagged>,
}

/// One entry of `[[gc.untagged]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Untagged {
    /// A pattern of repositories, as in rules: `ci/**`.
    pub repositories: String,
    /// How long after its last tag has gone a manifest is deleted. Indexes keep what they list, and referrers stay as long
    /// as what they refer to.
    pub after: HumanDuration,
}

impl Default for GcConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            grace: HumanDuration::hours(24),
            trash: HumanDuration::hours(24),
            pressure: true,
            interval: HumanDuration::secs(60),
            share_percent: 20,
            orphan_age: HumanDuration::days(8),
            sweep_period: HumanDuration::days(7),
            hold_after_crash: HumanDuration::hours(1),
            untagged: Vec::new(),
        }
    }
}

/// Longer, and a time of the far future would no longer be a time.
const LONGEST: HumanDuration = HumanDuration::days(3650);

impl GcConfig {
    /// Relations between keys that cannot hold; empty when all is well.
    pub fn check(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        let second = HumanDuration::secs(1);
        for (key, value, least) in [
            ("grace", self.grace, second),
            ("trash", self.trash, HumanDuration::secs(0)),
            ("interval", self.interval, second),
            ("sweep_period", self.sweep_period, HumanDuration::secs(0)),
            ("orphan_age", self.orphan_age, HumanDuration::secs(0)),
            ("hold_after_crash", self.hold_after_crash, HumanDuration::secs(0)),
        ] {
            if value < least || value > LONGEST {
                complaints.push(format!("gc.{key} must be from {least} to 10 years"));
            }
        }
        for Untagged { repositories, after } in &self.untagged {
            if let Err(error) = repositories.parse::<Pattern>() {
                complaints.push(format!("gc.untagged: {error}"));
            }
            if *after < self.grace || *after > LONGEST {
                complaints.push(format!("gc.untagged: {repositories}: after must be from gc.grace to 10 years"));
            }
        }
        if !(1..=100).contains(&self.share_percent) {
            complaints.push("gc.share_percent must be from 1 to 100".into());
        }
        complaints
    }

    /// From an event to the review of what it concerns: the grace period and some slack, so that repeated probes of one
    /// blob write once an hour rather than each time.
    pub(crate) fn review_after(&self) -> Duration {
        self.grace.get() + self.grace.get() / 24
    }
}
