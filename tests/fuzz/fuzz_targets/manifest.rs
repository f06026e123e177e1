//! Feeds what libFuzzer makes up to `targets::manifest`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| selfchain_fuzz::targets::manifest(data));
