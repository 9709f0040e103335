//! `request-size-limiting`: refuses requests whose body is too large.
//!
//! A length the client tells is judged here. Without one the limit is left in the notes of the
//! exchange as [`crate::contract::BodyLimit`], for those who see the body.

mod config;
mod handler;

#[cfg(test)]
mod tests;

pub(crate) use handler::RequestSizeLimiting;
