//! Feeds what libFuzzer makes up to `targets::trust`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| selfchain_fuzz::targets::trust(data));
