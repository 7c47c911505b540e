//! What each user of the broker may do, out of the topology: it reads its own queues and writes to
//! the exchanges in front of those whom its role speaks to. Nobody may make or remove anything.

use protocol::topology::{self, exchange_of};
use protocol::{InstanceId, Role};

use super::processes::Member;

/// Patterns as RabbitMQ wants them: what may be configured, written, read.
pub(super) struct Rights {
    pub(super) configure: String,
    pub(super) write: String,
    pub(super) read: String,
}

/// Of one of keyhelm's processes.
pub(super) fn of(member: &Member, instance: InstanceId) -> Rights {
    let own = topology::process_address(member.role, instance, member.id).queue;
    let mut read = vec![own];
    match member.role {
        Role::OperationalUnit => read.push(topology::page_address(instance).queue),
        Role::Coordinator => {
            let shared = [topology::REQUEST_QUEUE, topology::ANNOUNCEMENT_QUEUE];
            read.extend(shared.map(str::to_owned));
        }
        _ => {}
    }
    let mut write: Vec<_> = spoken_to(member.role).iter().map(|role| exchange_of(*role)).collect();
    match member.role {
        // The default exchange is the way back to whoever asked on the request queue.
        Role::Coordinator => write.extend([topology::EVENTS, "amq.default"]),
        Role::Reencryptor => write.extend([topology::PAGES, topology::ANNOUNCEMENTS]),
        _ => write.push(topology::ANNOUNCEMENTS),
    }
    write.push(topology::DEAD);
    Rights { configure: nothing(), write: any_of(&write), read: any_of(&read) }
}

/// Of whoever asks for rotations and listens to what comes of it.
pub(super) fn of_requester(listens_at: &str) -> Rights {
    Rights {
        configure: nothing(),
        write: any_of(&[topology::REQUESTS, "amq.default"]),
        read: any_of(&[listens_at]),
    }
}

/// Whose queues a process of this role writes to.
const fn spoken_to(role: Role) -> &'static [Role] {
    match role {
        Role::RecoveryUnit => &[Role::Coordinator],
        Role::OperationalUnit => &[Role::Coordinator, Role::Reencryptor, Role::Gateway],
        Role::Reencryptor => &[Role::Coordinator, Role::OperationalUnit],
        Role::Coordinator => {
            &[Role::RecoveryUnit, Role::OperationalUnit, Role::Reencryptor, Role::Gateway]
        }
        Role::Gateway => &[Role::OperationalUnit],
    }
}

fn nothing() -> String {
    "^$".to_owned()
}

fn any_of(names: &[impl AsRef<str>]) -> String {
    let names: Vec<_> = names.iter().map(|name| name.as_ref().replace('.', "\\.")).collect();
    format!("^({})$", names.join("|"))
}
