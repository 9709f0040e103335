//! `standard-webhooks`: lets only webhooks pass that are signed (standardwebhooks.com).

mod config;
mod handler;

#[cfg(test)]
mod tests;

pub(crate) use handler::StandardWebhooks;
