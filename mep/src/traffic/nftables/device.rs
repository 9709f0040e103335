//! [`Devices`]: which device has a hardware address.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The network devices of this machine.
#[derive(Clone, Debug)]
pub(super) struct Devices {
    links: PathBuf,
}

impl Devices {
    /// The devices listed in a folder like `/sys/class/net`.
    pub(super) const fn at(links: PathBuf) -> Self {
        Self { links }
    }

    /// The name of the device with this hardware address.
    pub(super) fn named(&self, mac: Mac) -> Option<String> {
        let links = std::fs::read_dir(&self.links).ok()?;
        links.flatten().find_map(|link| {
            let address = std::fs::read_to_string(link.path().join("address")).ok()?;
            let found = address.trim().parse::<Mac>().ok()?;
            (found == mac).then(|| link.file_name().into_string().ok()).flatten()
        })
    }
}

/// A hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mac([u8; 6]);

impl FromStr for Mac {
    type Err = ();

    /// Six pairs of hexadecimal digits with colons or hyphens between.
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut bytes = [0; 6];
        let mut pairs = text.split([':', '-']);
        for byte in &mut bytes {
            let pair = pairs.next().filter(|pair| pair.len() == 2).ok_or(())?;
            hex::decode_to_slice(pair, std::slice::from_mut(byte)).map_err(|_| ())?;
        }
        if pairs.next().is_none() { Ok(Self(bytes)) } else { Err(()) }
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::Mac;

    #[test]
    fn hardware_addresses() {
        let shown = |text: &str| text.parse::<Mac>().map(|mac| mac.to_string()).ok();
        for text in ["02:00:00:aa:bb:0c", "02-00-00-AA-BB-0C"] {
            assert_eq!(shown(text).as_deref(), Some("02:00:00:aa:bb:0c"));
        }
        for text in
            ["", "02:00:00:aa:bb", "02:00:00:aa:bb:0c:1", "2:0:0:a:b:c", "02:00:00:aa:bb:gg"]
        {
            assert_eq!(shown(text), None, "{text}");
        }
    }
}
