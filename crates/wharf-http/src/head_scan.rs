//! Bare line feeds in the heads of HTTP/1 requests.
//!
//! The parser beneath accepts a line feed on its own as the end of a line; a proxy in front may not, and then the two
//! disagree on where a request ends (S-044). So heads are looked at before the parser sees them, and a bare line feed
//! becomes a NUL, which it refuses with a 400 and the end of the connection.

/// Follows the bytes of one connection.
#[derive(Debug, Default)]
pub(crate) struct HeadScan {
    state: State,
    /// The last byte that was read, of whatever it was part.
    last: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Nothing of the head has been seen.
    #[default]
    Fresh,
    /// Within a line that has something in it.
    Line,
    /// At the beginning of a line that is not the first.
    LineStart,
    /// What follows is not the head's.
    Done,
}

impl HeadScan {
    /// The next bytes to be looked at are those of a new head.
    pub(crate) fn begin(&mut self) {
        self.state = State::Fresh;
    }

    /// Takes note of bytes that are not of a head.
    pub(crate) fn skip(&mut self, bytes: &[u8]) {
        self.last = bytes.last().copied().unwrap_or(self.last);
    }

    /// Looks at what was read while a head is awaited, and spoils it if a line ends in a bare line feed.
    ///
    /// A head that begins with a line's end may be the rest of one that the parser has half of already (a client that
    /// pipelines); where it ends is not known here, so it is let through rather than mistaken for a body.
    pub(crate) fn look(&mut self, bytes: &mut [u8]) {
        if self.state == State::Fresh && bytes.first() == Some(&b'\r') {
            self.state = State::Done;
        }
        let mut from = 0;
        while self.state != State::Done && from < bytes.len() {
            // Of what stands between two line feeds only this matters: whether there is anything, and what the last byte is.
            let line_feed = memchr::memchr(b'\n', &bytes[from..]).map(|offset| from + offset);
            let line = &bytes[from..line_feed.unwrap_or(bytes.len())];
            if line.iter().any(|byte| *byte != b'\r') {
                self.state = State::Line;
            }
            let Some(line_feed) = line_feed else { break };
            let before = if line_feed == 0 { self.last } else { bytes[line_feed - 1] };
            self.state = match self.state {
                _ if before != b'\r' => {
                    bytes[line_feed] = 0;
                    State::Done
                }
                State::Line => State::LineStart,
                _ => State::Done,
            };
            from = line_feed + 1;
        }
        self.skip(bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// What the parser gets when `text` arrives in pieces of `size` bytes.
    fn seen(text: &[u8], size: usize) -> Vec<u8> {
        let mut scan = HeadScan::default();
        let mut bytes = text.to_vec();
        bytes.chunks_mut(size).for_each(|piece| scan.look(piece));
        bytes
    }

    #[test]
    fn heads_with_whole_line_ends_and_what_follows_them_are_left_alone() {
        let body = b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n\n\n\r\n";
        for size in 1..=body.len() {
            assert_eq!(seen(body, size), body, "in pieces of {size}");
        }
    }

    #[test]
    fn a_bare_line_feed_is_spoiled_wherever_it_is() {
        for (head, expected) in [
            ("GET / HTTP/1.1\nHost: x\r\n\r\n", "GET / HTTP/1.1\0Host: x\r\n\r\n"),
            ("GET / HTTP/1.1\r\nHost: x\n\r\n", "GET / HTTP/1.1\r\nHost: x\0\r\n"),
            ("\nGET / HTTP/1.1\r\n\r\n", "\0GET / HTTP/1.1\r\n\r\n"),
        ] {
            for size in 1..=head.len() {
                assert_eq!(seen(head.as_bytes(), size), expected.as_bytes(), "{head:?} in pieces of {size}");
            }
        }
    }

    /// The same, byte by byte.
    fn look_at_each(scan: &mut HeadScan, bytes: &mut [u8]) {
        for byte in &mut *bytes {
            if scan.state == State::Done {
                break;
            }
            scan.state = match (scan.state, scan.last, *byte) {
                (_, before, b'\n') if before != b'\r' => {
                    *byte = 0;
                    State::Done
                }
                (State::Line, _, b'\n') => State::LineStart,
                (State::LineStart, _, b'\n') | (State::Fresh, _, b'\r' | b'\n') => State::Done,
                (state, _, b'\r') => state,
                _ => State::Line,
            };
            scan.last = *byte;
        }
        scan.skip(bytes);
    }

    proptest! {
        #[test]
        fn lines_are_looked_at_as_their_bytes_are(
            heads in vec(vec("[ab\r\n]{0,12}|(ab\r\n){0,3}", 0..4), 0..4)
        ) {
            let (mut scan, mut model) = (HeadScan::default(), HeadScan::default());
            for pieces in heads {
                scan.begin();
                model.begin();
                for piece in pieces {
                    let (mut seen, mut expected) = (piece.clone().into_bytes(), piece.into_bytes());
                    scan.look(&mut seen);
                    look_at_each(&mut model, &mut expected);
                    prop_assert_eq!(&seen, &expected);
                    prop_assert_eq!((scan.state, scan.last), (model.state, model.last));
                }
            }
        }
    }

    #[test]
    fn the_rest_of_a_pipelined_head_is_not_mistaken_for_a_head() {
        let mut scan = HeadScan::default();
        scan.skip(b"PUT / HTTP/1.1\r\nContent-Length: 2\r\n");
        let mut rest = *b"\r\n\n\n";
        scan.look(&mut rest);
        assert_eq!(rest, *b"\r\n\n\n");
        let mut scan = HeadScan::default();
        scan.skip(b"PUT / HTTP/1.1\r\nContent-Length: 2\r\n\r");
        let mut rest = *b"\n\n\n";
        scan.look(&mut rest);
        assert_eq!(rest, *b"\n\n\n");
    }
}
