//! mepauth: an access key and a signature in, a token out.
//!
//! This is the part without HTTP. No module reads a clock; the moment is an argument, in
//! milliseconds since the Unix epoch where the name ends in `_ms`.

pub mod credential;
pub mod import;
pub mod key_material;
pub mod keyfile;
mod legacy_pem;
pub mod lock;
mod recent;
pub mod replay;
pub mod sdk_date;
pub mod sealing;
pub mod signature;
pub mod token;
