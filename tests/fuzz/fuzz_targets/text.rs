//! Feeds what libFuzzer makes up to `targets::text`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| selfchain_fuzz::targets::text(data));
