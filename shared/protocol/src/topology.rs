//! Every exchange and queue name. Nobody else spells one.

use crate::ids::{InstanceId, ProcessId, Role};

/// Version of the protocol that this program speaks.
pub const PROTOCOL_VERSION: u32 = 1;

/// Direct exchange in front of the queues that operational units take pages from.
pub const PAGES: &str = "keyhelm.pages";
/// Direct exchange in front of [`REQUEST_QUEUE`].
pub const REQUESTS: &str = "keyhelm.requests";
/// Direct exchange in front of [`ANNOUNCEMENT_QUEUE`].
pub const ANNOUNCEMENTS: &str = "keyhelm.announcements";
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

/// A queue, and the exchange that leads to it under the queue's name as routing key.
///
/// There is an exchange for each role that reads, as a broker gives rights to exchanges and not to
/// routing keys: whoever may write to that of the reencryptors can reach no crypto unit by it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The exchange.
    pub exchange: &'static str,
    /// The queue, and the routing key.
    pub queue: String,
}

/// Direct exchange in front of the queues of all processes of a role.
pub const fn exchange_of(role: Role) -> &'static str {
    match role {
        Role::OperationalUnit => "keyhelm.to.operational-units",
        Role::RecoveryUnit => "keyhelm.to.recovery-units",
        Role::Coordinator => "keyhelm.to.coordinators",
        Role::Reencryptor => "keyhelm.to.reencryptors",
        Role::Gateway => "keyhelm.to.gateways",
    }
}

/// Every direct exchange.
pub fn direct_exchanges() -> Vec<&'static str> {
    let roles = Role::ALL.into_iter().map(exchange_of);
    roles.chain([PAGES, REQUESTS, ANNOUNCEMENTS]).collect()
}

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

/// The queue of one process: commands, reports, answers, session requests. A coordinator serves many
/// instances from one.
pub fn process_address(role: Role, instance: InstanceId, process: ProcessId) -> Address {
    let queue = match role {
        Role::Coordinator => format!("keyhelm.coordinator.{process}"),
        _ => format!("keyhelm.{instance}.process.{process}"),
    };
    Address { exchange: exchange_of(role), queue }
}

/// The queue from which all operational units of an instance take pages.
pub fn page_address(instance: InstanceId) -> Address {
    Address { exchange: PAGES, queue: format!("keyhelm.{instance}.pages") }
}

/// [`REQUEST_QUEUE`].
pub fn request_address() -> Address {
    Address { exchange: REQUESTS, queue: REQUEST_QUEUE.to_owned() }
}

/// [`ANNOUNCEMENT_QUEUE`].
pub fn announcement_address() -> Address {
    Address { exchange: ANNOUNCEMENTS, queue: ANNOUNCEMENT_QUEUE.to_owned() }
}

/// [`DEAD_QUEUE`].
pub fn dead_address() -> Address {
    Address { exchange: DEAD, queue: DEAD_QUEUE.to_owned() }
}

/// What a queue is for, for metrics: there are too many names.
pub fn class_of(queue: &str) -> &'static str {
    match queue {
        REQUEST_QUEUE => "requests",
        ANNOUNCEMENT_QUEUE => "announcements",
        DEAD_QUEUE => "dead",
        _ if queue.ends_with(".pages") => "pages",
        _ if queue.starts_with("keyhelm.coordinator.") => "coordinator",
        _ => "process",
    }
}

/// Routing key of an event.
pub fn event_key(instance: InstanceId, phase: &str) -> String {
    format!("rotation.{instance}.{phase}")
}
