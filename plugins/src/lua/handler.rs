//! [`Script`]: an instance whose behaviour is Lua code, as a [`Handler`].

use std::sync::Arc;

use bytes::Bytes;
use dashmap::DashMap;
use gateway_model::Id;
use http::{HeaderValue, StatusCode, header};
use mlua::{Error, Function, Result};
use pingora_http::RequestHeader;

use super::abort::{self, Abort};
use super::call;
use super::current::{Current, Exit, Kept, Log, Piece, PluginRun};
use super::engine::Engine;
use super::pdk::build_reply;
use super::phase::Phase;
use super::vm::Vm;
use crate::contract::{
    Buffered, Chunk, Facts, Flow, Handler, HeldBody, LogMembers, Needs, Phases, Reply, ReplyBody,
    Request, Response, Source, Summary,
};

/// Where the code of an instance comes from.
pub(super) trait Code: Send + Sync {
    /// Its functions, in a machine.
    fn load(&self, vm: &Vm) -> Result<Vec<(Phase, Function)>>;
}

/// What the text of some code tells about what it will ask for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mentions {
    pub(super) body: bool,
    pub(super) captures: bool,
    pub(super) entry: bool,
}

impl Mentions {
    /// Adds what a text mentions.
    pub(super) fn read(mut self, code: &str) -> Self {
        let has = |words: &[&str]| words.iter().any(|word| code.contains(word));
        self.body |=
            has(&["get_raw_body", "get_body", "read_body", "get_post_args", "request_body"]);
        self.captures |= code.contains("get_uri_captures");
        self.entry |= code.contains("serialize");
        self
    }
}

/// One instance whose behaviour is Lua code.
pub(crate) struct Script {
    engine: Arc<Engine>,
    plugin: PluginRun,
    phases: Phases,
    mentions: Mentions,
    code: Box<dyn Code>,
    /// Its functions in each machine, by the machine's number.
    loaded: DashMap<u64, Arc<[(Phase, Function)]>>,
}

impl Script {
    pub(super) fn new(
        engine: Arc<Engine>,
        (name, id): (&str, Id),
        phases: impl IntoIterator<Item = Phase>,
        mentions: Mentions,
        code: Box<dyn Code>,
    ) -> Self {
        let mut acts = Phases::NONE;
        for phase in phases {
            acts = acts.and(phase.acts());
        }
        // What a head filter decides may concern the body; a body filter may ask for the head.
        if acts.has(Phases::HEADER_FILTER) || acts.has(Phases::BODY_FILTER) {
            acts = acts.and(Phases::HEADER_FILTER).and(Phases::BODY_FILTER);
        }
        let plugin = PluginRun { name: name.into(), id };
        Self { engine, plugin, phases: acts, mentions, code, loaded: DashMap::new() }
    }

    /// The function of a phase in a machine; `None` when there is none.
    fn function(&self, vm: &Arc<Vm>, phase: Phase) -> Result<Option<Function>> {
        let of = |all: &[(Phase, Function)]| {
            all.iter().find(|(known, _)| *known == phase).map(|(_, function)| function.clone())
        };
        if let Some(known) = self.loaded.get(&vm.serial) {
            return Ok(of(&known));
        }
        let made: Arc<[(Phase, Function)]> = self.code.load(vm)?.into();
        let function = of(&made);
        let live = self.engine.serials();
        self.loaded.retain(|serial, _| live.contains(serial));
        self.loaded.insert(vm.serial, made);
        Ok(function)
    }

    /// What a call is about. Lua's own things of the exchange move into it.
    fn begin(
        &self,
        phase: Phase,
        facts: &mut Facts,
        request: Option<Arc<RequestHeader>>,
        source: Source,
    ) -> Result<Box<Current>> {
        let kept = match facts.notes.remove::<Kept>() {
            Some(kept) => kept,
            None => Kept::new(&self.engine.machine()?)?,
        };
        let vm = Arc::clone(&kept.vm);
        let request = match request.or_else(|| kept.request.clone()) {
            Some(request) => request,
            None => Arc::new(RequestHeader::build("GET", b"/", None).map_err(Error::external)?),
        };
        let response = kept.response.clone();
        let whole = facts.notes.get::<HeldBody>().map(|held| held.0.clone());
        let mut facts = facts.clone();
        facts.notes.insert(kept);
        Ok(Box::new(Current {
            engine: Arc::clone(&self.engine),
            vm,
            phase,
            plugin: self.plugin.clone(),
            request,
            facts,
            response,
            source,
            piece: None,
            whole,
            log: None,
            exit: None,
            status: None,
            said: Vec::new(),
        }))
    }

    /// Writes a failed call into the log.
    fn failed(&self, phase: Phase, why: &Error) {
        let text = abort::text(why);
        let (plugin, phase) = (&*self.plugin.name, phase.name());
        tracing::error!(plugin, phase, "[lua] failed in {phase} of {plugin}: {text}");
    }

    /// Runs the function of a phase before the upstream is asked.
    async fn ask(&self, phase: Phase, request: &mut Request<'_>) -> Flow<'static> {
        let head = Arc::new(request.head.clone());
        let begun = self.begin(phase, request.facts, Some(head), Source::Gateway);
        let function = begun.and_then(|now| Ok((self.function(&now.vm, phase)?, now)));
        let (function, now) = match function {
            Ok((Some(function), now)) => (function, now),
            Ok((None, now)) => {
                *request.facts = now.facts;
                return Flow::Continue;
            }
            Err(why) => {
                self.failed(phase, &why);
                return Flow::reply(unexpected());
            }
        };
        let mut slot = Some(now);
        let result = call::waiting(&mut slot, &function).await;
        let Some(mut now) = slot else { return Flow::reply(unexpected()) };
        let flow = self.outcome(phase, &mut now, result);
        *request.head = Arc::unwrap_or_clone(now.request);
        *request.facts = now.facts;
        flow
    }

    /// Runs the function of the certificate phase. What it keeps ends with the handshake
    /// (kong/init.lua, Kong.ssl_certificate).
    async fn shake_hands(&self, facts: &mut Facts) -> Flow<'static> {
        let Ok(mut head) = RequestHeader::build("GET", b"/", None) else {
            return Flow::reply(unexpected());
        };
        let mut request = Request { head: &mut head, facts };
        let flow = self.ask(Phase::Certificate, &mut request).await;
        facts.notes.remove::<Kept>();
        flow
    }

    /// Runs the function of the response phase on an answer that was held back.
    async fn hold(&self, answer: &mut Buffered<'_>) -> Flow<'static> {
        let phase = Phase::Response;
        let request = Arc::new(answer.request.clone());
        let begun = self.begin(phase, answer.facts, Some(request), Source::Upstream);
        let function = begun.and_then(|now| Ok((self.function(&now.vm, phase)?, now)));
        let (function, mut now) = match function {
            Ok((Some(function), now)) => (function, now),
            Ok((None, now)) => {
                *answer.facts = now.facts;
                return Flow::Continue;
            }
            Err(why) => {
                self.failed(phase, &why);
                return Flow::reply(unexpected());
            }
        };
        now.response = Some(Arc::new(answer.head.clone()));
        now.whole = Some(answer.body.clone());
        let mut slot = Some(now);
        let result = call::waiting(&mut slot, &function).await;
        let Some(mut now) = slot else { return Flow::reply(unexpected()) };
        let flow = self.outcome(phase, &mut now, result);
        if let Some(head) = now.response.take() {
            *answer.head = Arc::unwrap_or_clone(head);
        }
        *answer.facts = now.facts;
        flow
    }

    /// What becomes of the request after a call.
    fn outcome(&self, phase: Phase, now: &mut Current, result: Result<()>) -> Flow<'static> {
        if let Err(why) = &result
            && Abort::inside(why) != Some(Abort::Exit)
        {
            self.failed(phase, why);
            return Flow::reply(unexpected());
        }
        if let Some(Exit::Reply(reply)) = now.exit.take() {
            return Flow::Reply(Box::new(with_type(now, *reply)));
        }
        if now.said.is_empty() {
            return Flow::Continue;
        }
        let bytes = Bytes::from(std::mem::take(&mut now.said));
        let status = now.status.unwrap_or(StatusCode::OK);
        let reply = build_reply(status, Vec::new(), bytes, None);
        Flow::reply(with_type(now, reply))
    }
}

/// Kong's answer when a plugin fails.
fn unexpected() -> Reply {
    Reply::message(StatusCode::INTERNAL_SERVER_ERROR, "")
}

/// The type of an answer the code made, where it set one beforehand.
fn with_type(now: &mut Current, mut reply: Reply) -> Reply {
    let mut told = None;
    now.facts.response_headers.retain(|(name, value)| {
        let is = *name == header::CONTENT_TYPE;
        if is {
            told = Some(value.clone());
        }
        !is && *name != header::CONTENT_LENGTH
    });
    reply.body = match (reply.body, told) {
        (ReplyBody::Untyped(bytes), Some(kind)) => ReplyBody::Bytes(kind, bytes),
        (body, _) => body,
    };
    reply
}

impl Phase {
    /// The phase of a handler it stands for.
    pub(super) const fn acts(self) -> Phases {
        match self {
            Self::Certificate => Phases::CERTIFICATE,
            Self::Response => Phases::RESPONSE,
            Self::Rewrite => Phases::REWRITE,
            Self::Access => Phases::ACCESS,
            Self::HeaderFilter => Phases::HEADER_FILTER,
            Self::BodyFilter => Phases::BODY_FILTER,
            Self::Log => Phases::LOG,
        }
    }
}

impl Handler for Script {
    fn phases(&self) -> Phases {
        self.phases
    }

    fn needs(&self) -> Needs {
        let mut needs = Needs::NOTHING;
        if self.mentions.body {
            needs = needs.and(Needs::BODY);
        }
        if self.mentions.captures {
            needs = needs.and(Needs::CAPTURES);
        }
        needs
    }

    fn certificate<'a>(&'a self, facts: &'a mut Facts) -> Flow<'a> {
        Flow::Wait(Box::pin(self.shake_hands(facts)))
    }

    fn rewrite<'a>(&'a self, request: &'a mut Request<'_>) -> Flow<'a> {
        Flow::Wait(Box::pin(self.ask(Phase::Rewrite, request)))
    }

    fn access<'a>(&'a self, request: &'a mut Request<'_>) -> Flow<'a> {
        Flow::Wait(Box::pin(self.ask(Phase::Access, request)))
    }

    fn response<'a>(&'a self, answer: &'a mut Buffered<'_>) -> Flow<'a> {
        Flow::Wait(Box::pin(self.hold(answer)))
    }

    fn header_filter(&self, response: &mut Response<'_>) {
        let phase = Phase::HeaderFilter;
        let request = Arc::new(response.request.clone());
        let begun = self.begin(phase, response.facts, Some(request), response.source);
        let mut now = match begun {
            Ok(now) => now,
            Err(why) => return self.failed(phase, &why),
        };
        now.response = Some(Arc::new(response.head.clone()));
        let mut slot = Some(now);
        let result = self.call(phase, &mut slot);
        let Some(mut now) = slot else { return };
        if let Err(why) = &result
            && Abort::inside(why) != Some(Abort::Exit)
        {
            self.failed(phase, why);
        }
        if let Some(Exit::Reply(reply)) = now.exit.take() {
            replace(&mut now, *reply);
        }
        let (request, head) = (now.request, now.response);
        *response.facts = now.facts;
        if let Some(kept) = response.facts.notes.get_mut::<Kept>() {
            kept.request = Some(request);
            kept.response.clone_from(&head);
        }
        if let Some(head) = head {
            *response.head = Arc::unwrap_or_clone(head);
        }
    }

    fn body_filter(&self, chunk: &mut Chunk<'_>) {
        let phase = Phase::BodyFilter;
        let source = Source::Gateway;
        let mut now = match self.begin(phase, chunk.facts, None, source) {
            Ok(now) => now,
            Err(why) => return self.failed(phase, &why),
        };
        if let Ok(kept) = now.kept()
            && let Some(body) = &kept.replaced
        {
            *chunk.data = chunk.end.then(|| body.clone());
        }
        now.piece = Some(Piece { data: chunk.data.take(), end: chunk.end });
        let mut slot = Some(now);
        if let Err(why) = self.call(phase, &mut slot)
            && Abort::inside(&why) != Some(Abort::Exit)
        {
            self.failed(phase, &why);
        }
        let Some(mut now) = slot else { return };
        *chunk.data = now.piece.take().and_then(|piece| piece.data);
        *chunk.facts = now.facts;
        if chunk.end
            && let Some(kept) = chunk.facts.notes.get_mut::<Kept>()
        {
            kept.collected = Vec::new();
        }
    }

    fn log(&self, summary: &Summary<'_>) {
        let phase = Phase::Log;
        let mut facts = summary.facts.clone();
        let request = Arc::new(summary.request.clone());
        let mut now = match self.begin(phase, &mut facts, Some(request), summary.source) {
            Ok(now) => now,
            Err(why) => return self.failed(phase, &why),
        };
        now.response = summary.response.map(|head| Arc::new(head.clone()));
        let known = summary.entry.get();
        let entry = match (known, self.mentions.entry) {
            (Some(known), _) => known.clone(),
            (None, true) => crate::contract::entry::entry(summary),
            (None, false) => serde_json::Value::Null,
        };
        now.log = Some(Log::of(summary, entry));
        let mut slot = Some(now);
        if let Err(why) = self.call(phase, &mut slot)
            && Abort::inside(&why) != Some(Abort::Exit)
        {
            self.failed(phase, &why);
        }
        let Some(now) = slot else { return };
        // Members set here reach the loggers that come after.
        if let Some(members) = now.facts.notes.get::<LogMembers>()
            && members.0.len() > LogMembers::count(summary.facts)
            && let Some(log) = now.log
        {
            let mut entry = log.entry;
            members.write_into(&mut entry, log.members);
            if summary.entry.set(entry).is_err() {
                let told = "[lua] members of the log entry come too late: a logger ran before";
                tracing::warn!(plugin = &*self.plugin.name, "{told}");
            }
        }
    }
}

impl Script {
    /// Runs the function of a phase that may not wait, where there is one.
    fn call(&self, phase: Phase, slot: &mut Option<Box<Current>>) -> Result<()> {
        let Some(now) = slot else { return Ok(()) };
        let vm = Arc::clone(&now.vm);
        match self.function(&vm, phase)? {
            Some(function) => call::now(slot, &function),
            None => Ok(()),
        }
    }
}

/// Puts an answer the code made in a head filter in the place of the one that came.
fn replace(now: &mut Current, reply: Reply) {
    const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
    let (kind, bytes) = match reply.body {
        ReplyBody::Bytes(kind, bytes) => (Some(kind), bytes),
        ReplyBody::Untyped(bytes) => (None, bytes),
        ReplyBody::Message(text) => {
            let id = &*now.facts.request_id;
            let body = serde_json::json!({ "message": text, "request_id": id });
            (Some(JSON), body.to_string().into())
        }
        _ => (None, Bytes::new()),
    };
    if let Some(head) = &mut now.response {
        let head = Arc::make_mut(head);
        // Setting what is valid cannot fail; pingora's signatures say it may.
        let _ = head.set_status(reply.status);
        for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::TRANSFER_ENCODING] {
            head.remove_header(&name);
        }
        for (name, value) in reply.headers {
            let _ = head.append_header(name, value);
        }
        if let Some(kind) = kind {
            let _ = head.insert_header(header::CONTENT_TYPE, kind);
        }
        let _ = head.insert_header(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    }
    if let Ok(kept) = now.kept() {
        kept.replaced = Some(bytes);
    }
}
