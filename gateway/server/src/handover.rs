//! Handing over to the next process: a new binary takes the listening sockets of this one, which
//! then finishes what it has begun. No connection is refused in between (nginx's USR2).
//!
//! The process that is told to (USR2, `gateway upgrade`) starts the program at its own path again
//! with the same arguments. The new one gets its sockets, and the claim on the prefix, over its
//! standard input; it reads settings and store as every start does, and says when it serves. Until
//! then nothing changes for the old one, which goes on when the new one fails.

use std::collections::HashMap;
use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// Set for a process that is started to take over.
const MARK: &str = "GATEWAY_TAKES_OVER";
/// The longest a new process may take to serve.
const START: Duration = Duration::from_secs(300);
/// Descriptors in one message; Linux takes 253.
const MOST: usize = 250;
/// Longer than any name of a socket.
const NAME: usize = 128;
const CLAIM: &str = "claim";
const END: &str = "end";
const READY: u8 = b'r';

/// Where this program was started from, asked before its file may be replaced.
static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Remembers where this program is.
pub(crate) fn remember_program() {
    if let Ok(path) = std::env::current_exe() {
        let _ = PROGRAM.set(path);
    }
}

/// What a process was left by the one before.
pub(crate) struct Inherited {
    channel: UnixStream,
    claim: Option<File>,
    sockets: HashMap<String, Vec<OwnedFd>>,
}

impl Inherited {
    /// What was left to this process; `None` for one that was started in the usual way.
    ///
    /// # Errors
    ///
    /// When the process before did not keep to the form.
    pub(crate) fn receive() -> Result<Option<Self>> {
        if std::env::var_os(MARK).is_none() {
            return Ok(None);
        }
        let channel = std::io::stdin().as_fd().try_clone_to_owned()?;
        let mut inherited = Self { channel: channel.into(), claim: None, sockets: HashMap::new() };
        loop {
            let (name, files) = inherited.message().context("taking over from the old process")?;
            match name.as_str() {
                END => return Ok(Some(inherited)),
                CLAIM => inherited.claim = files.into_iter().next().map(File::from),
                _ => drop(inherited.sockets.insert(name, files)),
            }
        }
    }

    fn message(&mut self) -> Result<(String, Vec<OwnedFd>)> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut text = [0; NAME];
        let got = recvmsg(
            &self.channel,
            &mut [IoSliceMut::new(&mut text)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        if got.bytes == 0 || got.flags.contains(ReturnFlags::CTRUNC) {
            bail!("the old process left too early");
        }
        let mut files = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(more) = message {
                files.extend(more);
            }
        }
        // One message at a time, so that none runs into the next.
        self.channel.write_all(b".")?;
        Ok((String::from_utf8_lossy(&text[..got.bytes]).into_owned(), files))
    }

    /// The claim on the prefix.
    pub(crate) fn claim(&mut self) -> Option<File> {
        self.claim.take()
    }

    /// The sockets of a listener.
    pub(crate) fn sockets(&mut self, name: &str) -> Option<Vec<TcpListener>> {
        Some(self.sockets.remove(name)?.into_iter().map(TcpListener::from).collect())
    }

    /// The sockets of a listener for datagrams.
    pub(crate) fn datagrams(&mut self, name: &str) -> Option<Vec<UdpSocket>> {
        Some(self.sockets.remove(name)?.into_iter().map(UdpSocket::from).collect())
    }

    /// Tells the old process that this one serves.
    pub(crate) fn ready(mut self) {
        if let Err(error) = self.channel.write_all(&[READY]) {
            tracing::warn!("the old process is gone already: {error}");
        }
    }
}

/// What is handed over.
pub(crate) struct Legacy<'a> {
    pub(crate) claim: &'a File,
    /// Name and sockets of every listener.
    pub(crate) sockets: Vec<(String, Vec<BorrowedFd<'a>>)>,
}

impl Legacy<'_> {
    /// A copy of everything, to be handed over beside other work.
    ///
    /// # Errors
    ///
    /// When descriptors run out.
    pub(crate) fn copied(&self) -> std::io::Result<Bequest> {
        let mut all = vec![(CLAIM.to_owned(), vec![self.claim.as_fd().try_clone_to_owned()?])];
        for (name, sockets) in &self.sockets {
            let files = sockets.iter().map(|one| one.try_clone_to_owned());
            all.push((name.clone(), files.collect::<Result<_, _>>()?));
        }
        Ok(Bequest(all))
    }
}

/// Descriptors by name, ready to be given away.
pub(crate) struct Bequest(Vec<(String, Vec<OwnedFd>)>);

impl Bequest {
    /// Starts a new process, gives it everything and waits until it serves. Blocks.
    ///
    /// # Errors
    ///
    /// When the new process fails; it is gone then.
    pub(crate) fn hand_over(self) -> Result<()> {
        let program = PROGRAM.get().context("where this program is")?;
        let (mut channel, theirs) = UnixStream::pair()?;
        let mut child = Command::new(program)
            .args(std::env::args_os().skip(1))
            .env(MARK, "1")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let served = self.give(&mut channel);
        if served.is_err() {
            end(&mut child);
        }
        served
    }

    fn give(&self, channel: &mut UnixStream) -> Result<()> {
        channel.set_read_timeout(Some(START))?;
        for (name, files) in &self.0 {
            let files: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
            send(channel, name, &files)?;
        }
        send(channel, END, &[])?;
        let mut told = [0];
        channel.read_exact(&mut told).context("the new process did not start")?;
        if told != [READY] {
            bail!("the new process does not keep to the form");
        }
        Ok(())
    }
}

fn send(channel: &mut UnixStream, name: &str, files: &[BorrowedFd<'_>]) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(files)) {
        bail!("{name} has more than {MOST} sockets");
    }
    sendmsg(&*channel, &[IoSlice::new(name.as_bytes())], &mut control, SendFlags::empty())?;
    channel.read_exact(&mut [0]).context("the new process did not start")
}

/// Ends a process that failed; one that ended by itself is taken note of.
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}
