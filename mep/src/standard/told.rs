//! What the documents tell of operations at the standard's roots.

use http::StatusCode;
use serde_json::Value;
use utoipa::ToSchema;

use super::refusal::ProblemDetails;
use crate::openapi::Operation;

/// An operation on what belongs to no application.
pub(super) fn anybody(summary: &str, clause: &str) -> Operation {
    let statuses = [
        StatusCode::BAD_REQUEST,
        StatusCode::UNAUTHORIZED,
        StatusCode::NOT_ACCEPTABLE,
        StatusCode::URI_TOO_LONG,
    ];
    Operation::new(summary).clause(clause).by_app().refuses(&statuses)
}

/// An operation on what belongs to an application.
pub(super) fn of_app(summary: &str, clause: &str) -> Operation {
    anybody(summary, clause).refuses(&[StatusCode::FORBIDDEN, StatusCode::NOT_FOUND])
}

impl Operation {
    /// It may be refused so.
    pub(super) fn refuses(self, statuses: &[StatusCode]) -> Self {
        self.fails::<ProblemDetails<'static>>("application/problem+json", statuses)
    }

    /// It has a body.
    pub(super) fn reads<T: ToSchema>(self, example: Value) -> Self {
        self.takes::<T>(example).refuses_bodies()
    }

    /// It has a body that is a merge patch.
    pub(super) fn patches<T: ToSchema>(self, example: Value) -> Self {
        let kinds = ["application/json", "application/merge-patch+json"];
        self.takes_as::<T>(&kinds, example).refuses_bodies()
    }

    fn refuses_bodies(self) -> Self {
        self.refuses(&[StatusCode::PAYLOAD_TOO_LARGE, StatusCode::UNSUPPORTED_MEDIA_TYPE])
    }

    /// It can be asked for of one state only.
    pub(super) fn conditional(self) -> Self {
        let says = "The entity-tag of the state that is to be changed.";
        self.header("If-Match", says).refuses(&[StatusCode::PRECONDITION_FAILED])
    }

    /// It changes what is stored, as far as the state allows it.
    pub(super) fn stores(self) -> Self {
        self.refuses(&[StatusCode::CONFLICT, StatusCode::SERVICE_UNAVAILABLE])
    }

    /// It shows one thing and its entity-tag.
    pub(super) fn shows<T: ToSchema>(self, says: &str) -> Self {
        self.header("If-None-Match", "The entity-tag of the state the client has.")
            .answers_nothing(StatusCode::NOT_MODIFIED, "The client has it.")
            .replaces::<T>(says)
    }

    /// It answers with what there is now.
    pub(super) fn replaces<T: ToSchema>(self, says: &str) -> Self {
        self.answers::<T>(StatusCode::OK, says).with_header(StatusCode::OK, "ETag", TAG)
    }

    /// It makes one thing.
    pub(super) fn creates<T: ToSchema>(self, says: &str) -> Self {
        const MADE: StatusCode = StatusCode::CREATED;
        self.answers::<T>(MADE, says).with_header(MADE, "ETag", TAG).with_header(
            MADE,
            "Location",
            "Where it is.",
        )
    }

    /// There is nothing to answer.
    pub(super) fn does(self, says: &str) -> Self {
        self.answers_nothing(StatusCode::NO_CONTENT, says)
    }
}

const TAG: &str = "The entity-tag of its state.";
