//! Room on the disk, as it was found a moment ago.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use wharf_base::ByteSize;
use wharf_store::Space;

/// What is kept free, and what is set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// Below this much free space nothing is uploaded. `None`: the larger of 1 GiB and 2 % of the file system, but at most a
    /// tenth of it, so that a small disk can be used at all.
    pub min_free: Option<ByteSize>,
    /// How much is set aside for the day on which the database has no room to record a deletion; at most a twentieth of the
    /// file system.
    pub reserve: ByteSize,
}

impl Default for Room {
    fn default() -> Self {
        Self { min_free: None, reserve: ByteSize::mib(64) }
    }
}

impl Room {
    pub(super) fn min_free_bytes(&self, total_bytes: u64) -> u64 {
        let usual = (total_bytes / 50).max(ByteSize::gib(1).as_u64()).min(total_bytes / 10);
        self.min_free.map_or(usual, ByteSize::as_u64)
    }

    pub(super) fn reserve_bytes(&self, total_bytes: u64) -> u64 {
        self.reserve.as_u64().min(total_bytes / 20)
    }
}

/// Room on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomStatus {
    /// Bytes that are free.
    pub free_bytes: u64,
    /// Bytes of the whole file system.
    pub total_bytes: u64,
    /// Below this, nothing is uploaded.
    pub min_free_bytes: u64,
    /// Whether that is so.
    pub is_low: bool,
    /// Whether the reserve had to be given back, and could not be set aside again yet.
    pub is_reserve_spent: bool,
}

/// What was found when somebody last looked; asked by every upload, so it waits for nobody.
#[derive(Debug)]
pub(crate) struct SpaceWatch {
    room: Room,
    /// `u64::MAX` until somebody has looked, and where there is always room.
    free_bytes: AtomicU64,
    total_bytes: AtomicU64,
    is_low: AtomicBool,
    /// A [`Reserve`].
    reserve: AtomicU8,
}

/// What became of the space that is set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Reserve {
    /// There was no room for it yet.
    Wanted,
    /// It is set aside, or the file system cannot do so.
    Settled,
    /// It was given back.
    Spent,
}

impl SpaceWatch {
    pub(super) fn new(room: Room) -> Self {
        Self {
            room,
            free_bytes: AtomicU64::new(u64::MAX),
            total_bytes: AtomicU64::new(0),
            is_low: AtomicBool::new(false),
            reserve: AtomicU8::new(Reserve::Wanted as u8),
        }
    }

    /// Whether so many bytes, or an unknown number, leave enough free. Those that are admitted count as taken until
    /// somebody has looked again, or a fast client would fill the disk in between.
    pub(crate) fn admits(&self, bytes: Option<u64>) -> bool {
        let (taken_bytes, min_free_bytes) = (bytes.unwrap_or(0), self.min_free_bytes());
        let take = |free_bytes: u64| {
            let left_bytes = if free_bytes == u64::MAX { free_bytes } else { free_bytes.checked_sub(taken_bytes)? };
            (left_bytes >= min_free_bytes).then_some(left_bytes)
        };
        bytes == Some(0) || self.free_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    pub(crate) fn is_low(&self) -> bool {
        self.is_low.load(Ordering::Relaxed)
    }

    pub(crate) fn is_reserve_spent(&self) -> bool {
        self.reserve.load(Ordering::Relaxed) == Reserve::Spent as u8
    }

    pub(crate) fn status(&self) -> Option<RoomStatus> {
        let free_bytes = self.free_bytes.load(Ordering::Relaxed);
        (free_bytes != u64::MAX).then(|| RoomStatus {
            free_bytes,
            total_bytes: self.total_bytes.load(Ordering::Relaxed),
            min_free_bytes: self.min_free_bytes(),
            is_low: self.is_low(),
            is_reserve_spent: self.is_reserve_spent(),
        })
    }

    /// Takes note of what was found; says so if that changes what may be uploaded, and whether collection should hurry.
    pub(super) fn note(&self, found: Space) -> bool {
        self.total_bytes.store(found.total_bytes, Ordering::Relaxed);
        self.free_bytes.store(found.free_bytes, Ordering::Relaxed);
        let (free_bytes, min_free_bytes) = (found.free_bytes, self.min_free_bytes());
        let is_low = free_bytes < min_free_bytes;
        let was_low = self.is_low.swap(is_low, Ordering::Relaxed);
        match (was_low, is_low) {
            (false, true) => tracing::error!(
                storage.free_bytes = free_bytes,
                storage.min_free_bytes = min_free_bytes,
                "the disk is nearly full: {free_bytes} bytes are free and storage.min_free asks for {min_free_bytes}; \
                 uploads are refused until there is room: delete images, or add space"
            ),
            (true, false) => tracing::warn!(
                storage.free_bytes = free_bytes,
                storage.min_free_bytes = min_free_bytes,
                "there is room on the disk again ({free_bytes} bytes); uploads are taken"
            ),
            _ => {}
        }
        is_low && !was_low
    }

    /// How much should be set aside now; `None` when it is, or while that would take what is needed otherwise. Twice as much must be
    /// free, or what was just given back would be taken again at once.
    pub(super) fn may_set_aside(&self) -> Option<u64> {
        if self.reserve.load(Ordering::Relaxed) == Reserve::Settled as u8 {
            return None;
        }
        let reserve_bytes = self.room.reserve_bytes(self.total_bytes.load(Ordering::Relaxed));
        let free_bytes = self.free_bytes.load(Ordering::Relaxed);
        let needed_bytes = self.min_free_bytes().saturating_add(reserve_bytes.saturating_mul(2));
        (reserve_bytes > 0 && free_bytes != u64::MAX && free_bytes >= needed_bytes).then_some(reserve_bytes)
    }

    pub(super) fn set_reserve(&self, reserve: Reserve) {
        self.reserve.store(reserve as u8, Ordering::Relaxed);
    }

    fn min_free_bytes(&self) -> u64 {
        self.room.min_free_bytes(self.total_bytes.load(Ordering::Relaxed))
    }
}
