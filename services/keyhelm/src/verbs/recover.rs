//! `auto-mk-recover`: every crypto unit without a master key gets the current one out of a recovery
//! unit, one after the other, each by an order of its own. Run again at any moment it goes on.

use std::time::Duration;

use crypto::random::{process_rng, uuid_v4};
use protocol::ProcessId;
use protocol::api::{
    InstanceView, ManifestView, OrderDraft, OrderDraftRequest, RotationView, StartRotation,
    UnitView, UnitsView,
};
use protocol::audit::Phase;
use protocol::keystore::GateMode;
use protocol::order::{Purpose, Recovery};
use protocol::report::Standing;
use serde_json::json;

use super::follow::{End, Follow};
use super::patience::Patience;
use super::rotate::{unit_named, unmet};
use super::{orders, rotations};
use crate::app::App;
use crate::cli::rotation::RecoverArgs;
use crate::client::CallError;
use crate::client::coordinator::Coordinator;
use crate::failure::{Exit, Failure, Outcome};
use crate::show::instances::heading;
use crate::show::{compare, recover as shown};
use crate::sigkeys::signer::{self, Signer};

/// Pause between two looks at what runs.
const PAUSE: Duration = Duration::from_millis(300);
/// How often a draft is asked for once more, where something that nobody drove had to end first.
const TRIES: usize = 3;

/// What the verb has at hand.
struct Recovering<'a> {
    app: &'a App,
    args: &'a RecoverArgs,
    coordinator: Coordinator,
    instance: InstanceView,
    manifest: ManifestView,
}

/// `auto-mk-recover`.
pub async fn run(app: &App, args: &RecoverArgs) -> Outcome {
    let coordinator = app.coordinator()?;
    let instance = app.one_instance(&coordinator, &args.instance).await?;
    let manifest = coordinator.founded(instance.id, &instance.name).await?;
    let it = Recovering { app, args, coordinator, instance, manifest };
    if !args.dry_run {
        it.bring_to_its_end().await?;
    }
    let units = it.coordinator.units(it.instance.id).await?;
    let rows = it.choose(&units)?;
    if rows.is_empty() {
        return it.nothing_to_recover(&units);
    }
    it.show_plan(&rows)?;
    if args.dry_run {
        return it.try_out(&rows).await;
    }
    if app.is_interactive() {
        app.confirm("Copy the current master key into these crypto units?", args.yes)?;
    }
    // The conditions are shown before anybody types a passphrase.
    for (_, recovery) in &rows {
        it.drafted_once(*recovery).await?;
    }
    let threshold = it.manifest.manifest.signature_threshold;
    let signer = signer::open_quorum(app, &it.manifest.manifest, threshold, &args.passphrases)?;
    let count = rows.len();
    for (index, (unit, recovery)) in rows.iter().enumerate() {
        let (name, number) = (&unit.member.name, index + 1);
        app.note(format!(
            "Transferring the master key value to {number} of {count} crypto units ({name})...."
        ));
        it.recover(*recovery, &signer).await?;
    }
    it.tell_end(&rows).await
}

impl Recovering<'_> {
    /// What runs comes first: a recovery is joined, a rotation is not to be disturbed. One that nobody
    /// drives is ended by asking for any draft.
    async fn bring_to_its_end(&self) -> Outcome {
        if let Some(open) = self.instance.open_rotation {
            let view = self.coordinator.rotation(open).await?;
            if view.purpose.recovery().is_none() {
                let what =
                    format!("rotation {open} is running: a unit recovers before or after it");
                return Err(Failure::new(Exit::Unmet, "rotation-running", what)
                    .next(format!("keyhelm rotations {open} --follow")));
            }
            self.app.note(format!("Joining recovery {open}, which is running already."));
            self.watched(view).await?;
            return Ok(());
        }
        let units = self.coordinator.units(self.instance.id).await?;
        let is_bound = |unit: &&UnitView| {
            let rotation = unit.state.as_ref().and_then(|state| state.rotation);
            rotation.is_some_and(|(_, standing)| standing == Standing::Bound)
        };
        if let Some(unit) = units.units.iter().find(is_bound) {
            let (target, source) = (unit.member.id, self.any_source(unit.member.id)?);
            match self.draft(Recovery { target, source }).await {
                Err(error) if is_ended_first(&error) => self.until_quiet().await?,
                // What it lacks is said when a unit is chosen.
                _ => {}
            }
        }
        Ok(())
    }

    /// The units that lack a master key, all of them or those that are named, and from whom each gets it.
    fn choose<'a>(&self, units: &'a UnitsView) -> Outcome<Vec<(&'a UnitView, Recovery)>> {
        let named: Vec<_> =
            self.args.unit.iter().map(|name| self.unit_named(name)).collect::<Outcome<_>>()?;
        let is_member = |unit: &UnitView| self.manifest.manifest.member(unit.member.id).is_some();
        let is_chosen = |unit: &&UnitView| {
            let is_empty =
                unit.state.as_ref().is_some_and(|state| state.registers.current.is_none());
            match named.is_empty() {
                true => is_member(unit) && is_empty,
                // Why one that is silent cannot recover, the draft says.
                false => named.contains(&unit.member.id) && (is_empty || unit.state.is_none()),
            }
        };
        let chosen = units.units.iter().filter(is_chosen);
        chosen.map(|unit| Ok((unit, self.recovery_of(unit.member.id, units)?))).collect()
    }

    fn unit_named(&self, name: &str) -> Outcome<ProcessId> {
        unit_named(&self.manifest.manifest, name)
    }

    /// The recovery unit that is named, else the first one that holds the master key of the key storage,
    /// else any: the conditions then say what it lacks.
    fn recovery_of(&self, target: ProcessId, units: &UnitsView) -> Outcome<Recovery> {
        let source = match &self.args.from {
            Some(name) => self.unit_named(name)?,
            None => {
                let patterns: Vec<_> = units
                    .keystores
                    .iter()
                    .filter_map(|row| row.active.as_ref().map(|active| active.pattern))
                    .collect();
                let holds = |unit: &&UnitView| {
                    let is_recovery = unit.member.role == protocol::Role::RecoveryUnit;
                    let state = unit.state.as_ref();
                    let current = state.and_then(|state| state.registers.current);
                    let is_right =
                        current.is_some_and(|held| patterns.is_empty() || patterns.contains(&held));
                    is_recovery && is_right && unit.member.id != target
                };
                match units.units.iter().find(holds) {
                    Some(unit) => unit.member.id,
                    None => self.any_source(target)?,
                }
            }
        };
        Ok(Recovery { target, source })
    }

    fn any_source(&self, target: ProcessId) -> Outcome<ProcessId> {
        let mut recovery_units = self.manifest.manifest.of_role(protocol::Role::RecoveryUnit);
        let other = recovery_units.find(|unit| unit.id != target);
        other.map(|unit| unit.id).ok_or_else(|| {
            let what = "there is no other recovery unit that could give the master key";
            Failure::new(Exit::Unmet, "source-unfit", what).next("keyhelm cryptounits")
        })
    }

    fn name_of(&self, id: ProcessId) -> String {
        let member = self.manifest.manifest.member(id);
        member.map_or_else(|| id.to_string(), |member| member.name.clone())
    }

    fn nothing_to_recover(&self, units: &UnitsView) -> Outcome {
        let silent: Vec<_> = units
            .units
            .iter()
            .filter(|unit| unit.state.is_none())
            .map(|unit| unit.member.name.as_str())
            .collect();
        self.app.object(&json!({
            "type": "nothing-to-recover", "instance": self.instance.id, "silent": silent,
        }))?;
        if !silent.is_empty() {
            let names = silent.join(", ");
            self.app.warn(format!("not looked at, as no answer came: {names}"));
        }
        self.app.ok(match self.args.unit.is_empty() {
            true => "The current master key register of every crypto unit is Valid: nothing to recover.",
            false => "The current master key registers of these crypto units are Valid: nothing to recover.",
        })?;
        Ok(())
    }

    fn show_plan(&self, rows: &[(&UnitView, Recovery)]) -> Outcome {
        let (id, name) = (self.instance.id, &self.instance.name);
        for (unit, recovery) in rows {
            self.app.object(&json!({
                "type": "plan", "instance": id, "unit": unit.member.id,
                "unit_name": unit.member.name, "from": recovery.source,
                "from_name": self.name_of(recovery.source),
            }))?;
        }
        let named: Vec<_> =
            rows.iter().map(|(unit, it)| (*unit, self.name_of(it.source))).collect();
        self.app.line(format!("{}\n\n{}\n", heading(id, name), shown::plan(&named)))?;
        Ok(())
    }

    async fn try_out(&self, rows: &[(&UnitView, Recovery)]) -> Outcome {
        for (_, recovery) in rows {
            self.draft(*recovery).await.map_err(unmet)?;
        }
        self.app.ok("All conditions are met. This was a dry run: nothing has changed.")?;
        Ok(())
    }

    fn request(recovery: Recovery) -> OrderDraftRequest {
        let Recovery { target, source } = recovery;
        orders::request(Purpose::Recover { target, source }, GateMode::Strict)
    }

    async fn draft(&self, recovery: Recovery) -> Result<OrderDraft, CallError> {
        self.coordinator.draft(self.instance.id, &Self::request(recovery)).await
    }

    /// Wants all conditions met; what nobody drove is waited for.
    async fn drafted_once(&self, recovery: Recovery) -> Outcome<OrderDraft> {
        for _ in 0..TRIES {
            match self.draft(recovery).await {
                Err(error) if is_ended_first(&error) => self.until_quiet().await?,
                other => return other.map_err(unmet),
            }
        }
        self.draft(recovery).await.map_err(unmet)
    }

    async fn until_quiet(&self) -> Outcome {
        let patience = Patience::of(&self.args.watch, PAUSE);
        loop {
            let open = self.coordinator.instances().await?;
            let ours = open.iter().find(|found| found.id == self.instance.id);
            if ours.is_none_or(|found| found.open_rotation.is_none()) || patience.is_over() {
                return Ok(());
            }
            patience.pause().await;
        }
    }

    /// Drafts, signs, starts, and watches to the end.
    async fn recover(&self, recovery: Recovery, signer: &Signer) -> Outcome {
        let draft = self.drafted_once(recovery).await?;
        let order = orders::signed(&self.manifest, &Self::request(recovery), &draft, signer)?;
        let request = StartRotation {
            order: Some(order),
            request_id: Some(uuid_v4(&mut process_rng()).to_string()),
            ..StartRotation::default()
        };
        let patience = Patience::of(&self.args.watch, PAUSE);
        let started = loop {
            match self.coordinator.start(self.instance.id, &request).await {
                Ok(started) => break started,
                // Asked again under the same request id, it starts once.
                Err(error) if error.is_passing() && patience.lasts() => {
                    patience.pause().await;
                }
                Err(error) => return Err(unmet(error)),
            }
        };
        let Some(view) = started.rotation else {
            let what = "the coordinator has started a recovery without naming it";
            return Err(Failure::new(Exit::Failed, "unreadable", what));
        };
        let view = self.watched(view).await?;
        if view.phase == Phase::Aborted {
            return Err(not_recovered(&view));
        }
        Ok(())
    }

    async fn watched(&self, view: RotationView) -> Outcome<RotationView> {
        let follow = Follow::new(self.app, &self.coordinator, &self.args.watch, false);
        match follow.to_end(view).await? {
            End::Ended(view) | End::Held(view, _) => Ok(view),
        }
    }

    /// The registers as they are now, as after every command that changes one.
    async fn tell_end(&self, rows: &[(&UnitView, Recovery)]) -> Outcome {
        let after = self.coordinator.units(self.instance.id).await?;
        let is_it = |unit: &&UnitView| rows.iter().any(|(it, _)| it.member.id == unit.member.id);
        let units: Vec<_> = after.units.iter().filter(is_it).cloned().collect();
        self.app.object(&json!({
            "type": "done", "instance": self.instance.id, "units": units,
        }))?;
        self.app.line(format!("{}\n", compare::unit_registers(&units)))?;
        self.app.ok(format!(
            "Master key recovered in {} of {} crypto units.",
            units.iter().filter(|unit| shown::is_valid(unit)).count(),
            rows.len()
        ))?;
        Ok(())
    }
}

/// Whether something that nobody drove is being ended first: the same draft is asked for again.
fn is_ended_first(error: &CallError) -> bool {
    let CallError::Refused(refused) = error else { return false };
    refused.unmet.iter().any(|found| found.code == "recovery-running")
}

fn not_recovered(view: &RotationView) -> Failure {
    let because = view.aborted_because.as_deref().unwrap_or("no reason is known");
    let what = format!("{} was ended: {because}", rotations::noun(view));
    Failure::new(Exit::Failed, "aborted", what).next("keyhelm auto-mk-recover")
}
