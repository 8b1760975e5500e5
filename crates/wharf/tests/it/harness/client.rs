//! A small client of the distribution protocol for the tests that tell a story.

use std::net::SocketAddr;

use bytes::Bytes;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::{Connection, Reply, WireError, sha256};

/// How a request carries its body.
#[derive(Clone, Debug, Default)]
pub enum Body {
    /// No body and no length.
    #[default]
    None,
    /// With its `Content-Length`.
    Sized(Bytes),
    /// In one chunk, with `Transfer-Encoding: chunked`.
    Chunked(Bytes),
}

/// One request; `Host` is added, nothing else.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: &'static str,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Body,
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: &'static str, target: impl Into<String>) -> Self {
        Self { method, target: target.into(), headers: Vec::new(), body: Body::None }
    }

    /// With one more header.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// With a body and its length.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Body::Sized(body.into());
        self
    }

    /// The head as it goes over the wire.
    pub fn head(&self, host: &str) -> String {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {host}\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        match &self.body {
            Body::None => {}
            Body::Sized(bytes) => head.push_str(&format!("Content-Length: {}\r\n", bytes.len())),
            Body::Chunked(_) => head.push_str("Transfer-Encoding: chunked\r\n"),
        }
        head + "\r\n"
    }

    /// The body as it goes over the wire.
    pub fn framed_body(&self) -> Bytes {
        match &self.body {
            Body::None => Bytes::new(),
            Body::Sized(bytes) => bytes.clone(),
            Body::Chunked(bytes) if bytes.is_empty() => Bytes::from_static(b"0\r\n\r\n"),
            Body::Chunked(bytes) => {
                let mut framed = format!("{:x}\r\n", bytes.len()).into_bytes();
                framed.extend_from_slice(bytes);
                framed.extend_from_slice(b"\r\n0\r\n\r\n");
                framed.into()
            }
        }
    }
}

/// A client with one keep-alive connection.
pub struct Client {
    address: SocketAddr,
    tls: Option<TlsConnector>,
    connection: Option<Connection>,
    authorization: Option<String>,
}

impl Client {
    /// A client of the server at `address`; connects with the first request.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, tls: None, connection: None, authorization: None }
    }

    /// The same over TLS.
    pub fn tls(address: SocketAddr, connector: TlsConnector) -> Self {
        Self { address, tls: Some(connector), connection: None, authorization: None }
    }

    /// A client of the same server on a connection of its own.
    pub fn another(&self) -> Self {
        Self { tls: self.tls.clone(), authorization: self.authorization.clone(), connection: None, ..*self }
    }

    /// The same client, which sends `Authorization: {authorization}` with every request.
    pub fn authorized(mut self, authorization: impl Into<String>) -> Self {
        self.authorization = Some(authorization.into());
        self
    }

    /// Sends `request` and gives its reply.
    ///
    /// # Panics
    ///
    /// When there is no reply.
    pub async fn send(&mut self, request: Request) -> Reply {
        let told = format!("{} {}", request.method, request.target);
        self.try_send(&request).await.unwrap_or_else(|error| panic!("{told}: {error}"))
    }

    /// Sends `request` and gives its reply, or why there is none. After a failure the next request opens a new
    /// connection.
    pub async fn try_send(&mut self, request: &Request) -> Result<Reply, WireError> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        // One write for the small ones: two would be two packets and a delay on some systems.
        let request = &match &self.authorization {
            Some(authorization) => request.clone().header("Authorization", authorization),
            None => request.clone(),
        };
        let mut head = request.head(&self.host()).into_bytes();
        let body = request.framed_body();
        if body.len() <= 64 * 1024 {
            head.extend_from_slice(&body);
            connection.send(&head).await?;
        } else {
            connection.send(&head).await?;
            connection.send(&body).await?;
        }
        let reply = connection.reply(request.method == "HEAD").await?;
        if !reply.closes() {
            self.connection = Some(connection);
        }
        Ok(reply)
    }

    /// A connection of its own, outside the client's.
    pub async fn connect(&self) -> Result<Connection, WireError> {
        let Some(tls) = &self.tls else { return Connection::open(self.address).await };
        let stream = tokio::net::TcpStream::connect(self.address).await.map_err(WireError::Io)?;
        let stream = tls.connect(ServerName::IpAddress(self.address.ip().into()), stream).await;
        stream.map(Connection::over).map_err(WireError::Io)
    }

    /// What goes into `Host`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    pub async fn get(&mut self, target: &str) -> Reply {
        self.send(Request::new("GET", target)).await
    }

    pub async fn head(&mut self, target: &str) -> Reply {
        self.send(Request::new("HEAD", target)).await
    }

    pub async fn delete(&mut self, target: &str) -> Reply {
        self.send(Request::new("DELETE", target)).await
    }

    /// Opens an upload session; its location.
    pub async fn begin_upload(&mut self, repository: &str) -> String {
        let target = format!("/v2/{repository}/blobs/uploads/");
        let reply = self.send(Request::new("POST", target).body("")).await.expect(202);
        reply.header("location").expect("a location").to_owned()
    }

    /// Appends `chunk` at `start` of the session at `location`.
    pub async fn append(&mut self, location: &str, start: usize, chunk: impl Into<Bytes>) -> Reply {
        let chunk = chunk.into();
        let range = format!("{start}-{}", start + chunk.len() - 1);
        self.send(Request::new("PATCH", location).header("Content-Range", range).body(chunk)).await
    }

    /// Ends the session at `location` with `rest` as its last bytes.
    pub async fn finish_upload(&mut self, location: &str, digest: &str, rest: impl Into<Bytes>) -> Reply {
        self.send(Request::new("PUT", with_digest(location, digest)).body(rest)).await
    }

    /// Pushes `blob` in two requests and gives its digest.
    pub async fn put_blob(&mut self, repository: &str, blob: impl Into<Bytes>) -> String {
        let blob = blob.into();
        let digest = sha256(&blob);
        let location = self.begin_upload(repository).await;
        self.finish_upload(&location, &digest, blob).await.expect(201);
        digest
    }

    /// Pushes `manifest` under `reference` and gives its digest.
    pub async fn put_manifest(
        &mut self,
        repository: &str,
        reference: &str,
        media_type: &str,
        manifest: impl Into<Bytes>,
    ) -> String {
        let manifest = manifest.into();
        let digest = sha256(&manifest);
        let target = format!("/v2/{repository}/manifests/{reference}");
        let request = Request::new("PUT", target).header("Content-Type", media_type).body(manifest);
        let reply = self.send(request).await.expect(201);
        assert_eq!(reply.header("docker-content-digest"), Some(digest.as_str()), "{reply}");
        digest
    }
}

/// The location that closes an upload session, as clients build it.
pub fn with_digest(location: &str, digest: &str) -> String {
    let join = if location.contains('?') { '&' } else { '?' };
    format!("{location}{join}digest={digest}")
}
