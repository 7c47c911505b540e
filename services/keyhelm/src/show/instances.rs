//! The list of instances.

use protocol::InstanceId;
use protocol::api::InstanceView;

use super::time::moment;
use super::{table, visible};

/// The line above what is told of one instance.
pub fn heading(id: InstanceId, name: &str) -> String {
    format!("SERVICE INSTANCE: {id} ({})", visible::line(name))
}

/// One line an instance, numbered as prompts ask for them.
pub fn table(found: &[InstanceView]) -> String {
    let mut table = table::plain([
        "INSTANCE NUM",
        "NAME",
        "INSTANCE ID",
        "CRYPTO UNITS",
        "MANIFEST",
        "ROTATION",
        "STANDING ORDER UNTIL",
    ]);
    for (index, instance) in found.iter().enumerate() {
        let manifest = match instance.manifest_serial {
            0 => "none: run auto-init".to_owned(),
            serial => serial.to_string(),
        };
        table.add_row([
            (index + 1).to_string(),
            instance.name.clone(),
            instance.id.to_string(),
            instance.unit_count.to_string(),
            manifest,
            instance.open_rotation.map_or_else(|| "none".to_owned(), |id| id.to_string()),
            instance.standing_order_until.map_or_else(|| "none".to_owned(), moment),
        ]);
    }
    table::text(&table)
}
