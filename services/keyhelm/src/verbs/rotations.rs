//! Looking at rotations, and ending one.

use protocol::RotationId;
use protocol::api::RotationView;
use protocol::audit::Phase;
use protocol::order::Purpose;
use serde_json::json;

use super::follow::{End, Follow};
use crate::app::App;
use crate::cli::InstanceArg;
use crate::cli::rotation::{AbortArgs, RotationsArgs};
use crate::client::coordinator::Coordinator;
use crate::failure::{Exit, Failure, Outcome};
use crate::show::instances::heading;
use crate::show::progress::done_line;
use crate::show::time::{count, moment, seconds};
use crate::show::{colour, rotations as shown};

/// `rotations`.
pub async fn run(app: &App, args: &RotationsArgs) -> Outcome {
    let coordinator = app.coordinator()?;
    let Some(id) = args.id else { return list(app, &coordinator, args).await };
    let view = coordinator.rotation(id).await?;
    if args.follow {
        let end = Follow::new(app, &coordinator, &args.watch, false).to_end(view).await?;
        return tell_end(app, end, true);
    }
    app.object(&view)?;
    app.line(shown::detail(&view, service::now()))?;
    Ok(())
}

async fn list(app: &App, coordinator: &Coordinator, args: &RotationsArgs) -> Outcome {
    for instance in app.instances(coordinator, &args.instance).await? {
        let found = coordinator.rotations(instance.id, args.limit).await?;
        for view in &found {
            app.object(view)?;
        }
        app.line(format!("{}\n", heading(instance.id, &instance.name)))?;
        app.line(match found.is_empty() {
            true => "No rotations yet.\n".to_owned(),
            false => format!("{}\n", shown::list(&found)),
        })?;
    }
    Ok(())
}

/// `abort`.
pub async fn abort(app: &App, args: &AbortArgs) -> Outcome {
    let coordinator = app.coordinator()?;
    let id = named_or_running(app, &coordinator, args.id, &args.instance).await?;
    let question = format!("End rotation {id}? Before its decision nothing has changed then.");
    if app.is_interactive() {
        app.confirm(&question, args.yes)?;
    }
    coordinator.abort(id, &args.because).await?;
    let view = coordinator.rotation(id).await?;
    match Follow::new(app, &coordinator, &args.watch, false).to_end(view).await? {
        End::Ended(view) if view.phase == Phase::Aborted => {
            app.object(&json!({ "type": "aborted", "rotation": view }))?;
            app.ok(format!("Rotation {id} is ended; nothing has changed."))?;
            Ok(())
        }
        End::Ended(view) | End::Held(view, _) => {
            let what =
                format!("rotation {id} was decided before the abort came: it has gone through");
            app.object(&json!({ "type": "done", "rotation": view }))?;
            Err(Failure::new(Exit::Failed, "decided", what)
                .safe("every key is under the new master key")
                .next(format!("keyhelm rotations {id}")))
        }
    }
}

/// The rotation that is named, or the one that runs in the instance.
pub async fn named_or_running(
    app: &App,
    coordinator: &Coordinator,
    named: Option<RotationId>,
    wanted: &InstanceArg,
) -> Outcome<RotationId> {
    if let Some(id) = named {
        return Ok(id);
    }
    let instance = app.one_instance(coordinator, wanted).await?;
    instance.open_rotation.ok_or_else(|| {
        let what = format!("no rotation is running in {}", instance.name);
        Failure::new(Exit::Failed, "not-running", what).next("keyhelm rotations")
    })
}

/// Tells how a watched rotation ended; an abort is a failure.
pub fn tell_end(app: &App, end: End, joined: bool) -> Outcome {
    match end {
        End::Ended(view) if view.phase == Phase::Aborted => Err(aborted(&view)),
        End::Ended(view) => {
            app.object(&json!({ "type": "done", "joined": joined, "rotation": view }))?;
            app.painted(end_line(&view))?;
            Ok(())
        }
        End::Held(view, until) => {
            let held = moment(until);
            app.object(&json!({
                "type": "held", "joined": joined, "kept_until": held, "rotation": view,
            }))?;
            app.ok(format!(
                "Master key rotated and in use: {} keys. The old one is kept until {held}; the \
                 next rotation can start after that, or after keyhelm hold-end {}.",
                count(view.keys_total),
                view.rotation
            ))?;
            Ok(())
        }
    }
}

fn end_line(view: &RotationView) -> String {
    let line = match view.purpose {
        Purpose::Initialise => {
            let took = view.finished_at.map_or(0, |at| at.since(view.started_at));
            let pattern = view.to.map(|to| to.short()).unwrap_or_default();
            format!(
                "OK  Initialised: a random master key in {} crypto units, {}. Pattern {pattern}....",
                view.units_total,
                seconds(took)
            )
        }
        Purpose::Recover { .. } => {
            let took = view.finished_at.map_or(0, |at| at.since(view.started_at));
            let pattern = view.from.map(|from| from.short()).unwrap_or_default();
            let id = view.rotation;
            format!(
                "OK  Master key recovered, {}. Pattern {pattern}.... Order: {id}.",
                seconds(took)
            )
        }
        Purpose::Rotate => format!("{} Rotation: {}.", done_line(view), view.rotation),
    };
    let line = match view.receipt {
        Some(hash) => format!("{line} Receipt: {}...", hash.short()),
        None => line,
    };
    match line.strip_prefix("OK") {
        Some(rest) => format!("{}{rest}", colour::good("OK")),
        None => line,
    }
}

fn aborted(view: &RotationView) -> Failure {
    let because = view.aborted_because.as_deref().unwrap_or("no reason is known");
    let what = format!("{} was aborted: {because}", noun(view));
    let failure = Failure::new(Exit::Failed, "aborted", what);
    match view.purpose.recovery() {
        Some(_) => failure.next("keyhelm auto-mk-recover"),
        None => failure,
    }
}

/// What it is, with its id.
pub fn noun(view: &RotationView) -> String {
    let noun = if view.purpose.recovery().is_some() { "recovery" } else { "rotation" };
    format!("{noun} {}", view.rotation)
}
