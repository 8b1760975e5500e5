//! With `WHARF_TEST_STORAGE=s3` every server of the suite keeps its content in a bucket, below a prefix of its own. The bucket
//! is served by this process, so that tests can look at objects as they look at files.

use std::collections::HashSet;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError, mpsc};

use wharf_testkit::FakeS3;

use super::hex_sha256;

const BUCKET: &str = "tests";

struct Served {
    address: SocketAddr,
    directory: PathBuf,
}

/// Whether the suite runs over a bucket.
pub fn is_used() -> bool {
    match std::env::var("WHARF_TEST_STORAGE").as_deref() {
        Err(_) | Ok("directory") => false,
        Ok("s3") => true,
        Ok(other) => panic!("WHARF_TEST_STORAGE is `{other}`; it can be `directory` or `s3`"),
    }
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

/// Data directories whose content is in the bucket: those that a server of this process has begun.
static BEGUN: LazyLock<Mutex<HashSet<PathBuf>>> = LazyLock::new(Mutex::default);

/// What a command needs in its environment that uses this data directory.
pub fn environment(data: &Path) -> Vec<(&'static str, OsString)> {
    let mut begun = BEGUN.lock().unwrap_or_else(PoisonError::into_inner);
    let is_new = !data.join("wharf.db").exists();
    if !is_used() || !(begun.contains(data) || (is_new && begun.insert(data.to_owned()))) {
        return Vec::new();
    }
    variables(data)
}

/// The same, whatever the suite runs over.
pub fn environment_of(data: &Path) -> Vec<(&'static str, OsString)> {
    BEGUN.lock().unwrap_or_else(PoisonError::into_inner).insert(data.to_owned());
    variables(data)
}

/// Where the bucket is served.
pub fn address() -> SocketAddr {
    SERVED.address
}

fn variables(data: &Path) -> Vec<(&'static str, OsString)> {
    let mut variables = vec![
        ("WHARF_STORAGE__URL", format!("s3://{BUCKET}/{}", prefix(data)).into()),
        ("WHARF_STORAGE__ENDPOINT", format!("http://{}", SERVED.address).into()),
        ("WHARF_STORAGE__ALLOW_HTTP", "true".into()),
    ];
    variables.extend(credentials().map(|(name, value)| (name, value.into())));
    variables
}

/// Where backups of a desk are kept in the bucket: what commands are told, what else they need, and where the objects are.
pub fn of_backups(desk: &Path) -> (String, Vec<String>, PathBuf) {
    let reached = ["--s3-endpoint".to_owned(), format!("http://{}", SERVED.address), "--s3-insecure-http".to_owned()];
    (format!("s3://{BUCKET}/{}", prefix(desk)), reached.into(), below(desk))
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

/// Where the objects of such an address are.
pub fn directory_of(url: &str) -> PathBuf {
    SERVED.directory.join(url.strip_prefix("s3://").expect("the address of a bucket"))
}

/// What lets a command into the bucket.
pub fn credentials() -> [(&'static str, &'static str); 2] {
    [("AWS_ACCESS_KEY_ID", FakeS3::KEY), ("AWS_SECRET_ACCESS_KEY", FakeS3::SECRET)]
}

fn is_begun(data: &Path) -> bool {
    BEGUN.lock().unwrap_or_else(PoisonError::into_inner).contains(data)
}

/// The file that the content of a digest is in, for those who want to damage it.
pub fn file_of(data: &Path, digest: &str) -> PathBuf {
    if !is_begun(data) {
        let hex = digest.strip_prefix("sha256:").expect("a digest");
        return data.join("layers/sha256").join(&hex[..2]).join(hex);
    }
    let database = rusqlite::Connection::open(data.join("wharf.db")).expect("the database");
    let key: String = database
        .query_row("select storage_key from blobs where digest = ?1", [digest], |row| row.get(0))
        .expect("the row of the blob says where it lies");
    below(data).join("blobs").join(key)
}

/// The content of all objects of a registry; `None`: they are files of its data directory.
pub fn objects_of(data: &Path) -> Option<Vec<Vec<u8>>> {
    if !is_begun(data) {
        return None;
    }
    let objects = std::fs::read_dir(below(data).join("blobs")).into_iter().flatten();
    Some(objects.map(|object| std::fs::read(object.expect("an object").path()).expect("an object")).collect())
}

/// Where what is set aside is noted.
pub fn quarantine_of(data: &Path) -> PathBuf {
    if is_begun(data) { below(data).join("quarantine") } else { data.join("quarantine") }
}

fn below(data: &Path) -> PathBuf {
    SERVED.directory.join(BUCKET).join(prefix(data))
}

fn prefix(data: &Path) -> String {
    hex_sha256(data.to_string_lossy().as_bytes())[..16].to_owned()
}
