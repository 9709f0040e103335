//! The hot paths, one case each.

mod discovery;
mod plane;
mod request;
mod tokens;

/// One path: what has to be there, and what is counted.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// How often it is done while it is counted.
    pub(crate) repetitions: usize,
    pub(crate) set_up: fn() -> Box<dyn FnMut()>,
}

/// Every case, in the order shown.
pub(crate) const ALL: &[Case] = &[
    Case { name: "lookup_10", repetitions: 200, set_up: || plane::lookup(10) },
    Case { name: "lookup_2000", repetitions: 200, set_up: || plane::lookup(2_000) },
    Case { name: "chain", repetitions: 100, set_up: plane::chain },
    Case { name: "jwt_hit", repetitions: 100, set_up: || tokens::verify(1) },
    Case { name: "jwt_miss", repetitions: 20, set_up: || tokens::verify(23) },
    Case { name: "compile_change", repetitions: 20, set_up: plane::compile_change },
    Case { name: "compile_everything", repetitions: 2, set_up: plane::compile_everything },
    Case { name: "request", repetitions: 50, set_up: request::proxied },
    Case { name: "discovery", repetitions: 20, set_up: discovery::discover },
];
