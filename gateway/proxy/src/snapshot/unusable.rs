//! [`Unusable`]: an instance that lacks what its references promise.

use http::StatusCode;
use plugins::contract::{Flow, Handler, Reply, Request};

/// Stands for an instance whose configuration refers to vaults in vain. It was valid when it was
/// written and may be again; meanwhile nobody passes where it should have acted.
pub(super) struct Unusable;

impl Handler for Unusable {
    fn rewrite<'a>(&'a self, _: &'a mut Request<'_>) -> Flow<'a> {
        refuse()
    }

    fn access<'a>(&'a self, _: &'a mut Request<'_>) -> Flow<'a> {
        refuse()
    }
}

fn refuse<'a>() -> Flow<'a> {
    let told = "An unexpected error occurred";
    Flow::reply(Reply::message(StatusCode::INTERNAL_SERVER_ERROR, told))
}
