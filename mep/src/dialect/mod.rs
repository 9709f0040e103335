//! How the original's programs spoke HTTP and JSON, where that differs from what Rust's libraries do
//! by themselves: what their clients rely on, in one place.

pub mod casefold;
pub mod json;
pub mod rules;
