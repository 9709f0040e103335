//! What the name server counts.

use prometheus::{IntCounterVec, Opts, Registry};

/// The name server's metric families.
#[derive(Clone)]
pub struct Metrics {
    /// By `result`: `answered`, `no_data`, `forwarded`, `refused`, `failed`, `limited`.
    questions: IntCounterVec,
}

/// What became of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// From the zone.
    Answered,
    /// The name is ours and has nothing of the type.
    NoData,
    /// By a resolver, whatever it said.
    Forwarded,
    /// A question we do not take.
    Refused,
    /// Nobody knows, or no resolver answered.
    Failed,
    /// Too many from one network.
    Limited,
}

impl Metrics {
    /// The families, registered.
    ///
    /// # Errors
    ///
    /// When they are there already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let opts = Opts::new("mep_dns_questions_total", "Questions to the name server.");
        let questions = IntCounterVec::new(opts, &["result"])?;
        registry.register(Box::new(questions.clone()))?;
        Ok(Self { questions })
    }

    pub(crate) fn count(&self, outcome: Outcome) {
        let result = match outcome {
            Outcome::Answered => "answered",
            Outcome::NoData => "no_data",
            Outcome::Forwarded => "forwarded",
            Outcome::Refused => "refused",
            Outcome::Failed => "failed",
            Outcome::Limited => "limited",
        };
        self.questions.with_label_values(&[result]).inc();
    }
}
