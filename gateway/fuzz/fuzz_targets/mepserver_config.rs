//! Has the fuzzer run `mepserver_config` of `gateway_fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gateway_fuzz::run("mepserver_config", data));
