//! Has the fuzzer run `admin_forms` of `gateway_fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gateway_fuzz::run("admin_forms", data));
