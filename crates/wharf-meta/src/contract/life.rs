//! The database's own life.

use std::sync::Arc;

use wharf_base::{ManualClock, SeededRng, StoreId};

use super::fixture::*;
use crate::{Error, Metadata};

type Subject = Arc<dyn Metadata>;

/// Unknown at first, then for good.
pub async fn b138_a_database_belongs_to_one_store(metadata: Subject) {
    let id = |seed| StoreId::generate(&ManualClock::at(at(0)), &SeededRng::new(seed));
    let (ours, theirs) = (id(1), id(2));
    assert_eq!(metadata.store_id().await.unwrap(), None);
    metadata.set_store_id(ours).await.unwrap();
    metadata.set_store_id(ours).await.unwrap();
    let refused = metadata.set_store_id(theirs).await.unwrap_err();
    assert!(matches!(refused, Error::OtherStore { recorded, given } if recorded == ours && given == theirs));
    assert_eq!(metadata.store_id().await.unwrap(), Some(ours));
}

/// None at first, then the last that was noted.
pub async fn r050_the_clocks_mark_is_kept(metadata: Subject) {
    assert_eq!(metadata.clock_mark().await.unwrap(), None);
    metadata.set_clock_mark(at(7)).await.unwrap();
    metadata.set_clock_mark(at(5)).await.unwrap();
    assert_eq!(metadata.clock_mark().await.unwrap(), Some(at(5)));
}

/// What was made in order has no damage.
pub async fn a_sound_database_has_no_damage(metadata: Subject) {
    have_blob(&*metadata, "a", "blob").await;
    assert_eq!(metadata.check_database(false).await.unwrap(), Vec::<String>::new());
}

/// By a database that works.
pub async fn a_ping_is_answered(metadata: Subject) {
    metadata.ping().await.unwrap();
}

/// Neither reads nor writes; closing again is fine.
pub async fn after_close_nothing_is_answered(metadata: Subject) {
    let blob = have_blob(&*metadata, "a", "blob").await;
    metadata.close().await.unwrap();
    metadata.close().await.unwrap();
    assert!(matches!(metadata.blob(&name("a"), &blob).await, Err(Error::Closed)));
    assert!(matches!(metadata.record_blob(&blob_record("a", "blob")).await, Err(Error::Closed)));
    assert!(matches!(metadata.ping().await, Err(Error::Closed)));
}
