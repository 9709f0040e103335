//! Lua's patterns, within the deadline of the code that uses them.

use mlua::{Error, Result};

use super::abort::Abort;
use super::limits;
use crate::kit::pattern::{self, Fault};

pub(super) use crate::kit::pattern::{Capture, Found, is_plain};

/// The first match at or after `from`.
///
/// # Errors
///
/// A malformed pattern, or the deadline.
pub(super) fn find(subject: &[u8], pattern: &[u8], from: usize) -> Result<Option<Found>> {
    let mut in_time = || limits::check().is_ok();
    pattern::find(subject, pattern, from, &mut in_time).map_err(|fault| match fault {
        Fault::Malformed(text) => Error::runtime(text),
        Fault::Stopped => Abort::Time.into(),
    })
}
