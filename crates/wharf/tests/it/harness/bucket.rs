//! Buckets: one of a real server, in which the whole suite can keep its content (`engines`), and one that this process serves from a
//! directory, for tests that name a bucket themselves and look at its objects as files.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, mpsc};

use futures_util::TryStreamExt as _;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as Key;
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use tokio::runtime::Runtime;
use wharf_testkit::{FakeS3, Weed};

use super::hex_sha256;

const BUCKET: &str = "tests";

/// Where one registry keeps its objects in the bucket of the suite.
#[derive(Clone, Debug)]
pub struct Shelf {
    prefix: String,
}

/// What looks at that bucket.
struct Looking {
    client: AmazonS3,
    runtime: Runtime,
}

static LOOKING: LazyLock<Looking> = LazyLock::new(|| {
    let [(_, key), (_, secret)] = credentials();
    let client = AmazonS3Builder::new().with_endpoint(Weed::shared().endpoint()).with_allow_http(true);
    let client = client.with_region("us-east-1").with_bucket_name(BUCKET);
    let client = client.with_access_key_id(key).with_secret_access_key(secret).build().expect("a client of the bucket");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    Looking { client, runtime: runtime.expect("a runtime") }
});

impl Shelf {
    /// For the registry of that data directory.
    pub fn of(data: &Path) -> Self {
        Self { prefix: prefix(data) }
    }

    /// What a server needs in its environment.
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        variables(&Weed::shared().endpoint(), &self.prefix)
    }

    /// The names below `part`, one of those in `docs/s3.md`.
    pub fn list(&self, part: &str) -> Vec<String> {
        let below = self.key(part);
        let listed = at_once(LOOKING.client.list(Some(&below)).try_collect::<Vec<_>>()).expect("the objects");
        let names = listed.iter().map(|object| object.location.filename().expect("the name of an object"));
        names.map(str::to_owned).collect()
    }

    /// The bytes of an object, if it is there.
    pub fn get(&self, name: &str) -> Option<Vec<u8>> {
        match at_once(async { LOOKING.client.get(&self.key(name)).await?.bytes().await }) {
            Ok(bytes) => Some(bytes.to_vec()),
            Err(object_store::Error::NotFound { .. }) => None,
            Err(error) => panic!("{name}: {error}"),
        }
    }

    /// Makes an object, or another one in its place.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        at_once(LOOKING.client.put(&self.key(name), bytes.into())).expect("a bucket that takes objects");
    }

    /// Takes an object away.
    pub fn delete(&self, name: &str) {
        at_once(LOOKING.client.delete(&self.key(name))).expect("a bucket that lets objects go");
    }

    fn key(&self, name: &str) -> Key {
        Key::from(format!("{}/{name}", self.prefix))
    }
}

/// Waits for `work` beside the runtime of the test, because tests look at a bucket as they look at files.
fn at_once<T: Send>(work: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| scope.spawn(|| LOOKING.runtime.block_on(work)).join().expect("a look at the bucket"))
}

/// What a server needs in its environment that keeps its objects there.
fn variables(endpoint: &str, prefix: &str) -> Vec<(&'static str, OsString)> {
    let mut variables = vec![
        ("WHARF_STORAGE__URL", url_below(prefix).into()),
        ("WHARF_STORAGE__ENDPOINT", endpoint.into()),
        ("WHARF_STORAGE__ALLOW_HTTP", "true".into()),
    ];
    variables.extend(credentials().map(|(name, value)| (name, value.into())));
    variables
}

struct Served {
    address: SocketAddr,
    directory: PathBuf,
}

static SERVED: LazyLock<Served> = LazyLock::new(|| {
    let (started, served) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let directory = place();
            let server = FakeS3::start(&directory).await;
            server.bucket(BUCKET);
            let _ = started.send(Served { address: server.address(), directory });
            std::future::pending::<()>().await;
        });
    });
    served.recv().expect("a bucket")
});

/// Where this process keeps objects; what earlier ones left is removed.
fn place() -> PathBuf {
    let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("buckets");
    std::fs::create_dir_all(&all).expect("a directory for buckets");
    for left in std::fs::read_dir(&all).expect("the directory for buckets").map_while(Result::ok) {
        let is_alive = Path::new("/proc").join(left.file_name()).exists();
        if !is_alive {
            let _ = std::fs::remove_dir_all(left.path());
        }
    }
    let ours = all.join(std::process::id().to_string());
    std::fs::create_dir_all(&ours).expect("a directory for buckets");
    ours
}

/// What a server needs in its environment whose content is in the bucket of this process.
pub fn environment_of(data: &Path) -> Vec<(&'static str, OsString)> {
    variables(&format!("http://{}", SERVED.address), &prefix(data))
}

/// Where the bucket of this process is served.
pub fn address() -> SocketAddr {
    SERVED.address
}

/// Where backups of a desk are kept in the bucket: what commands are told, what else they need, and where the objects are.
pub fn of_backups(desk: &Path) -> (String, Vec<String>, PathBuf) {
    let reached = ["--s3-endpoint".to_owned(), format!("http://{}", SERVED.address), "--s3-insecure-http".to_owned()];
    let url = url_below(&prefix(desk));
    let objects = directory_of(&url);
    (url, reached.into(), objects)
}

/// A bucket of that name, and what lets the commands of a document into it.
pub fn environment_of_documents(name: &str) -> Vec<(&'static str, String)> {
    std::fs::create_dir_all(SERVED.directory.join(name)).expect("a bucket");
    let mut environment = vec![("S3_ENDPOINT", format!("http://{}", SERVED.address))];
    environment.extend(credentials().map(|(name, value)| (name, value.to_owned())));
    environment
}

/// An address in the bucket.
pub fn url_below(prefix: &str) -> String {
    format!("s3://{BUCKET}/{prefix}")
}

/// Where the objects of such an address are in the bucket of this process.
pub fn directory_of(url: &str) -> PathBuf {
    SERVED.directory.join(url.strip_prefix("s3://").expect("the address of a bucket"))
}

/// What lets a command into either bucket.
pub fn credentials() -> [(&'static str, &'static str); 2] {
    [("AWS_ACCESS_KEY_ID", FakeS3::KEY), ("AWS_SECRET_ACCESS_KEY", FakeS3::SECRET)]
}

fn prefix(data: &Path) -> String {
    hex_sha256(data.to_string_lossy().as_bytes())[..16].to_owned()
}
