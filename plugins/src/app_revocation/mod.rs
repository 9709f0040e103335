//! `app-revocation`: refuses tokens of applications that are gone (ours; EdgeGallery's tokens
//! outlived their application by up to an hour).
//!
//! The platform notes when an application went. A token of its subject that expires no later than
//! one issued at that moment would is refused, by an answer like the one to no token; tokens of an
//! application that came back are good.

mod handler;
mod revocation;

#[cfg(test)]
mod tests;

pub(crate) use handler::AppRevocation;
