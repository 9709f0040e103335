//! What a fuzz target does to the reader of settings.

use std::path::Path;

use crate::settings::{RawSettings, Settings};

/// A configuration file: it is read, or refused with a place for each fault.
///
/// # Panics
///
/// When that does not hold.
pub fn kong_conf(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let raw = RawSettings::of_text(Path::new("gateway.conf"), &text);
    match Settings::parse(raw) {
        Ok((settings, _)) => drop(settings.all().count()),
        Err(faults) => assert!(!faults.to_string().is_empty()),
    }
}
