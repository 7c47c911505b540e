//! One page: its rows read and sealed, and what is told of it when it is back.

use std::time::{Duration, SystemTime};

use bus::Outgoing;
use crypto::random::ProcessRng;
use keystore::PageStream;
use machines::rewrap::{DoneChunk, KeystoreRefusal};
use protocol::envelope::Kind;
use protocol::keystore::Generation;
use protocol::order::OrderRef;
use protocol::page::{ChunkRange, RewrapPage};
use protocol::{MessageId, Rows};
use telemetry::metric;
use telemetry::trace::{Context, Span};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::JobSetting;
use crate::asking::{Asking, new_id};
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

/// What reading pages needs.
pub(super) struct Reading {
    pub(super) asking: Asking,
    pub(super) order: OrderRef,
    pub(super) active: Generation,
    pub(super) open: Generation,
    /// The place in a trace under which pages are, and how many there are in all.
    pub(super) place: Option<Context>,
    pub(super) pages: usize,
    pub(super) rng: ProcessRng,
}

impl Reading {
    /// Takes pages off the stream as they are wanted and seals each to any operational unit.
    pub(super) async fn run(
        mut self,
        mut stream: PageStream,
        ready: mpsc::Sender<Result<ReadPage, KeystoreRefusal>>,
    ) {
        let mut is_first = true;
        while let Some(page) = stream.recv().await {
            let is_end = |range: ChunkRange| is_first || range.upto == ChunkRange::WHOLE.upto;
            let read = page
                .map(|(range, rows)| self.sealed(range, rows, is_end(range)))
                .map_err(refusal_of);
            is_first = false;
            let is_last = read.is_err();
            if ready.send(read).await.is_err() || is_last {
                return;
            }
        }
    }

    fn sealed(&mut self, range: ChunkRange, rows: Rows, is_end: bool) -> ReadPage {
        let id = new_id(&mut self.rng);
        let place = self.place.map(|place| place.child(&id.to_string()));
        let place = traced(place, is_end, self.pages);
        let page = RewrapPage {
            order_digest: self.order.digest,
            number: self.order.number,
            generation: self.open.id,
            range,
            from: self.active.pattern,
            to: self.open.pattern,
            rows,
        };
        let message = self.asking.any_unit(id, Kind::RewrapPage, &page);
        let message = message.traced(place);
        ReadPage { id, page, message, place }
    }
}

/// A page once more, without some of its rows.
pub(super) fn again(setting: &JobSetting, id: MessageId, page: RewrapPage) -> ReadPage {
    let message = setting.asking().any_unit(id, Kind::RewrapPage, &page);
    ReadPage { id, page, message, place: None }
}

/// The place of a page whose unit makes a span under it, or, of many pages in between, none.
fn traced(place: Option<Context>, is_end: bool, pages: usize) -> Option<Context> {
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
