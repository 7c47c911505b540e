//! `auto-mk-rotate`: check, ask, start or join, watch. Run again at any moment it joins what runs.

use std::time::Duration;

use crypto::random::{process_rng, uuid_v4};
use protocol::ProcessId;
use protocol::api::{InstanceView, ManifestView, RotationView, StartRotation, Started};
use protocol::audit::Phase;
use protocol::keystore::GateMode;
use protocol::manifest::Manifest;
use protocol::order::Purpose;
use serde_json::json;

use super::follow::{End, Follow};
use super::patience::Patience;
use super::rotations::tell_end;
use super::{joining, key_check, orders};
use crate::app::App;
use crate::cli::rotation::RotateArgs;
use crate::client::coordinator::Coordinator;
use crate::client::{CallError, what_of};
use crate::failure::{Exit, Failure, Outcome};
use crate::interrupt::Handling;
use crate::manifests;
use crate::show::instances::heading;
use crate::show::{differences, rotations as shown};
use crate::sigkeys::signer;

/// Pause between two tries to start.
const PAUSE: Duration = Duration::from_millis(500);

/// `auto-mk-rotate`.
pub async fn run(app: &App, args: &RotateArgs) -> Outcome {
    let coordinator = app.coordinator()?;
    let instance = app.one_instance(&coordinator, &args.instance).await?;
    if let (Some(open), false) = (instance.open_rotation, args.dry_run) {
        let view = coordinator.rotation(open).await?;
        if view.purpose.recovery().is_some() {
            let what = format!("recovery {open} is running: a rotation starts after it");
            return Err(Failure::new(Exit::Unmet, "recovery-running", what)
                .next(format!("keyhelm rotations {open} --follow")));
        }
        return join(app, args, &coordinator, view).await;
    }
    let manifest = coordinator.founded(instance.id, &instance.name).await?;
    let request = match is_signed_by_hand(args, &manifest) {
        true => signed_request(app, args, &coordinator, &manifest).await?,
        false => StartRotation { mode: Some(mode(args)), ..plain_request(args) },
    };
    if args.dry_run || (app.is_interactive() && !args.yes) {
        let plan = StartRotation { dry_run: true, request_id: None, ..request.clone() };
        let started = key_check::watched(app, &coordinator, instance.id, &plan).await;
        show_plan(app, &instance, &started.map_err(unmet)?)?;
        if args.dry_run {
            app.ok("All conditions are met. This was a dry run: nothing has changed.")?;
            return Ok(());
        }
        app.confirm("Rotate the master key now?", false)?;
    }
    let mut started = start(app, args, &coordinator, &instance, &request).await?;
    if started.warnings.iter().any(|found| found.code == "taken-up") {
        let view = named(started.rotation.clone())?;
        // Its units' reports, which say what it was asked for, are gone when it has ended.
        let fits = joining::must_fit(app, args, &coordinator, &view).await;
        match bring_to_its_end(app, args, &coordinator, &started, view).await? {
            End::Ended(view) if view.phase == Phase::Aborted => {
                app.note("It is ended, and has changed nothing. Now for the one asked for.");
                let request_id = plain_request(args).request_id;
                let again = StartRotation { request_id, ..request };
                started = start(app, args, &coordinator, &instance, &again).await?;
            }
            end => return fits.and_then(|()| tell_end(app, end, true)),
        }
    }
    let view = named(started.rotation)?;
    if started.joined {
        return join(app, args, &coordinator, view).await;
    }
    if !started.warnings.is_empty() {
        app.note(format!("WORTH KNOWING\n{}\n", differences::table(&started.warnings)));
    }
    app.note(format!("Rotating the master key of {} (rotation {}):", instance.name, view.rotation));
    let end = Follow::new(app, &coordinator, &args.watch, true).to_end(view).await?;
    tell_end(app, end, false)
}

fn named(rotation: Option<RotationView>) -> Outcome<RotationView> {
    rotation.ok_or_else(|| {
        let what = "the coordinator has started a rotation without naming it";
        Failure::new(Exit::Failed, "unreadable", what).next("keyhelm rotations")
    })
}

/// A rotation that nobody drove comes first; whoever asked waits for its end.
async fn bring_to_its_end(
    app: &App,
    args: &RotateArgs,
    coordinator: &Coordinator,
    started: &Started,
    view: RotationView,
) -> Outcome<End> {
    app.note(format!("WORTH KNOWING\n{}\n", differences::table(&started.warnings)));
    // One that had ended before, and was opened once more, tells of its earlier end too: its events are
    // not looked at.
    Follow::new(app, coordinator, &args.watch, true).by_asking().to_end(view).await
}

fn is_signed_by_hand(args: &RotateArgs, view: &ManifestView) -> bool {
    let is_standing =
        view.standing_order.as_ref().is_some_and(|found| found.until > service::now());
    args.sign || args.needs_signatures() || !is_standing
}

fn mode(args: &RotateArgs) -> GateMode {
    args.mode.map_or(GateMode::Strict, GateMode::from)
}

fn plain_request(args: &RotateArgs) -> StartRotation {
    StartRotation {
        expect_current_pattern: args.expect_current_pattern,
        verify_all: args.verify.is_some(),
        check_keys: args.checks_keys(),
        plan: args.plan,
        // Repeats of one request, after a lost answer, start one rotation.
        request_id: Some(uuid_v4(&mut process_rng()).to_string()),
        ..StartRotation::default()
    }
}

async fn signed_request(
    app: &App,
    args: &RotateArgs,
    coordinator: &Coordinator,
    manifest: &ManifestView,
) -> Outcome<StartRotation> {
    let threshold = manifest.manifest.signature_threshold;
    let mut request = orders::request(Purpose::Rotate, mode(args));
    request.joining = units_named(&manifest.manifest, &args.join)?;
    request.quarantined.clone_from(&args.quarantine);
    request.quarantined.sort();
    request.quarantined.dedup();
    request.hold_after_commit_s = args.hold_after_commit;
    request.hold_before_clear_s = args.hold_before_clear;
    if !args.sign && !args.needs_signatures() {
        app.note("No standing order lets the coordinator rotate by itself: signing an order.");
    }
    let signer = signer::open_quorum(app, &manifest.manifest, threshold, &args.passphrases)?;
    let order = orders::drafted(coordinator, manifest, &request, &signer).await.map_err(
        |error| match error {
            orders::DraftError::Call(error) => unmet(error),
            other => other.into(),
        },
    )?;
    Ok(StartRotation { order: Some(order), ..plain_request(args) })
}

/// The ids of units that go by these names.
pub(super) fn units_named(manifest: &Manifest, names: &[String]) -> Outcome<Vec<ProcessId>> {
    names.iter().map(|name| unit_named(manifest, name)).collect()
}

/// The crypto unit that goes by this name.
pub(super) fn unit_named(manifest: &Manifest, name: &str) -> Outcome<ProcessId> {
    let found = manifests::crypto_unit(manifest, name);
    found
        .map_err(|what| Failure::new(Exit::Usage, "unknown-unit", what).next("keyhelm cryptounits"))
}

/// Starts; a lost connection is tried again under the same request id.
async fn start(
    app: &App,
    args: &RotateArgs,
    coordinator: &Coordinator,
    instance: &InstanceView,
    request: &StartRotation,
) -> Outcome<Started> {
    let handling = Handling::begin();
    let answered = async {
        let mut patience = Patience::of(&args.watch, PAUSE);
        loop {
            match key_check::watched(app, coordinator, instance.id, request).await {
                Ok(started) => return Ok(started),
                Err(error) if error.is_passing() && patience.lasts() => {
                    patience.pause_for(app, "The coordinator does not answer; trying again.").await;
                }
                Err(error) => return Err(unmet(error)),
            }
        }
    };
    tokio::select! {
        biased;
        () = handling.caught() => Err(interrupted(&instance.name)),
        started = answered => started,
    }
}

/// What the coordinator has been asked for, it goes on with.
fn interrupted(instance: &str) -> Failure {
    let what = format!(
        "you have stopped waiting before the coordinator answered: where it was asked, it goes on checking, and \
         begins a rotation of {instance} if all conditions are met"
    );
    Failure::new(Exit::Interrupted, "interrupted", what)
        .safe("keys stay readable; before its decision `keyhelm abort` ends a rotation with nothing changed")
        .next(format!("keyhelm explain --instance {instance}"))
}

async fn join(
    app: &App,
    args: &RotateArgs,
    coordinator: &Coordinator,
    view: RotationView,
) -> Outcome {
    joining::must_fit(app, args, coordinator, &view).await?;
    app.note(format!("Joining rotation {}, which is running already:", view.rotation));
    let end = Follow::new(app, coordinator, &args.watch, true).to_end(view).await?;
    tell_end(app, end, true)
}

fn show_plan(app: &App, instance: &InstanceView, started: &Started) -> Outcome {
    app.object(&json!({
        "type": "plan", "instance": instance.id, "plan": started.plan,
        "warnings": started.warnings,
    }))?;
    if let Some(plan) = &started.plan {
        app.line(format!("{}\n", heading(instance.id, &instance.name)))?;
        app.line(format!("{}\n", shown::plan(plan)))?;
    }
    if !started.warnings.is_empty() {
        app.line(format!("WORTH KNOWING\n{}\n", differences::table(&started.warnings)))?;
    }
    Ok(())
}

/// A start that is refused has changed nothing, whatever the reason.
pub(super) fn unmet(error: CallError) -> Failure {
    let is_conflict = matches!(&error, CallError::Refused(refused) if refused.status == 409);
    let CallError::Refused(refused) = error else { return error.into() };
    if !is_conflict {
        return CallError::Refused(refused).into();
    }
    let safe = refused.safe.unwrap_or_else(|| "nothing has changed".to_owned());
    let what = what_of(refused.detail, &refused.unmet);
    let failure = Failure::new(Exit::Unmet, &refused.code, what).safe(safe).unmet(refused.unmet);
    failure.next(refused.next.unwrap_or_else(|| "keyhelm cryptounit-compare".to_owned()))
}
