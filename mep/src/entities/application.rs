//! What is kept of an application besides its services: how management configured it, what is under
//! way with it, and what it said about itself.

use gateway_model::schema::Record;
use gateway_model::{Entity, Id, Ref};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::AppInstance;

/// An application as management configured it; its rules are entities of their own.
#[derive(Clone, Debug, Serialize, Deserialize, Record)]
pub struct AppConfiguration {
    /// The app instance id.
    #[record(auto = Auto::Id)]
    pub id: Id,
    /// The same, as a reference: a configuration goes with its app.
    #[record(cascade)]
    pub app: Ref<AppInstance>,
    /// Its name; no two apps share one.
    #[record(unique)]
    pub app_name: String,
    /// Whether it uses Mp1; kept and shown.
    #[record(default = false)]
    pub supports_mp1: bool,
}

impl Entity for AppConfiguration {
    const KIND: &'static str = "mep_app_configurations";
}

/// A change of an application's configuration that is under way: there is one at most.
#[derive(Clone, Debug, Serialize, Deserialize, Record)]
pub struct AppOperation {
    /// The app instance id.
    #[record(auto = Auto::Id)]
    pub id: Id,
    /// The same, as a reference.
    #[record(cascade)]
    pub app: Ref<AppInstance>,
    /// The task clients ask for.
    pub task: Id,
    /// The name the app will have.
    pub app_name: String,
    /// Keys of the domain names it will have, see [`super::DnsRule::key_of`].
    pub names: Vec<String>,
    /// The node that does it, which alone ends it.
    pub node: Option<String>,
    /// Until when it does, milliseconds since the epoch; later anybody may end it.
    #[record(default = 0)]
    #[serde(default)]
    pub lease_ms: u64,
}

impl Entity for AppOperation {
    const KIND: &'static str = "mep_app_operations";
}

/// What became of a change of an application's configuration. It outlives the application.
#[derive(Clone, Debug, Serialize, Deserialize, Record)]
pub struct AppTask {
    /// The task id.
    #[record(auto = Auto::Id)]
    pub id: Id,
    /// The app instance id.
    pub app_instance: Id,
    /// How it stands.
    pub result: TaskResult,
    /// What went wrong first.
    #[record(len_min = 0, default = "")]
    pub detail: String,
    /// When it began, Unix milliseconds.
    #[record(default = 0)]
    pub began_at_ms: u64,
}

impl Entity for AppTask {
    const KIND: &'static str = "mep_app_tasks";
}

/// How a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Record, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum TaskResult {
    /// It is under way.
    Processing,
    /// All of it took effect.
    Success,
    /// None of it did.
    Failure,
}

impl TaskResult {
    /// As it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Processing => "PROCESSING",
            Self::Success => "SUCCESS",
            Self::Failure => "FAILURE",
        }
    }
}

/// An application that was told to end and has not confirmed yet.
#[derive(Clone, Debug, Serialize, Deserialize, Record)]
pub struct AppTermination {
    /// The app instance id.
    #[record(auto = Auto::Id)]
    pub id: Id,
    /// The same, as a reference.
    #[record(cascade)]
    pub app: Ref<AppInstance>,
    /// What it was told.
    pub action: OperationAction,
    /// Names this ending among all of one app.
    pub serial: Id,
    /// The node that tells the app and waits for it.
    pub node: Option<String>,
    /// Until when it does, milliseconds since the epoch; later anybody may let the app go.
    pub deadline_ms: Option<u64>,
}

impl Entity for AppTermination {
    const KIND: &'static str = "mep_app_terminations";
}

/// What an application is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Record, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum OperationAction {
    /// It may come back.
    Stopping,
    /// It will not.
    Terminating,
}

impl OperationAction {
    /// As it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stopping => "STOPPING",
            Self::Terminating => "TERMINATING",
        }
    }

    /// The action of this spelling.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Stopping, Self::Terminating].into_iter().find(|action| action.as_str() == text)
    }
}

/// What an application said about itself, or another said about it (ETSI GS MEC 011, clause 7.2.13).
#[derive(Clone, Debug, Serialize, Deserialize, Record)]
pub struct AppRegistration {
    /// The app instance id.
    #[record(auto = Auto::Id)]
    pub id: Id,
    /// The same, as a reference.
    #[record(cascade)]
    pub app: Ref<AppInstance>,
    /// Who registered it and may act for it.
    pub registrant: Id,
    /// Whether management started it.
    #[record(default = false)]
    pub by_management: bool,
    /// All members as they are shown.
    pub info: Value,
}

impl Entity for AppRegistration {
    const KIND: &'static str = "mep_app_registrations";
}

/// Calls of one day, counted from the gateway's traffic.
#[derive(Clone, Debug, Serialize, Deserialize, Record)]
pub struct CallCount {
    /// Derived from day and subject, see [`CallCount::id_of`].
    #[record(auto = Auto::Id)]
    pub id: Id,
    /// Days since the Unix epoch, UTC.
    pub day: u64,
    /// What was called: a name of the gateway's, or a kind of Mp1 request.
    pub subject: String,
    /// How often.
    pub calls: u64,
}

impl Entity for CallCount {
    const KIND: &'static str = "mep_call_counts";
}

impl CallCount {
    /// The id of the calls of a day.
    pub fn id_of(day: u64, subject: &str) -> Id {
        Id::derived(Self::KIND, &format!("{day}:{subject}"))
    }
}
