//! [`Abort`]: what ends a call and no `pcall` may catch.

use std::fmt;

use mlua::Error;

/// Why a call ends before its code does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Abort {
    /// `kong.response.exit`, `ngx.exit` and their like: the code asked for it.
    Exit,
    /// It computed for longer than it may.
    Time,
}

impl fmt::Display for Abort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exit => "the call has ended",
            Self::Time => "the code ran for longer than mep_lua_time allows",
        })
    }
}

impl std::error::Error for Abort {}

impl From<Abort> for Error {
    fn from(abort: Abort) -> Self {
        Self::external(abort)
    }
}

impl Abort {
    /// The abort inside an error, however deep.
    pub(super) fn inside(error: &Error) -> Option<Self> {
        match error {
            Error::ExternalError(cause) => cause.downcast_ref::<Self>().copied(),
            Error::CallbackError { cause, .. }
            | Error::BadArgument { cause, .. }
            | Error::WithContext { cause, .. } => Self::inside(cause),
            _ => None,
        }
    }
}

/// The text of an error as Lua would tell it, without Rust's and Lua's traces.
pub(super) fn text(error: &Error) -> String {
    match error {
        Error::CallbackError { cause, .. } => text(cause),
        Error::RuntimeError(text) => {
            text.split("\nstack traceback:").next().unwrap_or_default().to_owned()
        }
        Error::SyntaxError { message, .. } => message.clone(),
        Error::MemoryError(_) => "not enough memory".to_owned(),
        Error::BadArgument { pos, cause, .. } => format!("bad argument #{pos} ({})", text(cause)),
        Error::FromLuaConversionError { from, message, .. } => match message {
            Some(message) => message.clone(),
            None => format!("unexpected {from}"),
        },
        other => other.to_string(),
    }
}
