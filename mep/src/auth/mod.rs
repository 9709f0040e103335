//! mepauth: an access key and a signature in, a token out.
//!
//! This is the part without HTTP. [`service`] walks through the checks of a token request in their
//! order; [`requests`] reads the bodies that configure key pairs. Below them, [`signature`] and
//! [`sdk_date`] say what a request must carry, [`lock`] and [`replay`] remember who misused it and
//! [`word`] tells other nodes, [`token`] issues, and [`sealing`] with [`key_material`] keeps secrets at rest. [`import`] brings
//! in what an original installation left.
//!
//! Absent on purpose: sockets, routes and the catalog. No module reads a clock; the moment is an
//! argument, in milliseconds since the Unix epoch where the name ends in `_ms`.

pub mod credential;
pub mod import;
pub mod key_material;
pub mod keyfile;
mod legacy_pem;
pub mod lock;
mod recent;
pub mod replay;
pub mod requests;
pub mod sdk_date;
pub mod sealing;
pub mod service;
pub mod signature;
pub mod token;
pub mod word;
