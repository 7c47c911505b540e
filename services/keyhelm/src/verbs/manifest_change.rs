//! New manifests: who belongs to an instance, who rules it, under which thresholds.

use crypto::domain;
use protocol::RotationId;
use protocol::api::{AnnouncedMember, InstanceView, ManifestRequest, ManifestView};
use protocol::codec;
use protocol::manifest::{Administrator, Amendment, Manifest, SignedManifest};
use protocol::order::StandingOrder;
use serde_json::json;

use super::{fingerprints, standing};
use crate::app::App;
use crate::cli::administration::{
    AdminAddArgs, AdminRmArgs, ChangeArgs, EnrollArgs, RetireArgs, ThresholdsArgs,
};
use crate::client::coordinator::Coordinator;
use crate::failure::{Exit, Failure, Outcome};
use crate::manifests;
use crate::show::manifest_changes;
use crate::sigkeys::Folder;
use crate::sigkeys::signer;

/// A manifest that is being changed.
struct Change<'a> {
    app: &'a App,
    args: &'a ChangeArgs,
    coordinator: Coordinator,
    instance: InstanceView,
    view: ManifestView,
}

/// `cryptounit-enroll`.
pub async fn enroll(app: &App, args: &EnrollArgs) -> Outcome {
    let change = Change::begin_amending(app, &args.change).await?;
    let announced = change.coordinator.members(change.instance.id).await?;
    let mut new = Vec::new();
    for name in &args.names {
        let found = announced_as(&announced, &change.view.manifest, name)?;
        match change.view.manifest.member(found.member.id) {
            None => new.push(found.clone()),
            Some(_) => app.note(format!(
                "{name} is a member already, and no other process has announced itself by this name."
            )),
        }
    }
    if new.is_empty() {
        return change.give_again().await;
    }
    let listed = fingerprints::listed(&args.fingerprints)?;
    fingerprints::accept(app, &args.fingerprints, listed.as_deref(), &new)?;
    let mut next = change.next();
    for found in &new {
        next = manifests::enroll(next, found, args.replace).map_err(refused)?;
    }
    let next = change.amended(next).await?;
    let names: Vec<_> = new.iter().map(|found| found.member.name.as_str()).collect();
    change.finish(next, &format!("Take {} into the instance?", names.join(", "))).await
}

/// `cryptounit-retire`.
pub async fn retire(app: &App, args: &RetireArgs) -> Outcome {
    let change = Change::begin_amending(app, &args.change).await?;
    let mut next = change.next();
    for name in &args.names {
        next = manifests::retire(next, name).map_err(refused)?;
    }
    let next = change.amended(next).await?;
    let question = match args.nobody {
        true => "Sign the manifest once more, without a change?".to_owned(),
        false => {
            let names = args.names.join(", ");
            format!("Remove {names} from the instance? It serves nothing any more then.")
        }
    };
    change.finish(next, &question).await
}

/// `cryptounit-admin-add`.
pub async fn add_administrators(app: &App, args: &AdminAddArgs) -> Outcome {
    let keys = Folder::find(app.sigkeys())?.numbered(&args.numbers)?;
    let change = Change::begin(app, &args.change).await?;
    let mut next = change.next();
    for key in &keys {
        let name = key.info.description.clone();
        let new = Administrator { name, key: key.info.public_key };
        next = manifests::add_administrator(next, new).map_err(refused)?;
    }
    let names: Vec<_> = keys.iter().map(|key| key.info.description.as_str()).collect();
    change.finish(next, &format!("Make {} administrators?", names.join(", "))).await
}

/// `cryptounit-admin-rm`.
pub async fn remove_administrators(app: &App, args: &AdminRmArgs) -> Outcome {
    let change = Change::begin(app, &args.change).await?;
    let mut next = change.next();
    for who in &args.administrators {
        next = manifests::remove_administrator(next, who).map_err(refused)?;
    }
    let question = format!("Remove administrators {}?", args.administrators.join(", "));
    change.finish(next, &question).await
}

/// `cryptounit-thrhld-set`.
pub async fn set_thresholds(app: &App, args: &ThresholdsArgs) -> Outcome {
    let change = Change::begin(app, &args.change).await?;
    let (signature, revocation) = (args.signature_threshold, args.revocation_threshold);
    let next = manifests::set_thresholds(change.next(), signature, revocation).map_err(refused)?;
    let question = format!(
        "Set the signature threshold to {} and the revocation threshold to {}?",
        next.signature_threshold, next.revocation_threshold
    );
    change.finish(next, &question).await
}

impl<'a> Change<'a> {
    /// For changes that amend the rotation that runs, if one does.
    async fn begin_amending(app: &'a App, args: &'a ChangeArgs) -> Outcome<Self> {
        let coordinator = app.coordinator()?;
        let instance = app.one_instance(&coordinator, &args.instance).await?;
        let view = coordinator.founded(instance.id, &instance.name).await?;
        Ok(Self { app, args, coordinator, instance, view })
    }

    /// For changes that no unit takes while a rotation runs.
    async fn begin(app: &'a App, args: &'a ChangeArgs) -> Outcome<Self> {
        let change = Self::begin_amending(app, args).await?;
        if let Some(open) = change.rotation().await? {
            let what = format!("rotation {open} is running: units take no such manifest meanwhile");
            return Err(Failure::new(Exit::Unmet, "rotation-running", what)
                .next(format!("keyhelm rotations {open} --follow")));
        }
        Ok(change)
    }

    /// While a rotation runs the manifest amends it, and carries the report of a unit that stays and
    /// holds the master keys that are still needed; where no crypto unit goes, it can do without.
    async fn amended(&self, next: Manifest) -> Outcome<Manifest> {
        let Some(rotation) = self.rotation().await? else { return Ok(next) };
        let reports = self.coordinator.reports(rotation).await?;
        let chain = &self.view.chain;
        let found = manifests::holder_report(chain, &next, rotation, &reports);
        let holder_report = match next.crypto_units().eq(self.view.manifest.crypto_units()) {
            true => Ok(found.unwrap_or_default()),
            false => found,
        };
        let holder_report = holder_report.map_err(|what| {
            Failure::new(Exit::Unmet, "no-holder", what)
                .safe("nothing has changed")
                .next("keyhelm explain")
        })?;
        self.app.note(format!("Rotation {rotation} is running: this manifest amends it."));
        Ok(Manifest { amendment: Some(Amendment { rotation, holder_report }), ..next })
    }

    /// The rotation that runs; none if it is an order to recover, which any new manifest ends.
    async fn rotation(&self) -> Outcome<Option<RotationId>> {
        let Some(open) = self.instance.open_rotation else { return Ok(None) };
        let view = self.coordinator.rotation(open).await?;
        if view.purpose.recovery().is_none() {
            return Ok(Some(open));
        }
        self.app.note(format!("Recovery {open} is running: this manifest ends it."));
        Ok(None)
    }

    fn next(&self) -> Manifest {
        manifests::next(&self.view, service::now())
    }

    /// Shows what would be signed, asks, signs, judges the result as every process will, and gives it to
    /// the coordinator.
    async fn finish(self, next: Manifest, question: &str) -> Outcome {
        let before = &self.view.manifest;
        let kept = self.kept_standing_order(&next)?;
        self.app.note(format!("\n{}\n", manifest_changes::screen(Some(before), &next)));
        self.tell_of_standing_order(&next, kept.as_ref());
        if self.app.is_interactive() {
            self.app.confirm(question, self.args.yes)?;
        }
        let needed = before.signature_threshold;
        let signer = signer::open_quorum(self.app, before, needed, &self.args.passphrases)?;
        let bytes = codec::encode(&next);
        let signed = SignedManifest { signatures: signer.sign(domain::MANIFEST, &bytes), bytes };
        manifests::judge(self.instance.id, &self.view.chain, &signed).map_err(|reason| {
            Failure::new(Exit::NotPermitted, "not-signed", reason)
                .next("keyhelm sigkey-sel KEYNUM..., with as many administrators as it takes")
        })?;
        let standing_order = kept.as_ref().map(|standing| standing::signed(standing, &signer));
        let given = ManifestRequest { standing_order, ..signed.into() };
        self.coordinator.give_manifest(self.instance.id, &given).await?;
        self.app.object(&json!({
            "type": "manifest", "instance": next.instance, "serial": next.serial,
            "standing_order_kept": kept.is_some(),
        }))?;
        let name = &self.instance.name;
        self.app.ok(format!("Instance {name} has manifest {}.", next.serial))?;
        Ok(())
    }

    /// Any new manifest ends the standing order: the one that goes on under the next, if it shall.
    fn kept_standing_order(&self, next: &Manifest) -> Outcome<Option<StandingOrder>> {
        let found = self.view.standing_order.as_ref().filter(|_| self.args.keep_standing_order);
        found.map(|found| standing::kept(&self.view.manifest, next, found)).transpose()
    }

    fn tell_of_standing_order(&self, next: &Manifest, kept: Option<&StandingOrder>) {
        match kept {
            Some(standing) => {
                let words = standing::in_words(standing);
                self.app.note(format!("Signed again with it, the standing order: {words}.\n"));
            }
            None if self.view.standing_order.is_some() => self.app.warn(format!(
                "manifest {} ends the standing order: sign another with keyhelm auto-init \
                 --standing-order DURATION",
                next.serial
            )),
            None => {}
        }
    }

    /// Gives the newest manifest once more, so that whoever lacks it is sent it.
    async fn give_again(self) -> Outcome {
        if let Some(newest) = self.view.chain.last() {
            self.coordinator.give_manifest(self.instance.id, &newest.clone().into()).await?;
        }
        let serial = self.view.manifest.serial;
        self.app.object(&json!({
            "type": "manifest", "instance": self.instance.id, "serial": serial,
        }))?;
        self.app.ok(format!("Manifest {serial} is sent again to whoever lacks it."))?;
        Ok(())
    }
}

/// The process that has announced itself under a name. A member that is known by the name is meant
/// only if no newcomer has it.
fn announced_as<'a>(
    announced: &'a [AnnouncedMember],
    manifest: &Manifest,
    name: &str,
) -> Outcome<&'a AnnouncedMember> {
    let is_it =
        |found: &&AnnouncedMember| found.member.name == name || found.member.id.to_string() == name;
    let is_new = |found: &&AnnouncedMember| manifest.member(found.member.id).is_none();
    let newcomers: Vec<_> = announced.iter().filter(is_it).filter(is_new).collect();
    match newcomers.as_slice() {
        [one] => Ok(one),
        [] => announced.iter().find(is_it).ok_or_else(|| {
            let names: Vec<_> = announced.iter().map(|found| found.member.name.as_str()).collect();
            let what = format!(
                "no process named {name} has announced itself; those that have: {}",
                names.join(", ")
            );
            Failure::usage(what).next(format!("start {name}"))
        }),
        _ => Err(Failure::usage(format!("several processes are named {name}: give the id of one"))),
    }
}

fn refused(reason: String) -> Failure {
    Failure::usage(reason)
}
