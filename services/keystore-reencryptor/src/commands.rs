//! What a reencryptor does for each command: judged by `machines::rewrap`, done in the keystore.

use keystore::{KeystoreError, Scanned};
use machines::gate::{AbortRequest, GateRefusal, OpenRequest};
use machines::rewrap::{self, KeystoreRefusal, Received};
use protocol::codec;
use protocol::command::KeystoreCommand;
use protocol::envelope::Header;
use protocol::keystore::{KeystoreRow, KeystoreStanding};
use protocol::order::{Order, OrderRef};
use protocol::{CheckId, GenerationId, Role};
use telemetry::trace::Context;

use crate::check::{Check, CheckSetting};
use crate::job::{Asker, Job, JobSetting, Share};
use crate::{Reencryptor, TRUST, TRUST_AAD};

/// An error of the database is not a refusal for good: it is asked again.
pub(crate) fn refusal_of(error: KeystoreError) -> KeystoreRefusal {
    match error {
        KeystoreError::Gate(refusal) => KeystoreRefusal::Gate(refusal),
        error => KeystoreRefusal::Busy(error.to_string()),
    }
}

impl Reencryptor {
    pub(crate) async fn obey(
        &mut self,
        received: &Received,
        place: Option<Context>,
    ) -> Result<(), KeystoreRefusal> {
        rewrap::may_command(received, &self.trust)?;
        let epoch = received.header.epoch;
        match &received.command {
            KeystoreCommand::Survey => Ok(()),
            KeystoreCommand::TakeManifest { chain } => self.take_manifest(chain).await,
            KeystoreCommand::CheckKeys { check } => {
                self.check_keys(*check, &received.header);
                Ok(())
            }
            KeystoreCommand::Reencrypt { .. } => self.reencrypt(received, place).await,
            KeystoreCommand::Flip { order, certificate } => {
                let row = self.row().await?;
                rewrap::judge_flip(&row, order, certificate, &self.trust)?;
                self.flip(*order, &received.header).await
            }
            KeystoreCommand::Restate { order, .. } => {
                rewrap::judge_restate(&self.row().await?, order)
            }
            KeystoreCommand::Drop { order, certificate } => {
                let row = self.row().await?;
                rewrap::judge_drop(&row, order, certificate, &self.trust)?;
                let dropped = self.store.drop_retired(self.instance, *order, epoch).await;
                dropped.map(|_| ()).map_err(refusal_of)
            }
            KeystoreCommand::Abort { order, certificate } => {
                let request = rewrap::judge_abort(order, certificate, epoch, &self.trust)?;
                self.abort(request).await
            }
        }
    }

    /// Ends a rotation before its flip. The job goes on until the row says that it has ended: what is refused
    /// ends nothing, and the writes that it still makes meanwhile are refused or gone with the generation.
    pub(crate) async fn abort(&mut self, request: AbortRequest) -> Result<(), KeystoreRefusal> {
        let row = self.store.abort(self.instance, request).await.map_err(refusal_of)?;
        // Of this order, or of an earlier one that has ended with it.
        self.job.take_if(|_| row.open.is_none());
        Ok(())
    }

    pub(crate) async fn row(&self) -> Result<KeystoreRow, KeystoreRefusal> {
        let row = self.store.saved_row(self.instance).await.map_err(refusal_of)?;
        row.ok_or_else(|| KeystoreRefusal::Busy("the keystore has no row".to_owned()))
    }

    async fn take_manifest(
        &mut self,
        chain: &[protocol::manifest::SignedManifest],
    ) -> Result<(), KeystoreRefusal> {
        let row = self.row().await?;
        let mut trust = (*self.trust).clone();
        match rewrap::take_manifests(
            &mut trust,
            chain,
            &row,
            (self.id, &self.config.pinned_administrators),
        ) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(refusal) => {
                // What waits for the end of a rotation says who may end it.
                self.trust = trust.into();
                return Err(refusal);
            }
        }
        let bytes = codec::encode(&trust.chain().to_vec());
        self.folder
            .save(TRUST, TRUST_AAD, &bytes, &mut self.rng)
            .map_err(|error| KeystoreRefusal::Busy(error.to_string()))?;
        self.trust = trust.into();
        self.status.ready_with(self.trust.serial());
        Ok(())
    }

    /// Begins a check of all keys, unless it is the one that there is already.
    fn check_keys(&mut self, check: CheckId, header: &Header) {
        if self.check.as_ref().is_some_and(|found| found.id == check && found.is_of_use()) {
            return;
        }
        self.check = Some(self.start_check(check, Scanned::All, header));
    }

    /// Lets operational units open versions; progress and end are told to whoever sent the command.
    pub(crate) fn start_check(&self, check: CheckId, which: Scanned, header: &Header) -> Check {
        Check::start(CheckSetting {
            check,
            which,
            instance: self.instance,
            identity: self.identity.clone(),
            trust: self.trust.clone(),
            store: self.store.clone(),
            bus: self.bus.clone(),
            header: header.clone(),
            rows_per_page: self.config.rows_per_page,
            pages_in_flight: self.config.pages_in_flight,
            events: self.events.clone(),
        })
    }

    /// Opens the generation where it is not open, and sees to it that a job fills it.
    async fn reencrypt(
        &mut self,
        received: &Received,
        place: Option<Context>,
    ) -> Result<(), KeystoreRefusal> {
        let KeystoreCommand::Reencrypt { order, to, verify_all, certificate } = &received.command
        else {
            return Ok(());
        };
        let (order, reference) = rewrap::judge_opening(order, *to, certificate, &self.trust)?;
        let request = OpenRequest {
            order: reference,
            epoch: received.header.epoch,
            from: order.from,
            to: *to,
            generation: GenerationId::from_uuid(crypto::random::uuid_v4(&mut self.rng)),
            mode: order.mode,
        };
        if let Some(job) = self.job.as_ref().filter(|job| job.is_for(&reference, request.epoch)) {
            // Asked again while it is at work: nothing would change, and the row would be held.
            job.heed(&received.header);
            return Ok(());
        }
        let mut opened = self.store.open_generation(self.instance, request).await;
        if matches!(opened, Err(KeystoreError::Gate(GateRefusal::OtherRotation(_)))) {
            self.end_unread(&reference, order.from).await?;
            opened = self.store.open_generation(self.instance, request).await;
        }
        let row = opened.map_err(refusal_of)?;
        tracing::info!("a generation is open");
        let standing = row.rotation.as_ref().map(|rotation| rotation.standing);
        if standing != Some(KeystoreStanding::Open) {
            return Ok(());
        }
        if let Some(job) = self.job.as_ref().filter(|job| job.is_of(&reference) && job.fills(&row))
        {
            // The row has taken a higher epoch; the work is the same.
            job.heed(&received.header);
            return Ok(());
        }
        let asker = Asker::new(received.header.clone());
        let setting = self.job_setting(reference, &order, asker, place, *verify_all);
        self.job = Some(Job::start(setting, row));
        Ok(())
    }

    pub(crate) fn job_setting(
        &self,
        reference: OrderRef,
        order: &Order,
        asker: Asker,
        place: Option<Context>,
        verify_all: bool,
    ) -> JobSetting {
        JobSetting {
            instance: self.instance,
            identity: self.identity.clone(),
            trust: self.trust.clone(),
            store: self.store.clone(),
            bus: self.bus.clone(),
            order: reference,
            quarantined: order.quarantined.clone(),
            asker,
            place,
            rows_per_page: self.config.rows_per_page,
            pages_in_flight: self.config.pages_in_flight,
            keys_per_second_max: self.config.keys_per_second_max,
            verify_all,
            cross_check_every: self.config.cross_check_every,
            events: self.events.clone(),
            share: self.share(),
        }
    }

    /// Of this reencryptor among those of the manifest.
    fn share(&self) -> Share {
        let own = crypto::identity::process_id(&self.identity.public_key());
        let newest = self.trust.newest().into_iter();
        let all = newest.flat_map(|manifest| manifest.of_role(Role::Reencryptor));
        Share::of(own, all.map(|member| member.id))
    }
}
