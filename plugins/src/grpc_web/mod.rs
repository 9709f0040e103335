//! `grpc-web`: lets browsers call gRPC services, in the frames of gRPC-Web or in JSON.

mod config;
mod encoding;
mod handler;

#[cfg(test)]
mod tests;

pub(crate) use handler::GrpcWeb;
