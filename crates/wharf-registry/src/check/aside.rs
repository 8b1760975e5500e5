//! Damaged content is set aside: its row says so, its file is moved out of the way, and whoever asks for it is told to
//! push it again. Nothing is removed, and every repository keeps its claim to it; the next push of the same bytes, by
//! whomever, makes all of it whole (`reliability` §5.3).

use std::sync::Arc;

use wharf_oci::Digest;
use wharf_policy::{AccountType, Action, Attribution, Principal, Provider};

use super::Depth;
use super::content::{Confirmed, Damage};
use crate::{Error, Registry};

/// What became of content that did not look as it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is as its row says, or not to be served any more.
    Sound,
    /// It was damaged, and is set aside.
    SetAside(Damage),
    /// It cannot be read now, and stays where it is.
    Unreadable(String),
}

/// Whom records name for what the registry does by itself; `task` stands in the place of the rule.
pub(crate) fn itself(task: &str) -> Attribution {
    Attribution {
        principal: Principal::new(Provider::Nobody, "wharf", AccountType::System, Vec::new()),
        source: None,
        request_id: "".into(),
        action: Action::CheckManage,
        rule: task.into(),
    }
}

impl Registry {
    /// Looks at the content again and sets it aside if it is damaged.
    pub(crate) async fn judge(&self, digest: &Digest, depth: Depth, by: &Attribution) -> Result<Verdict, Error> {
        match self.confirm_damage(digest, depth).await? {
            None => Ok(Verdict::Sound),
            Some(Confirmed { damage: Damage::Unreadable(reason), .. }) => Ok(Verdict::Unreadable(reason)),
            Some(confirmed) => {
                let damage = confirmed.damage.clone();
                self.set_aside(digest, confirmed, by).await?;
                Ok(Verdict::SetAside(damage))
            }
        }
    }

    /// The row first: should we be killed in between, what is not served any more lies in its place, and the push that
    /// heals it replaces it there.
    pub(crate) async fn set_aside(&self, digest: &Digest, confirmed: Confirmed, by: &Attribution) -> Result<(), Error> {
        let Confirmed { damage, location, locked } = confirmed;
        let (problem, now) = (damage.problem(), self.now());
        let changed = self.parts.meta.set_aside_blob(digest, &location, &problem, by, now).await;
        if !changed.map_err(Error::meta("setting a blob aside"))? {
            return Ok(());
        }
        wharf_base::failpoint::reach("check.row_set_aside");
        let moved = self.parts.store.set_aside(&locked, &location, now).await;
        drop(locked);
        let affected = self.affected(digest).await.unwrap_or_default();
        tracing::error!(
            blob.digest = %digest,
            blob.affected = affected.join(" "),
            "blob {digest} is damaged and set aside: {problem}; push it again"
        );
        moved.map(drop).map_err(Error::store("moving damaged content aside"))
    }

    /// Judges content in the background: whoever met the damage cannot wait for it.
    pub(crate) fn suspect(self: &Arc<Self>, digest: Digest, depth: Depth) {
        let registry = Arc::clone(self);
        self.parts.spawner.spawn("judge damaged content", async move {
            if let Err(error) = registry.judge(&digest, depth, &itself("read")).await {
                let error = crate::error::with_causes(&error);
                tracing::error!(blob.digest = %digest, "blob {digest} may be damaged, and could not be looked at: {error}");
            }
        });
    }
}
