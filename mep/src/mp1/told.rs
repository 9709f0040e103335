//! What the documents tell of operations in EdgeGallery's dialect.

use http::StatusCode;

use crate::openapi::Operation;
use crate::problem;

/// An operation of an application on what is its own.
pub(crate) fn of_app(summary: &str) -> Operation {
    Operation::new(summary).by_app().problems(&[StatusCode::BAD_REQUEST, StatusCode::UNAUTHORIZED])
}

impl Operation {
    /// It may fail so.
    pub(crate) fn problems(self, statuses: &[StatusCode]) -> Self {
        self.fails::<problem::Body<'static>>("application/json", statuses)
    }

    /// What it is about may not be there.
    pub(crate) fn may_miss(self) -> Self {
        self.problems(&[StatusCode::NOT_FOUND])
    }

    /// It may ask for one state only.
    pub(crate) fn matching(self) -> Self {
        self.header("If-Match", "The entity-tag of the state that is to be changed.")
            .problems(&[StatusCode::PRECONDITION_FAILED])
    }
}
