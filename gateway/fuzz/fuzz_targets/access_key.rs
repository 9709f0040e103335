//! Has the fuzzer run `access_key` of `gateway_fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gateway_fuzz::run("access_key", data));
