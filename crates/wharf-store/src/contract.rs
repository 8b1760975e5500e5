//! The examination that every implementation of [`BlobStore`] passes.
//!
//! It asks only through the trait and knows nothing of files. What an implementation promises beyond it (what happens
//! after a restart, when a disk fails) is tested beside that implementation.
//!
//! # Panics
//!
//! Everything here panics when the store breaks the contract; the message says how.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, future};
use wharf_base::{Location, ManualClock, Rng, SeededRng, Timestamp, UploadId};
use wharf_oci::{Algorithm, Digest};

use crate::{BlobStore, Checkpoint, Entry, Error, Place};

type Store = Arc<dyn BlobStore>;

const MIB: usize = 1 << 20;

/// Puts a store through everything; `make` gives a new, empty one each time.
pub async fn examine<F, Fut>(make: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Store>,
{
    content_of_every_size_reads_back(make().await).await;
    content_in_pieces_is_the_same_content(make().await).await;
    sha512_is_a_digest_like_another(make().await).await;
    an_upload_goes_on_from_its_checkpoint(make().await).await;
    bytes_beyond_the_checkpoint_are_cut_off(make().await).await;
    an_upload_may_begin_again(make().await).await;
    a_checkpoint_that_was_not_reached_is_lost(make().await).await;
    a_foreign_hash_state_is_computed_again(make().await).await;
    an_upload_has_one_writer(make().await).await;
    a_wrong_digest_leaves_nothing(make().await).await;
    an_announced_length_is_not_a_length(make().await).await;
    the_same_content_twice_is_one(make().await).await;
    the_same_content_at_once_is_right(make().await).await;
    ranges_are_exact(make().await).await;
    a_wrong_size_is_damage(make().await).await;
    deleted_content_is_gone(make().await).await;
    everything_is_listed_once(make().await).await;
    what_is_set_aside_can_come_back(make().await).await;
    hashing_again_tells_right_from_wrong(make().await).await;
    removal_waits_until_content_is_recorded(make().await).await;
    discarded_uploads_are_gone(make().await).await;
    a_store_can_be_probed(make().await).await;
}

async fn content_of_every_size_reads_back(store: Store) {
    for len in [0, 1, 2, 4095, 4096, 4097, 65_535, MIB - 1, MIB, MIB + 1, 2 * MIB + 1, 8 * MIB + 13] {
        let content = content(len);
        let digest = Digest::of(Algorithm::Sha256, &content);
        let nowhere = Place::by_digest(digest);
        assert!(!store.exists(&nowhere).await.expect("exists"), "{len} bytes exist before they were pushed");
        assert_eq!(store.stat(&nowhere).await.expect("stat"), None);
        assert!(store.open(&nowhere, len as u64).await.expect("open").is_none());

        let place = push(&store, &content, &digest, len.max(1)).await;

        assert!(store.exists(&place).await.expect("exists"));
        assert_eq!(store.stat(&place).await.expect("stat"), Some(len as u64));
        assert!(read(&store, &place, len).await == content, "{len} bytes came back as others");
    }
}

async fn content_in_pieces_is_the_same_content(store: Store) {
    for (len, piece) in [(5_000, 1), (3 * MIB + 7, 16 << 10), (3 * MIB + 7, 400_001), (5 * MIB, 3 * MIB)] {
        let content = content(len);
        let digest = Digest::of(Algorithm::Sha256, &content);
        let place = push(&store, &content, &digest, piece).await;
        assert!(read(&store, &place, len).await == content, "{len} bytes in pieces of {piece} came back as others");
        assert!(store.delete(&place).await.expect("delete"));
    }
}

async fn sha512_is_a_digest_like_another(store: Store) {
    let content = content(2 * MIB + 5);
    let sha256 = Digest::of(Algorithm::Sha256, &content);
    let sha512 = Digest::of(Algorithm::Sha512, &content);
    for (begun_with, committed_as) in [
        (Algorithm::Sha256, sha512),
        (Algorithm::Sha512, sha256),
        (Algorithm::Sha512, sha512),
        (Algorithm::Sha256, sha256),
    ] {
        let mut writer = store.writer(upload(1), begun_with, None, None).await.expect("writer");
        writer.write(content.clone()).await.expect("write");
        let placed = writer.commit(&committed_as).await.expect("commit");
        assert_eq!(*placed.digest(), committed_as);
        let place = unlocked(placed);
        assert!(read(&store, &place, content.len()).await == content);
        assert!(store.delete(&place).await.expect("delete"));
    }

    let mut writer = store.writer(upload(2), Algorithm::Sha256, None, None).await.expect("writer");
    writer.write(content.slice(1..)).await.expect("write");
    let refused = writer.commit(&sha512).await;
    assert!(matches!(refused, Err(Error::DigestMismatch { .. })), "{refused:?}");
    assert!(nothing_is_there(&store).await);
}

async fn an_upload_goes_on_from_its_checkpoint(store: Store) {
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let content = content(3 * MIB + 11);
        let digest = Digest::of(algorithm, &content);
        let mut at: Option<Checkpoint> = None;
        for (start, end) in [(0, 0), (0, 1), (1, MIB), (MIB, MIB), (MIB, 2 * MIB + 700), (2 * MIB + 700, content.len())]
        {
            let mut writer = store.writer(upload(1), algorithm, at.as_ref(), None).await.expect("writer");
            assert_eq!(writer.offset_bytes(), start as u64);
            writer.write(content.slice(start..end)).await.expect("write");
            assert_eq!(writer.offset_bytes(), end as u64);
            let reached = writer.checkpoint().await.expect("checkpoint");
            assert_eq!(reached.offset_bytes, end as u64);
            at = Some(reached);
        }
        let writer = store.writer(upload(1), algorithm, at.as_ref(), None).await.expect("writer");
        let placed = writer.commit(&digest).await.expect("commit");
        assert_eq!(placed.size_bytes(), content.len() as u64);
        let place = unlocked(placed);
        assert!(read(&store, &place, content.len()).await == content);
    }
}

async fn bytes_beyond_the_checkpoint_are_cut_off(store: Store) {
    let content = content(2 * MIB);
    let digest = Digest::of(Algorithm::Sha256, &content);
    let (first, rest) = (content.slice(..700_000), content.slice(700_000..));
    let at = staged(&store, upload(1), &first).await;

    // A writer that is dropped with bytes in its memory, on the way, and on the disk.
    for lost in [1, MIB, 5 * MIB] {
        let mut writer = store.writer(upload(1), Algorithm::Sha256, Some(&at), None).await.expect("writer");
        writer.write(Bytes::from(vec![b'!'; lost])).await.expect("write");
        drop(writer);
    }
    // And one whose bytes were handed to the disk for certain, but whose checkpoint nobody recorded.
    let mut writer = store.writer(upload(1), Algorithm::Sha256, Some(&at), None).await.expect("writer");
    writer.write(Bytes::from(vec![b'?'; 3 * MIB])).await.expect("write");
    drop(writer.checkpoint().await.expect("checkpoint"));

    let mut writer = store.writer(upload(1), Algorithm::Sha256, Some(&at), None).await.expect("writer");
    assert_eq!(writer.offset_bytes(), 700_000);
    writer.write(rest).await.expect("write");
    let place = unlocked(writer.commit(&digest).await.expect("commit"));
    assert!(read(&store, &place, content.len()).await == content);
}

async fn an_upload_may_begin_again(store: Store) {
    let content = content(MIB + 1);
    let digest = Digest::of(Algorithm::Sha256, &content);
    drop(staged(&store, upload(1), &Bytes::from(vec![b'!'; 3 * MIB])).await);
    let place = push(&store, &content, &digest, MIB).await;
    assert!(read(&store, &place, content.len()).await == content);
}

async fn a_checkpoint_that_was_not_reached_is_lost(store: Store) {
    let content = content(3000);
    let at = staged(&store, upload(1), &content).await;
    let unknown = store.writer(upload(2), Algorithm::Sha256, Some(&at), None).await;
    assert!(matches!(unknown.err(), Some(Error::StagedLost)));

    drop(staged(&store, upload(3), &content.slice(..2999)).await);
    let shorter = store.writer(upload(3), Algorithm::Sha256, Some(&at), None).await;
    assert!(matches!(shorter.err(), Some(Error::StagedLost)));
}

async fn a_foreign_hash_state_is_computed_again(store: Store) {
    use crate::HashState;

    let content = content(2 * MIB + 3);
    let digest = Digest::of(Algorithm::Sha256, &content);
    let at = staged(&store, upload(1), &content.slice(..MIB + 1)).await;
    let mut of_another_version = at.hash_state.as_bytes().to_vec();
    of_another_version[0] ^= 1;
    for state in [of_another_version, Vec::new()] {
        let at = Checkpoint { hash_state: HashState::from_bytes(state), ..at.clone() };
        let mut writer = store.writer(upload(1), Algorithm::Sha256, Some(&at), None).await.expect("writer");
        writer.write(content.slice(MIB + 1..)).await.expect("write");
        let reached = writer.checkpoint().await.expect("checkpoint");
        assert_eq!(reached.offset_bytes, content.len() as u64);
    }
    let at = Checkpoint { hash_state: HashState::from_bytes(Vec::new()), ..at };
    let mut writer = store.writer(upload(1), Algorithm::Sha256, Some(&at), None).await.expect("writer");
    writer.write(content.slice(MIB + 1..)).await.expect("write");
    drop(writer.commit(&digest).await.expect("commit"));
}

async fn an_upload_has_one_writer(store: Store) {
    let content = content(3 * MIB);
    let digest = Digest::of(Algorithm::Sha256, &content);
    let mut first = store.writer(upload(1), Algorithm::Sha256, None, None).await.expect("writer");
    first.write(content.slice(..2 * MIB)).await.expect("write");
    let second = store.writer(upload(1), Algorithm::Sha256, None, None).await;
    assert!(matches!(second.err(), Some(Error::Busy)));
    first.write(content.slice(2 * MIB..)).await.expect("write");
    let place = unlocked(first.commit(&digest).await.expect("commit"));
    assert!(read(&store, &place, content.len()).await == content);
}

async fn a_wrong_digest_leaves_nothing(store: Store) {
    let content = content(100_000);
    let wrong = Digest::of(Algorithm::Sha256, b"something else");
    let right = Digest::of(Algorithm::Sha256, &content);
    let at = staged(&store, upload(1), &content).await;
    let writer = store.writer(upload(1), Algorithm::Sha256, Some(&at), None).await.expect("writer");
    match writer.commit(&wrong).await {
        Err(Error::DigestMismatch { expected, actual }) => assert_eq!((*expected, *actual), (wrong, right)),
        other => panic!("a wrong digest gave {other:?}"),
    }
    assert!(nothing_is_there(&store).await);
    // As whoever is told so does, unless another process has gone on with the upload.
    store.discard(upload(1)).await.expect("discard");
    let again = store.writer(upload(1), Algorithm::Sha256, Some(&at), None).await;
    assert!(matches!(again.err(), Some(Error::StagedLost)));
}

async fn an_announced_length_is_not_a_length(store: Store) {
    let content = content(2 * MIB);
    let digest = Digest::of(Algorithm::Sha256, &content);
    for announced in [0, 1, content.len() as u64, 9 * MIB as u64] {
        let mut writer = store.writer(upload(1), Algorithm::Sha256, None, Some(announced)).await.expect("writer");
        writer.write(content.slice(..MIB)).await.expect("write");
        let at = writer.checkpoint().await.expect("checkpoint");
        assert_eq!(at.offset_bytes, MIB as u64);
        let mut writer = store.writer(upload(1), Algorithm::Sha256, Some(&at), Some(announced)).await.expect("writer");
        writer.write(content.slice(MIB..)).await.expect("write");
        let place = unlocked(writer.commit(&digest).await.expect("commit"));
        assert_eq!(store.stat(&place).await.expect("stat"), Some(content.len() as u64));
        assert!(read(&store, &place, content.len()).await == content);
    }
    let endless = store.writer(upload(2), Algorithm::Sha256, None, Some(u64::MAX)).await;
    assert!(matches!(endless.err(), Some(Error::NoSpace)));
}

async fn the_same_content_twice_is_one(store: Store) {
    let content = content(300_000);
    let digest = Digest::of(Algorithm::Sha256, &content);
    for _ in 0..2 {
        let place = push(&store, &content, &digest, 100_000).await;
        assert!(read(&store, &place, content.len()).await == content);
        let ended = store.writer(upload(1), Algorithm::Sha256, Some(&checkpoint_at(1)), None).await;
        assert!(matches!(ended.err(), Some(Error::StagedLost)), "a finished upload left staged content");
    }
}

async fn the_same_content_at_once_is_right(store: Store) {
    let content = content(MIB + 77);
    let digest = Digest::of(Algorithm::Sha256, &content);
    let pushes = (0..16).map(|number| {
        let (store, content) = (Arc::clone(&store), content.clone());
        async move {
            let mut writer = store.writer(upload(number), Algorithm::Sha256, None, None).await.expect("writer");
            writer.write(content).await.expect("write");
            let placed = writer.commit(&digest).await.expect("commit");
            assert_eq!(placed.size_bytes(), MIB as u64 + 77);
            unlocked(placed)
        }
    });
    for place in future::join_all(pushes).await {
        assert!(read(&store, &place, content.len()).await == content);
    }
}

/// In pages of any length, while others come and go.
async fn everything_is_listed_once(store: Store) {
    let (mut expected, mut places) = (BTreeSet::new(), Vec::new());
    for len in 0..40 {
        let content = content(len);
        let algorithm = if len % 5 == 0 { Algorithm::Sha512 } else { Algorithm::Sha256 };
        let digest = Digest::of(algorithm, &content);
        let place = push(&store, &content, &digest, 64).await;
        expected.insert(listed_as(&place));
        places.push(place);
    }
    drop(staged(&store, upload(9), &content(10)).await);
    for limit in [1, 2, 7, 1_000] {
        let (mut listed, mut uploads, mut after) = (BTreeSet::new(), Vec::new(), None);
        loop {
            let page = store.list(after.as_ref(), limit).await.expect("list");
            for entry in page.entries {
                match entry {
                    Entry::Content(digest) => assert!(listed.insert(digest.to_string()), "{digest} is listed twice"),
                    Entry::Located(location) => {
                        assert!(listed.insert(location.to_string()), "{location} is listed twice");
                    }
                    Entry::Staged(id) => uploads.push(id),
                    other => panic!("{other:?}"),
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(listed, expected, "pages of {limit}");
        assert_eq!(uploads, [upload(9)], "pages of {limit}");
    }
    places.push(Place::by_digest(Digest::of(Algorithm::Sha256, b"not there")));
    let survey = store.survey(&places).await.expect("survey");
    let found = survey.iter().filter(|facts| matches!(facts, Ok(Some(_)))).count();
    assert_eq!((found, survey.len()), (40, 41));
    assert!(matches!(survey.last(), Some(Ok(None))));
    let surveyed = store.survey_staged(&[upload(9), upload(8)]).await.expect("survey");
    assert!(matches!(&surveyed[..], [Ok(Some(facts)), Ok(None)] if facts.size_bytes == 10), "{surveyed:?}");
}

async fn what_is_set_aside_can_come_back(store: Store) {
    let content = content(70_000);
    let digest = Digest::of(Algorithm::Sha256, &content);
    let place = push(&store, &content, &digest, 70_000).await;
    let at = Timestamp::from_micros(1_000_000);
    let locked = store.begin_removal(&digest).await;
    assert!(store.set_aside(&locked, &place.location, at).await.expect("set aside"));
    assert!(!store.set_aside(&locked, &place.location, at).await.expect("set aside"), "there is nothing any more");
    assert_eq!(store.stat(&Place::by_digest(digest)).await.expect("stat"), None);
    assert!(store.bring_back(&locked, 69_999).await.expect("bring back").is_none(), "of another size");
    let location = store.bring_back(&locked, 70_000).await.expect("bring back").expect("it was set aside");
    drop(locked);
    let place = Place { digest, location };
    assert!(read(&store, &place, content.len()).await == content);
    let locked = store.begin_removal(&digest).await;
    assert!(store.set_aside(&locked, &place.location, at).await.expect("set aside"), "again, at the same time");
    drop(locked);
    let place = push(&store, &content, &digest, 70_000).await;
    let locked = store.begin_removal(&digest).await;
    assert!(store.set_aside(&locked, &place.location, at).await.expect("set aside"), "a second copy beside the first");
    assert!(store.remove(&locked, &Location::BY_DIGEST).await.is_ok_and(|removed| !removed));
    let page = store.list(None, 1_000).await.expect("list");
    let mut next = page.next;
    let mut aside = 0;
    while let Some(after) = next {
        let page = store.list(Some(&after), 1_000).await.expect("list");
        aside += page.entries.iter().filter(|entry| matches!(entry, Entry::Quarantined { .. })).count();
        let is_content = |entry: &&Entry| matches!(entry, Entry::Content(_) | Entry::Located(_));
        assert_eq!(page.entries.iter().find(is_content), None, "what is set aside is no content");
        next = page.next;
    }
    assert_eq!(aside, 2, "nothing that was set aside is ever lost");
}

async fn hashing_again_tells_right_from_wrong(store: Store) {
    for len in [0, 1, 5_000, MIB, 3 * MIB + 5] {
        let content = content(len);
        let digest = Digest::of(Algorithm::Sha256, &content);
        let place = push(&store, &content, &digest, MIB).await;
        let reader = store.open(&place, len as u64).await.expect("open").expect("it is there");
        let rehash = async |stop: usize| {
            let mut rehash = reader.rehash(Algorithm::Sha256);
            for _ in 0..stop {
                if rehash.step().await.expect("reading") == 0 {
                    break;
                }
            }
            rehash
        };
        assert!(rehash(100).await.is(&digest));
        assert!(!rehash(100).await.is(&Digest::of(Algorithm::Sha256, b"other")));
        assert!(len == 0 || !rehash(0).await.is(&digest), "what was not read was not seen");
        let verified: Vec<Bytes> = reader.verified_stream(&digest).try_collect().await.expect("reading");
        assert!(verified.concat() == content);
        let last = verified.last().map_or(0, Bytes::len);
        assert!(last >= len.min(64 << 10), "{last} bytes are too few to hold back");
        let other = Digest::of(Algorithm::Sha256, b"other");
        let mut stream = reader.verified_stream(&other);
        let mut received = 0;
        let error = loop {
            match stream.try_next().await {
                Ok(Some(bytes)) => received += bytes.len(),
                Ok(None) => break None,
                Err(error) => break Some(error.kind()),
            }
        };
        if len > 0 {
            assert_eq!(error, Some(std::io::ErrorKind::InvalidData));
            assert!(received <= len.saturating_sub(64 << 10), "{received} of {len} wrong bytes were given out");
        }
        assert!(reader.verified(&other).await.expect("reading").is_none());
        assert!(reader.verified(&digest).await.expect("reading").is_some());
    }
}

async fn ranges_are_exact(store: Store) {
    let content = content(MIB + 77);
    let size = content.len() as u64;
    let digest = Digest::of(Algorithm::Sha256, &content);
    let place = push(&store, &content, &digest, MIB).await;
    let reader = store.open(&place, size).await.expect("open").expect("it is there");
    assert_eq!(reader.size_bytes(), size);
    let ranges = [
        0..0,
        0..1,
        0..size,
        5..5,
        size..size,
        size - 1..size,
        524_287..524_289,
        524_288..1_048_576,
        1000..size - 1000,
    ];
    for range in ranges {
        let chunks: Vec<Bytes> = reader.stream(range.clone()).try_collect().await.expect("stream");
        assert!(chunks.iter().all(|chunk| !chunk.is_empty() && chunk.len() <= MIB), "chunks of {range:?}");
        let (start, end) = (index(range.start), index(range.end));
        assert!(chunks.concat() == content[start..end], "{range:?} came back as something else");
    }
    for beyond in [0..size + 1, size..size + 1, size + 5..size + 6] {
        let items: Vec<_> = reader.stream(beyond.clone()).collect().await;
        assert!(matches!(items.as_slice(), [Err(_)]), "{beyond:?} is not refused");
    }
}

async fn a_wrong_size_is_damage(store: Store) {
    let content = content(5000);
    let digest = Digest::of(Algorithm::Sha256, &content);
    let place = push(&store, &content, &digest, 5000).await;
    for size in [0, 4999, 5001] {
        let opened = store.open(&place, size).await;
        assert!(matches!(opened, Err(Error::Damaged { .. })), "recorded as {size} bytes: {opened:?}");
    }
}

async fn deleted_content_is_gone(store: Store) {
    let content = content(MIB + 1);
    let digest = Digest::of(Algorithm::Sha256, &content);
    assert!(!store.delete(&Place::by_digest(digest)).await.expect("delete"), "nothing was deleted");
    let place = push(&store, &content, &digest, MIB).await;
    let reader = store.open(&place, content.len() as u64).await.expect("open").expect("it is there");

    assert!(store.delete(&place).await.expect("delete"));

    assert!(!store.exists(&place).await.expect("exists"));
    assert_eq!(store.stat(&place).await.expect("stat"), None);
    assert!(store.open(&place, content.len() as u64).await.expect("open").is_none());
    assert!(!store.delete(&place).await.expect("delete"));
    match reader.stream(0..content.len() as u64).try_collect::<Vec<Bytes>>().await {
        Ok(chunks) => assert!(chunks.concat() == content),
        // It has to be said, and a directory never says it.
        Err(error) => assert!(!store.is_by_digest(), "an open reader goes on: {error}"),
    }

    let place = push(&store, &content, &digest, MIB).await;
    assert!(read(&store, &place, content.len()).await == content);
}

async fn removal_waits_until_content_is_recorded(store: Store) {
    let content = content(10);
    let digest = Digest::of(Algorithm::Sha256, &content);
    let mut writer = store.writer(upload(1), Algorithm::Sha256, None, None).await.expect("writer");
    writer.write(content).await.expect("write");
    let placed = writer.commit(&digest).await.expect("commit");
    let place = placed.place().clone();
    {
        let mut removal = std::pin::pin!(store.delete(&place));
        let waited = tokio::time::timeout(Duration::from_millis(50), &mut removal).await;
        assert!(waited.is_err(), "content was removed before it was recorded");
        assert!(store.exists(&place).await.expect("exists"));
        drop(placed);
        assert!(removal.await.expect("delete"));
    }
    assert!(!store.exists(&place).await.expect("exists"));
}

async fn discarded_uploads_are_gone(store: Store) {
    let content = content(MIB + 1);
    let digest = Digest::of(Algorithm::Sha256, &content);
    store.discard(upload(1)).await.expect("nothing to discard is success");
    let at = staged(&store, upload(1), &content).await;
    store.discard(upload(1)).await.expect("discard");
    store.discard(upload(1)).await.expect("discard again");
    let resumed = store.writer(upload(1), Algorithm::Sha256, Some(&at), None).await;
    assert!(matches!(resumed.err(), Some(Error::StagedLost)));

    for size in [10, 4 * MIB] {
        let mut writer = store.writer(upload(2), Algorithm::Sha256, None, None).await.expect("writer");
        writer.write(content.slice(..size.min(content.len()))).await.expect("write");
        store.discard(upload(2)).await.expect("discard");
        let ended = writer.checkpoint().await;
        assert!(matches!(ended, Err(Error::StagedLost)), "{ended:?}");

        let mut writer = store.writer(upload(2), Algorithm::Sha256, None, None).await.expect("writer");
        writer.write(content.clone()).await.expect("write");
        store.discard(upload(2)).await.expect("discard");
        let ended = writer.commit(&digest).await;
        assert!(matches!(ended, Err(Error::StagedLost)), "{ended:?}");
        assert!(nothing_is_there(&store).await);
    }
}

async fn a_store_can_be_probed(store: Store) {
    store.probe().await.expect("probe");
    let (first, second) = tokio::join!(store.probe(), store.probe());
    first.and(second).expect("probes at the same time");
    assert_eq!(store.store_id(), store.store_id());
}

/// Pushes `content` as upload 1 in pieces of `piece` bytes.
async fn push(store: &Store, content: &Bytes, digest: &Digest, piece: usize) -> Place {
    let mut writer = store.writer(upload(1), digest.algorithm(), None, None).await.expect("writer");
    let mut rest = content.clone();
    while !rest.is_empty() {
        writer.write(rest.split_to(piece.min(rest.len()))).await.expect("write");
    }
    assert_eq!(writer.offset_bytes(), content.len() as u64);
    let placed = writer.commit(digest).await.expect("commit");
    assert_eq!((placed.digest(), placed.size_bytes()), (digest, content.len() as u64));
    assert_eq!(placed.location().is_by_digest(), store.is_by_digest());
    placed.place().clone()
}

/// Stages `content` as `upload` from the beginning.
async fn staged(store: &Store, upload: UploadId, content: &Bytes) -> Checkpoint {
    let mut writer = store.writer(upload, Algorithm::Sha256, None, None).await.expect("writer");
    writer.write(content.clone()).await.expect("write");
    writer.checkpoint().await.expect("checkpoint")
}

async fn read(store: &Store, place: &Place, len: usize) -> Vec<u8> {
    let reader = store.open(place, len as u64).await.expect("open").expect("it is there");
    let chunks: Vec<Bytes> = reader.stream(0..len as u64).try_collect().await.expect("stream");
    chunks.concat()
}

/// What was placed; somebody else may place or remove it now.
fn unlocked(placed: crate::Placed) -> Place {
    placed.place().clone()
}

fn listed_as(place: &Place) -> String {
    if place.location.is_by_digest() { place.digest.to_string() } else { place.location.to_string() }
}

/// Whether the store has no content at all.
async fn nothing_is_there(store: &Store) -> bool {
    let mut after = None;
    loop {
        let page = store.list(after.as_ref(), 1_000).await.expect("list");
        let is_content = |entry: &Entry| matches!(entry, Entry::Content(_) | Entry::Located(_));
        if page.entries.iter().any(is_content) {
            return false;
        }
        after = page.next;
        if after.is_none() {
            return true;
        }
    }
}

fn checkpoint_at(offset_bytes: u64) -> Checkpoint {
    Checkpoint { offset_bytes, hash_state: crate::HashState::from_bytes(Vec::new()) }
}

pub(crate) fn content(len: usize) -> Bytes {
    let mut bytes = vec![0; len];
    SeededRng::new(len as u64).fill(&mut bytes);
    bytes.into()
}

pub(crate) fn upload(number: u64) -> UploadId {
    UploadId::generate(&ManualClock::at(Timestamp::from_micros(1_700_000_000_000_000)), &SeededRng::new(number))
}

fn index(offset_bytes: u64) -> usize {
    usize::try_from(offset_bytes).expect("test content is small")
}
