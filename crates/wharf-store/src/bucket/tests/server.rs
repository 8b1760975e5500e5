//! An S3 server in the process, over a directory.

use std::net::SocketAddr;
use std::path::Path;

use hyper_util::rt::{TokioExecutor, TokioIo};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::{KEY, SECRET};

pub(super) struct Server {
    directory: TempDir,
    address: SocketAddr,
    serving: tokio::task::JoinHandle<()>,
}

impl Server {
    pub(super) async fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let files = s3s_fs::FileSystem::new(directory.path()).unwrap();
        let mut service = S3ServiceBuilder::new(files);
        service.set_auth(SimpleAuth::from_single(KEY, SECRET));
        let service = service.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { directory, address, serving }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes a bucket.
    pub(super) fn bucket(&self, name: &str) -> String {
        std::fs::create_dir(self.directory.path().join(name)).unwrap();
        name.to_owned()
    }

    /// Changes an object behind everybody's back.
    pub(super) fn write(&self, bucket: &str, key: &str, bytes: &[u8]) {
        let path = self.directory.path().join(bucket).join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    pub(super) fn read(&self, bucket: &str, key: &str) -> Vec<u8> {
        std::fs::read(self.directory.path().join(bucket).join(key)).unwrap()
    }

    /// The keys of all objects.
    pub(super) fn objects(&self, bucket: &str) -> Vec<String> {
        let root = self.directory.path().join(bucket);
        let mut keys = Vec::new();
        collect(&root, &root, &mut keys);
        keys
    }

    /// How many multipart uploads have been begun and neither completed nor given up.
    pub(super) fn unfinished(&self) -> usize {
        let names = std::fs::read_dir(self.directory.path()).unwrap();
        names.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(".upload-")).count()
    }
}

impl Drop for Server {
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
