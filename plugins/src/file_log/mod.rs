//! `file-log`: appends an entry about every exchange to a file.

mod config;
mod handler;

#[cfg(test)]
mod tests;

pub(crate) use handler::FileLog;
