//! `post-function`: code that runs after every other plugin. Configured as pre-function is.

use gateway_model::{Scopes, Violations};

use crate::contract::{
    ANY, Chunk, Facts, Flow, Handler, Needs, Phases, Plugin, Request, Response, Setup, Summary,
};
use crate::lua::{self, Script};
use crate::pre_function::Config;

/// One instance.
pub(crate) struct PostFunction(Script);

impl Plugin for PostFunction {
    const NAME: &'static str = "post-function";
    const PRIORITY: i32 = -1000;
    const PHASES: Phases = Phases::ALL.and(Phases::CERTIFICATE);
    const SCOPES: Scopes = Scopes::NO_CONSUMER;
    const PROTOCOLS: &'static [&'static str] = ANY;
    type Config = Config;

    fn build(config: Config, setup: &Setup<'_>) -> Result<Self, Violations> {
        lua::chunks::build(Self::NAME, config.chunks(), setup).map(Self)
    }
}

impl Handler for PostFunction {
    fn phases(&self) -> Phases {
        self.0.phases()
    }

    fn needs(&self) -> Needs {
        self.0.needs()
    }

    fn certificate<'a>(&'a self, facts: &'a mut Facts) -> Flow<'a> {
        self.0.certificate(facts)
    }

    fn rewrite<'a>(&'a self, request: &'a mut Request<'_>) -> Flow<'a> {
        self.0.rewrite(request)
    }

    fn access<'a>(&'a self, request: &'a mut Request<'_>) -> Flow<'a> {
        self.0.access(request)
    }

    fn header_filter(&self, response: &mut Response<'_>) {
        self.0.header_filter(response);
    }

    fn body_filter(&self, chunk: &mut Chunk<'_>) {
        self.0.body_filter(chunk);
    }

    fn log(&self, summary: &Summary<'_>) {
        self.0.log(summary);
    }
}
