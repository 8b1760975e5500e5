//! A web server of files that does nothing a request does not need: what it reaches is what the client can measure.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bodies up to this are kept in memory; larger ones are sent by the kernel.
const IN_MEMORY_BYTES: u64 = 256 << 10;

/// The longest head of a request.
const HEAD_MAX_BYTES: usize = 16 << 10;

/// Serves the files below `root` on a free port of this machine, until the process ends.
pub(crate) fn serve(root: PathBuf) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let root = Arc::new(root);
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let root = Arc::clone(&root);
            // A client that goes away ends its thread.
            std::thread::spawn(move || answer_all(socket, &root));
        }
    });
    Ok(address)
}

enum Answer {
    Whole(Vec<u8>),
    File { head: Vec<u8>, file: File, len_bytes: u64 },
}

fn answer_all(mut socket: TcpStream, root: &Path) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut answers: HashMap<Vec<u8>, Answer> = HashMap::new();
    let mut head = Vec::new();
    loop {
        read_head(&mut socket, &mut head)?;
        let Some(path) = head.split(|byte| *byte == b' ').nth(1) else { return Ok(()) };
        if !answers.contains_key(path) {
            answers.insert(path.to_vec(), prepare(root, path));
        }
        match &answers[path] {
            Answer::Whole(bytes) => socket.write_all(bytes)?,
            Answer::File { head, file, len_bytes } => {
                rustix::net::send(&socket, head, rustix::net::SendFlags::MORE)?;
                let mut at = 0;
                while at < *len_bytes {
                    rustix::fs::sendfile(&socket, file, Some(&mut at), 2 << 20)?;
                }
            }
        }
    }
}

fn read_head(socket: &mut TcpStream, head: &mut Vec<u8>) -> io::Result<()> {
    head.clear();
    let mut some = [0; 4096];
    while !head.ends_with(b"\r\n\r\n") {
        let read = socket.read(&mut some)?;
        if read == 0 || head.len() > HEAD_MAX_BYTES {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(&some[..read]);
    }
    Ok(())
}

/// Only paths that this program wrote are asked for; anything else is not found.
fn prepare(root: &Path, path: &[u8]) -> Answer {
    let path = String::from_utf8_lossy(path);
    let found = (!path.contains("..")).then(|| File::open(root.join(path.trim_start_matches('/'))).ok()).flatten();
    let length = found.as_ref().and_then(|file| file.metadata().ok()).filter(std::fs::Metadata::is_file);
    let (Some(mut file), Some(length)) = (found, length) else {
        return Answer::Whole(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec());
    };
    let len_bytes = length.len();
    let mut head = format!("HTTP/1.1 200 OK\r\nContent-Length: {len_bytes}\r\n\r\n").into_bytes();
    if len_bytes > IN_MEMORY_BYTES {
        return Answer::File { head, file, len_bytes };
    }
    match file.read_to_end(&mut head) {
        Ok(_) => Answer::Whole(head),
        Err(_) => Answer::Whole(b"HTTP/1.1 500 Not Readable\r\nContent-Length: 0\r\n\r\n".to_vec()),
    }
}
