//! `cors`: tells browsers which pages may read answers, and answers their questions before requests.

mod config;
mod handler;
mod origins;

#[cfg(test)]
mod tests;

pub(crate) use handler::Cors;
