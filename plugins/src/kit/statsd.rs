//! Lines of the StatsD protocol, and how they leave: packed in datagrams, or over TCP.

use bytes::{BufMut, Bytes, BytesMut};
use gateway_model::schema::Record;
use serde::Deserialize;

/// What kind of figure a line tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Record)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StatType {
    Counter,
    Gauge,
    Histogram,
    Meter,
    Set,
    Timer,
}

impl StatType {
    /// As lines say it.
    pub(crate) const fn letters(self) -> &'static str {
        match self {
            Self::Counter => "c",
            Self::Gauge => "g",
            Self::Histogram => "h",
            Self::Meter => "m",
            Self::Set => "s",
            Self::Timer => "ms",
        }
    }
}

/// `|@0.5`, or nothing where everything is sent.
pub(crate) fn rate(sample_rate: Option<f64>) -> String {
    match sample_rate {
        Some(rate) if (rate - 1.0).abs() > f64::EPSILON => format!("|@{rate}"),
        _ => String::new(),
    }
}

/// Lines joined into datagrams of at most `most` bytes; with 0 each has its own. A longer line is
/// alone.
pub(crate) fn packed(lines: &[Bytes], most: usize) -> Vec<Bytes> {
    if most == 0 {
        return lines.to_vec();
    }
    let mut packets = Vec::new();
    let mut packet = BytesMut::new();
    for line in lines {
        if !packet.is_empty() && packet.len() + 1 + line.len() > most {
            packets.push(packet.split().freeze());
        }
        if !packet.is_empty() {
            packet.put_u8(b'\n');
        }
        packet.put_slice(line);
    }
    if !packet.is_empty() {
        packets.push(packet.freeze());
    }
    packets
}

/// The lines of queue entries, each of which holds those of one exchange.
pub(crate) fn lines(batch: &[Bytes]) -> Vec<Bytes> {
    let of_one = |entry: &Bytes| {
        let entry = entry.clone();
        let parts: Vec<Bytes> =
            entry.split(|byte| *byte == b'\n').map(|line| entry.slice_ref(line)).collect();
        parts
    };
    batch.iter().flat_map(of_one).filter(|line| !line.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{lines, packed, rate};

    #[test]
    fn lines_are_packed() {
        let entries = [Bytes::from_static(b"aa\nbb"), Bytes::from_static(b"cccc\nd\n")];
        let all = lines(&entries);
        assert_eq!(all, ["aa", "bb", "cccc", "d"]);
        assert_eq!(packed(&all, 0), ["aa", "bb", "cccc", "d"]);
        assert_eq!(packed(&all, 5), ["aa\nbb", "cccc", "d"]);
        assert_eq!(packed(&all, 6), ["aa\nbb", "cccc\nd"]);
        assert_eq!(packed(&all, 3), ["aa", "bb", "cccc", "d"]);
    }

    #[test]
    fn rates() {
        assert_eq!([rate(None), rate(Some(1.0)), rate(Some(0.5))], ["", "", "|@0.5"]);
    }
}
