//! Any way of cutting an upload into writes, requests and processes gives the same content; any range is a slice.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// One thing that happens in the course of an upload.
#[derive(Clone, Debug)]
enum Step {
    /// So many bytes arrive.
    Write(usize),
    /// The request ends well, the next one goes on.
    Checkpoint,
    /// Bytes arrive and their request is cut off; the next one goes on from the last checkpoint.
    Lose(usize),
    /// The process ends in the middle of a request.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let size = || prop_oneof![0usize..100, 4000usize..5000, 100_000usize..3_000_000];
    prop_oneof![
        5 => size().prop_map(Step::Write),
        3 => Just(Step::Checkpoint),
        1 => size().prop_map(Step::Lose),
        1 => Just(Step::Restart),
    ]
}

struct Course {
    path: std::path::PathBuf,
    store: DirectoryStore,
    algorithm: Algorithm,
    at: Option<Checkpoint>,
    /// What has been sent and not lost.
    sent: Vec<u8>,
    writer: Box<dyn crate::BlobWriter>,
}

impl Course {
    async fn begin(path: std::path::PathBuf, algorithm: Algorithm) -> Self {
        let store = open(&path).unwrap();
        let writer = store.writer(upload(1), algorithm, None, None).await.unwrap();
        Self { path, store, algorithm, at: None, sent: Vec::new(), writer }
    }

    async fn step(mut self, step: Step) -> Self {
        match step {
            Step::Write(len) => {
                let bytes = content(len);
                self.writer.write(bytes.clone()).await.unwrap();
                self.sent.extend_from_slice(&bytes);
                self
            }
            Step::Checkpoint => {
                let Self { path, store, algorithm, sent, writer, .. } = self;
                let at = writer.checkpoint().await.unwrap();
                assert_eq!(at.offset_bytes, sent.len() as u64);
                Self::go_on(path, store, algorithm, Some(at), sent).await
            }
            Step::Lose(len) => {
                self.writer.write(content(len)).await.unwrap();
                let Self { path, store, algorithm, at, sent, writer } = self;
                drop(writer);
                Self::go_on(path, store, algorithm, at, sent).await
            }
            Step::Restart => {
                let Self { path, store, algorithm, at, sent, writer } = self;
                drop(writer);
                drop(store);
                // What still runs for the dropped writer keeps the directory locked for a moment; a new process would
                // not meet it.
                let store = loop {
                    match open(&path) {
                        Err(OpenError::InUse { .. }) => tokio::task::yield_now().await,
                        opened => break opened.unwrap(),
                    }
                };
                Self::go_on(path, store, algorithm, at, sent).await
            }
        }
    }

    async fn go_on(
        path: std::path::PathBuf,
        store: DirectoryStore,
        algorithm: Algorithm,
        at: Option<Checkpoint>,
        mut sent: Vec<u8>,
    ) -> Self {
        let offset = at.as_ref().map_or(0, |at| at.offset_bytes);
        sent.truncate(usize::try_from(offset).unwrap());
        let writer = store.writer(upload(1), algorithm, at.as_ref(), None).await.unwrap();
        assert_eq!(writer.offset_bytes(), offset);
        Self { path, store, algorithm, at, sent, writer }
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn r021_any_course_of_an_upload_gives_the_same_content(steps in vec(step(), 0..12), sha512 in any::<bool>()) {
        run(async {
            let parent = TempDir::new().unwrap();
            let algorithm = if sha512 { Algorithm::Sha512 } else { Algorithm::Sha256 };
            let mut course = Course::begin(parent.path().join("data"), algorithm).await;
            for step in steps {
                course = course.step(step).await;
            }
            let digest = Digest::of(algorithm, &course.sent);
            drop(course.writer.commit(&digest).await.unwrap());
            assert!(read(&course.store, &digest).await.unwrap() == course.sent);
        });
    }

    #[test]
    fn any_range_is_the_slice(len in 1usize..2_000_000, ranges in vec((0.0..=1.0, 0.0..=1.0), 1..10)) {
        run(async {
            let parent = TempDir::new().unwrap();
            let store = open(&parent.path().join("data")).unwrap();
            let content = content(len);
            let digest = Digest::of(Algorithm::Sha256, &content);
            drop(push(&store, &content, &digest).await.unwrap());
            let reader = store.open(&at(&digest), len as u64).await.unwrap().unwrap();
            for (a, b) in ranges {
                let (a, b): (f64, f64) = (a, b);
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
                let (start, end) = ((len as f64 * a.min(b)) as usize, (len as f64 * a.max(b)) as usize);
                let chunks: Vec<Bytes> = reader.stream(start as u64..end as u64).try_collect().await.unwrap();
                assert!(chunks.concat() == content[start..end]);
            }
        });
    }
}
