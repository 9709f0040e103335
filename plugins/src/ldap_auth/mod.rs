//! `ldap-auth`: lets in who has a name and a password in a directory.
//!
//! The directory is asked by a simple bind with the name and password given (RFC 4513, section
//! 5.1.3). Its answers are remembered for a while, the good and the bad ones.

mod config;
mod directory;
mod handler;
mod verdicts;

#[cfg(test)]
mod slapd;
#[cfg(test)]
mod tests;

pub(crate) use handler::LdapAuth;
