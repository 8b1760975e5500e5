use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wharf_base::{ByteSize, HumanDuration};

/// When a large blob is hashed because somebody reads it. Small ones, up to 1 MiB, always are before they are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum VerifyReads {
    /// Not then: the scrub reads all of them by and by.
    #[default]
    Scrub,
    /// When it is read in full for the first time since the start.
    First,
    /// Each time. Requests for a range of it are answered with all of it.
    Always,
}

/// `[check]`: how what is stored is looked after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CheckConfig {
    /// How long it takes until all stored content has been read and hashed once. 0 turns the scrub off.
    pub scrub_period: HumanDuration,
    /// How many bytes a second the scrub reads at most.
    pub scrub_rate: ByteSize,
    /// The share of its time that the scrub works, in percent; the rest it leaves to requests.
    pub scrub_share_percent: u8,
    /// How long the scrub waits when nothing is due.
    pub scrub_interval: HumanDuration,
}

impl Default for CheckConfig {
    fn default() -> Self {
        Self {
            scrub_period: HumanDuration::days(30),
            scrub_rate: ByteSize::mib(20),
            scrub_share_percent: 20,
            scrub_interval: HumanDuration::secs(600),
        }
    }
}

/// Longer, and a time of the far future would no longer be a time.
const LONGEST: HumanDuration = HumanDuration::days(3650);

impl CheckConfig {
    /// Relations between keys that cannot hold; empty when all is well.
    pub fn check(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        if self.scrub_period > LONGEST {
            complaints.push("check.scrub_period must be at most 10 years".into());
        }
        if self.scrub_interval < HumanDuration::secs(1) || self.scrub_interval > LONGEST {
            complaints.push("check.scrub_interval must be from 1s to 10 years".into());
        }
        if self.scrub_rate.as_u64() == 0 {
            complaints.push(
                "check.scrub_rate must be at least 1 byte; check.scrub_period = \"0s\" turns the scrub off".into(),
            );
        }
        if !(1..=100).contains(&self.scrub_share_percent) {
            complaints.push("check.scrub_share_percent must be from 1 to 100".into());
        }
        complaints
    }
}
