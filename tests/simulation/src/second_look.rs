//! Second looks: each re-wrapped page is opened, old and new, by another unit before it is written, as
//! with `--verify all`. And the unit that they are for: one that damages a blob and signs for it.

use std::collections::BTreeMap;

use crypto::domain;
use crypto::identity::Identity;
use machines::rewrap::{self, DoneChunk, KeystoreRefusal};
use machines::trust::Trust;
use protocol::page::{CheckAnswer, CheckPage, ChunkReceipt, PageAnswer, RewrapPage};
use protocol::{MessageId, ProcessId, Role, Rows, codec};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// A page that a unit has re-wrapped, to be looked at by others.
pub struct Shown {
    by: ProcessId,
    rows: Rows,
    done: DoneChunk,
    /// Who is asked after the one that has it.
    next: Vec<(ProcessId, Role)>,
}

/// What is with other units; forgotten with the job. A look that is lost is made good by the page's
/// being asked again.
#[derive(Default)]
pub struct Looks {
    out: BTreeMap<MessageId, (ProcessId, Shown)>,
    turn: usize,
}

/// What comes of a page or of a look at it.
pub enum Next {
    /// It may be written.
    Write(Box<DoneChunk>),
    /// It is shown to this unit, under this id.
    Show(ProcessId, CheckPage),
    /// Nothing.
    Nothing,
}

impl Looks {
    /// What to do with a page that `by` has re-wrapped.
    pub fn begin(
        &mut self,
        trust: &Trust,
        id: MessageId,
        (by, rows, done): (ProcessId, Rows, DoneChunk),
    ) -> Next {
        self.turn += 1;
        let next = rewrap::lookers(trust, by, self.turn);
        self.show(id, Shown { by, rows, done, next })
    }

    /// Shows it to the next one; where there is nobody else, one unit's word has to do.
    fn show(&mut self, id: MessageId, mut shown: Shown) -> Next {
        if shown.next.is_empty() {
            return Next::Write(Box::new(shown.done));
        }
        let (at, _) = shown.next.remove(0);
        let new_blobs = shown.done.rows.iter().map(|row| row.blob).collect();
        let page = CheckPage { rows: shown.rows.clone(), new_blobs };
        self.out.insert(id, (at, shown));
        Next::Show(at, page)
    }

    /// What an answer leads to; who gives no look is passed over, under the new id.
    pub fn take(
        &mut self,
        (asked, id): (Option<MessageId>, MessageId),
        sender: ProcessId,
        answer: CheckAnswer,
    ) -> Result<Next, KeystoreRefusal> {
        let found = asked.and_then(|asked| self.out.remove(&asked));
        let Some((at, shown)) = found.filter(|(at, _)| *at == sender) else {
            return Ok(Next::Nothing);
        };
        let Ok(looked) = rewrap::judge_check(&shown.rows, answer) else {
            // The last one is not passed over: the page is asked again.
            let is_last = shown.next.is_empty();
            return Ok(if is_last { Next::Nothing } else { self.show(id, shown) });
        };
        match looked.unopened.first().cloned() {
            None => Ok(Next::Write(Box::new(shown.done))),
            Some(first) => Err(KeystoreRefusal::CrossCheck {
                rewrapped_by: shown.by.to_string(),
                checked_by: at.to_string(),
                count: looked.unopened.len() as u64,
                first,
            }),
        }
    }
}

/// One blob is damaged, and the unit signs for it as it is: nobody can tell who has not the key.
/// Whether there was anything to damage.
pub fn lie(
    asked: &RewrapPage,
    answer: &mut PageAnswer,
    identity: &Identity,
    rng: &mut ChaCha8Rng,
) -> bool {
    let PageAnswer::Rewrapped { blobs, receipt } = answer else { return false };
    let Ok(mut signed) = codec::decode::<ChunkReceipt>(&receipt.bytes) else { return false };
    if blobs.is_empty() {
        return false;
    }
    let mut single: Vec<_> = blobs.iter().map(<[u8]>::to_vec).collect();
    let at = rng.random_range(0..single.len());
    let Some(byte) = single[at].last_mut() else { return false };
    *byte ^= 1;
    let mut rows = asked.rows.to_vec();
    for (row, blob) in rows.iter_mut().zip(&single) {
        row.blob.clone_from(blob);
    }
    *blobs = single.into();
    signed.new_digest = rewrap::chunk_digest(&rows.into());
    receipt.bytes = codec::encode(&signed);
    receipt.signature = identity.sign(domain::RECEIPT, &receipt.bytes);
    true
}
