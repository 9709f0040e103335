//! Single values: switches, numbers, sizes, time spans, words.

use std::time::Duration;

/// `on`, `off` and their kin.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "on" | "true" | "1" => Some(true),
        "off" | "false" | "0" => Some(false),
        _ => None,
    }
}

/// A decimal number, finite.
pub(super) fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// Bytes: digits, then nothing, `k`, `m` or `g` (powers of 1024), in either case.
pub(super) fn size(text: &str) -> Option<u64> {
    let (digits, factor) = match text.to_ascii_lowercase().strip_suffix(['k', 'm', 'g']) {
        None => (text.to_owned(), 1),
        Some(digits) => {
            let factor = match text.as_bytes().last()?.to_ascii_lowercase() {
                b'k' => 1 << 10,
                b'm' => 1 << 20,
                _ => 1 << 30,
            };
            (digits.to_owned(), factor)
        }
    };
    whole(&digits)?.checked_mul(factor)
}

/// A time span: digits, then nothing or `s` for seconds, `m`, `h`, `d`.
pub(super) fn span(text: &str) -> Option<Duration> {
    let unit = match text.as_bytes().last()? {
        b'd' => 86_400,
        b'h' => 3_600,
        b'm' => 60,
        _ => 1,
    };
    let digits = text.strip_suffix(['d', 'h', 'm', 's']).unwrap_or(text);
    // Above a few thousand years, sums with the present would overflow.
    let seconds =
        whole(digits)?.checked_mul(unit).filter(|&seconds| seconds <= u64::from(u32::MAX))?;
    Some(Duration::from_secs(seconds))
}

/// The parts of a comma-separated list, without white space around them and without empty ones.
pub(super) fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

/// Digits only; `parse` alone would take a sign.
fn whole(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// An enumeration whose variants are words in the file; see the macro below.
pub(crate) trait Word: Sized {
    /// The variant of this word.
    fn from_word(word: &str) -> Option<Self>;
}

/// Declares an enumeration together with the words that stand for it in a file.
macro_rules! choice {
    ($(#[$about:meta])* $name:ident { $($(#[$each:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) enum $name { $($(#[$each])* $variant,)+ }

        impl $name {
            /// What may be written, in the order in which errors list it.
            pub(crate) const WORDS: &'static [&'static str] = &[$($word),+];

            /// The word for it.
            pub(crate) fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl $crate::settings::scalar::Word for $name {
            fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}
pub(crate) use choice;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("512", Some(512)),
            ("8k", Some(8 << 10)),
            ("10M", Some(10 << 20)),
            ("1g", Some(1 << 30)),
            ("", None),
            ("k", None),
            ("-1", None),
            ("1t", None),
            ("1.5m", None),
            ("99999999999999999999", None),
            ("18446744073709551615g", None),
        ] {
            assert_eq!(size(text), bytes, "{text:?}");
        }
    }

    #[test]
    fn spans() {
        for (text, seconds) in [
            ("0", Some(0)),
            ("54000", Some(54_000)),
            ("90s", Some(90)),
            ("15m", Some(900)),
            ("15h", Some(54_000)),
            ("1d", Some(86_400)),
            ("", None),
            ("h", None),
            ("1w", None),
            ("+1", None),
            ("1 h", None),
            ("4294967295d", None),
        ] {
            assert_eq!(span(text).map(|span| span.as_secs()), seconds, "{text:?}");
        }
    }

    #[test]
    fn numbers_and_switches() {
        for (text, expected) in
            [("5", Some(5.0)), ("0.01", Some(0.01)), ("inf", None), ("nan", None), ("5s", None)]
        {
            assert_eq!(number(text), expected, "{text:?}");
        }
        for (text, expected) in
            [("on", Some(true)), ("OFF", Some(false)), ("1", Some(true)), ("yes", None), ("", None)]
        {
            assert_eq!(boolean(text), expected, "{text:?}");
        }
    }
}
