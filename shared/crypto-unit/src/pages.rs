//! Taking pages off the shared queue, beside the unit's commands.

use std::num::NonZero;
use std::sync::Arc;
use std::time::Instant;

use bus::{Bus, Consumer, Delivery, Outgoing, Received};
use crypto::identity::Identity;
use crypto::random::process_rng;
use crypto::wiping_stack;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use machines::envelope::{self, Outgoing as Sealing, Reader};
use machines::unit::page;
use protocol::codec;
use protocol::envelope::{Kind, Recipient};
use protocol::page::{CheckAnswer, CheckPage, PageAnswer, RewrapPage};
use protocol::{Epoch, MessageId, Role};
use service::Shutdown;
use telemetry::metric;
use telemetry::trace::Span;
use tokio::sync::watch;

use crate::{Served, Shared, address_of};

/// What a page worker has at hand.
pub(crate) struct Worker {
    pub(crate) bus: Bus,
    pub(crate) queue: String,
    pub(crate) is_serving: watch::Receiver<bool>,
    pub(crate) shared: Shared,
    pub(crate) identity: Arc<Identity>,
}

impl Worker {
    /// Answers pages until `shutdown`. A unit that serves nothing (the manifest does not name it, it
    /// has no master key, it joins) takes none: all operational units share the queue.
    pub(crate) async fn run(self, shutdown: Shutdown) -> anyhow::Result<()> {
        let (mut serving, mut idle) = (self.is_serving.clone(), self.is_serving.clone());
        let lanes = lanes();
        while !shutdown.is_requested() {
            tokio::select! {
                () = shutdown.requested() => break,
                found = serving.wait_for(|is_serving| *is_serving) => if found.is_err() { break },
            }
            let consumer = match self.bus.consume(&self.queue, lanes as u16 + 1).await {
                Ok(consumer) => consumer,
                Err(error) => {
                    shutdown.trigger();
                    return Err(error.into());
                }
            };
            // What is under way then goes back to the queue, for another unit.
            tokio::select! {
                () = self.serve(consumer, lanes, &shutdown) => {}
                _ = idle.wait_for(|is_serving| !is_serving) => {}
            }
        }
        Ok(())
    }

    /// As many pages at once as there are lanes. What is under way at the end is finished.
    async fn serve(&self, mut consumer: Consumer, lanes: usize, shutdown: &Shutdown) {
        let mut at_work = FuturesUnordered::new();
        loop {
            let is_free = at_work.len() < lanes;
            tokio::select! {
                () = shutdown.requested() => break,
                Some(()) = at_work.next() => {}
                delivery = consumer.receive(), if is_free => match delivery {
                    Some(delivery) => at_work.push(self.work(delivery)),
                    None => break,
                },
            }
        }
        while at_work.next().await.is_some() {}
    }

    async fn work(&self, delivery: Delivery) {
        let served = match self.shared.read() {
            Ok(served) => served.clone(),
            Err(poisoned) => poisoned.into_inner().clone(),
        };
        let (received, identity) = (delivery.received().clone(), self.identity.clone());
        let begun = Instant::now();
        let span =
            received.trace().map(|page| Span::of_message("rewrap", page.child("rewrap"), page));
        let role = Role::OperationalUnit;
        let work = move || wiping_stack(|| answer(&served, &identity, role, &received));
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(message)) => {
                metric::took(metric::UNIT_PAGE_SECONDS, &[], begun.elapsed());
                if let Some(span) = span {
                    span.end();
                }
                fail_points::reach(fail_points::Place::PageDone);
                if let Err(error) = self.bus.publish(&message).await {
                    tracing::warn!(%error, "the answer to a page was not confirmed");
                }
                fail_points::reach(fail_points::Place::PageAnswered);
                delivery.ack().await;
            }
            Ok(Err(reason)) => delivery.bury(&self.bus, reason).await,
            Err(error) => {
                tracing::error!(%error, "a page worker failed");
                delivery.bury(&self.bus, "worker-failed").await;
            }
        }
    }
}

/// Pages that are worked on at once: one for each processor, and two where there is one, so that it
/// works while the broker confirms.
fn lanes() -> usize {
    std::thread::available_parallelism().map_or(2, NonZero::get).max(2)
}

/// Answers a page to re-wrap or to look at, off the shared queue or off the unit's own.
pub(crate) fn answer(
    served: &Served,
    identity: &Identity,
    role: Role,
    received: &Received,
) -> Result<Outgoing, &'static str> {
    let id = crypto::identity::process_id(&identity.public_key());
    let reader = Reader { id, role };
    let trust = &served.trust;
    let opened =
        envelope::open(&received.body, reader, trust).map_err(|refusal| refusal.reason())?;
    if opened.sender_role != Some(Role::Reencryptor) {
        return Err("not-a-reencryptor");
    }
    let mut rng = process_rng();
    let to = opened.header.sender;
    let sealing = Sealing {
        id: MessageId::from_uuid(crypto::random::uuid_v7(crate::now(), &mut rng)),
        in_answer_to: Some(opened.header.id),
        instance: trust.instance(),
        recipient: Recipient::Process(to),
        manifest_serial: trust.serial(),
        rotation: opened.header.rotation,
        epoch: Epoch::default(),
        kind: Kind::PageAnswer,
    };
    let sealed = match opened.header.kind {
        Kind::RewrapPage => {
            let asked: RewrapPage = codec::decode(opened.body).map_err(|error| error.reason())?;
            let answer: PageAnswer = page::rewrap(&served.keyring, identity, &asked, &mut rng);
            match &answer {
                PageAnswer::Rewrapped { .. } => {}
                PageAnswer::Unopened(_) => crate::count_refused("rewrap", "unopened"),
                PageAnswer::Refused(_) => crate::count_refused("rewrap", "not-bound"),
            }
            envelope::seal_value(identity, &sealing, &answer)
        }
        Kind::CheckPage => {
            let asked: CheckPage = codec::decode(opened.body).map_err(|error| error.reason())?;
            let answer = page::check(&served.keyring, &asked);
            match &answer {
                CheckAnswer::Checked { unopened, .. } if unopened.is_empty() => {}
                CheckAnswer::Checked { .. } => crate::count_refused("check", "unopened"),
                CheckAnswer::Refused(_) => crate::count_refused("check", "not-bound"),
            }
            let sealing = Sealing { kind: Kind::CheckAnswer, ..sealing };
            envelope::seal_value(identity, &sealing, &answer)
        }
        _ => return Err("unexpected-kind"),
    };
    Ok(Outgoing::to(address_of(trust, to), sealed))
}
