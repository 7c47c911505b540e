//! One page: its rows read and sealed, and what is told of it when it is back.

use std::time::{Duration, SystemTime};

use bus::Outgoing;
use keystore::Keystore;
use machines::rewrap::{DoneChunk, KeystoreRefusal};
use protocol::MessageId;
use protocol::codec;
use protocol::envelope::Kind;
use protocol::keystore::Generation;
use protocol::order::OrderRef;
use protocol::page::{ChunkRange, RewrapPage};
use telemetry::metric;
use telemetry::trace::{Context, Span};
use tokio::time::Instant;

use super::JobSetting;
use crate::asking::Asking;
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
    pub(super) asking: Asking,
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
            .rows(self.asking.instance, self.active.number, range, self.open.number)
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
        let message = self.asking.any_unit(id, Kind::RewrapPage, &codec::encode(&page));
        let message = message.traced(place);
        Ok(ReadPage { id, page, message, place })
    }
}

/// A page once more, without some of its rows.
pub(super) fn again(setting: &JobSetting, id: MessageId, page: RewrapPage) -> ReadPage {
    let message = setting.asking().any_unit(id, Kind::RewrapPage, &codec::encode(&page));
    ReadPage { id, page, message, place: None }
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
