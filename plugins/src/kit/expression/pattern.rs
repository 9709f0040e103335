//! [`Pattern`]: Lua's patterns in templates, matched in a bounded number of steps.

use crate::kit::pattern::{self, Capture, Fault, Found, STEPS};

/// A checked pattern.
#[derive(Debug)]
pub(super) struct Pattern<'p>(&'p [u8]);

/// How many steps a match may take: beyond, it fails with an error.
const MOST_STEPS: u32 = 200_000;

impl<'p> Pattern<'p> {
    /// # Errors
    ///
    /// Lua's text for a malformed pattern.
    pub(super) fn new(source: &'p [u8]) -> Result<Self, String> {
        pattern::check(source).map(|()| Self(source))
    }

    /// The first match at or after `start`.
    ///
    /// # Errors
    ///
    /// When it takes too much.
    pub(super) fn find(&self, text: &[u8], start: usize) -> Result<Option<Found>, String> {
        let mut left = MOST_STEPS / STEPS;
        let mut goes_on = || {
            left = left.saturating_sub(1);
            left > 0
        };
        pattern::find(text, self.0, start, &mut goes_on).map_err(|fault| match fault {
            Fault::Malformed(text) => text,
            Fault::Stopped => "pattern takes too long".to_owned(),
        })
    }

    /// `gsub`: `%0` to `%9` of the replacement stand for captures.
    ///
    /// # Errors
    ///
    /// As [`Pattern::find`], and captures that are not there.
    pub(super) fn replace(&self, text: &[u8], by: &[u8], most: usize) -> Result<Vec<u8>, String> {
        let mut made = Vec::with_capacity(text.len());
        let (mut at, mut times) = (0, 0);
        while times < most {
            let Some(found) = self.find(text, at)? else { break };
            times += 1;
            made.extend_from_slice(&text[at..found.start]);
            expand(&found, text, by, &mut made)?;
            at = found.end;
            if found.end == found.start {
                // Nothing was matched: the next byte stays, or it would be matched forever.
                let Some(byte) = text.get(at) else {
                    at = text.len() + 1;
                    break;
                };
                made.push(*byte);
                at += 1;
            }
            if self.0.first() == Some(&b'^') {
                break;
            }
        }
        made.extend_from_slice(text.get(at..).unwrap_or_default());
        Ok(made)
    }
}

/// The first capture, or all of a match when there is none.
pub(super) fn first(found: &Found, text: &[u8]) -> Vec<u8> {
    match found.captures.first() {
        Some(capture) => captured(capture, text),
        None => text[found.start..found.end].to_vec(),
    }
}

fn captured(capture: &Capture, text: &[u8]) -> Vec<u8> {
    match capture {
        Capture::Span(from, to) => text[*from..*to].to_vec(),
        Capture::Place(at) => (at + 1).to_string().into_bytes(),
        // A checked pattern closes what it opens.
        Capture::Open(_) => Vec::new(),
    }
}

fn expand(found: &Found, text: &[u8], by: &[u8], made: &mut Vec<u8>) -> Result<(), String> {
    let mut bytes = by.iter();
    while let Some(byte) = bytes.next() {
        if *byte != b'%' {
            made.push(*byte);
            continue;
        }
        match bytes.next() {
            Some(b'0') => made.extend_from_slice(&text[found.start..found.end]),
            Some(b'1') if found.captures.is_empty() => made.extend(first(found, text)),
            Some(digit) if digit.is_ascii_digit() => {
                let capture = found.captures.get(usize::from(digit - b'1'));
                let capture = capture.ok_or("invalid capture index in replacement string")?;
                made.extend(captured(capture, text));
            }
            Some(other) => made.push(*other),
            None => return Err("invalid use of '%' in replacement string".into()),
        }
    }
    Ok(())
}
