//! `hold-end`: the administrators end a hold before its time.

use crypto::domain;
use protocol::api::RotationView;
use protocol::audit::Phase;
use protocol::codec;
use protocol::order::{Hold, HoldEnd, SignedHoldEnd};
use protocol::{InstanceId, RotationId};

use super::follow::Follow;
use super::rotations::{named_or_running, tell_end};
use crate::app::App;
use crate::cli::rotation::HoldEndArgs;
use crate::failure::{Exit, Failure, Outcome};
use crate::sigkeys::signer;

/// Signs the end of the hold that the rotation is in, hands it in, and watches the rotation.
pub async fn run(app: &App, args: &HoldEndArgs) -> Outcome {
    let coordinator = app.coordinator()?;
    let id = named_or_running(app, &coordinator, args.id, &args.instance).await?;
    let view = coordinator.rotation(id).await?;
    let instance = args.instance.instance.as_deref().map(InstanceId::named);
    must_be_asked_for(&view, id, instance)?;
    let hold = hold_of(&view)?;
    app.confirm(&question(&view, hold), args.yes)?;
    let name = view.instance.to_string();
    let manifest = coordinator.founded(view.instance, &name).await?.manifest;
    let signer =
        signer::open_quorum(app, &manifest, manifest.signature_threshold, &args.passphrases)?;
    let statement = HoldEnd { instance: view.instance, rotation: id, number: view.number, hold };
    let bytes = codec::encode(&statement);
    let signatures = signer.sign(domain::HOLD_END, &bytes);
    coordinator.end_hold(id, &SignedHoldEnd { bytes, signatures }).await?;
    app.note(format!("The hold {} of rotation {id} is ended:", hold.name()));
    let view = coordinator.rotation(id).await?;
    let is_first = hold == Hold::AfterCommit;
    let end = Follow::new(app, &coordinator, &args.watch, is_first).to_end(view).await?;
    tell_end(app, end, true)
}

/// What is signed names the rotation and the instance that the coordinator shows: they must be those
/// that were asked for.
fn must_be_asked_for(view: &RotationView, id: RotationId, instance: Option<InstanceId>) -> Outcome {
    let RotationView { rotation, instance: shown, .. } = view;
    if *rotation == id && instance.is_none_or(|asked| asked == *shown) {
        return Ok(());
    }
    let of = instance.map_or_else(String::new, |asked| format!(" of instance {asked}"));
    let what = format!(
        "asked for rotation {id}{of}, the coordinator shows rotation {rotation} of instance {shown}"
    );
    Err(Failure::new(Exit::Failed, "other-rotation", what)
        .safe("nothing was signed, nothing has changed")
        .next("keyhelm rotations"))
}

fn question(view: &RotationView, hold: Hold) -> String {
    let what = match hold {
        Hold::AfterCommit => {
            "Go on with the re-encryption? Wrapped keys outside of the key storage must have been \
             re-wrapped by then."
        }
        Hold::BeforeClear => {
            "Have the old master key wiped? Backups of the key storage from before the rotation \
             cannot be brought back after that."
        }
    };
    format!("Rotation {} of instance {}:\n{what}", view.rotation, view.instance)
}

fn hold_of(view: &RotationView) -> Outcome<Hold> {
    match view.phase {
        Phase::HoldAfterCommit => Ok(Hold::AfterCommit),
        Phase::HoldBeforeClear => Ok(Hold::BeforeClear),
        phase => {
            let what = format!("rotation {} is in no hold: it is at {phase}", view.rotation);
            Err(Failure::new(Exit::Failed, "not-holding", what)
                .safe("nothing has changed")
                .next(format!("keyhelm rotations {}", view.rotation)))
        }
    }
}
