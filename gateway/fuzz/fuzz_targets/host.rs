//! Has the fuzzer run `host` of `gateway_fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gateway_fuzz::run("host", data));
