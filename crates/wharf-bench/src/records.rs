//! The records of a TLS 1.3 connection, as they come from the socket.
//!
//! rustls gets one record at a time, so that between two of them nothing has been read that it has not seen. There whatever
//! follows can be thrown away without being decrypted: then the client is not what limits a download.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::ops::Range;

/// Kind, version and length (RFC 8446 §5.1).
const HEADER_BYTES: usize = 5;

/// What an encrypted record has besides its content: the kind within it, and the tag of AES-GCM and of ChaCha20-Poly1305.
const OVERHEAD_BYTES: u64 = 17;

/// The kind of every encrypted record.
const APPLICATION_DATA: u8 = 23;

const BUFFER_BYTES: usize = 256 << 10;

/// A socket that is read record by record.
pub(crate) struct Records {
    socket: TcpStream,
    buffer: Box<[u8]>,
    unread: Range<usize>,
    /// What has not been read yet of the record that was begun.
    left_bytes: usize,
}

impl Records {
    pub(crate) fn new(socket: TcpStream) -> Self {
        Self { socket, buffer: vec![0; BUFFER_BYTES].into(), unread: 0..0, left_bytes: 0 }
    }

    /// Throws away the next records, which hold `len_bytes` of content; nothing can be decrypted after this.
    ///
    /// # Errors
    ///
    /// The connection's, and [`io::ErrorKind::InvalidData`] where no record ends after so much.
    pub(crate) fn throw_away(&mut self, len_bytes: u64) -> io::Result<()> {
        let mut left = len_bytes;
        while left > 0 {
            let kind = self.begin()?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let content = (self.left_bytes - HEADER_BYTES) as u64;
            let content = content.checked_sub(OVERHEAD_BYTES).filter(|_| kind == APPLICATION_DATA);
            left = content.and_then(|content| left.checked_sub(content)).ok_or(io::ErrorKind::InvalidData)?;
            while self.left_bytes > 0 {
                if self.unread.is_empty() && self.fill()? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                self.take(self.unread.len());
            }
        }
        Ok(())
    }

    /// Reads the header of the next record, without taking it away; its kind, or `None` at the end.
    fn begin(&mut self) -> io::Result<Option<u8>> {
        while self.unread.len() < HEADER_BYTES {
            if self.fill()? == 0 {
                return if self.unread.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
        let header = &self.buffer[self.unread.start..];
        self.left_bytes = HEADER_BYTES + usize::from(u16::from_be_bytes([header[3], header[4]]));
        Ok(Some(header[0]))
    }

    /// Reads more behind what is unread, which is less than a header.
    fn fill(&mut self) -> io::Result<usize> {
        self.buffer.copy_within(self.unread.clone(), 0);
        self.unread = 0..self.unread.len();
        let read = self.socket.read(&mut self.buffer[self.unread.end..])?;
        self.unread.end += read;
        Ok(read)
    }

    /// Takes away up to `count` bytes of the record that was begun; where they are.
    fn take(&mut self, count: usize) -> Range<usize> {
        let count = count.min(self.left_bytes).min(self.unread.len());
        let taken = self.unread.start..self.unread.start + count;
        self.unread.start += count;
        self.left_bytes -= count;
        taken
    }
}

impl Read for Records {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.left_bytes == 0 && self.begin()?.is_none() {
            return Ok(0);
        }
        if self.unread.is_empty() && self.fill()? == 0 {
            return Ok(0);
        }
        let taken = self.take(into.len());
        into[..taken.len()].copy_from_slice(&self.buffer[taken.clone()]);
        Ok(taken.len())
    }
}

impl Write for Records {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn record(kind: u8, len: u16) -> Vec<u8> {
        let mut record = vec![kind, 3, 3];
        record.extend(len.to_be_bytes());
        record.extend(std::iter::repeat_n(kind, usize::from(len)));
        record
    }

    /// What comes out of a socket into which `records` were written.
    fn sent(records: &[Vec<u8>]) -> Records {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let socket = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
        let (mut other, _) = listener.accept().expect("a connection");
        let bytes = records.concat();
        std::thread::spawn(move || other.write_all(&bytes));
        Records::new(socket)
    }

    #[test]
    fn one_record_at_a_time_is_read_and_whole_ones_are_thrown_away() {
        let (first, last) = (record(22, 7), record(21, 2));
        let thrown = (0..40).map(|_| record(APPLICATION_DATA, 16_401));
        let all: Vec<_> = [first.clone()].into_iter().chain(thrown).chain([last.clone()]).collect();
        let mut records = sent(&all);
        let mut bytes = vec![0; 1 << 20];
        assert_eq!(records.read(&mut bytes).expect("a record"), first.len(), "and nothing of the next one");
        records.throw_away(40 * 16_384).expect("forty records");
        let read = records.read(&mut bytes).expect("a record");
        assert_eq!(&bytes[..read], last);
        assert_eq!(records.read(&mut bytes).expect("the end"), 0);
    }

    #[test]
    fn what_does_not_end_with_a_record_is_an_error() {
        let records = [record(APPLICATION_DATA, 117), record(APPLICATION_DATA, 117)];
        let kind = |thrown: io::Result<()>| thrown.map_err(|error| error.kind());
        assert_eq!(kind(sent(&records).throw_away(150)), Err(io::ErrorKind::InvalidData));
        assert_eq!(kind(sent(&records).throw_away(300)), Err(io::ErrorKind::UnexpectedEof));
        assert_eq!(kind(sent(&[record(22, 117)]).throw_away(100)), Err(io::ErrorKind::InvalidData));
        assert_eq!(kind(sent(&records).throw_away(200)), Ok(()));
    }
}
