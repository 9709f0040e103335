//! Has the fuzzer run `kong_conf` of `gateway_fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gateway_fuzz::run("kong_conf", data));
