//! Measures this machine, SQLite, and PostgreSQL when given its connection string: `peers [SECONDS] ["host=… user=… dbname=…"]`.

use std::env;
use std::error::Error;
use std::path::Path;
use std::time::Duration;

use selfchain_bench::ceiling::{Ceiling, CeilingPlan};
use selfchain_bench::machine::{Commit, Machine, build_flags, load_average_1m};
use selfchain_bench::peers::{self, PeerPlan};
use selfchain_bench::report::{Report, SCHEMA};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let seconds: u64 = arguments.next().unwrap_or_else(|| "10".to_owned()).parse()?;
    let plan = PeerPlan {
        each: Duration::from_secs(seconds),
        postgres: arguments.next(),
        folder: env::temp_dir(),
        ..PeerPlan::default()
    };
    let load_average_before = load_average_1m();
    let ceiling_plan = CeilingPlan {
        folder: plan.folder.clone(),
        ..CeilingPlan::default()
    };
    let ceiling = Ceiling::measure(&ceiling_plan, &mut |step| eprintln!("{step}"))?;
    let results = peers::measure(&plan, &mut |step| eprintln!("{step}"))?;
    let commit = Commit::of(Path::new("."));
    let report = Report {
        schema: SCHEMA,
        commit: commit.id,
        dirty: commit.dirty,
        tier: "peers".to_owned(),
        accounts: plan.accounts,
        profile: plan.profile.to_string(),
        seed: plan.seed,
        machine: Machine::of(&plan.folder),
        load_average_before,
        flags: build_flags(),
        ceiling,
        peers: results,
        ..Report::default()
    };
    println!("{}", serde_json::to_string_pretty(&report)?);
    eprint!("{report}");
    Ok(())
}
