//! What rows alone say: each contradiction is one within a page of them.

use wharf_base::UploadId;
use wharf_oci::{Digest, Tag};
use wharf_policy::RuleSet;

use super::{CheckOrder, Class, Depth, Finding, PAGE, Stage, Watch};
use crate::{Error, Registry};

impl Registry {
    pub(super) async fn check_database(&self, order: &CheckOrder, watch: &Watch) -> Result<(), Error> {
        watch.enter(Stage::Database);
        let meta = &self.parts.meta;
        let complaints = meta.check_database(order.depth == Depth::Deep).await;
        for complaint in complaints.map_err(Error::meta("checking the database"))? {
            let advice = "stop the registry, keep a copy of the data directory, and restore the database from a backup";
            watch.found(Finding::error(Class::Database, "wharf.db", complaint).advise(advice));
        }
        let recorded = meta.store_id().await.map_err(Error::meta("looking up the store's id"))?;
        if recorded != Some(self.parts.store.store_id()) {
            let problem = "the database belongs to the content of another data directory";
            let advice = "bring the database and the content that belong together into one directory";
            watch.found(Finding::error(Class::Store, "wharf.db", problem).advise(advice));
        }
        Ok(())
    }

    pub(super) async fn check_tags(&self, order: &CheckOrder, watch: &Watch) -> Result<(), Error> {
        watch.enter(Stage::Tags);
        let mut after = None;
        while !watch.is_stopped() {
            let page = self.parts.meta.check_tags(after.as_ref(), PAGE).await;
            let page = page.map_err(Error::meta("checking tags"))?;
            watch.advance(|progress| progress.rows += page.rows.len() as u64);
            for tag in page.rows.iter().filter(|tag| order.is_about(&tag.repository)) {
                tag_findings(tag).into_iter().for_each(|finding| watch.found(finding));
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        self.check_changes(order, watch).await
    }

    async fn check_changes(&self, order: &CheckOrder, watch: &Watch) -> Result<(), Error> {
        let mut after = None;
        while !watch.is_stopped() {
            let page = self.parts.meta.check_changes(after.as_ref(), PAGE).await;
            let page = page.map_err(Error::meta("checking the history of tags"))?;
            watch.advance(|progress| progress.rows += page.rows.len() as u64);
            for change in page.rows.iter().filter(|change| order.is_about(&change.repository)) {
                change_finding(change).into_iter().for_each(|finding| watch.found(finding));
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok(())
    }

    pub(super) async fn check_removals(&self, watch: &Watch) -> Result<(), Error> {
        let mut after = None;
        while !watch.is_stopped() {
            let page = self.parts.meta.check_removals(after.as_ref(), PAGE).await;
            let page = page.map_err(Error::meta("checking removals"))?;
            watch.advance(|progress| progress.rows += page.rows.len() as u64);
            let has_keys = !self.parts.store.is_by_digest();
            let is_content =
                |key: &String| key.parse::<Digest>().is_ok() || (has_keys && key.parse::<UploadId>().is_ok());
            for key in page.rows.iter().filter(|key| !is_content(key)) {
                let problem = "it is noted to be removed and is no content";
                let advice = "collection stops at it: restore the database from a backup, or report this";
                watch.found(Finding::error(Class::Removals, key.as_str(), problem).advise(advice));
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok(())
    }

    pub(super) async fn check_rules(&self, watch: &Watch) -> Result<(), Error> {
        watch.enter(Stage::Records);
        let stored = self.parts.meta.load_enabled_policy_rules().await.map_err(Error::meta("loading the rules"))?;
        for broken in RuleSet::merged(&stored).broken() {
            let problem = format!("the rule is out of force because it cannot be read: {}", broken.problem);
            let advice = "write it anew with `wharf policy set`, or delete it";
            watch.found(Finding::warning(Class::Rules, &broken.id[..], problem).advise(advice));
        }
        Ok(())
    }

    pub(super) async fn check_audit(&self, watch: &Watch) -> Result<(), Error> {
        if watch.is_stopped() {
            return Ok(());
        }
        let verified = crate::audit::verify(&*self.parts.meta).await;
        if let Err(broken) = verified.map_err(Error::meta("verifying the audit log"))? {
            let advice = "somebody or something has changed the log; compare it with an exported copy";
            watch.found(Finding::error(Class::Audit, "audit log", broken.to_string()).advise(advice));
        }
        Ok(())
    }
}

fn tag_findings(tag: &wharf_meta::CheckedTag) -> Option<Finding> {
    let subject = format!("{}:{}", tag.repository, tag.name);
    let push_again = "push the tag again";
    if let Err(error) = tag.name.parse::<Tag>() {
        return Some(
            Finding::error(Class::TagTarget, subject, format!("it is not the name of a tag: {error}"))
                .advise(push_again),
        );
    }
    let Some(digest) = &tag.digest else {
        let problem = "it points at no manifest of its repository";
        return Some(Finding::error(Class::TagTarget, subject, problem).advise(push_again));
    };
    // A history that was never kept contradicts nothing.
    let last = tag.last_version?;
    if last != tag.version || tag.last_digest.as_ref() != Some(digest) {
        let led_to = tag.last_digest.as_deref().unwrap_or("nothing");
        let problem = format!(
            "it points at {digest} in version {}, its history ends in version {last} with {led_to}",
            tag.version
        );
        return Some(Finding::warning(Class::History, subject, problem).advise(push_again));
    }
    None
}

fn change_finding(change: &wharf_meta::CheckedChange) -> Option<Finding> {
    let subject = format!("{}:{}", change.repository, change.name);
    let or_nothing = |digest: &Option<String>| digest.clone().unwrap_or_else(|| "nothing".to_owned());
    let advice = "pulls are not concerned; what the tag was then may not be what the history says";
    if let Some(before) = &change.before
        && *before != change.from
    {
        let problem = format!(
            "version {} says that it pointed at {}, the change before it says at {}",
            change.version,
            or_nothing(&change.from),
            or_nothing(before)
        );
        return Some(Finding::warning(Class::History, subject, problem).advise(advice));
    }
    if change.is_last_of_none {
        let problem = format!("its history ends with {}, and there is no such tag", or_nothing(&change.to));
        return Some(
            Finding::error(Class::History, subject, problem).advise("restore the tag: wharf restore REPOSITORY:TAG"),
        );
    }
    None
}
