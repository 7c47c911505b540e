//! `auto-init`: the first manifest, the first master key, the standing order. Each step is skipped
//! where it has been done, so that the command can be run again after any crash.

use std::time::Duration;

use crypto::domain;
use protocol::Role;
use protocol::api::{
    AnnouncedMember, InstanceView, ManifestView, OrderDraftRequest, RotationView, StartRotation,
    UnitView,
};
use protocol::codec;
use protocol::keystore::GateMode;
use protocol::manifest::{Administrator, SignedManifest};
use protocol::order::{Purpose, SignedOrder};
use serde_json::json;

use super::follow::{End, Follow};
use super::patience::Patience;
use super::{fingerprints, orders, rotations, sigkeys, standing};
use crate::app::App;
use crate::cli::administration::AutoInitArgs;
use crate::client::CallError;
use crate::client::coordinator::Coordinator;
use crate::failure::{Exit, Failure, Outcome};
use crate::manifests::{self, Founding};
use crate::show::manifest_changes;
use crate::show::time::{counted, span};
use crate::sigkeys::signer::{self, Signer};

/// Pause between two looks at who has announced itself or taken the manifest.
const PAUSE: Duration = Duration::from_millis(250);

/// `auto-init`.
pub async fn run(app: &App, args: &AutoInitArgs) -> Outcome {
    let coordinator = app.coordinator()?;
    let instance = reached(app, args, &coordinator).await?;
    let mut signer = None;
    let view = match coordinator.manifest(instance.id).await? {
        Some(view) => {
            let serial = view.manifest.serial;
            app.note(format!("{} has manifest {serial} already.", instance.name));
            view
        }
        None => {
            let (opened, signed) = found(app, args, &coordinator, &instance).await?;
            signer = Some(opened);
            manifest_of(&coordinator, &instance, &signed).await?
        }
    };
    let is_new_key = initialise(app, args, &coordinator, &view, &mut signer).await?;
    let is_new_standing = stand(app, args, &coordinator, &view, &mut signer).await?;
    app.object(&json!({
        "type": "initialised", "instance": instance.id, "manifest_serial": view.manifest.serial,
        "new_master_key": is_new_key, "new_standing_order": is_new_standing,
    }))?;
    match is_new_key || is_new_standing {
        true => app.ok(format!("Instance {} is ready.", instance.name))?,
        false => app.ok(format!("Instance {} was ready before.", instance.name))?,
    }
    Ok(())
}

/// The instance, once the coordinator answers and knows one: whoever has just started a cluster is not
/// the last one to be ready.
async fn reached(
    app: &App,
    args: &AutoInitArgs,
    coordinator: &Coordinator,
) -> Outcome<InstanceView> {
    let mut patience = Patience::of(&args.watch, PAUSE);
    loop {
        let lacking = match coordinator.instances().await {
            Ok(found) if found.is_empty() => "no process has announced itself",
            Ok(_) => break,
            Err(error) if error.is_passing() && !patience.is_over() => {
                "the coordinator does not answer"
            }
            Err(error) => return Err(error.into()),
        };
        if patience.is_over() {
            break;
        }
        patience.pause_for(app, &format!("Waiting: {lacking}.")).await;
    }
    app.one_instance(coordinator, &args.instance).await
}

/// Names everybody in the first manifest, and gives its bytes.
async fn found(
    app: &App,
    args: &AutoInitArgs,
    coordinator: &Coordinator,
    instance: &InstanceView,
) -> Outcome<(Signer, Vec<u8>)> {
    sigkeys::first_if_none(app, &args.passphrases)?;
    let keys = signer::selected(app)?;
    let listed = fingerprints::listed(&args.fingerprints)?;
    let wanted = listed.as_ref().map(Vec::len);
    let announced = wait_for_members(app, args, coordinator, instance, wanted).await?;
    fingerprints::accept(app, &args.fingerprints, listed.as_deref(), &announced)?;
    if announced.iter().all(|found| found.member.role != Role::Gateway) {
        app.warn(
            "no gateway has announced itself: keys cannot be used over HTTP until one is enrolled \
             (keyhelm cryptounit-enroll NAME)",
        );
    }
    let administrators = keys
        .iter()
        .map(|key| Administrator { name: key.info.description.clone(), key: key.info.public_key })
        .collect();
    let founding = Founding {
        instance: instance.id,
        name: &instance.name,
        announced: &announced,
        administrators,
        signature_threshold: args.signature_threshold,
        revocation_threshold: args.revocation_threshold,
    };
    let manifest = manifests::first(founding, service::now()).map_err(Failure::usage)?;
    app.note(format!("{}\n", manifest_changes::screen(None, &manifest)));
    let signer = Signer::open(&keys, &args.passphrases)?;
    let bytes = codec::encode(&manifest);
    let signatures = signer.sign(domain::MANIFEST, &bytes);
    let signed = SignedManifest { signatures, bytes: bytes.clone() };
    app.note(format!("Installing {}....", counted(keys.len() as u64, "administrator")));
    app.note("Setting signature thresholds....");
    coordinator.give_manifest(instance.id, &signed.into()).await?;
    Ok((signer, bytes))
}

/// Waits until whoever is needed has announced itself.
async fn wait_for_members(
    app: &App,
    args: &AutoInitArgs,
    coordinator: &Coordinator,
    instance: &InstanceView,
    listed: Option<usize>,
) -> Outcome<Vec<AnnouncedMember>> {
    let mut patience = Patience::of(&args.watch, PAUSE);
    loop {
        let announced = coordinator.members(instance.id).await?;
        let units = announced.iter().filter(|found| found.member.role.is_crypto_unit()).count();
        let mut lacking = manifests::lacking(&announced);
        let wanted = usize::from(args.wait_for_units.unwrap_or(0));
        if units < wanted {
            lacking.push(format!("{units} of {wanted} crypto units have announced themselves"));
        }
        let count = announced.len();
        if let Some(listed) = listed.filter(|listed| count < *listed) {
            lacking.push(format!("{count} of {listed} listed processes have announced themselves"));
        }
        if lacking.is_empty() {
            return Ok(announced);
        }
        if patience.is_over() {
            let what = format!(
                "after {} instance {} cannot be founded yet\n  {}",
                span(patience.most().as_secs()),
                instance.name,
                lacking.join("\n  ")
            );
            return Err(Failure::new(Exit::Unmet, "members-missing", what)
                .next("start what is missing, then keyhelm auto-init"));
        }
        patience.pause_for(app, &format!("Waiting: {}.", lacking.join("; "))).await;
    }
}

/// What the coordinator shows after the founding: it begins with what was signed here.
async fn manifest_of(
    coordinator: &Coordinator,
    instance: &InstanceView,
    signed: &[u8],
) -> Outcome<ManifestView> {
    let view = coordinator.manifest(instance.id).await?.ok_or_else(|| {
        let what = "the coordinator has taken the manifest and does not know it";
        Failure::new(Exit::Unfinished, "manifest-unknown", what).next("keyhelm auto-init")
    })?;
    match view.chain.first().is_some_and(|first| first.bytes == signed) {
        true => Ok(view),
        false => Err(coordinator.forged(instance.id, "its first one is not the one signed here")),
    }
}

/// Makes the first master key, unless every unit holds one. `Ok(false)` if they do.
async fn initialise(
    app: &App,
    args: &AutoInitArgs,
    coordinator: &Coordinator,
    view: &ManifestView,
    signer: &mut Option<Signer>,
) -> Outcome<bool> {
    let instance = view.manifest.instance;
    let open = coordinator.instances().await?.into_iter().find(|found| found.id == instance);
    if let Some(open) = open.and_then(|found| found.open_rotation) {
        app.note(format!("Joining rotation {open}, which is running already:"));
        let running = coordinator.rotation(open).await?;
        return watch(app, args, coordinator, running, true).await.map(|()| true);
    }
    let units = coordinator.units(instance).await?.units;
    let has_key = |unit: &UnitView| {
        unit.state.as_ref().is_some_and(|state| state.registers.current.is_some())
    };
    if units.iter().any(has_key) {
        // A unit that is silent now is precheck's matter; one that answers "Empty" is not.
        return match units.iter().all(|unit| unit.state.is_none() || has_key(unit)) {
            true => Ok(false),
            false => Err(half_initialised(&units, has_key)),
        };
    }
    let signer = opened(app, args, view, signer)?;
    let request = orders::request(Purpose::Initialise, GateMode::Strict);
    let order = draft_when_ready(app, args, coordinator, view, &request, signer).await?;
    app.note("Generating a random master key value and transferring it to all crypto units....");
    let start = StartRotation { order: Some(order), ..StartRotation::default() };
    let started = coordinator.start(instance, &start).await?;
    let Some(rotation) = started.rotation else {
        let what = "the coordinator has started a rotation without naming it";
        return Err(Failure::new(Exit::Unfinished, "unreadable", what).next("keyhelm auto-init"));
    };
    watch(app, args, coordinator, rotation, started.joined).await.map(|()| true)
}

async fn watch(
    app: &App,
    args: &AutoInitArgs,
    coordinator: &Coordinator,
    view: RotationView,
    joined: bool,
) -> Outcome {
    let end = Follow::new(app, coordinator, &args.watch, false).to_end(view).await?;
    match end {
        End::Ended(_) => rotations::tell_end(app, end, joined),
        End::Held(..) => Ok(()),
    }
}

/// Units take a new manifest in their own time; until then the draft is refused with what is unmet.
async fn draft_when_ready(
    app: &App,
    args: &AutoInitArgs,
    coordinator: &Coordinator,
    view: &ManifestView,
    request: &OrderDraftRequest,
    signer: &Signer,
) -> Outcome<SignedOrder> {
    let mut patience = Patience::of(&args.watch, PAUSE);
    loop {
        let error = match orders::drafted(coordinator, view, request, signer).await {
            Ok(order) => return Ok(order),
            Err(orders::DraftError::Call(error)) => error,
            Err(other) => return Err(other.into()),
        };
        let is_unmet = matches!(&error, CallError::Refused(refused) if !refused.unmet.is_empty());
        if !(is_unmet || error.is_passing()) || patience.is_over() {
            return Err(error.into());
        }
        patience.pause_for(app, "Waiting until every process has taken the manifest....").await;
    }
}

/// Gives the standing order that is asked for, unless it is there. `Ok(false)` if it is.
async fn stand(
    app: &App,
    args: &AutoInitArgs,
    coordinator: &Coordinator,
    view: &ManifestView,
    signer: &mut Option<Signer>,
) -> Outcome<bool> {
    let Some(wanted) = standing::wanted(&args.standing, &view.manifest)? else {
        return Ok(false);
    };
    if standing::is_there(view, &wanted, args.standing.until.is_some()) {
        return Ok(false);
    }
    let signer = opened(app, args, view, signer)?;
    standing::give(app, coordinator, &wanted, signer).await?;
    Ok(true)
}

/// The keys, opened once.
fn opened<'a>(
    app: &App,
    args: &AutoInitArgs,
    view: &ManifestView,
    signer: &'a mut Option<Signer>,
) -> Outcome<&'a Signer> {
    let opened = match signer.take() {
        Some(opened) => opened,
        None => {
            let threshold = view.manifest.signature_threshold;
            signer::open_quorum(app, &view.manifest, threshold, &args.passphrases)?
        }
    };
    Ok(signer.insert(opened))
}

fn half_initialised(units: &[UnitView], has_key: impl Fn(&UnitView) -> bool) -> Failure {
    let names = |is_with: bool| -> String {
        let found = units.iter().filter(|unit| has_key(unit) == is_with);
        found.map(|unit| unit.member.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let what = format!(
        "some units hold a master key ({}) and others do not, or do not answer ({})",
        names(true),
        names(false)
    );
    Failure::new(Exit::Unmet, "half-initialised", what)
        .safe("nothing has changed; a unit that holds a key is never initialised again")
        .next("keyhelm cryptounit-compare")
}
