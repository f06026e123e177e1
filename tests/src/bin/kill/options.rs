//! What a run is told.

use crate::Checked;
use std::path::PathBuf;

pub(crate) struct Options {
    pub(crate) cycles: u64,
    pub(crate) seed: u64,
    pub(crate) verify_every: u64,
    pub(crate) json: Option<PathBuf>,
}

impl Options {
    pub(crate) fn read(arguments: &[String]) -> Checked<Self> {
        let mut options = Self {
            cycles: 25,
            seed: 1,
            verify_every: 0,
            json: None,
        };
        let mut rest = arguments.iter();
        while let Some(flag) = rest.next() {
            let value = rest.next().ok_or_else(|| format!("{flag} needs a value"))?;
            match flag.as_str() {
                "--cycles" => options.cycles = value.parse()?,
                "--seed" => options.seed = value.parse()?,
                "--verify-every" => options.verify_every = value.parse()?,
                "--json" => options.json = Some(value.into()),
                _ => return Err(format!("there is no flag {flag}").into()),
            }
        }
        if options.verify_every == 0 {
            // Verifying opens the log and so recovers it: the cycles between leave that to the node.
            options.verify_every = (options.cycles / 40).max(3);
        }
        Ok(options)
    }
}
