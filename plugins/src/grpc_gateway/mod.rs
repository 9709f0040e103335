//! `grpc-gateway`: lets plain HTTP clients call gRPC services, as their files say
//! (`google.api.http`).

mod config;
mod handler;
mod transcode;

#[cfg(test)]
mod tests;

pub(crate) use handler::GrpcGateway;
