//! Every key the process knows: name, default, kind of value, and one sentence about it.
//!
//! Kong's names and defaults are those of Kong Gateway 3.10.0; where ours differ, the sentence
//! says so. [`GROUPS`] holds what this gateway acts on and is what `conf/gateway.conf` shows;
//! [`ACCEPTED`] holds Kong's other keys, which are checked and shown by the Admin API, so that a
//! file written for Kong keeps working.

mod accepted;
mod gateway;
mod mep;

pub(crate) use accepted::ACCEPTED;

/// The keys this gateway acts on, in the order in which a reader wants them.
pub(crate) static GROUPS: &[Group] = &[
    gateway::PROCESS,
    gateway::LOGS,
    gateway::OBSERVING,
    gateway::LISTENERS,
    gateway::CLIENT_ADDRESS,
    gateway::TLS,
    gateway::PROXYING,
    gateway::LUA,
    gateway::STORE,
    gateway::NAMES,
    mep::LISTENERS,
    mep::FILES,
    mep::TOKENS,
    mep::NAME_SERVER,
    mep::TRAFFIC,
    mep::PLATFORM,
];

/// Keys about one subject.
pub(crate) struct Group {
    pub(crate) title: &'static str,
    pub(crate) keys: &'static [Key],
}

/// One key of the configuration file; `KONG_` and the upper-case name is its variable.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    /// As it would stand in a file; empty when the key is unset by default.
    pub(crate) default: &'static str,
    pub(crate) kind: Kind,
    /// Never shown, by nobody.
    pub(crate) secret: bool,
    /// Other spellings of the same key.
    pub(crate) also: &'static [&'static str],
    /// What it means, in one or two sentences.
    pub(crate) about: &'static str,
}

/// What a value has to look like, before its meaning is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any text.
    Text,
    /// Texts separated by commas.
    List,
    /// Addresses with flags, or `off`; see `listen.rs`.
    Listen(Transport),
    /// A decimal number.
    Number,
    /// `on`, `off`, `true`, `false`, `1` or `0`; shown as a JSON boolean.
    Boolean,
    /// The same, shown as `on` or `off` because it goes to NGINX in Kong.
    OnOff,
    /// Bytes: `0`, `512`, `8k`, `10m`, `1g`.
    Size,
    /// A time span: `90` seconds, `90s`, `15m`, `15h`, `1d`.
    Span,
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// What a listener speaks, which decides the flags it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// HTTP over TCP.
    Http,
    /// Bare TCP, TLS or UDP.
    Stream,
}

/// All keys, those we act on first.
pub(crate) fn all() -> impl Iterator<Item = &'static Key> {
    GROUPS.iter().flat_map(|group| group.keys).chain(ACCEPTED)
}

impl Key {
    const fn of(
        kind: Kind,
        name: &'static str,
        default: &'static str,
        about: &'static str,
    ) -> Self {
        Self { name, default, kind, secret: false, also: &[], about }
    }

    const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    const fn also(mut self, names: &'static [&'static str]) -> Self {
        self.also = names;
        self
    }
}

const fn text(name: &'static str, default: &'static str, about: &'static str) -> Key {
    Key::of(Kind::Text, name, default, about)
}

const fn list(name: &'static str, default: &'static str, about: &'static str) -> Key {
    Key::of(Kind::List, name, default, about)
}

const fn listen(name: &'static str, default: &'static str, about: &'static str) -> Key {
    Key::of(Kind::Listen(Transport::Http), name, default, about)
}

const fn stream(name: &'static str, default: &'static str, about: &'static str) -> Key {
    Key::of(Kind::Listen(Transport::Stream), name, default, about)
}

const fn number(name: &'static str, default: &'static str, about: &'static str) -> Key {
    Key::of(Kind::Number, name, default, about)
}

const fn boolean(name: &'static str, default: &'static str, about: &'static str) -> Key {
    Key::of(Kind::Boolean, name, default, about)
}

const fn on_off(name: &'static str, default: &'static str, about: &'static str) -> Key {
    Key::of(Kind::OnOff, name, default, about)
}

const fn size(name: &'static str, default: &'static str, about: &'static str) -> Key {
    Key::of(Kind::Size, name, default, about)
}

const fn span(name: &'static str, default: &'static str, about: &'static str) -> Key {
    Key::of(Kind::Span, name, default, about)
}

const fn choice(
    name: &'static str,
    default: &'static str,
    words: &'static [&'static str],
    about: &'static str,
) -> Key {
    Key::of(Kind::Choice(words), name, default, about)
}
