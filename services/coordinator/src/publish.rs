//! Events for whoever listens: JSON on a topic exchange.

use bus::{Outgoing, Properties};
use protocol::api::RotationEvent;
use protocol::{InstanceId, topology};

/// An event, under `rotation.<instance>.<phase>`.
pub(crate) fn event(instance: InstanceId, event: &RotationEvent) -> Outgoing {
    let body = serde_json::to_vec(event).unwrap_or_default();
    Outgoing {
        exchange: topology::EVENTS.to_owned(),
        routing_key: topology::event_key(instance, event.rotation.phase.name()),
        is_mandatory: false,
        is_persistent: false,
        properties: Properties {
            content_type: Some("application/json".to_owned()),
            ..Properties::default()
        },
        body: body.into(),
    }
}
