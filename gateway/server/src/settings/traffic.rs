//! Who moves packets for traffic rules.

use std::path::PathBuf;

use super::reader::Reader;
use super::scalar::choice;

/// Who moves packets, and how.
#[derive(Debug)]
pub(crate) struct Traffic {
    pub(crate) driver: Driver,
    /// The `nft` program.
    pub(crate) nft: PathBuf,
    /// The name of our tables.
    pub(crate) table: String,
    /// Devices users' traffic comes in by.
    pub(crate) devices: Vec<String>,
    /// Leave the rules in the kernel when the gateway stops.
    pub(crate) keep: bool,
}

impl Traffic {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let (table_key, devices_key) = ("mep_traffic_table", "mep_traffic_devices");
        Self {
            driver: reader.choice("mep_traffic_driver"),
            nft: reader.word("mep_traffic_nft").into(),
            table: reader.read(table_key, |text| {
                let valid = is_identifier(text);
                valid.then(|| text.to_owned()).ok_or_else(|| {
                    format!("{table_key} must be letters, digits and underscores, not '{text}'")
                })
            }),
            devices: reader.each(devices_key, |text| {
                let valid = is_device(text);
                valid
                    .then(|| text.to_owned())
                    .ok_or_else(|| format!("{devices_key}: no name of a device: '{text}'"))
            }),
            keep: reader.boolean("mep_traffic_keep"),
        }
    }
}

/// What `nft` takes as a name without quotes.
fn is_identifier(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.len() <= 31
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The kernel's rule for names of devices, and none of the characters `nft` reads otherwise.
fn is_device(text: &str) -> bool {
    (1..16).contains(&text.len())
        && text != "."
        && text != ".."
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.@".contains(&byte))
}

choice! {
    /// What follows traffic rules.
    Driver {
        /// Nothing: they are kept and shown.
        None = "none",
        /// The kernel's packet filter.
        Nftables = "nftables",
    }
}

#[cfg(test)]
mod tests {
    use super::{is_device, is_identifier};

    #[test]
    fn names() {
        for (text, valid) in
            [("mep", true), ("m_1", true), ("", false), ("1m", false), ("a b", false)]
        {
            assert_eq!(is_identifier(text), valid, "{text:?}");
        }
        for (text, valid) in
            [("eth0", true), ("br-lan.7", true), ("", false), ("..", false), ("a/b", false)]
        {
            assert_eq!(is_device(text), valid, "{text:?}");
        }
        assert!(is_device(&"a".repeat(15)) && !is_device(&"a".repeat(16)));
    }
}
