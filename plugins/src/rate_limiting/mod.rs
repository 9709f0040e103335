//! `rate-limiting`: so many requests in a second, minute, hour, day, month or year.
//!
//! Windows are those of the calendar in UTC. A request takes one use of every window or none, in
//! one step: requests that come together never get more than the limit, which Kong, counting
//! afterwards, cannot promise. Counting in the database or in Redis is not here yet and is refused
//! while it is being configured.

mod config;
mod handler;

#[cfg(test)]
mod tests;

pub(crate) use handler::RateLimiting;
