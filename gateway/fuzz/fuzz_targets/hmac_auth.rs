//! Has the fuzzer run `hmac_auth` of `gateway_fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gateway_fuzz::run("hmac_auth", data));
