//! The chain that makes an edited audit log show: each record's hash covers the record and the hash before it, and each
//! seal repeats the hash of its last record. Pure.
//!
//! What a record is hashed as is its fields in a fixed order, each with its length in front, so that no two records read
//! the same. The chain begins with 32 zero bytes.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::audit::{AuditEntry, Seal, TRIM_ACTION};

/// A SHA-256 of the chain; prints as lower-case hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// What stands before the first record.
    pub const BEGINNING: Self = Self([0; 32]);

    /// From its bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The hash of `entry` behind `previous`.
pub(crate) fn record_hash(previous: &Hash, entry: &AuditEntry) -> Hash {
    let mut hash = Sha256::new();
    hash.update(previous.as_bytes());
    hash.update(entry.sequence.to_be_bytes());
    hash.update(entry.at.as_micros().to_be_bytes());
    let required =
        [&entry.request_id, &entry.principal, &entry.account_type, &entry.source, &entry.action, &entry.outcome];
    for text in required {
        field(&mut hash, Some(text));
    }
    for text in [&entry.repository, &entry.target, &entry.rule_id, &entry.detail] {
        field(&mut hash, text.as_deref());
    }
    Hash(hash.finalize().into())
}

/// A field that is absent differs from one that is empty.
fn field(hash: &mut Sha256, text: Option<&str>) {
    match text {
        None => hash.update([0]),
        Some(text) => {
            hash.update([1]);
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        }
    }
}

/// What is wrong with the log, and where first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {sequence}: {problem}")]
pub struct BrokenChain {
    /// The first record that is not as it was sealed, or the first one behind something that is missing.
    pub sequence: i64,
    /// What is wrong.
    pub problem: &'static str,
}

/// What a log that is as it was sealed holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntactChain {
    /// How many sealed records there are.
    pub records: u64,
    /// The last of them; 0 if there are none.
    pub last_sequence: i64,
    /// The head of the chain.
    pub head: Hash,
    /// How many records came after the last seal; nothing can be said about them yet.
    pub unsealed: u64,
}

/// Follows the chain: all seals in their order first, then all records in theirs.
#[derive(Debug)]
pub struct ChainVerifier {
    seals: std::vec::IntoIter<Seal>,
    current: Option<Seal>,
    /// Where the log begins, if retention has cut it: the last record that is gone.
    trimmed: Option<i64>,
    trim_is_recorded: bool,
    head: Hash,
    last_sequence: i64,
    records: u64,
    in_segment: u64,
    unsealed: u64,
}

impl ChainVerifier {
    /// A verifier of the log whose seals are `seals`, all of them in their order; `first_sequence` is that of the first
    /// record there is.
    ///
    /// # Errors
    ///
    /// [`BrokenChain`]: the seals do not follow each other.
    pub fn new(seals: Vec<Seal>, first_sequence: Option<i64>) -> Result<Self, BrokenChain> {
        let broken = |seal: &Seal, problem| BrokenChain { sequence: seal.last_sequence, problem };
        for pair in seals.windows(2) {
            if pair[1].previous_sha256 != pair[0].sha256 {
                return Err(broken(&pair[1], "a seal is missing or was edited"));
            }
        }
        let mut seals = seals.into_iter();
        let mut verifier = Self {
            current: seals.next(),
            seals,
            trimmed: None,
            trim_is_recorded: false,
            head: Hash::BEGINNING,
            last_sequence: 0,
            records: 0,
            in_segment: 0,
            unsealed: 0,
        };
        // Behind retention the first seal covers records that are gone; what follows begins with its hash.
        if let Some(first) = verifier.current.clone()
            && first_sequence.is_none_or(|sequence| sequence > first.last_sequence)
        {
            (verifier.head, verifier.last_sequence) = (first.sha256, first.last_sequence);
            verifier.trimmed = Some(first.last_sequence);
            verifier.current = verifier.seals.next();
        } else if let Some(first) = &verifier.current
            && first.previous_sha256 != Hash::BEGINNING
        {
            return Err(broken(first, "the beginning of the log is missing"));
        }
        Ok(verifier)
    }

    /// Takes the next record.
    ///
    /// # Errors
    ///
    /// [`BrokenChain`]: it is not what was sealed.
    pub fn record(&mut self, entry: &AuditEntry) -> Result<(), BrokenChain> {
        let broken = |problem| Err(BrokenChain { sequence: entry.sequence, problem });
        if entry.action == TRIM_ACTION && entry.target.as_ref().and_then(|target| target.parse().ok()) == self.trimmed {
            self.trim_is_recorded = true;
        }
        let Some(seal) = &self.current else {
            self.unsealed += 1;
            return if entry.sha256.is_some() { broken("it has a hash, and no seal covers it") } else { Ok(()) };
        };
        if entry.sequence > seal.last_sequence {
            return broken("records before it are missing");
        }
        let computed = record_hash(&self.head, entry);
        match entry.sha256 {
            None => return broken("it was put in after the records around it were sealed"),
            Some(kept) if kept != computed => {
                return broken("it, or what stands before it, was edited, removed or moved");
            }
            Some(_) => {}
        }
        (self.head, self.last_sequence) = (computed, entry.sequence);
        self.records += 1;
        self.in_segment += 1;
        if entry.sequence == seal.last_sequence {
            if seal.sha256 != computed || seal.records != self.in_segment {
                return broken("the seal behind it does not fit");
            }
            self.in_segment = 0;
            self.current = self.seals.next();
        }
        Ok(())
    }

    /// There are no more records.
    ///
    /// # Errors
    ///
    /// [`BrokenChain`]: records are missing at the end, or the beginning was cut off by somebody else than retention.
    pub fn finish(self) -> Result<IntactChain, BrokenChain> {
        if self.current.is_some() {
            let problem = "the log ends before the last record that was sealed";
            return Err(BrokenChain { sequence: self.last_sequence + 1, problem });
        }
        if let Some(trimmed) = self.trimmed
            && !self.trim_is_recorded
        {
            let problem =
                "everything up to the record before it is missing, and no record says that retention removed it";
            return Err(BrokenChain { sequence: trimmed + 1, problem });
        }
        let Self { records, last_sequence, head, unsealed, .. } = self;
        Ok(IntactChain { records, last_sequence, head, unsealed })
    }
}
