//! What reads the bytes of a connection before anything is known of it.

use gateway_proxy::chunks::Chunks;
use gateway_proxy::head::{self, Body};
use gateway_proxy::proxy_protocol::preamble;

/// The beginning of a connection: what was told of it does not change as more arrives.
pub(super) fn proxy_preamble(data: &[u8]) {
    let data = &data[..data.len().min(600)];
    let mut told = Ok(None);
    for seen in 0..=data.len() {
        let now = preamble(&data[..seen]);
        assert!(told == Ok(None) || told == now, "{data:?}");
        if let Ok(Some(whole)) = now {
            assert!(whole.length <= seen, "{data:?}");
        }
        told = now;
    }
}

/// The head of a request: what is taken is a head to an independent parser too, with the same
/// lines, and its end is found however it arrives.
pub(super) fn head(data: &[u8]) {
    let end = head::end(data, 0);
    for cut in [1, data.len() / 2, data.len().saturating_sub(1)] {
        let cut = cut.min(data.len());
        let found = head::end(&data[..cut], 0).or_else(|| head::end(data, cut));
        assert_eq!(found, end, "cut at {cut}: {data:?}");
    }
    let Some(end) = end else {
        let _ = head::check_part(data);
        return;
    };
    let Ok(framed) = head::check(&data[..end]) else { return };
    let mut lines = [httparse::EMPTY_HEADER; 256];
    let mut parsed = httparse::Request::new(&mut lines);
    // One that parser refuses goes no further than it.
    let Ok(read) = parsed.parse(&data[..end]) else { return };
    assert_eq!(read, httparse::Status::Complete(end), "{:?}", data[..end].escape_ascii());
    let named = |name: &str| {
        let same = |line: &&httparse::Header<'_>| line.name.eq_ignore_ascii_case(name);
        parsed.headers.iter().filter(same).collect::<Vec<_>>()
    };
    let codings = named("transfer-encoding");
    assert_eq!(framed.body == Body::Chunks, !codings.is_empty());
    assert_eq!(framed.upgrade, !named("upgrade").is_empty());
    assert!(codings.is_empty() || named("content-length").is_empty(), "framed in two ways");
    assert!(codings.iter().all(|line| line.value.eq_ignore_ascii_case(b"chunked")));
    let lengths = named("content-length");
    assert!(lengths.len() <= 1, "several lengths");
    for line in &lengths {
        assert!(line.value.iter().all(u8::is_ascii_digit) && !line.value.is_empty());
    }
    if let Body::Length(length) = framed.body {
        let told = lengths.first().and_then(|line| std::str::from_utf8(line.value).ok());
        assert_eq!(told.unwrap_or("0").parse::<u64>(), Ok(length), "{lengths:?}");
    }
    assert!(named("host").len() <= 1, "several hosts");
    assert!(parsed.version == Some(0) || named("host").len() == 1, "no host");
}

/// A body in chunks: what is followed to its end is one a plain reader takes apart the same way, with
/// the same end, and cuts do not matter.
pub(super) fn chunks(data: &[u8]) {
    let mut whole = Chunks::default();
    let judged = whole.follow(data);
    let mut cut = Chunks::default();
    let in_pieces = data.chunks(3).map(|piece| cut.follow(piece)).sum::<Result<usize, _>>();
    assert_eq!(judged, in_pieces, "{:?}", data.escape_ascii());
    assert_eq!(whole.is_over(), cut.is_over());
    if let Ok(end) = judged {
        let read = whole.is_over().then_some(end);
        assert_eq!(read, read_apart(data), "{:?}", data.escape_ascii());
    }
}

/// The end of a body, by RFC 9112, 7.1.3, without regard for anything that may be wrong with it.
fn read_apart(data: &[u8]) -> Option<usize> {
    let line = |from: usize| {
        let rest = data.get(from..)?;
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        Some((&rest[..end], from + end + 2))
    };
    let mut at = 0;
    loop {
        let (size, next) = line(at)?;
        let digits = size.split(|byte| *byte == b';').next()?;
        let size = u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        at = next;
        if size == 0 {
            break;
        }
        at = at.checked_add(usize::try_from(size).ok()?)?.checked_add(2)?;
    }
    loop {
        let (trailer, next) = line(at)?;
        at = next;
        if trailer.is_empty() {
            return Some(at);
        }
    }
}
