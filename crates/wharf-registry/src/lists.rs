use std::fmt;
use std::str::FromStr;

use wharf_base::Timestamp;
use wharf_oci::{AnyDigest, Digest, ReferrerDescriptor, RepositoryName, Tag};
use wharf_policy::{Action, Asker, Authorized, Catalog, Pull};

use crate::{Error, Listing, Registry};

/// The most referrers on one page; with the limits on annotations the page is cut earlier by its bytes.
const REFERRERS_PAGE_MAX: u32 = 1_000;

/// How many names of the catalog are read at a time.
const CATALOG_PORTION: u32 = 1_000;

/// The most bytes of one page of referrers: clients read no more than 4 MiB (P-277).
const REFERRERS_PAGE_BYTES: usize = 4 << 20;

/// A piece of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// In byte order.
    pub items: Vec<T>,
    /// Whether the list goes on, and how long its pages are.
    pub next: Option<u32>,
}

/// Where a list of referrers goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferrerCursor {
    pushed_at: Timestamp,
    digest: Digest,
}

/// `<microseconds>.<digest>`.
impl fmt::Display for ReferrerCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.pushed_at.as_micros(), self.digest)
    }
}

impl FromStr for ReferrerCursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (micros, digest) = text.split_once('.').ok_or(())?;
        let pushed_at = Timestamp::from_micros(micros.parse().map_err(|_| ())?);
        Ok(Self { pushed_at, digest: digest.parse().map_err(|_| ())? })
    }
}

/// A piece of the list of what refers to a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferrersPage {
    /// In the order they were pushed.
    pub referrers: Vec<ReferrerDescriptor>,
    /// Where the list goes on, if it does.
    pub next: Option<ReferrerCursor>,
}

impl Registry {
    /// The tags of a repository after `after`, at most `length` of them (end-8a, end-8b).
    ///
    /// # Errors
    ///
    /// [`Error::RepositoryUnknown`].
    ///
    /// # Source
    ///
    /// Protocol checklist §16.
    pub async fn tags(
        &self,
        ok: &Authorized<Pull>,
        after: Option<&str>,
        length: Option<u32>,
    ) -> Result<Page<Tag>, Error> {
        let max = self.config.tags_page_max;
        let length = length.unwrap_or(max).min(max);
        let found = self.parts.meta.tags(ok.repository(), after, length.saturating_add(1)).await;
        let found = found.map_err(Error::meta("listing tags"))?;
        Ok(page(found.ok_or_else(|| Error::RepositoryUnknown(ok.repository().clone()))?, length))
    }

    /// The repositories after `after` that have a manifest and that the principal may pull, at most `length` of them
    /// (S-018). A page goes on behind the last name it shows, so it never tells a name that is not for this principal;
    /// names between them are read and left out, in portions of 1,000.
    ///
    /// # Errors
    ///
    /// [`Error::Meta`].
    ///
    /// # Source
    ///
    /// Protocol checklist §18.
    pub async fn catalog(
        &self,
        ok: &Authorized<Catalog>,
        after: Option<&str>,
        length: Option<u32>,
    ) -> Result<Page<RepositoryName>, Error> {
        let length = length.unwrap_or(self.config.catalog_page).min(self.config.catalog_page_max);
        // The token of this request is for the catalog alone; what may be pulled is a question about the principal.
        let mut asker = ok.asker().clone();
        asker.limits.bearer = None;
        if length == 0 {
            return Ok(Page { items: Vec::new(), next: None });
        }
        let shown = self.pullable(&asker, None, after, length, CATALOG_PORTION).await;
        Ok(page(shown.map_err(Error::meta("listing repositories"))?, length))
    }

    /// The names after `after` that contain `text` and that the asker may pull, one more than `length` if there are as many;
    /// read in portions.
    pub(crate) async fn pullable(
        &self,
        asker: &Asker,
        text: Option<&str>,
        after: Option<&str>,
        length: u32,
        portion: u32,
    ) -> wharf_meta::Result<Vec<RepositoryName>> {
        let mut names = Vec::new();
        let mut last = after.map(str::to_owned);
        loop {
            let found = match text {
                Some(text) => self.parts.meta.repositories_like(text, last.as_deref(), portion).await?,
                None => self.parts.meta.repositories(last.as_deref(), portion).await?,
            };
            let is_end = found.len() < portion as usize;
            last = found.last().map(RepositoryName::to_string);
            let room = length as usize + 1 - names.len();
            names.extend(found.into_iter().filter(|name| self.may_pull(asker, name)).take(room));
            if is_end || names.len() > length as usize {
                return Ok(names);
            }
        }
    }

    pub(crate) fn may_pull(&self, asker: &Asker, name: &RepositoryName) -> bool {
        self.parts.policy.permits(asker, Action::Pull, Some(name)).is_ok()
    }

    /// What refers to `subject` in this repository, of any of `artifact_types` if there are some (end-12a, end-12b).
    /// Whether the subject, or the repository, exists does not matter (P-269).
    ///
    /// # Errors
    ///
    /// [`Error::Meta`].
    ///
    /// # Source
    ///
    /// Protocol checklist §17.
    pub async fn referrers(
        &self,
        ok: &Authorized<Pull>,
        subject: &AnyDigest,
        artifact_types: &[String],
        after: Option<&ReferrerCursor>,
    ) -> Result<ReferrersPage, Error> {
        let after = after.map(|at| wharf_meta::ReferrerCursor { pushed_at: at.pushed_at, digest: at.digest });
        let limit = REFERRERS_PAGE_MAX + 1;
        let found = self.parts.meta.referrers(ok.repository(), subject, artifact_types, after.as_ref(), limit).await;
        let mut found = found.map_err(Error::meta("listing referrers"))?;
        let fitting = fitting(&found);
        let goes_on = fitting < found.len();
        found.truncate(fitting);
        let next = found
            .last()
            .filter(|_| goes_on)
            .map(|last| ReferrerCursor { pushed_at: last.cursor.pushed_at, digest: last.cursor.digest });
        let referrers = found.into_iter().map(|referrer| ReferrerDescriptor {
            media_type: referrer.media_type,
            digest: referrer.digest,
            size: referrer.size_bytes,
            artifact_type: referrer.artifact_type,
            annotations: referrer.annotations,
        });
        Ok(ReferrersPage { referrers: referrers.collect(), next })
    }
}

/// How many of the referrers fit on a page; at least one, so that every list comes to its end.
fn fitting(found: &[wharf_meta::Referrer]) -> usize {
    let mut room = REFERRERS_PAGE_BYTES - 1_024;
    for (index, referrer) in found.iter().take(REFERRERS_PAGE_MAX as usize).enumerate() {
        let annotations: usize =
            referrer.annotations.iter().map(|(key, value)| json_bytes(key) + json_bytes(value)).sum();
        let artifact_type = referrer.artifact_type.as_deref().map_or(0, json_bytes);
        let size = 512 + artifact_type + annotations;
        if size > room && index > 0 {
            return index;
        }
        room = room.saturating_sub(size);
    }
    found.len().min(REFERRERS_PAGE_MAX as usize)
}

/// The most bytes that `text` takes as a JSON string, with quotes and separators.
fn json_bytes(text: &str) -> usize {
    text.bytes()
        .map(|byte| {
            if byte < 0x20 {
                6
            } else if byte == b'"' || byte == b'\\' {
                2
            } else {
                1
            }
        })
        .sum::<usize>()
        + 4
}

/// Cuts a list that was asked for with one item more than the page takes.
fn page<T>(items: Vec<T>, length: u32) -> Page<T> {
    let Listing { items, goes_on } = Listing::cut(items, length);
    Page { items, next: (goes_on && length > 0).then_some(length) }
}
