//! Joining a rotation that runs already: only where it has what the command asks for. What it has stands
//! in its signed order, which each unit that has taken it hands on in its report.

use std::time::Duration;

use machines::envelope;
use protocol::api::RotationView;
use protocol::order::Order;
use protocol::report::UnitReport;

use super::patience::Patience;
use super::rotate::units_named;
use crate::app::App;
use crate::cli::rotation::RotateArgs;
use crate::client::coordinator::Coordinator;
use crate::failure::{Exit, Failure, Outcome};

/// Pause between two looks for an order that no unit has taken yet.
const PAUSE: Duration = Duration::from_millis(300);

/// Refuses to join where the rotation that runs lacks something that was asked for.
pub async fn must_fit(
    app: &App,
    args: &RotateArgs,
    coordinator: &Coordinator,
    view: &RotationView,
) -> Outcome {
    let id = view.rotation;
    if args.verify.is_some() && !view.verify_all {
        let what = format!("rotation {id} was started without --verify all");
        return Err(Failure::new(Exit::Unmet, "verified-in-part", what)
            .safe("nothing was started")
            .next("keyhelm auto-mk-rotate"));
    }
    if let (Some(expected), Some(from)) = (args.expect_current_pattern, view.from)
        && expected != from
    {
        let what = format!("rotation {id} is running, from {from}, not {expected}");
        return Err(Failure::new(Exit::Unmet, "unexpected-pattern", what)
            .safe("nothing was started")
            .next(format!("keyhelm rotations {id}")));
    }
    if args.plan.is_some() {
        return Err(otherwise(view, "whether it is that of --plan, nobody can say any more"));
    }
    if args.mode.is_none() && !args.needs_signatures() {
        return Ok(());
    }
    app.note(format!("Rotation {id} is running already: looking whether it is what is asked for."));
    let Some(order) = order_of(args, coordinator, view).await? else {
        return Err(otherwise(view, "no crypto unit has said yet what it was asked for"));
    };
    let lacking = lacking(args, coordinator, &order).await?;
    match lacking.is_empty() {
        true => Ok(()),
        false => Err(otherwise(view, &format!("it is not one with {}", lacking.join(", ")))),
    }
}

/// The options that an order does not have, as they were given.
async fn lacking(
    args: &RotateArgs,
    coordinator: &Coordinator,
    order: &Order,
) -> Outcome<Vec<String>> {
    let mut lacking = Vec::new();
    if let Some(mode) = args.mode.filter(|mode| order.mode != (*mode).into()) {
        lacking.push(format!("--mode {}", mode.name()));
    }
    for (asked, has, option) in [
        (args.hold_after_commit, order.hold_after_commit_s, "--hold-after-commit"),
        (args.hold_before_clear, order.hold_before_clear_s, "--hold-before-clear"),
    ] {
        if asked > 0 && asked != has {
            lacking.push(format!("{option} {asked}s"));
        }
    }
    if !args.join.is_empty() {
        let manifest = coordinator.founded(order.instance, &order.instance.to_string()).await?;
        let units = units_named(&manifest.manifest, &args.join)?;
        let named = units.iter().zip(&args.join);
        let others = named.filter(|(unit, _)| !order.joining.contains(unit));
        lacking.extend(others.map(|(_, name)| format!("--join {name}")));
    }
    let others = args.quarantine.iter().filter(|key| !order.quarantined.contains(key));
    lacking.extend(others.map(|key| format!("--quarantine {key}")));
    Ok(lacking)
}

/// The order of the rotation that runs; none if no unit takes it within patience.
async fn order_of(
    args: &RotateArgs,
    coordinator: &Coordinator,
    view: &RotationView,
) -> Outcome<Option<Order>> {
    let patience = Patience::of(&args.watch, PAUSE);
    loop {
        // Before its survey has ended a rotation has no reports: it is asked again.
        let reports = match coordinator.reports(view.rotation).await {
            Ok(reports) => reports,
            Err(error) if error.is_passing() || error.is_conflict() => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let read = reports.iter().filter_map(|it| envelope::unverified(&it.envelope));
        let taken = read.filter_map(|report: UnitReport| report.rotation);
        let orders = taken.filter_map(|taken| taken.signed_order.unverified().ok());
        let order = orders.into_iter().find(|order| order.rotation == view.rotation);
        if order.is_some() || patience.is_over() {
            return Ok(order);
        }
        let is_over = coordinator.rotation(view.rotation).await.is_ok_and(|it| it.phase.is_ended());
        if is_over {
            return Ok(None);
        }
        patience.pause().await;
    }
}

fn otherwise(view: &RotationView, why: &str) -> Failure {
    let id = view.rotation;
    let what = format!("rotation {id} runs already and was asked for otherwise: {why}");
    Failure::new(Exit::Unmet, "other-rotation", what)
        .safe("nothing was started; the rotation that runs goes on")
        .next(format!("keyhelm rotations {id} --follow, then the same command again"))
}
