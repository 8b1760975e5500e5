//! A bucket: a server of the process that speaks S3, over a directory.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use hyper_util::rt::{TokioExecutor, TokioIo};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::net::TcpListener;

/// Serves buckets that are folders of one directory. Ends when it is dropped.
#[derive(Debug)]
pub struct FakeS3 {
    directory: PathBuf,
    address: SocketAddr,
    serving: tokio::task::JoinHandle<()>,
}

impl FakeS3 {
    /// The key that it lets in,
    pub const KEY: &str = "test";
    /// and its secret.
    pub const SECRET: &str = "canary-bucket-secret";

    /// Serves `directory`, which must be there, on a free port of this machine.
    ///
    /// # Panics
    ///
    /// Without a port or a directory there is no test.
    pub async fn start(directory: &Path) -> Self {
        let files = s3s_fs::FileSystem::new(directory).unwrap();
        let mut service = S3ServiceBuilder::new(files);
        service.set_auth(SimpleAuth::from_single(Self::KEY, Self::SECRET));
        let service = service.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Head and body leave in two pieces, and the second would wait for the other side.
                let _ = stream.set_nodelay(true);
                let service = service.clone();
                tokio::spawn(async move {
                    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { directory: directory.to_owned(), address, serving }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// As an address.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes a bucket.
    ///
    /// # Panics
    ///
    /// It exists.
    pub fn bucket(&self, name: &str) -> String {
        std::fs::create_dir(self.directory.join(name)).unwrap();
        name.to_owned()
    }

    /// Where an object's bytes are, for tests that change them behind everybody's back.
    pub fn path(&self, bucket: &str, key: &str) -> PathBuf {
        self.directory.join(bucket).join(key)
    }

    /// The keys of all objects of a bucket.
    ///
    /// # Panics
    ///
    /// It cannot be read.
    pub fn objects(&self, bucket: &str) -> Vec<String> {
        let root = self.directory.join(bucket);
        let mut keys = Vec::new();
        collect(&root, &root, &mut keys);
        keys
    }

    /// How many multipart uploads have been begun and neither completed nor given up.
    ///
    /// # Panics
    ///
    /// The directory cannot be read.
    pub fn unfinished(&self) -> usize {
        let names = std::fs::read_dir(&self.directory).unwrap();
        names.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(".upload-")).count()
    }
}

impl Drop for FakeS3 {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn collect(root: &Path, directory: &Path, keys: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, keys);
        } else {
            keys.push(path.strip_prefix(root).unwrap().to_string_lossy().into_owned());
        }
    }
}
