//! [`Chunks`]: whether a body in chunks can be read in one way only.
//!
//! Follows the framing of RFC 9112 7.1 beside the parser that takes it apart, without forgiveness:
//! a size is hexadecimal digits and nothing else, every line ends in CRLF. What this refuses and
//! another reads would be a request within a request.

/// Follows one body.
#[derive(Clone, Debug, Default)]
pub struct Chunks {
    state: State,
    /// Bytes the chunk still has.
    left: u64,
    /// Digits of the size, or bytes of the line.
    count: u16,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    Extension,
    SizeEnd,
    Data,
    DataReturn,
    DataEnd,
    /// The beginning of a line after the last chunk.
    Trailer,
    TrailerLine,
    TrailerEnd,
    LastEnd,
    Over,
}

/// A body that can be read in two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a body in chunks that are none")]
pub struct Broken;

/// Digits a size may have: more would be beyond what a length is kept in.
const MOST_DIGITS: u16 = 15;
/// The longest extension or trailer line.
const LONGEST_LINE: u16 = 4096;

impl Chunks {
    /// Follows further bytes and tells how many of them belong to the body. Those beyond its end
    /// are not looked at.
    ///
    /// # Errors
    ///
    /// At the first byte that does not belong there; the body cannot be followed after that.
    pub fn follow(&mut self, given: &[u8]) -> Result<usize, Broken> {
        let mut bytes = given;
        while let Some((&byte, rest)) = bytes.split_first() {
            if self.state == State::Over {
                break;
            }
            if self.state == State::Data {
                let part = self.left.min(bytes.len() as u64);
                self.left -= part;
                if self.left == 0 {
                    self.state = State::DataReturn;
                }
                bytes =
                    bytes.get(usize::try_from(part).unwrap_or(usize::MAX)..).unwrap_or_default();
                continue;
            }
            self.state = self.next(byte)?;
            bytes = rest;
        }
        Ok(given.len() - bytes.len())
    }

    fn next(&mut self, byte: u8) -> Result<State, Broken> {
        match (self.state, byte) {
            (State::Size, byte) => self.size(byte),
            (State::Extension | State::TrailerLine, b'\r') => Ok(match self.state {
                State::Extension => State::SizeEnd,
                _ => State::TrailerEnd,
            }),
            (State::Extension | State::TrailerLine, byte) => self.line(byte),
            (State::SizeEnd, b'\n') if self.left == 0 => Ok(State::Trailer),
            (State::SizeEnd, b'\n') => Ok(State::Data),
            (State::DataReturn, b'\r') => Ok(State::DataEnd),
            (State::DataEnd, b'\n') => {
                self.count = 0;
                Ok(State::Size)
            }
            (State::Trailer, b'\r') => Ok(State::LastEnd),
            (State::Trailer, byte) => {
                self.count = 0;
                // A line that goes on with the one before.
                if matches!(byte, b' ' | b'\t') {
                    Err(Broken)
                } else {
                    self.line(byte)?;
                    Ok(State::TrailerLine)
                }
            }
            (State::TrailerEnd, b'\n') => Ok(State::Trailer),
            (State::LastEnd, b'\n') => Ok(State::Over),
            _ => Err(Broken),
        }
    }

    fn size(&mut self, byte: u8) -> Result<State, Broken> {
        match byte {
            b'\r' if self.count > 0 => Ok(State::SizeEnd),
            b';' if self.count > 0 => {
                self.count = 0;
                Ok(State::Extension)
            }
            _ => {
                let digit = char::from(byte).to_digit(16).ok_or(Broken)?;
                if self.count == 0 {
                    self.left = 0;
                }
                self.count += 1;
                if self.count > MOST_DIGITS {
                    return Err(Broken);
                }
                self.left = self.left * 16 + u64::from(digit);
                Ok(State::Size)
            }
        }
    }

    fn line(&mut self, byte: u8) -> Result<State, Broken> {
        self.count += 1;
        let control = byte.is_ascii_control() && byte != b'\t';
        if control || self.count > LONGEST_LINE { Err(Broken) } else { Ok(self.state) }
    }

    /// Whether the body has ended.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bodies() {
        for body in [
            "0\r\n\r\n",
            "2\r\nab\r\n0\r\n\r\n",
            "02\r\n\r\n\r\n0\r\n\r\n",
            "A;x=\"y\"\r\n0123456789\r\n00;z\r\nX: y\r\nZ: \t\r\n\r\n",
            "0\r\n\r\nGET / nonsense\0",
        ] {
            let mut chunks = Chunks::default();
            let next = body.find("GET ").unwrap_or(body.len());
            assert_eq!(chunks.follow(body.as_bytes()), Ok(next), "{body:?}");
            assert!(chunks.is_over(), "{body:?}");
        }
        for body in [
            "\r\nab",
            "zz\r\n",
            "-1\r\n",
            "+2\r\n",
            "0x2\r\n",
            " 2\r\n",
            "2 \r\n",
            "2\nab",
            "2\r\nabX",
            "2\r\nab\n",
            "2\rab",
            "2;\0\r\n",
            "fffffffffffffffff\r\n",
            "0\r\nX: \0\r\n",
            "0\r\nX: a\nY",
            "0\r\n folded",
            "0\r\n\rX",
        ] {
            assert_eq!(Chunks::default().follow(body.as_bytes()), Err(Broken), "{body:?}");
        }
        let endless = format!("2;{}", "x".repeat(5000));
        assert_eq!(Chunks::default().follow(endless.as_bytes()), Err(Broken));
    }

    proptest! {
        /// However a body is cut, it is judged the same.
        #[test]
        fn cuts_do_not_matter(text in "[0-2a;\r\n]{0,40}", cut in 0..40_usize) {
            let bytes = text.as_bytes();
            let (first, second) = bytes.split_at(cut.min(bytes.len()));
            let mut whole = Chunks::default();
            let mut cut = Chunks::default();
            let judged = cut.follow(first).and_then(|one| Ok(one + cut.follow(second)?));
            prop_assert_eq!(whole.follow(bytes), judged);
        }

        /// What is encoded as it should be is followed to its end.
        #[test]
        fn well_formed_bodies_end(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..50), 0..8)) {
            let mut body = Vec::new();
            for piece in &pieces {
                body.extend(format!("{:x}\r\n", piece.len()).bytes());
                body.extend(piece);
                body.extend(b"\r\n");
            }
            body.extend(b"0\r\n\r\n");
            let mut chunks = Chunks::default();
            prop_assert_eq!(chunks.follow(&body[..body.len() - 1]), Ok(body.len() - 1));
            prop_assert!(!chunks.is_over());
            prop_assert_eq!(chunks.follow(b"\nGET"), Ok(1));
            prop_assert!(chunks.is_over());
        }
    }
}
