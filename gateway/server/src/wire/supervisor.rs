//! What a service manager is told, where one asks for it (`NOTIFY_SOCKET`, systemd's `Type=notify`;
//! the form is that of sd_notify(3)).

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// This process serves, and is the one to watch: after an upgrade it is not the one that was started.
pub(super) fn serving() {
    tell(&format!("MAINPID={}\nREADY=1\n", std::process::id()));
}

/// The service ends. Not to be said by a process whose successor serves: the manager would take it for
/// the end of both.
pub(super) fn stopping() {
    tell("STOPPING=1\n");
}

/// Nothing happens where nobody asks; a manager that does not listen stops no service.
fn tell(state: &str) {
    let Some(place) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&place, state) {
        tracing::warn!("the service manager was not told: {error}");
    }
}

fn send(place: &OsStr, state: &str) -> io::Result<()> {
    let addr = match place.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(place)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &addr).map(drop)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn names_without_a_file_are_reached_too() {
        let name = format!("gateway-test-{}", std::process::id());
        let addr = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&addr).unwrap();
        send(OsStr::new(&format!("@{name}")), "READY=1\n").unwrap();
        let mut told = [0; 16];
        let count = manager.recv(&mut told).unwrap();
        assert_eq!(&told[..count], b"READY=1\n");
        assert!(send(OsStr::new("/nowhere/at/all"), "READY=1\n").is_err());
    }
}
