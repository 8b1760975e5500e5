use async_trait::async_trait;
use wharf_base::Timestamp;
use wharf_oci::{Digest, RepositoryName};

use super::Database;
use crate::{
    Browsing, ContentPortion, ManifestDetails, RepositorySummary, Result, Session, Sessions, SignIn, TagSummary,
    browsing, sessions, sign_ins,
};

#[async_trait]
impl<D: Database> Sessions for D {
    async fn create_session(&self, new: &Session, max: u32) -> Result<()> {
        let new = new.clone();
        self.write("beginning a session", move |tx| sessions::create(tx, &new, max)).await
    }

    async fn session(&self, id_sha256: &[u8; 32]) -> Result<Option<Session>> {
        let id_sha256 = *id_sha256;
        self.read("looking up a session", move |tx| sessions::find(tx, &id_sha256)).await
    }

    async fn touch_session(&self, id_sha256: &[u8; 32], now: Timestamp) -> Result<()> {
        let id_sha256 = *id_sha256;
        self.write("noting that a session was used", move |tx| sessions::touch(tx, &id_sha256, now)).await
    }

    async fn end_session(&self, id_sha256: &[u8; 32]) -> Result<bool> {
        let id_sha256 = *id_sha256;
        self.write("ending a session", move |tx| sessions::end(tx, &id_sha256)).await
    }

    async fn end_sessions_of(&self, principal: &str) -> Result<u64> {
        let principal = principal.to_owned();
        self.write("ending sessions", move |tx| sessions::end_all(tx, &principal)).await
    }

    async fn sessions_of(&self, principal: &str, limit: u32) -> Result<Vec<Session>> {
        let principal = principal.to_owned();
        self.read("listing sessions", move |tx| sessions::of_principal(tx, &principal, limit)).await
    }

    async fn remove_ended_sessions(&self, seen_before: Timestamp, now: Timestamp) -> Result<u64> {
        self.write("forgetting ended sessions", move |tx| sessions::remove_ended(tx, seen_before, now)).await
    }

    async fn begin_sign_in(&self, new: &SignIn, before: Timestamp, max: u32) -> Result<bool> {
        let new = new.clone();
        self.write("beginning a sign-in", move |tx| sign_ins::begin(tx, &new, before, max)).await
    }

    async fn take_sign_in(&self, id_sha256: &[u8; 32]) -> Result<Option<SignIn>> {
        let id_sha256 = *id_sha256;
        self.write("finishing a sign-in", move |tx| sign_ins::take(tx, &id_sha256)).await
    }
}

#[async_trait]
impl<D: Database> Browsing for D {
    async fn repositories_like(&self, text: &str, after: Option<&str>, limit: u32) -> Result<Vec<RepositoryName>> {
        let (text, after) = (text.to_owned(), after.map(str::to_owned));
        self.read("searching repositories", move |tx| browsing::repositories_like(tx, &text, after.as_deref(), limit))
            .await
    }

    async fn repository_summaries(&self, names: &[RepositoryName]) -> Result<Vec<RepositorySummary>> {
        let names = names.to_vec();
        self.read("reading about repositories", move |tx| browsing::summaries(tx, &names)).await
    }

    async fn tag_summaries(
        &self,
        repository: &RepositoryName,
        text: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Option<Vec<TagSummary>>> {
        let (repository, text, after) = (repository.clone(), text.to_owned(), after.map(str::to_owned));
        self.read("reading about tags", move |tx| browsing::tags(tx, &repository, &text, after.as_deref(), limit)).await
    }

    async fn manifest_details(&self, repository: &RepositoryName, digest: &Digest) -> Result<Option<ManifestDetails>> {
        let (repository, digest) = (repository.clone(), *digest);
        self.read("reading about a manifest", move |tx| browsing::details(tx, &repository, &digest)).await
    }

    async fn content_portion(&self, after: Option<i64>, limit: u32) -> Result<ContentPortion> {
        self.read("counting content", move |tx| browsing::portion(tx, after, limit)).await
    }
}
