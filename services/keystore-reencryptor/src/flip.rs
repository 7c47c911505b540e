//! From the flip to *flipped*: what was re-encrypted is read back against what the units signed, and
//! what was written meanwhile, which has no receipt, is opened by a unit.

use crypto::merkle::KeyTree;
use keystore::{Cut, Scanned};
use machines::gate::GateRefusal;
use machines::rewrap::{self, KeystoreRefusal};
use protocol::envelope::Header;
use protocol::keystore::{Generation, KeystoreStanding};
use protocol::order::OrderRef;
use protocol::page::{ChunkRange, KeyCheckEnd};
use protocol::{CheckId, Digest, GenerationId, Pattern};

use crate::Reencryptor;
use crate::check::Check;
use crate::commands::refusal_of;
use crate::receipts::Units;

/// Versions written between the opening of a generation and now, while units open them.
pub(crate) struct Meanwhile {
    order: OrderRef,
    generation: GenerationId,
    /// Of the keys that were read back.
    key_root: Digest,
    pub(crate) check: Check,
}

impl Reencryptor {
    /// Moves the active row, then looks at the new generation before *flipped* is saved. Where units
    /// have something to open, that comes later (`end_flip`), and the row stands as *switched*.
    pub(crate) async fn flip(
        &mut self,
        order: OrderRef,
        header: &Header,
    ) -> Result<(), KeystoreRefusal> {
        let flipped = self.store.flip(self.instance, order, header.epoch).await;
        let row = flipped.map_err(refusal_of)?;
        let standing = row.rotation.as_ref().map(|rotation| rotation.standing);
        let Some(active) =
            row.active.as_ref().filter(|_| standing == Some(KeystoreStanding::Switched))
        else {
            return Ok(());
        };
        let is_it = |found: &Meanwhile| found.order == order && found.generation == active.id;
        if self.meanwhile.as_ref().is_some_and(|found| is_it(found) && found.check.is_of_use()) {
            return self.end_flip().await;
        }
        tracing::info!("flipped");
        let Some(key_root) = self.read_back(order, active).await? else { return Ok(()) };
        tracing::info!("read back");
        let which = Scanned::Born(active.number);
        let first = self.store.scan(self.instance, which, ChunkRange::WHOLE.after, 1).await;
        if first.map_err(refusal_of)?.is_empty() {
            return self.mark_flipped(order, key_root).await;
        }
        let check = CheckId::from_uuid(crypto::random::uuid_v4(&mut self.rng));
        let check = self.start_check(check, which, header);
        self.meanwhile = Some(Meanwhile { order, generation: active.id, key_root, check });
        Ok(())
    }

    /// Saves *flipped* once units have opened all that was written meanwhile.
    pub(crate) async fn end_flip(&mut self) -> Result<(), KeystoreRefusal> {
        let said = self.meanwhile.as_ref().and_then(|meanwhile| meanwhile.check.said());
        let Some(end) = said.as_ref().and_then(|said| said.end.clone()) else { return Ok(()) };
        let (Some(meanwhile), Some(said)) = (self.meanwhile.take(), said) else { return Ok(()) };
        match (end, said.unopened.into_iter().next()) {
            (KeyCheckEnd::Failed(why), _) => Err(KeystoreRefusal::Busy(why)),
            (KeyCheckEnd::Done { .. }, Some(first)) => {
                Err(KeystoreRefusal::WrittenMeanwhile { count: said.unopened_count, first })
            }
            (KeyCheckEnd::Done { .. }, None) => {
                tracing::info!(count = said.checked_count, "opened what was written meanwhile");
                self.mark_flipped(meanwhile.order, meanwhile.key_root).await
            }
        }
    }

    /// Reads back what an earlier order had switched and nobody asks for any more; the re-encryption that
    /// comes next opens all that was written meanwhile.
    pub(crate) async fn end_unread(
        &self,
        order: &OrderRef,
        from: Option<Pattern>,
    ) -> Result<(), KeystoreRefusal> {
        let row = self.row().await?;
        let left = rewrap::left_unread(&row, order, from);
        let (Some(left), Some(active)) = (left, row.active.as_ref()) else { return Ok(()) };
        tracing::warn!(rotation = %left.rotation, "its flip was not read back: that is done first");
        let Some(key_root) = self.read_back(left, active).await? else { return Ok(()) };
        match self.mark_flipped(left, key_root).await {
            // Another reencryptor was as far first, and has opened the next generation.
            Err(KeystoreRefusal::Gate(GateRefusal::NotOpen)) => Ok(()),
            marked => marked,
        }
    }

    async fn mark_flipped(&self, order: OrderRef, key_root: Digest) -> Result<(), KeystoreRefusal> {
        let saved = self.store.mark_flipped(self.instance, order, key_root).await;
        saved.map(|_| ()).map_err(refusal_of)
    }

    /// The rows of the new generation must give, chunk by chunk, the digests that units signed. Gives
    /// the Merkle root over their keys; none where another reencryptor has saved *flipped* meanwhile:
    /// rows come and go after that, so that what is read then is no proof of anything.
    pub(crate) async fn read_back(
        &self,
        order: OrderRef,
        active: &Generation,
    ) -> Result<Option<Digest>, KeystoreRefusal> {
        match self.read_chunks(&order, active).await {
            Err(KeystoreRefusal::ReadBack(_)) if !self.is_unread(&order).await? => Ok(None),
            read => read.map(Some),
        }
    }

    /// Whether this order has switched the row, and nobody has saved yet that it was read back.
    async fn is_unread(&self, order: &OrderRef) -> Result<bool, KeystoreRefusal> {
        Ok(self.row().await?.rotation.is_some_and(|found| {
            found.is_of(order) && found.standing == KeystoreStanding::Switched
        }))
    }

    async fn read_chunks(
        &self,
        order: &OrderRef,
        active: &Generation,
    ) -> Result<Digest, KeystoreRefusal> {
        let units = Units::of(&self.trust);
        let mut keys = KeyTree::new();
        let (instance, number) = (self.instance, active.number);
        let chunks = self.store.chunks(instance, number).await.map_err(refusal_of)?;
        // Versions created since opening are in no chunk and have no receipt.
        let ranges = chunks.iter().map(|chunk| chunk.range).collect();
        let mut pages = self.store.pages(instance, number, ranges, number, Cut::Never);
        for chunk in chunks {
            let ended = || KeystoreRefusal::Busy("the read-back was cut short".to_owned());
            let (_, rows) = pages.recv().await.ok_or_else(ended)?.map_err(refusal_of)?;
            let signed = units.signed_digest(order, active, &chunk);
            if signed != Some(rewrap::chunk_digest(&rows)) {
                let text = format!("the chunk after version {}", chunk.range.after);
                return Err(KeystoreRefusal::ReadBack(text));
            }
            for row in rows.iter() {
                keys.push(row.key, row.version);
            }
        }
        Ok(keys.root())
    }
}
