//! What a process does while its broker is away: it says so, comes back by itself, and still stops when it
//! is to stop.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use bus::{Bus, outage};

use crate::{Shutdown, Status};

/// How long a process that is to stop waits for a broker that is away: longer than what is in hand waits for
/// its confirms, shorter than supervisors wait before they kill.
const MAX_STOP: Duration = Duration::from_secs(20);

/// Does the work of a process, which is told to stop as the process is, and tells meanwhile in `status` when
/// the broker is away. Ends with the work, or without it where it is to stop and waits for the broker.
pub async fn through<W, F>(
    bus: Bus,
    status: Status,
    shutdown: Shutdown,
    work: W,
) -> anyhow::Result<()>
where
    W: FnOnce(Shutdown) -> F,
    F: Future<Output = anyhow::Result<()>>,
{
    // Of its own, as work that fails stops itself.
    let stop = Shutdown::new();
    tokio::select! {
        ended = work(stop.clone()) => ended,
        () = overdue(&bus, &shutdown, &stop) => {
            tracing::warn!("stops without the broker: what was not published yet is at the next start");
            Ok(())
        }
        never = tell(&bus, &status) => match never {},
    }
}

/// Waits until the process was to stop [`MAX_STOP`] ago, and the broker is away. What the process has answered
/// is saved.
async fn overdue(bus: &Bus, shutdown: &Shutdown, stop: &Shutdown) {
    shutdown.requested().await;
    stop.trigger();
    tokio::time::sleep(MAX_STOP).await;
    bus.cut_off().await;
}

async fn tell(bus: &Bus, status: &Status) -> Infallible {
    loop {
        bus.cut_off().await;
        status.cut_off(Some(outage::BECAUSE));
        bus.there().await;
        status.cut_off(None);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bus::MemoryBus;

    use super::*;

    /// How long anything may take: an outage counts after a few seconds.
    const LONG: Duration = Duration::from_secs(40);

    async fn until(status: &Status, because: Option<&'static str>) {
        let is_so = async {
            while status.because() != because {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(LONG, is_so).await.expect("the status says so");
    }

    #[tokio::test]
    async fn an_outage_is_told_whatever_the_process_says_meanwhile() {
        let (memory, status, shutdown) = (MemoryBus::default(), Status::default(), Shutdown::new());
        status.ready();
        let work = |stop: Shutdown| async move {
            stop.requested().await;
            Ok(())
        };
        let bus = Bus::Memory(memory.clone());
        let process = tokio::spawn(through(bus, status.clone(), shutdown.clone(), work));
        memory.set_away(true);
        until(&status, Some(outage::BECAUSE)).await;
        status.ready();
        assert_eq!(status.because(), Some(outage::BECAUSE));
        status.not_ready("something else");
        assert_eq!(status.because(), Some(outage::BECAUSE));
        memory.set_away(false);
        until(&status, Some("something else")).await;
        shutdown.trigger();
        process.await.unwrap().unwrap();
    }

    /// As somebody who declares a queue there does.
    #[tokio::test]
    async fn who_waits_for_a_broker_that_is_away_stops_all_the_same() {
        let (memory, status, shutdown) = (MemoryBus::default(), Status::default(), Shutdown::new());
        memory.set_away(true);
        let bus = Bus::Memory(memory.clone());
        let stuck = |_| std::future::pending::<anyhow::Result<()>>();
        let process = tokio::spawn(through(bus, status, shutdown.clone(), stuck));
        shutdown.trigger();
        tokio::time::timeout(LONG, process).await.expect("it stops").unwrap().unwrap();
    }

    /// Its own end is no reason to call it stopped as asked.
    #[tokio::test]
    async fn work_that_fails_is_waited_for_and_fails_the_process() {
        let (memory, status, shutdown) = (MemoryBus::default(), Status::default(), Shutdown::new());
        memory.set_away(true);
        let fails = |stop: Shutdown| async move {
            stop.trigger();
            tokio::time::sleep(MAX_STOP + Duration::from_secs(7)).await;
            anyhow::bail!("the disk is full")
        };
        let process = through(Bus::Memory(memory), status, shutdown, fails);
        let failed = tokio::time::timeout(LONG, process).await.expect("it ends").unwrap_err();
        assert_eq!(failed.to_string(), "the disk is full");
    }
}
