//! [`check`]: whether the head of an HTTP/1 request can be read in one way only.
//!
//! Runs over the bytes as they arrived, before any parser that might forgive what another does not:
//! line ends, folded lines, control characters, the framing headers. What passes here is what
//! RFC 9112 describes; nginx, in front of Kong, forgives bare LF and more, which is the one
//! difference made on purpose.
//!
//! What a request asks for is not judged here.

/// Bytes of a head after which nothing more is taken. nginx's four buffers of 8 KiB, and room to
/// tell by the rules of the exchange that they are exceeded.
pub const LARGEST: usize = 64 * 1024;
/// nginx's buffer: the longest request line that is worth waiting for the rest of.
const LONGEST_LINE: usize = 8 * 1024;
/// Lines a head may have; the parser behind takes no more.
const MOST_LINES: usize = 256;

/// What is wrong with a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// A request line that is none.
    RequestLine,
    /// A request for a tunnel: what follows it would be no request.
    Tunnel,
    /// A version other than 1.0 and 1.1.
    Version,
    /// A line that ends in a bare LF, or holds a bare CR.
    LineEnd,
    /// A line that goes on with the one before.
    Folded,
    /// A line without a header name, or with white space after it.
    Name,
    /// A control character.
    Control,
    /// Framing that two parsers may read differently.
    Framing,
    /// A transfer coding other than `chunked`.
    Coding,
    /// No Host, or several.
    Host,
    /// A request line that never ends.
    TargetTooLong,
    /// A head that never ends.
    TooLarge,
    /// The client was too slow.
    Slow,
}

impl Fault {
    /// The status it is answered with.
    pub const fn status(self) -> u16 {
        match self {
            Self::Tunnel => 405,
            Self::Version => 505,
            Self::Coding => 501,
            Self::TargetTooLong => 414,
            Self::Slow => 408,
            _ => 400,
        }
    }

    /// What the client is told, empty for the status' own text.
    pub const fn message(self) -> &'static str {
        match self {
            Self::TooLarge => "Request header or cookie too large",
            _ => "",
        }
    }
}

/// Where the head in `bytes` ends, its empty line included; `from` says up to where was looked
/// before.
pub fn end(bytes: &[u8], from: usize) -> Option<usize> {
    let start = from.saturating_sub(3);
    let mut lines = memchr::memchr_iter(b'\n', &bytes[start..]).map(|at| start + at);
    lines.find_map(|at| {
        let before = &bytes[..at];
        let empty = match before {
            [] | [b'\r'] => false,
            [.., b'\n'] | [.., b'\n', b'\r'] => true,
            _ => false,
        };
        empty.then_some(at + 1)
    })
}

/// What is wrong with a head that is not complete yet, so that waiting for its end is of no use.
pub fn check_part(part: &[u8]) -> Result<(), Fault> {
    if part.len() <= LONGEST_LINE {
        return Ok(());
    }
    if memchr::memchr(b'\n', &part[..LONGEST_LINE]).is_none() {
        return Err(Fault::TargetTooLong);
    }
    if part.len() > LARGEST { Err(Fault::TooLarge) } else { Ok(()) }
}

/// What comes after a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framed {
    /// How the body is framed.
    pub body: Body,
    /// Whether it asks for WebSocket, the one protocol that upstreams are asked to switch to: what
    /// follows its body may be no request.
    pub upgrade: bool,
}

/// How a body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// In chunks.
    Chunks,
    /// By its length in bytes, 0 where there is none.
    Length(u64),
}

/// Checks a whole head, its empty line included, and tells what comes after it.
///
/// # Errors
///
/// The first fault.
pub fn check(head: &[u8]) -> Result<Framed, Fault> {
    let mut lines = Lines { rest: head };
    // Some clients end a body with an empty line too many (RFC 9112 2.2).
    let mut line = lines.next().ok_or(Fault::RequestLine)??;
    while line.is_empty() {
        line = lines.next().ok_or(Fault::RequestLine)??;
    }
    let old = request_line(line)?;
    let mut framing = Framing::default();
    for (count, line) in lines.enumerate() {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if count >= MOST_LINES {
            return Err(Fault::TooLarge);
        }
        let (name, value) = field(line)?;
        framing.note(name, value)?;
    }
    framing.judge(old)?;
    let body = if framing.codings > 0 { Body::Chunks } else { Body::Length(framing.length) };
    Ok(Framed { body, upgrade: framing.upgrade && !old })
}

/// Lines without their CRLF.
struct Lines<'h> {
    rest: &'h [u8],
}

impl<'h> Iterator for Lines<'h> {
    type Item = Result<&'h [u8], Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        let end = memchr::memchr(b'\n', self.rest)?;
        let (line, rest) = (&self.rest[..end], &self.rest[end + 1..]);
        self.rest = rest;
        Some(match line {
            [line @ .., b'\r'] if !line.contains(&b'\r') => Ok(line),
            _ => Err(Fault::LineEnd),
        })
    }
}

/// Checks a request line; true for HTTP/1.0.
fn request_line(line: &[u8]) -> Result<bool, Fault> {
    let mut words = line.split(|byte| *byte == b' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    let (Some(method), Some(target), Some(version), None) = (method, target, version, words.next())
    else {
        return Err(Fault::RequestLine);
    };
    if method.is_empty() || !method.iter().all(|byte| is_token(*byte)) || target.is_empty() {
        return Err(Fault::RequestLine);
    }
    if method == b"CONNECT" {
        return Err(Fault::Tunnel);
    }
    if target.iter().any(|byte| byte.is_ascii_control()) {
        return Err(Fault::Control);
    }
    let absolute = memchr::memmem::find(target, b"://").is_some();
    if target[0] != b'/' && target != b"*" && !absolute {
        return Err(Fault::RequestLine);
    }
    match version {
        b"HTTP/1.1" => Ok(false),
        b"HTTP/1.0" => Ok(true),
        _ if version.starts_with(b"HTTP/") => Err(Fault::Version),
        _ => Err(Fault::RequestLine),
    }
}

fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    if matches!(line[0], b' ' | b'\t') {
        return Err(Fault::Folded);
    }
    let colon = memchr::memchr(b':', line).ok_or(Fault::Name)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
        return Err(Fault::Name);
    }
    if value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return Err(Fault::Control);
    }
    Ok((name, value.trim_ascii()))
}

/// The headers that say where a request ends and whom it is for.
#[derive(Default)]
struct Framing {
    hosts: usize,
    lengths: usize,
    length: u64,
    codings: usize,
    upgrade: bool,
}

impl Framing {
    fn note(&mut self, name: &[u8], value: &[u8]) -> Result<(), Fault> {
        if name.eq_ignore_ascii_case(b"host") {
            self.hosts += 1;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            self.lengths += 1;
            // Nineteen digits always fit what a length is kept in.
            if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
                return Err(Fault::Framing);
            }
            let digits = value.iter().map(|digit| u64::from(digit - b'0'));
            self.length = digits.fold(0, |length, digit| length * 10 + digit);
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            self.upgrade |= value.eq_ignore_ascii_case(b"websocket");
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.codings += 1;
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Fault::Coding);
            }
        }
        Ok(())
    }

    const fn judge(&self, old: bool) -> Result<(), Fault> {
        if self.hosts > 1 || (self.hosts == 0 && !old) {
            return Err(Fault::Host);
        }
        if self.lengths + self.codings > 1 || (self.codings > 0 && old) {
            return Err(Fault::Framing);
        }
        Ok(())
    }
}

/// RFC 9110 5.6.2.
const fn is_token(byte: u8) -> bool {
    matches!(
        byte,
        b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`'
            | b'|' | b'~' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z'
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    /// Judges a head written with `|` for CRLF, without its empty line.
    fn judge(head: &str) -> Result<Framed, Fault> {
        let head = format!("{head}||").replace('|', "\r\n");
        assert_eq!(end(head.as_bytes(), 0), Some(head.len()), "{head:?}");
        check(head.as_bytes())
    }

    #[test]
    fn what_clients_send_passes() {
        for (head, body) in [
            ("GET / HTTP/1.1|Host: a", Body::Length(0)),
            ("GET / HTTP/1.0", Body::Length(0)),
            ("POST /a?b=c HTTP/1.1|Host:a|Content-Length: 3", Body::Length(3)),
            ("POST / HTTP/1.0|content-length:0123 ", Body::Length(123)),
            (
                "POST / HTTP/1.1|Host: a|Content-Length: 9999999999999999999",
                Body::Length(9_999_999_999_999_999_999),
            ),
            ("POST / HTTP/1.1|Host: a|Transfer-Encoding: Chunked ", Body::Chunks),
            ("GET http://a/b HTTP/1.1|host: a|X_Under: ", Body::Length(0)),
            ("OPTIONS * HTTP/1.1|Host: a", Body::Length(0)),
            ("GET /\u{fc} HTTP/1.1|Host: a|X: \t\u{fc} b\tc ", Body::Length(0)),
            ("GET / HTTP/1.1|Host: ", Body::Length(0)),
        ] {
            assert_eq!(judge(head), Ok(Framed { body, upgrade: false }), "{head}");
        }
        for (head, upgrade) in [
            ("GET / HTTP/1.1|Host: a|upgrade: WebSocket", true),
            ("GET / HTTP/1.1|Host: a|Upgrade: h2c", false),
            ("GET / HTTP/1.0|Host: a|Upgrade: websocket", false),
        ] {
            assert_eq!(judge(head), Ok(Framed { body: Body::Length(0), upgrade }), "{head}");
        }
        let empty_lines_first = b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(check(empty_lines_first).unwrap().body, Body::Length(0));
    }

    #[test]
    fn what_can_be_read_in_two_ways_does_not() {
        for (head, fault) in [
            ("GET / HTTP/1.1", Fault::Host),
            ("GET / HTTP/1.1|Host: a|Host: a", Fault::Host),
            ("GET / HTTP/1.0|Host: a|host: b", Fault::Host),
            ("GET / HTTP/1.1|Host: a|Content-Length: 1|Content-Length: 1", Fault::Framing),
            ("GET / HTTP/1.1|Host: a|Content-Length: 1, 1", Fault::Framing),
            ("GET / HTTP/1.1|Host: a|Content-Length: +1", Fault::Framing),
            ("GET / HTTP/1.1|Host: a|Content-Length: 0x1", Fault::Framing),
            ("GET / HTTP/1.1|Host: a|Content-Length: ", Fault::Framing),
            ("GET / HTTP/1.1|Host: a|Content-Length: 99999999999999999999", Fault::Framing),
            ("GET / HTTP/1.1|Host: a|Content-Length: 1|Transfer-Encoding: chunked", Fault::Framing),
            (
                "GET / HTTP/1.1|Host: a|Transfer-Encoding: chunked|transfer-encoding: chunked",
                Fault::Framing,
            ),
            ("GET / HTTP/1.0|Transfer-Encoding: chunked", Fault::Framing),
            ("GET / HTTP/1.1|Host: a|Transfer-Encoding: gzip, chunked", Fault::Coding),
            ("GET / HTTP/1.1|Host: a|Transfer-Encoding: xchunked", Fault::Coding),
            ("GET / HTTP/1.1|Host: a|Transfer-Encoding: \x0bchunked", Fault::Control),
            ("GET / HTTP/1.1|Host: a|Transfer-Encoding : chunked", Fault::Name),
            ("GET / HTTP/1.1|Host: a|X: 1| folded", Fault::Folded),
            ("GET / HTTP/1.1| Host: a", Fault::Folded),
            ("GET / HTTP/1.1|Host: a|X", Fault::Name),
            ("GET / HTTP/1.1|Host: a|: x", Fault::Name),
            ("GET / HTTP/1.1|Host: a|X\0: x", Fault::Name),
            ("GET / HTTP/1.1|Host: a|X: \0", Fault::Control),
            ("GET /\0 HTTP/1.1|Host: a", Fault::Control),
            ("GET / HTTP/1.1|Host: a\rX: b", Fault::LineEnd),
            ("GET / x HTTP/1.1|Host: a", Fault::RequestLine),
            ("GET  / HTTP/1.1|Host: a", Fault::RequestLine),
            ("GET\t/ HTTP/1.1|Host: a", Fault::RequestLine),
            ("GET /", Fault::RequestLine),
            ("GET a HTTP/1.1|Host: a", Fault::RequestLine),
            ("G(T / HTTP/1.1|Host: a", Fault::RequestLine),
            ("CONNECT a:80 HTTP/1.1|Host: a:80", Fault::Tunnel),
            ("CONNECT / HTTP/1.0", Fault::Tunnel),
            ("GET / HTTP/1.2|Host: a", Fault::Version),
            ("GET / HTTP/2.0|Host: a", Fault::Version),
            ("GET / http/1.1|Host: a", Fault::RequestLine),
        ] {
            assert_eq!(judge(head), Err(fault), "{head:?}");
        }
        assert_eq!(check(b"GET / HTTP/1.1\nHost: a\n\n"), Err(Fault::LineEnd));
        assert_eq!(check(b"GET / HTTP/1.1\r\nHost: a\n\r\n"), Err(Fault::LineEnd));
        let many = "|X: 1".repeat(MOST_LINES);
        assert_eq!(judge(&format!("GET / HTTP/1.1|Host: a{many}")), Err(Fault::TooLarge));
    }

    #[test]
    fn endless_heads_are_given_up() {
        let line = vec![b'a'; LONGEST_LINE + 1];
        assert_eq!(check_part(&line[..LONGEST_LINE]), Ok(()));
        assert_eq!(check_part(&line), Err(Fault::TargetTooLong));
        let mut lines = b"GET / HTTP/1.1\r\n".to_vec();
        lines.resize(LARGEST, b'a');
        assert_eq!(check_part(&lines), Ok(()));
        lines.push(b'a');
        assert_eq!(check_part(&lines), Err(Fault::TooLarge));
    }

    proptest! {
        /// However a head arrives, its end is found where it is.
        #[test]
        fn the_end_is_found_in_pieces(text in "[a\r\n]{0,40}", cut in 0..40_usize) {
            let bytes = text.as_bytes();
            let whole = end(bytes, 0);
            let cut = cut.min(bytes.len());
            let found = end(&bytes[..cut], 0).or_else(|| end(bytes, cut));
            prop_assert_eq!(found, whole);
        }

        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = check(&bytes);
            let _ = check_part(&bytes);
        }
    }
}
