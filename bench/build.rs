//! Hands the compiler's own settings to the report: a figure means nothing without them.

use std::env;

fn main() {
    let setting = |name: &str| env::var(name).unwrap_or_default();
    // Cargo separates flags by the unit separator in this variable.
    let rustflags = setting("CARGO_ENCODED_RUSTFLAGS").replace('\u{1f}', " ");
    println!(
        "cargo:rustc-env=SELFCHAIN_BENCH_BUILD=profile={} opt-level={} target={} rustflags=[{rustflags}]",
        setting("PROFILE"),
        setting("OPT_LEVEL"),
        setting("TARGET"),
    );
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=CARGO_ENCODED_RUSTFLAGS");
}
