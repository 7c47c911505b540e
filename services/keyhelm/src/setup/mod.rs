//! `setup`: everything secret that a cluster of separate processes needs, written into folders of
//! which each is given to its only reader. What is there already stays, so that it can be run before
//! every start.
//!
//! Deliberately absent: anything that runs. Broker and database read what is written here.

mod broker;
mod certificates;
mod database;
mod files;
mod issuer;
mod plan;
mod processes;
mod rights;

use serde_json::json;

use self::files::Place;
use self::plan::Plan;
use crate::app::App;
use crate::cli::setup::SetupArgs;
use crate::failure::{Exit, Failure, Outcome};

/// `setup`.
pub fn run(app: &App, args: &SetupArgs) -> Outcome {
    let plan = Plan::new(args)?;
    issuer::must_be_whole(&plan)?;
    let written = write(&plan).map_err(|error| {
        Failure::new(Exit::Failed, "setup", format!("{error:#}"))
            .safe("what had been written before is as it was")
            .next("keyhelm setup, with the same arguments")
    })?;
    let folder = plan.root.display().to_string();
    let processes = plan.processes.len();
    app.object(&json!({
        "type": "set-up", "folder": folder, "processes": processes, "files_written": written,
    }))?;
    match written {
        0 => app.ok(format!("{folder} was set up before: nothing is written."))?,
        count => app.ok(format!("{count} files are written for {processes} processes."))?,
    }
    Ok(())
}

/// Writes what lacks; answers how many files that were.
fn write(plan: &Plan) -> anyhow::Result<usize> {
    let mut place = Place::new(plan);
    let authority = certificates::authority(plan, &mut place)?;
    let mut members = Vec::new();
    for process in &plan.processes {
        members.push(processes::prepare(plan, process, &authority, &mut place)?);
    }
    processes::tokens(plan, &authority, &mut place)?;
    broker::prepare(plan, &members, &authority, &mut place)?;
    database::prepare(plan, &members, &authority, &mut place)?;
    Ok(place.written())
}
