use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use wharf_base::UploadId;

/// Which upload sessions are being written to by this process: one writer a session.
///
/// The database guards the same across processes by comparing the offset when it is advanced; this guards the staged
/// file, which a second writer would cut back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Claims(Arc<Mutex<HashSet<UploadId>>>);

/// The right to write to one session; given back when dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    claims: Claims,
    upload: UploadId,
}

impl Claims {
    /// `None` while somebody else writes to `upload`.
    pub(crate) fn claim(&self, upload: UploadId) -> Option<Claim> {
        let mut claimed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        claimed.insert(upload).then(|| Claim { claims: self.clone(), upload })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.upload);
    }
}
