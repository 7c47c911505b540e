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
        // A recovery unit gives second looks at what an operational one has done.
        Role::RecoveryUnit => &[Role::Coordinator, Role::Reencryptor],
        Role::OperationalUnit => &[Role::Coordinator, Role::Reencryptor, Role::Gateway],
        Role::Reencryptor => &[Role::Coordinator, Role::OperationalUnit, Role::RecoveryUnit],
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

#[cfg(test)]
mod tests {
    use protocol::ProcessId;
    use zeroize::Zeroizing;

    use super::*;

    /// What a process of this role may write to.
    fn write(role: Role) -> String {
        let member = Member {
            name: role.name().to_owned(),
            role,
            id: ProcessId::from_bytes([1; 16]),
            broker_password: Zeroizing::default(),
            database_password: Zeroizing::default(),
        };
        of(&member, InstanceId::named("prod")).write
    }

    fn may_write(from: Role, to: Role) -> bool {
        write(from).contains(&exchange_of(to).replace('.', "\\."))
    }

    /// The second look of the only other unit, which may be a recovery unit.
    #[test]
    fn whoever_is_asked_for_a_second_look_can_be_asked_and_can_answer() {
        for unit in [Role::OperationalUnit, Role::RecoveryUnit] {
            assert!(may_write(Role::Reencryptor, unit), "{unit:?} is asked");
            assert!(may_write(unit, Role::Reencryptor), "{unit:?} answers");
        }
    }

    #[test]
    fn nobody_writes_to_the_own_kind_and_a_gateway_never_to_a_recovery_unit() {
        for role in Role::ALL {
            assert!(!may_write(role, role), "{role:?}");
        }
        assert!(!may_write(Role::Gateway, Role::RecoveryUnit));
        assert!(!may_write(Role::RecoveryUnit, Role::OperationalUnit));
        assert!(!may_write(Role::OperationalUnit, Role::RecoveryUnit));
    }
}
