//! Has the fuzzer run `dns_admin` of `gateway_fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gateway_fuzz::run("dns_admin", data));
