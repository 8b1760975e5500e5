use std::collections::HashSet;

use wharf_oci::Digest;
use wharf_store::Swept;

use super::BackupPlace;
use super::generation::{ABOUT, LIST};
use crate::error::CommandError;

/// What was removed.
#[derive(Clone, Debug)]
pub(crate) struct Pruned {
    /// Generations, the oldest first.
    pub(crate) generations: Vec<String>,
    /// Content that only they named, or that no generation ever did.
    pub(crate) content: Swept,
    /// How many generations are left.
    pub(crate) left: usize,
}

/// Removes all generations but the newest `keep`, and content that is named by none of these. May be killed anywhere: a
/// generation is there with everything that it names, or it is not there.
///
/// Takes about 100 bytes of memory for each content that is kept.
///
/// # Errors
///
/// [`CommandError`]; a list that cannot be read keeps everything.
pub(crate) async fn prune(place: &dyn BackupPlace, keep: usize) -> Result<Pruned, CommandError> {
    let mut kept = place.generations().await?;
    let removed: Vec<_> = kept.drain(..kept.len().saturating_sub(keep)).collect();
    // Read before anything goes: what is kept must be known as a whole.
    let mut named: HashSet<Digest> = HashSet::new();
    for generation in &kept {
        place.bring(generation, &[ABOUT, LIST]).await?;
        generation.check_list()?;
        for content in generation.contents()? {
            named.insert(content?.digest);
        }
    }
    for generation in &removed {
        place.discard(generation).await?;
    }
    let content = place.content().sweep(&named).await?;
    let generations = removed.iter().map(|generation| generation.name().to_owned()).collect();
    Ok(Pruned { generations, content, left: kept.len() })
}
