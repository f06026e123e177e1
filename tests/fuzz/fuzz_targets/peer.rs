//! Feeds what libFuzzer makes up to `targets::peer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| selfchain_fuzz::targets::peer(data));
