//! One page: its rows read and sealed, and what is told of it when it is back.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bus::Outgoing;
use crypto::identity::Identity;
use keystore::Keystore;
use machines::envelope::{self, Outgoing as Sealing};
use machines::rewrap::{DoneChunk, KeystoreRefusal};
use protocol::codec;
use protocol::envelope::{Kind, Recipient};
use protocol::keystore::Generation;
use protocol::order::OrderRef;
use protocol::page::{ChunkRange, RewrapPage};
use protocol::{Epoch, InstanceId, MessageId, Role, topology};
use telemetry::metric;
use telemetry::trace::{Context, Span};
use tokio::time::Instant;

use super::JobSetting;
use crate::commands::refusal_of;

/// Up to so many pages each has a span; of more only the first and the last, and those that are slow
/// or fail.
const MAX_TRACED: usize = 200;
/// A page that takes so long is slow.
const SLOW: Duration = Duration::from_secs(1);

/// A page that a unit has, or will have.
pub(super) struct PageOut {
    pub(super) page: RewrapPage,
    pub(super) asked: SystemTime,
    pub(super) until: Instant,
    /// The page's own place in the trace, and whether the unit was told of it.
    pub(super) place: Option<Context>,
}

impl PageOut {
    /// Out from now on.
    pub(super) fn now(page: RewrapPage, place: Option<Context>, timeout: Duration) -> Self {
        Self { page, asked: SystemTime::now(), until: Instant::now() + timeout, place }
    }
}

/// A page that can be sent.
pub(super) struct ReadPage {
    pub(super) id: MessageId,
    pub(super) page: RewrapPage,
    pub(super) message: Outgoing,
    pub(super) place: Option<Context>,
}

/// What reading a page needs.
pub(super) struct Reading {
    pub(super) store: Keystore,
    pub(super) identity: Arc<Identity>,
    pub(super) instance: InstanceId,
    pub(super) manifest_serial: u64,
    pub(super) order: OrderRef,
    pub(super) active: Generation,
    pub(super) open: Generation,
}

impl Reading {
    /// Reads the rows of a range and seals them to any operational unit.
    pub(super) async fn read(
        self,
        id: MessageId,
        range: ChunkRange,
        place: Option<Context>,
    ) -> Result<ReadPage, KeystoreRefusal> {
        let rows = self
            .store
            .rows(self.instance, self.active.number, range, self.open.number)
            .await
            .map_err(refusal_of)?;
        let page = RewrapPage {
            order_digest: self.order.digest,
            number: self.order.number,
            generation: self.open.id,
            range,
            from: self.active.pattern,
            to: self.open.pattern,
            rows,
        };
        let sealed =
            sealed(&self.identity, self.instance, self.manifest_serial, &self.order, id, &page);
        let address = topology::page_address(self.instance);
        let message = Outgoing::to(address, sealed).traced(place);
        Ok(ReadPage { id, page, message, place })
    }
}

/// A page once more, without some of its rows.
pub(super) fn again(setting: &JobSetting, id: MessageId, page: RewrapPage) -> ReadPage {
    let (instance, serial) = (setting.instance, setting.trust.serial());
    let sealed = sealed(&setting.identity, instance, serial, &setting.order, id, &page);
    let message = Outgoing::to(topology::page_address(setting.instance), sealed);
    ReadPage { id, page, message, place: None }
}

/// Seals a page to any operational unit.
fn sealed(
    identity: &Identity,
    instance: InstanceId,
    manifest_serial: u64,
    order: &OrderRef,
    id: MessageId,
    page: &RewrapPage,
) -> Vec<u8> {
    let sealing = Sealing {
        id,
        in_answer_to: None,
        instance,
        recipient: Recipient::Role(Role::OperationalUnit),
        manifest_serial,
        rotation: Some(order.rotation),
        epoch: Epoch::default(),
        kind: Kind::RewrapPage,
    };
    envelope::seal(identity, &sealing, &codec::encode(page))
}

/// The place of a page whose unit makes a span under it, or, of many pages in between, none.
pub(super) fn traced(place: Option<Context>, is_end: bool, pages: usize) -> Option<Context> {
    match is_end || pages <= MAX_TRACED {
        true => place,
        false => place.map(Context::unsampled),
    }
}

/// A metric of every page; a span of those that are traced, were slow, or failed.
pub(super) fn tell(
    parent: Option<Context>,
    asked: SystemTime,
    place: Option<Context>,
    judged: Result<&DoneChunk, String>,
) {
    let took = asked.elapsed().unwrap_or_default();
    let outcome = if judged.is_ok() { "done" } else { "again" };
    metric::count(metric::PAGES, &[("outcome", outcome.to_owned())]);
    metric::took(metric::PAGE_SECONDS, &[], took);
    let (Some(parent), Some(place)) = (parent, place) else { return };
    let is_told = place.is_sampled() || took >= SLOW || judged.is_err();
    if !is_told {
        return;
    }
    let place = place.sampled_as(&parent);
    let span = Span::begin("page", place, Some(parent)).since(asked);
    match judged {
        Ok(done) => span.with("keyhelm.keys", done.receipt.count as i64).end(),
        Err(fault) => span.failed(fault).end(),
    }
}
