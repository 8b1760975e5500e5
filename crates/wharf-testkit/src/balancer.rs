//! What stands before several replicas.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

/// Sends each request to the next server, whatever connection it came on: no two requests of a client in a row see the same
/// one. It answers nothing by itself: where a server breaks off, so does it. Ends when it is dropped.
#[derive(Debug)]
pub struct Balancer {
    address: SocketAddr,
    servers: Arc<Mutex<Servers>>,
    serving: tokio::task::JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Servers {
    addresses: Vec<SocketAddr>,
    next: usize,
    /// Which server each request went to, with its method.
    served: Vec<(usize, String)>,
}

impl Balancer {
    /// Listens on a free port of this machine.
    pub async fn before(servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        let servers = Servers { addresses: servers.into_iter().collect(), ..Servers::default() };
        let servers = Arc::new(Mutex::new(servers));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::clone(&servers);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let servers = Arc::clone(&shared);
                tokio::spawn(async move {
                    let pass = service_fn(move |request| pass(Arc::clone(&servers), request));
                    let _ =
                        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), pass).await;
                });
            }
        });
        Self { address, servers, serving }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Server `number` is somewhere else from now on.
    pub fn moved(&self, number: usize, address: SocketAddr) {
        self.servers().addresses[number] = address;
    }

    /// Which server each request went to since this was last asked, with its method.
    pub fn served(&self) -> Vec<(usize, String)> {
        std::mem::take(&mut self.servers().served)
    }

    fn servers(&self) -> MutexGuard<'_, Servers> {
        lock(&self.servers)
    }
}

impl Servers {
    /// Whose turn it is.
    fn turn(&mut self) -> (usize, SocketAddr) {
        let number = self.next % self.addresses.len();
        self.next += 1;
        (number, self.addresses[number])
    }
}

fn lock(servers: &Mutex<Servers>) -> MutexGuard<'_, Servers> {
    servers.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Nobody is there, or the one who was has gone.
type Broken = Box<dyn std::error::Error + Send + Sync>;

async fn pass(servers: Arc<Mutex<Servers>>, request: Request<Incoming>) -> Result<Response<Incoming>, Broken> {
    let count = lock(&servers).addresses.len();
    let mut refused: Broken = "there are no servers".into();
    // One that does not listen has been sent nothing.
    for _ in 0..count {
        let (number, address) = lock(&servers).turn();
        match TcpStream::connect(address).await {
            Ok(stream) => {
                let _ = stream.set_nodelay(true);
                lock(&servers).served.push((number, request.method().to_string()));
                return send(stream, request).await;
            }
            Err(error) => refused = error.into(),
        }
    }
    Err(refused)
}

async fn send(stream: TcpStream, request: Request<Incoming>) -> Result<Response<Incoming>, Broken> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let answer = sender.send_request(request).await?;
    Ok(answer)
}
