//! A deterministic network of planes under one virtual clock and one seed, and the suite that every plane passes.

mod random;
mod world;
mod conform;
mod controls;
