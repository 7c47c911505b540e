//! Knowing that the broker is away. A message more or less is waited for in silence; a process that
//! has been cut off for longer than a moment shall say so, and stop promising what it cannot do.

use std::time::Duration;

use crate::Bus;

/// An outage that is shorter is nobody's business: a broker that restarts, a network that hiccups.
pub const MOMENT: Duration = Duration::from_secs(5);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// What a process says of itself meanwhile.
pub const BECAUSE: &str = "it cannot reach the broker: see that RabbitMQ runs, can be reached from here and lets this process in (its log says more); it comes back by itself";

impl Bus {
    /// For how long the broker has been away, from the first look that found it so; none while it is
    /// there. Whoever wants to know looks again and again.
    pub fn away(&self) -> Option<Duration> {
        match self {
            Self::Memory(bus) => bus.away(),
            Self::Amqp(bus) => bus.away(),
        }
    }

    /// Whether the broker has been away for longer than [`MOMENT`].
    pub fn is_cut_off(&self) -> bool {
        self.away().is_some_and(|away| away > MOMENT)
    }

    /// Waits until the process is cut off.
    pub async fn cut_off(&self) {
        while !self.is_cut_off() {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until the broker is there.
    pub async fn there(&self) {
        while self.away().is_some() {
            tokio::time::sleep(LOOK).await;
        }
    }
}
