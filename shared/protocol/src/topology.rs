//! Every exchange and queue name. Nobody else spells one.

use crate::ids::{InstanceId, ProcessId};

/// Version of the protocol that this program speaks.
pub const PROTOCOL_VERSION: u32 = 1;

/// Direct exchange for everything that is addressed to one process, or to the shared page queue.
pub const DIRECT: &str = "keyhelm.direct";
/// Direct exchange in front of the queues that any coordinator reads.
pub const REQUESTS: &str = "keyhelm.requests";
/// Topic exchange for events: `rotation.<instance>.<phase>`.
pub const EVENTS: &str = "keyhelm.events";
/// Fan-out exchange in front of [`DEAD_QUEUE`].
pub const DEAD: &str = "keyhelm.dead";

/// The durable quorum queue for rotation requests: the one door that is not signed.
pub const REQUEST_QUEUE: &str = "keyhelm.coordinator.requests";
/// Where processes announce themselves; read by any coordinator.
pub const ANNOUNCEMENT_QUEUE: &str = "keyhelm.coordinator.announcements";
/// What could not be taken, each with [`REASON_HEADER`].
pub const DEAD_QUEUE: &str = "keyhelm.dead";

/// Header of a dead message: why.
pub const REASON_HEADER: &str = "keyhelm-reason";
/// W3C trace context.
pub const TRACEPARENT_HEADER: &str = "traceparent";

/// How long a transient message is worth delivering. All of them can be asked again.
pub const TRANSIENT_TTL_MS: u64 = 5 * 60 * 1000;
/// Most messages waiting in one transient queue.
pub const TRANSIENT_MAX_LENGTH: u64 = 10_000;
/// Most bytes waiting in one transient queue.
pub const TRANSIENT_MAX_BYTES: u64 = 256 * 1024 * 1024;

/// After how long a process that no manifest names yet announces itself again: the coordinator that
/// heard it may be gone.
pub const ANNOUNCE_AGAIN: std::time::Duration = std::time::Duration::from_secs(5);

/// The queue of one process: commands, reports, answers, session requests.
pub fn process_queue(instance: InstanceId, process: ProcessId) -> String {
    format!("keyhelm.{instance}.process.{process}")
}

/// The queue of one coordinator, which serves many instances.
pub fn coordinator_queue(process: ProcessId) -> String {
    format!("keyhelm.coordinator.{process}")
}

/// The queue from which all operational units of an instance take pages.
pub fn page_queue(instance: InstanceId) -> String {
    format!("keyhelm.{instance}.pages")
}

/// Routing key of an event.
pub fn event_key(instance: InstanceId, phase: &str) -> String {
    format!("rotation.{instance}.{phase}")
}
