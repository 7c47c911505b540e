//! The reencryptor's pages: asked of units, judged, shown to other units, written.

use std::collections::BTreeMap;

use machines::envelope::{self, Reader};
use machines::rewrap::{self, DoneChunk, KeystoreRefusal, PageFault};
use machines::unit::Message;
use protocol::codec;
use protocol::envelope::{Header, Kind, Recipient};
use protocol::order::OrderRef;
use protocol::page::{ChunkRange, PageAnswer, RewrapPage, UnopenedRow, WrappedRow};
use protocol::{MessageId, ProcessId, Role, UnixMillis};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::reencryptor::{Handled, ReencryptorNode};
use crate::second_look::{Looks, Next};
use crate::store::Store;

/// Pages asked this long ago are asked again.
const PAGE_RETRY_MS: u64 = 1_500;

/// A page that is out.
pub(crate) struct PageOut {
    page: RewrapPage,
    asked_at: UnixMillis,
}

/// The re-encryption under way; forgotten in a crash.
pub(crate) struct Job {
    pub(crate) order: OrderRef,
    header: Header,
    out: BTreeMap<MessageId, PageOut>,
    looks: Looks,
    /// Rows that no unit opens, of pages that are asked without them.
    kept: BTreeMap<ChunkRange, Vec<WrappedRow>>,
}

impl ReencryptorNode {
    /// Asks the pages that are lacking and not out; completes when there is none.
    pub(crate) fn go_on(
        &mut self,
        now: UnixMillis,
        rng: &mut ChaCha8Rng,
        store: &mut Store,
        order: OrderRef,
        header: &Header,
    ) -> Vec<Message> {
        let job = self.job.take().filter(|job| job.order == order);
        let mut job = job.unwrap_or_else(|| Job {
            order,
            header: header.clone(),
            out: BTreeMap::new(),
            looks: Looks::default(),
            kept: BTreeMap::new(),
        });
        job.header = header.clone();
        let lacking = store.lacking();
        job.out.retain(|_, out| {
            now.since(out.asked_at) < PAGE_RETRY_MS
                && lacking.iter().any(|(range, _)| *range == out.page.range)
        });
        let mut messages = Vec::new();
        if let (Some(open), Some(active)) = (&store.row.open, &store.row.active) {
            let units: Vec<_> = self
                .trust
                .newest()
                .into_iter()
                .flat_map(|manifest| manifest.of_role(Role::OperationalUnit))
                .map(|member| member.id)
                .collect();
            for (range, rows) in lacking {
                if job.out.values().any(|out| out.page.range == range) {
                    continue;
                }
                let page = RewrapPage {
                    order_digest: order.digest,
                    number: order.number,
                    generation: open.id,
                    range,
                    from: active.pattern,
                    to: open.pattern,
                    rows: rows.into(),
                };
                let unit = units[rng.random_range(0..units.len())];
                let id = MessageId::from_uuid(crypto::random::uuid_v7(now, rng));
                let body = codec::encode(&page);
                let to = Recipient::Role(Role::OperationalUnit);
                messages.push(self.seal(id, None, (unit, to), Kind::RewrapPage, &body));
                job.out.insert(id, PageOut { page, asked_at: now });
            }
        }
        let is_complete = store.lacking().is_empty();
        if is_complete {
            // Refused only if it was complete before, or another rotation came between.
            let _ = store.complete(&order);
        } else {
            self.job = Some(job);
        }
        messages
    }

    /// Who has sent what; or that it is of no use.
    fn read<T: codec::Decode<()>>(
        &self,
        reader: Reader,
        bytes: &[u8],
        what: &str,
    ) -> Result<(Header, T), Handled> {
        let nothing = |why: &str| Handled::Sent(Vec::new(), format!("{what} {why}"));
        let opened = envelope::open(bytes, reader, &self.trust).map_err(|_| nothing("refused"))?;
        let body = codec::decode(opened.body).map_err(|_| nothing("malformed"))?;
        Ok((opened.header, body))
    }

    pub(crate) fn take_answer(
        &mut self,
        now: UnixMillis,
        rng: &mut ChaCha8Rng,
        store: &mut Store,
        reader: Reader,
        bytes: &[u8],
    ) -> Handled {
        let nothing = |note: &str| Handled::Sent(Vec::new(), note.to_owned());
        let (header, answer): (Header, PageAnswer) = match self.read(reader, bytes, "page answer") {
            Ok(read) => read,
            Err(handled) => return handled,
        };
        let Some(job) = &mut self.job else { return nothing("page answer late") };
        let Some(out) = header.in_answer_to.and_then(|id| job.out.remove(&id)) else {
            return nothing("page answer unknown");
        };
        if let PageAnswer::Unopened(rows) = &answer
            && rewrap::may_quarantine(&self.carried, &out.page.rows, rows)
        {
            return self.without(now, rng, header.sender, out.page, rows);
        }
        match rewrap::judge_answer(&out.page, answer, &self.trust) {
            Ok(done) if self.has_second_looks => {
                let id = MessageId::from_uuid(crypto::random::uuid_v7(now, rng));
                let begun = job.looks.begin(&self.trust, id, (header.sender, out.page.rows, done));
                self.go_on_looking(now, rng, store, id, begun)
            }
            Ok(done) => self.written(now, rng, store, &done),
            Err(PageFault::Unopened(rows)) => match rows.first().cloned() {
                Some(first) => {
                    let (header, count) = (job.header.clone(), rows.len() as u64);
                    let refusal = KeystoreRefusal::Unopened { count, first };
                    self.job = None;
                    let report = self.report(now, rng, store, Some(&header), Some(&refusal));
                    Handled::Sent(vec![report], format!("page: {refusal}"))
                }
                None => nothing("page fault: nothing that does not open"),
            },
            Err(PageFault::Refused(reason)) => nothing(&format!("page refused: {reason}")),
            Err(fault) => nothing(&format!("page fault: {fault}")),
        }
    }

    /// The page once more without the rows that no unit opens. The shipped process shows them to another unit
    /// first; here no unit lies about that.
    fn without(
        &mut self,
        now: UnixMillis,
        rng: &mut ChaCha8Rng,
        unit: ProcessId,
        page: RewrapPage,
        unopened: &[UnopenedRow],
    ) -> Handled {
        let does_open = |row: &WrappedRow| unopened.iter().all(|it| it.version != row.version);
        let (rows, kept): (Vec<_>, Vec<_>) = page.rows.to_vec().into_iter().partition(does_open);
        let page = RewrapPage { rows: rows.into(), ..page };
        let id = MessageId::from_uuid(crypto::random::uuid_v7(now, rng));
        let whom = (unit, Recipient::Role(Role::OperationalUnit));
        let message = self.seal(id, None, whom, Kind::RewrapPage, &codec::encode(&page));
        if let Some(job) = &mut self.job {
            job.kept.insert(page.range, kept);
            job.out.insert(id, PageOut { page, asked_at: now });
        }
        Handled::Sent(vec![message], "page asked without what does not open".to_owned())
    }

    /// Another unit has looked at a page.
    pub(crate) fn take_look(
        &mut self,
        now: UnixMillis,
        rng: &mut ChaCha8Rng,
        store: &mut Store,
        reader: Reader,
        bytes: &[u8],
    ) -> Handled {
        let (header, answer) = match self.read(reader, bytes, "second look") {
            Ok(read) => read,
            Err(handled) => return handled,
        };
        let Some(job) = &mut self.job else {
            return Handled::Sent(Vec::new(), "second look late".to_owned());
        };
        let id = MessageId::from_uuid(crypto::random::uuid_v7(now, rng));
        let asked = (header.in_answer_to, id);
        match job.looks.take(asked, header.sender, answer) {
            Ok(next) => self.go_on_looking(now, rng, store, id, next),
            Err(refusal) => {
                let header = job.header.clone();
                self.job = None;
                let report = self.report(now, rng, store, Some(&header), Some(&refusal));
                Handled::Sent(vec![report], format!("second look: {refusal}"))
            }
        }
    }

    fn go_on_looking(
        &mut self,
        now: UnixMillis,
        rng: &mut ChaCha8Rng,
        store: &mut Store,
        id: MessageId,
        next: Next,
    ) -> Handled {
        match next {
            Next::Write(done) => self.written(now, rng, store, &done),
            Next::Show(at, page) => {
                let (whom, body) = ((at, Recipient::Process(at)), codec::encode(&page));
                let message = self.seal(id, None, whom, Kind::CheckPage, &body);
                Handled::Sent(vec![message], "page shown to another".to_owned())
            }
            Next::Nothing => Handled::Sent(Vec::new(), "second look of no use".to_owned()),
        }
    }

    /// The rows that a page was asked without.
    fn kept_of(&self, done: &DoneChunk) -> Vec<WrappedRow> {
        let kept = self.job.as_ref().and_then(|job| job.kept.get(&done.receipt.range));
        kept.cloned().unwrap_or_default()
    }

    /// Writes a page; after the last one the generation is complete.
    fn written(
        &mut self,
        now: UnixMillis,
        rng: &mut ChaCha8Rng,
        store: &mut Store,
        done: &DoneChunk,
    ) -> Handled {
        if self.is_aborted(rng) {
            return Handled::Sent(Vec::new(), "page not written".to_owned());
        }
        if rng.random_bool(self.late_write) {
            self.late = Some((done.clone(), self.kept_of(done)));
            self.database_faults.push("late-write");
            return Handled::Sent(Vec::new(), "page to be written late".to_owned());
        }
        store.write_chunk(done, self.kept_of(done));
        if self.is_answer_lost(rng) {
            return Handled::Sent(Vec::new(), "page written, its answer lost".to_owned());
        }
        let mut messages = Vec::new();
        if let Some(job) = self.job.as_ref().filter(|_| store.lacking().is_empty()) {
            let (order, header) = (job.order, job.header.clone());
            messages = self.go_on(now, rng, store, order, &header);
            messages.push(self.report(now, rng, store, Some(&header), None));
        }
        Handled::Sent(messages, "page written".to_owned())
    }
}
