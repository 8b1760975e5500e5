use async_trait::async_trait;
use wharf_base::Timestamp;
use wharf_oci::RepositoryName;

use super::Database;
use crate::{
    Claimed, KeptAnswers, LargeRepository, Pull, Result, StorageSample, Usage, WriteClaim, kept_answers, usage,
};

#[async_trait]
impl<D: Database> Usage for D {
    async fn repository_sizes(&self, after: Option<&RepositoryName>, limit: u32) -> Result<Vec<LargeRepository>> {
        let after = after.cloned();
        self.read("adding up repositories", move |tx| usage::sizes(tx, after.as_ref(), limit)).await
    }

    async fn keep_storage_sample(&self, sample: &StorageSample, largest: &[LargeRepository], since: i64) -> Result<()> {
        let (sample, largest) = (*sample, largest.to_vec());
        self.write("noting how much there is", move |tx| usage::keep(tx, &sample, &largest, since)).await
    }

    async fn storage_samples(&self, limit: u32) -> Result<Vec<StorageSample>> {
        self.read("reading how much there was", move |tx| usage::samples(tx, limit)).await
    }

    async fn largest_repositories(&self, limit: u32) -> Result<Vec<LargeRepository>> {
        self.read("reading which repositories are large", move |tx| usage::largest(tx, limit)).await
    }

    async fn note_pulls(&self, pulls: Vec<Pull>) -> Result<()> {
        self.write("noting pulls", move |tx| usage::note_pulls(tx, &pulls)).await
    }
}

#[async_trait]
impl<D: Database> KeptAnswers for D {
    async fn claim_write(&self, claim: &WriteClaim, max: u32) -> Result<Claimed> {
        let claim = claim.clone();
        self.write("claiming a change", move |tx| kept_answers::claim(tx, &claim, max)).await
    }

    async fn keep_answer(&self, claim: &WriteClaim, answer: Vec<u8>) -> Result<()> {
        let claim = claim.clone();
        self.write("keeping an answer", move |tx| kept_answers::keep(tx, &claim, &answer)).await
    }

    async fn release_write(&self, claim: &WriteClaim) -> Result<()> {
        let claim = claim.clone();
        self.write("releasing a change", move |tx| kept_answers::release(tx, &claim)).await
    }

    async fn forget_answers(&self, before: Timestamp) -> Result<u64> {
        self.write("forgetting answers", move |tx| kept_answers::forget(tx, before)).await
    }
}
