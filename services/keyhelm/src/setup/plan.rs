//! Who belongs to the cluster, and where its folders are.

use std::collections::BTreeSet;
use std::path::PathBuf;

use protocol::{InstanceId, Role};

use crate::cli::setup::SetupArgs;
use crate::failure::{Failure, Outcome};

/// A process of the cluster.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    /// Its name: in tables, as folder, and as user of broker and database.
    pub(super) name: String,
    /// What it is.
    pub(super) role: Role,
}

/// The cluster.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) root: PathBuf,
    pub(super) instance: InstanceId,
    pub(super) instance_name: String,
    pub(super) processes: Vec<Planned>,
    pub(super) broker: String,
    pub(super) database: String,
    pub(super) owner: u32,
    pub(super) server_owner: u32,
}

impl Plan {
    /// Out of the arguments. Names become folders and users, so they are plain.
    pub(super) fn new(args: &SetupArgs) -> Outcome<Self> {
        let planned = |role: Role| move |name: &String| Planned { name: name.clone(), role };
        let one = |name: &str, role| Planned { name: name.to_owned(), role };
        let mut processes: Vec<_> = args.recovery.iter().map(planned(Role::RecoveryUnit)).collect();
        processes.extend(args.operational.iter().map(planned(Role::OperationalUnit)));
        processes.push(one("reencryptor", Role::Reencryptor));
        processes.push(one("coordinator", Role::Coordinator));
        processes.push(one("gateway", Role::Gateway));
        let mut seen = BTreeSet::new();
        for Planned { name, .. } in &processes {
            let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
            if name.is_empty() || name.len() > 30 || !name.bytes().all(is_plain) {
                let what = format!("{name:?} is no name: 1 to 30 of a to z, 0 to 9 and -");
                return Err(Failure::usage(what).safe("nothing is written"));
            }
            let is_taken = ["rabbitmq", "postgres", "issuer", "cli"].contains(&name.as_str());
            if is_taken || !seen.insert(name.clone()) {
                return Err(
                    Failure::usage(format!("the name {name} is taken")).safe("nothing is written")
                );
            }
        }
        Ok(Self {
            root: args.folder.clone(),
            instance: InstanceId::named(&args.instance),
            instance_name: args.instance.clone(),
            processes,
            broker: args.broker.clone(),
            database: args.database.clone(),
            owner: args.owner,
            server_owner: args.server_owner,
        })
    }
}
