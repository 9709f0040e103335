//! Has the fuzzer run `mepauth_properties` of `gateway_fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gateway_fuzz::run("mepauth_properties", data));
