//! The whole product in one process: all of `gateway` but its `main`.
//!
//! This crate is where the others meet (`wire`); it holds no rule of the domain.

#[doc(hidden)]
pub mod attack;
mod backup;
mod cli;
mod daemon;
mod demo;
mod docs;
mod embed;
mod files;
mod gui;
mod handover;
mod listener;
mod log_file;
mod node;
mod reference;
#[expect(dead_code, reason = "every key is typed and checked; parts to come read the rest")]
mod settings;
mod startup;
mod telemetry;
mod trust;
mod wire;

pub use cli::main;
