use std::collections::HashSet;
use std::fs;

use wharf_base::failpoint::reach;
use wharf_oci::Digest;
use wharf_store::Swept;

use super::{BackupDirectory, failed};
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
pub(crate) fn prune(directory: &BackupDirectory, keep: usize) -> Result<Pruned, CommandError> {
    let mut kept = directory.generations()?;
    let removed: Vec<_> = kept.drain(..kept.len().saturating_sub(keep)).collect();
    // Read before anything goes: what is kept must be known as a whole.
    let mut named: HashSet<Digest> = HashSet::new();
    for generation in &kept {
        generation.check_list()?;
        for content in generation.contents()? {
            named.insert(content?.digest);
        }
    }
    for generation in &removed {
        let gone = directory.unname(generation)?;
        reach("prune.unnamed");
        fs::remove_dir_all(&gone).map_err(failed("removing", &gone))?;
        reach("prune.removed");
    }
    let content = directory.archive()?.sweep(|digest| named.contains(digest))?;
    let generations = removed.iter().map(|generation| generation.name().to_owned()).collect();
    Ok(Pruned { generations, content, left: kept.len() })
}
