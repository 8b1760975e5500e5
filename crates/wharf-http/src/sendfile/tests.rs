use std::convert::Infallible;
use std::fs::File as DiskFile;
use std::future::poll_fn;
use std::io::Write as _;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;

/// Larger than what any socket buffers, and not a multiple of anything.
const FILE_BYTES: u64 = (24 << 20) + 12_345;

/// What became of a piece: how much of it was sent, and why not all.
type Ended = (u64, Option<io::ErrorKind>);

/// A body that is one piece of a file.
struct FileBody(Option<FilePiece>);

impl Body for FileBody {
    type Data = FilePiece;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<FilePiece>, Infallible>>> {
        Poll::Ready(self.0.take().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |piece| piece.left_bytes))
    }
}

/// A server of one file: the path of a request is the range, `/from-to`, end exclusive.
struct World {
    content: Bytes,
    file: DiskFile,
    address: std::net::SocketAddr,
    ended: mpsc::UnboundedReceiver<Ended>,
}

impl World {
    async fn new() -> Self {
        let content: Bytes =
            (0..FILE_BYTES).map(|at| (at ^ (at >> 8) ^ (at >> 16)).to_le_bytes()[0]).collect::<Vec<_>>().into();
        let mut file = anonymous_file();
        file.write_all(&content).expect("the file is written");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("an address");
        let address = listener.local_addr().expect("an address");
        let (tell, ended) = mpsc::unbounded_channel();
        let served = file.try_clone().expect("a second descriptor");
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, served.try_clone().expect("a descriptor"), tell.clone()));
            }
        });
        Self { content, file, address, ended }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("a connection")
    }

    /// What the server says of the next piece that ends.
    async fn ended(&mut self) -> Ended {
        self.ended.recv().await.expect("an end")
    }
}

fn anonymous_file() -> DiskFile {
    let directory = rustix::fs::open(
        std::env::temp_dir(),
        rustix::fs::OFlags::TMPFILE | rustix::fs::OFlags::RDWR,
        rustix::fs::Mode::from_raw_mode(0o600),
    );
    directory.expect("a file without a name").into()
}

async fn serve(socket: TcpStream, file: DiskFile, tell: mpsc::UnboundedSender<Ended>) {
    let lane = Lane::default();
    let sender = FileSender::new(socket, lane.clone());
    let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
        let (from, to) = request.uri().path()[1..].split_once('-').expect("a range");
        let range = from.parse().expect("a number")..to.parse().expect("a number");
        let tell = tell.clone();
        let file = Box::new(file.try_clone().expect("a descriptor"));
        let piece = lane.piece(file, range, move |sent, failure| {
            let _ = tell.send((sent, failure.map(io::Error::kind)));
        });
        async move { Ok::<_, Infallible>(Response::new(FileBody(Some(piece)))) }
    });
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(sender), service).await;
}

fn ask(range: &Range<u64>) -> String {
    format!("GET /{}-{} HTTP/1.1\r\nHost: w\r\n\r\n", range.start, range.end)
}

/// Reads one answer; the body as far as it comes.
async fn answer(socket: &mut TcpStream) -> Vec<u8> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.expect("a head"));
    }
    let head = String::from_utf8(head).expect("text").to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    let mut body = Vec::new();
    let _ = socket.take(length.parse().expect("a number")).read_to_end(&mut body).await;
    body
}

fn ranges() -> Vec<Range<u64>> {
    let mut ranges = vec![0..FILE_BYTES, 0..1, FILE_BYTES - 1..FILE_BYTES, 4_095..4_097];
    let mut seed: u64 = 7;
    for _ in 0..60 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let from = (seed >> 20) % (FILE_BYTES - 1);
        let to = (from + 1 + (seed >> 40) % 3_000_000).min(FILE_BYTES);
        ranges.push(from..to);
    }
    ranges
}

fn same(world: &World, range: &Range<u64>, body: &[u8]) {
    let from = usize::try_from(range.start).expect("small");
    let to = usize::try_from(range.end).expect("small");
    assert!(body == &world.content[from..to], "range {range:?} came as {} other bytes", body.len());
}

#[tokio::test]
async fn every_range_comes_as_it_is_on_one_connection() {
    let mut world = World::new().await;
    let mut socket = world.connect().await;
    for range in ranges() {
        socket.write_all(ask(&range).as_bytes()).await.expect("asked");
        same(&world, &range, &answer(&mut socket).await);
        assert_eq!(world.ended().await, (range.end - range.start, None));
    }
}

#[tokio::test]
async fn pipelined_ranges_come_in_order() {
    let world = World::new().await;
    let mut socket = world.connect().await;
    let ranges = ranges();
    let requests: String = ranges.iter().map(ask).collect();
    socket.write_all(requests.as_bytes()).await.expect("asked");
    for range in &ranges {
        same(&world, range, &answer(&mut socket).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_connections_do_not_mix() {
    let world = Arc::new(World::new().await);
    let clients = (0..8_usize).map(|client| {
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            let mut socket = world.connect().await;
            for range in ranges().into_iter().skip(1 + client).step_by(3) {
                socket.write_all(ask(&range).as_bytes()).await.expect("asked");
                same(&world, &range, &answer(&mut socket).await);
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.expect("all ranges are right");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r008_a_file_that_has_become_shorter_breaks_the_connection_and_is_told() {
    let mut world = World::new().await;
    let mut socket = world.connect().await;
    socket.write_all(ask(&(0..FILE_BYTES)).as_bytes()).await.expect("asked");
    // The server has sent what the socket takes, and stands.
    socket.readable().await.expect("the answer begins");
    world.file.set_len(FILE_BYTES / 2).expect("the file is cut");
    let body = answer(&mut socket).await;
    assert!(body.len() as u64 <= FILE_BYTES / 2, "{} bytes came", body.len());
    assert!(body == world.content[..body.len()], "what came is right");
    let (sent, failure) = world.ended().await;
    assert!(sent <= FILE_BYTES / 2, "{sent} bytes were sent");
    assert_eq!(failure, Some(io::ErrorKind::UnexpectedEof));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_ends_the_piece_and_blames_nobody() {
    let mut world = World::new().await;
    let mut socket = world.connect().await;
    socket.write_all(ask(&(0..FILE_BYTES)).as_bytes()).await.expect("asked");
    let mut some = vec![0; 100_000];
    socket.read_exact(&mut some).await.expect("a beginning");
    drop(socket);
    let (sent, failure) = world.ended().await;
    assert!(sent < FILE_BYTES);
    assert_eq!(failure, None);
}

#[tokio::test]
async fn nothing_stays_in_the_lane() {
    let lane = Lane::default();
    let piece = lane.piece(Box::new(anonymous_file()), 0..10, |_, _| {});
    assert_eq!(lane.slices().len(), 1);
    assert_eq!((piece.remaining(), piece.chunk().len()), (10, 1));
    drop(piece);
    assert!(lane.slices().is_empty());
}

#[tokio::test]
async fn a_file_that_is_not_in_memory_is_brought_there_by_another_thread() {
    let world = World::new().await;
    world.file.sync_all().expect("synced");
    rustix::fs::fadvise(&world.file, 0, None, Advice::DontNeed).expect("dropped from memory");
    let lane = Lane::default();
    let piece = lane.piece(Box::new(world.file.try_clone().expect("a descriptor")), 0..FILE_BYTES, |_, _| {});
    let part = piece.slice.next();
    let (client, _peer) = pair().await;
    let mut sender = FileSender::new(client, lane.clone());
    poll_fn(|context| sender.poll_bring(context, &piece.slice)).await.expect("brought");
    assert!(piece.slice.is_in_memory(&part));
    assert_eq!(piece.slice.in_memory_to.load(Ordering::Relaxed), part.end);
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("an address");
    let client = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("a connection");
    (client, listener.accept().await.expect("its other end").0)
}

#[tokio::test]
async fn pieces_leave_in_their_order_together_and_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("an address");
    let mut client = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("a connection");
    let (socket, _) = listener.accept().await.expect("a connection");
    let mut sender = FileSender::new(socket, Lane::default());
    for lengths in [&[7][..], &[0, 3], &[300, 900], &[2048, 2048], &[2048, 2049], &[1, 0, 9000, 2], &[5000]] {
        let pieces: Vec<Vec<u8>> = lengths.iter().zip(b'a'..).map(|(length, byte)| vec![byte; *length]).collect();
        let expected = pieces.concat();
        let slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let written = poll_fn(|context| Pin::new(&mut sender).poll_write_vectored(context, &slices)).await;
        assert_eq!(written.expect("written"), expected.len(), "{lengths:?}");
        let mut received = vec![0; expected.len()];
        client.read_exact(&mut received).await.expect("received");
        assert!(received == expected, "{lengths:?}");
    }
}
