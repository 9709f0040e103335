//! The phases of an exchange: which handlers act, in their order.

use std::sync::Arc;

use bytes::Bytes;
use gateway_model::Item;
use pingora_http::RequestHeader;
use pingora_proxy::Session;
use plugins::contract::{
    Chunk, Flow, Needs, Phases, PluginTime, PluginTimes, Reply, Request, RequestBody, Response,
    Summary,
};

use super::Exchange;
use crate::chain::{Instance, Slot};

impl Exchange {
    /// Runs the global handlers of the rewrite phase.
    pub(crate) async fn rewrite(&mut self, session: &mut Session) -> Result<(), Reply> {
        self.run(session, Phases::REWRITE).await
    }

    /// Runs the access handlers of the route.
    pub(crate) async fn access(&mut self, session: &mut Session) -> Result<(), Reply> {
        self.run(session, Phases::ACCESS).await
    }

    async fn run(&mut self, session: &mut Session, phase: Phases) -> Result<(), Reply> {
        let chain = Arc::clone(&self.chain);
        for slot in chain.slots(phase) {
            let consumer = self.facts.identity.consumer.as_ref().map(Item::id);
            if slot.asks_consumer() {
                self.turns.push((slot.plugin().name, consumer));
            }
            let Some(instance) = slot.pick(consumer) else { continue };
            if instance.needs != Needs::NOTHING {
                let needs = instance.handler.needs_of(session.req_header());
                self.provide(session, needs).await?;
            }
            let began = chain.is_timed().then(|| self.now_ns());
            let reply = {
                let (head, facts) = (session.req_header_mut(), &mut self.facts);
                let mut request = Request { head, facts };
                let mut flow = if phase == Phases::REWRITE {
                    instance.handler.rewrite(&mut request)
                } else {
                    instance.handler.access(&mut request)
                };
                loop {
                    match flow {
                        Flow::Continue => break None,
                        Flow::Reply(reply) => break Some(reply),
                        Flow::Wait(wait) => flow = wait.await,
                    }
                }
            };
            self.took(phase, slot, began);
            if let Some(reply) = reply {
                return Err(*reply);
            }
        }
        Ok(())
    }

    /// Unix nanoseconds, as many after the request's begin as passed.
    fn now_ns(&self) -> u64 {
        let passed = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.facts.started_ms.saturating_mul(1_000_000).saturating_add(passed)
    }

    /// Takes down how long a handler took that began at `began`, where somebody wants to know.
    fn took(&mut self, phase: Phases, slot: &Slot, began: Option<u64>) {
        let Some(began_ns) = began else { return };
        let (plugin, ended_ns) = (slot.plugin().name, self.now_ns());
        let times = &mut self.facts.notes.get_or_insert_default::<PluginTimes>().0;
        times.push(PluginTime { phase, plugin, began_ns, ended_ns });
    }

    /// Finds out what a handler needs to know.
    async fn provide(&mut self, session: &mut Session, needs: Needs) -> Result<(), Reply> {
        if needs.has(Needs::BODY) && self.facts.body == RequestBody::Unread {
            self.read_body(session).await?;
        }
        if needs.has(Needs::CAPTURES) && self.facts.captures.numbered.is_empty() {
            let found = self.found.as_ref();
            if let Some(captures) = found.and_then(|found| found.captured(self.path())) {
                self.facts.captures = captures;
            }
        }
        Ok(())
    }

    /// The instance of a plugin for a phase after access.
    pub(crate) fn picked<'s>(&self, slot: &'s Slot) -> Option<&'s Arc<Instance>> {
        let name = slot.plugin().name;
        let turn = self.turns.iter().find(|(plugin, _)| *plugin == name);
        let consumer = match turn {
            Some((_, consumer)) => *consumer,
            None => self.facts.identity.consumer.as_ref().map(Item::id),
        };
        slot.pick(consumer)
    }

    /// Runs the header handlers on an answer.
    pub(crate) fn header_filter(
        &mut self,
        request: &RequestHeader,
        head: &mut pingora_http::ResponseHeader,
    ) {
        let chain = Arc::clone(&self.chain);
        let source = self.source;
        for slot in chain.slots(Phases::HEADER_FILTER) {
            if let Some(instance) = self.picked(slot) {
                let began = chain.is_timed().then(|| self.now_ns());
                instance.handler.header_filter(&mut Response {
                    head: &mut *head,
                    request,
                    facts: &mut self.facts,
                    source,
                });
                self.took(Phases::HEADER_FILTER, slot, began);
            }
        }
    }

    /// Runs the body handlers on a piece of an answer.
    pub(crate) fn body_filter(&mut self, data: &mut Option<Bytes>, end: bool) {
        if !self.filters_bodies() {
            return;
        }
        let chain = Arc::clone(&self.chain);
        for slot in chain.slots(Phases::BODY_FILTER) {
            if let Some(instance) = self.picked(slot) {
                let mut chunk = Chunk { data: &mut *data, end, facts: &mut self.facts };
                instance.handler.body_filter(&mut chunk);
            }
        }
    }

    /// Whether any handler wants to see bodies of answers.
    pub(crate) fn filters_bodies(&self) -> bool {
        !self.chain.slots(Phases::BODY_FILTER).is_empty()
    }

    /// Runs the log handlers.
    pub(crate) fn log(&self, summary: &Summary<'_>) {
        for slot in self.chain.slots(Phases::LOG) {
            if let Some(instance) = self.picked(slot) {
                instance.handler.log(summary);
            }
        }
    }

    /// Whether anybody wants to know how it went.
    pub(crate) fn is_logged(&self) -> bool {
        !self.chain.slots(Phases::LOG).is_empty()
    }
}
