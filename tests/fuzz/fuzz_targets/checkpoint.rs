//! Feeds what libFuzzer makes up to `targets::checkpoint`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| selfchain_fuzz::targets::checkpoint(data));
