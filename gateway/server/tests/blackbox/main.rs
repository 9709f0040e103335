//! The running binary, seen from outside: sockets, signals, files and nothing else.
//!
//! Each module is one view of the product; `A-nn` names an acceptance case of the EdgeGallery
//! compatibility contract. What no socket shows (an injected clock, a fault in the store) is tested
//! beside the code.

#![allow(clippy::unwrap_used, reason = "tests")]

#[allow(clippy::disallowed_methods, reason = "routers of other programs, no face of the platform")]
mod harness;

mod acceptance;
mod access_keys;
mod acme;
mod admin;
mod app_life;
mod auth_plugins;
mod balancing;
mod bodies;
mod certificates;
mod cli;
mod clients;
mod cluster;
mod connections;
mod control;
mod data_plane;
mod dependencies;
mod deployment;
mod direct;
mod dns;
mod durability;
mod errors;
mod every_plugin;
mod expressions;
mod faults;
mod grpc;
mod grpc_web;
mod handshakes;
mod hostile;
mod hostile_forms;
mod hostile_frames;
mod installer;
mod limits;
mod logs;
mod lua;
mod main_job;
mod management;
mod mec_capif;
mod mec_faces;
mod mec_links;
mod mec_services;
mod mec_subscriptions;
mod mec_support;
mod migration;
mod mp1;
mod names;
mod notifications;
mod observing;
mod openapi;
mod operations;
mod pipelining;
mod preamble;
mod protocols;
mod proxy;
mod proxy_cache;
mod quirks;
mod replay;
mod settings;
mod shutdown;
mod streams;
mod time;
mod tls;
mod tokens;
mod traffic;
mod upgrade;
