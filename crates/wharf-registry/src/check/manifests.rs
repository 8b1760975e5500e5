//! Manifests: their bytes, what their rows say about them, and what can still be restored. The bytes are read by the same
//! planner as those of a push, so that the two cannot disagree.

use std::collections::BTreeSet;

use wharf_meta::{CheckedDeleted, CheckedManifest};
use wharf_oci::{Digest, Manifest};

use super::{CheckOrder, Class, Finding, MANIFESTS_PAGE, Stage, Watch};
use crate::plan::{self, Described};
use crate::{Error, Registry};

impl Registry {
    pub(super) async fn check_manifests(&self, order: &CheckOrder, watch: &Watch) -> Result<(), Error> {
        watch.enter(Stage::Manifests);
        let mut after = None;
        while !watch.is_stopped() {
            let page = self.parts.meta.check_manifests(after.as_ref(), MANIFESTS_PAGE).await;
            let page = page.map_err(Error::meta("checking manifests"))?;
            watch.advance(|progress| progress.manifests += page.rows.len() as u64);
            for manifest in page.rows.iter().filter(|manifest| order.is_about(&manifest.repository)) {
                for finding in findings(manifest) {
                    let repair = self.describe_again(manifest, &order.by);
                    let finding = finding.affecting(affected(manifest));
                    self.found(finding, "recorded again", repair, order, watch).await?;
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    pub(super) async fn check_deleted(&self, order: &CheckOrder, watch: &Watch) -> Result<(), Error> {
        watch.enter(Stage::Deleted);
        let mut after = None;
        while !watch.is_stopped() {
            let page = self.parts.meta.check_deleted(after.as_ref(), self.now(), MANIFESTS_PAGE).await;
            let page = page.map_err(Error::meta("checking deleted manifests"))?;
            watch.advance(|progress| progress.manifests += page.rows.len() as u64);
            for deleted in page.rows.iter().filter(|deleted| order.is_about(&deleted.repository)) {
                deleted_finding(deleted).into_iter().for_each(|finding| watch.found(finding));
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok(())
    }
}

fn affected(manifest: &CheckedManifest) -> Vec<String> {
    if manifest.tags.is_empty() {
        return vec![format!("{}@{}", manifest.repository, manifest.digest)];
    }
    manifest.tags.iter().map(|tag| format!("{}:{tag}", manifest.repository)).collect()
}

/// Its bytes as the row's media type has them read, if they are what the digest says.
fn read(digest: &str, media_type: &str, body: &[u8]) -> Result<Described, String> {
    let named: Digest = digest.parse().map_err(|error| format!("its digest is none: {error}"))?;
    let actual = Digest::of(named.algorithm(), body);
    if actual != named {
        return Err(format!("its bytes hash to {actual}"));
    }
    let parsed = Manifest::parse(Some(media_type), body);
    let parsed = parsed.map_err(|error| format!("its bytes are not what its media type {media_type} says: {error}"))?;
    Ok(plan::describe(&parsed))
}

fn findings(manifest: &CheckedManifest) -> Vec<Finding> {
    let subject = || format!("{}@{}", manifest.repository, manifest.digest);
    let described = match read(&manifest.digest, &manifest.media_type, &manifest.body) {
        Ok(described) => described,
        Err(problem) => {
            let advice = "push the same manifest again; that replaces the damaged bytes";
            return vec![Finding::error(Class::ManifestIntact, subject(), problem).advise(advice)];
        }
    };
    let mut findings = Vec::new();
    if let Some(problem) = disagreement(manifest, &described) {
        let advice = "run `wharf check --repair I-04`, which records again what the bytes say";
        findings.push(Finding::error(Class::ManifestReferences, subject(), problem).advise(advice));
    }
    let gone: Vec<&str> =
        manifest.children.iter().filter(|child| !child.exists).map(|child| child.digest.as_str()).collect();
    if let Some(first) = gone.first() {
        let problem =
            format!("{} of the manifests that it lists are not in its repository, such as {first}", gone.len());
        let advice = "if they were not deleted on purpose, restore or push them";
        findings.push(Finding::note(Class::Children, subject(), problem).advise(advice));
    }
    findings
}

/// What the rows say otherwise than the bytes.
fn disagreement(manifest: &CheckedManifest, described: &Described) -> Option<String> {
    let text = |digest: &Digest| digest.to_string();
    let blobs: BTreeSet<String> = described.blobs.iter().map(text).collect();
    let children: BTreeSet<String> = described.children.iter().map(text).collect();
    let held: BTreeSet<String> = manifest.holds.iter().cloned().collect();
    let listed: BTreeSet<String> = manifest.children.iter().map(|child| child.digest.clone()).collect();
    let annotations = manifest.annotations.as_deref().map_or(Ok(Default::default()), serde_json::from_str);
    if manifest.media_type != described.media_type {
        return Some(format!("its media type is recorded as {}", manifest.media_type));
    }
    if let Some(blob) = blobs.difference(&held).next() {
        return Some(format!("it names {blob}, which is not recorded: collection could remove it"));
    }
    // A child that is a blob is held as one; a child that is a manifest is not.
    if let Some(blob) = held.difference(&blobs).find(|blob| !children.contains(*blob)) {
        return Some(format!("it is recorded as naming {blob}, which it does not"));
    }
    if children != listed {
        return Some("what it lists is recorded otherwise".to_owned());
    }
    if manifest.subject != described.subject.as_ref().map(ToString::to_string) {
        return Some("what it refers to is recorded otherwise".to_owned());
    }
    if manifest.config != described.config.as_ref().map(text) {
        return Some("its config is recorded otherwise".to_owned());
    }
    if manifest.artifact_type != described.artifact_type {
        return Some("its artifact type is recorded otherwise".to_owned());
    }
    if annotations.ok().as_ref() != Some(&described.annotations) {
        return Some("its annotations are recorded otherwise".to_owned());
    }
    if !manifest.is_of_one_repository {
        return Some("some of what it names is recorded for another repository".to_owned());
    }
    None
}

fn deleted_finding(deleted: &CheckedDeleted) -> Option<Finding> {
    let problem = read(&deleted.digest, &deleted.media_type, &deleted.body).err()?;
    let subject = format!("{}@{}", deleted.repository, deleted.digest);
    let advice = "it cannot be restored; if it is needed, push it again";
    Some(Finding::error(Class::Restorable, subject, problem).advise(advice))
}
