//! What a fuzz target does to the reader of settings.

use std::path::Path;

use crate::settings::original::{OriginalConfig, Properties, Refusal};
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

/// `mepauth.properties` of an EdgeGallery installation: it is read, or refused with reasons.
///
/// # Panics
///
/// When that does not hold.
pub fn mepauth_properties(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for allow_defaults in [false, true] {
        if let Err(refusals) = Properties::parse(&text, allow_defaults) {
            are_told(&refusals, &text);
        }
    }
}

/// `config.yaml` of its mepserver, as [`mepauth_properties`].
///
/// # Panics
///
/// When that does not hold.
pub fn mepserver_config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Err(refusals) = OriginalConfig::parse(&text) {
        are_told(&refusals, &text);
    }
}

/// A reason for each, and a line that is one of the file's; its end may be a line of its own.
fn are_told(refusals: &[Refusal], text: &str) {
    assert!(!refusals.is_empty());
    let lines = text.split(['\n', '\r']).count() + 1;
    for Refusal { line, text } in refusals {
        assert!(!text.is_empty());
        assert!(line.is_none_or(|line| (1..=lines).contains(&line)), "{line:?} of {lines}");
    }
}
