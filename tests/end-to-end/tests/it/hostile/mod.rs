//! Goal: nothing that can lie in a queue ends a process or keeps the next message from being
//! handled, and each such message is counted under its reason. Method: every queue, twelve faults,
//! put there as whoever has broken into the broker, or stolen a process's identity, could; the
//! counters are read where Prometheus would.

mod earlier;
mod faults;
mod rows;

use std::time::{Duration, Instant};

use end_to_end::cluster::INSTANCE;
use end_to_end::counters::Counters;
use end_to_end::keys::Client;
use end_to_end::process::PATIENCE;
use end_to_end::sender::Sender;
use end_to_end::{Cluster, Flavour};
use machines::envelope;
use protocol::envelope::{Kind, Recipient};
use protocol::manifest::Member;
use protocol::report::Announcement;
use protocol::{InstanceId, Role, codec, topology};

use self::earlier::{Earlier, id_of, identity_of};
use self::faults::{ALL, Fault, Genuine, wrongly_signed};
use self::rows::{Comes, Row, Wire, expected, request, rows, spoilt_request};
use crate::leaks::firehose;
use crate::{servers_or_not, words};

const REFUSED_MESSAGES: &str = "keyhelm_messages_refused_total";
const REFUSED_COMMANDS: &str = "keyhelm_commands_refused_total";
const HANDLED: &str = "keyhelm_messages_handled_total";

/// What a process would say of itself.
pub fn announcement(cluster: &Cluster, name: &str) -> Announcement {
    let identity = identity_of(cluster, name).public_key();
    let (id, location) = (id_of(cluster, name), String::new());
    Announcement {
        member: Member { id, name: name.to_owned(), role: Role::RecoveryUnit, identity, location },
        instance_name: INSTANCE.to_owned(),
        keystore: None,
        manifest_serial: 1,
        protocol_version: topology::PROTOCOL_VERSION,
    }
}

/// The counters of all readers of a queue together.
async fn counted(cluster: &mut Cluster, row: &Row, name: &str, labels: &[(&str, &str)]) -> u64 {
    let mut sum = 0;
    for reader in &row.readers {
        let port = cluster.process(reader).unwrap().observe_port;
        sum += Counters::read(port).await.unwrap().sum(name, labels);
    }
    sum
}

/// Waits until a counter has come to a value.
async fn until(cluster: &mut Cluster, row: &Row, name: &str, labels: &[(&str, &str)], value: u64) {
    let give_up = Instant::now() + PATIENCE;
    while counted(cluster, row, name, labels).await < value {
        assert!(Instant::now() < give_up, "{}: {name} {labels:?} never came to {value}", row.name);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The bytes of this fault.
fn faulty(row: &Row, fault: Fault) -> Vec<u8> {
    match fault {
        Fault::Replay => row.replay.clone(),
        Fault::StaleEpoch => row.stale.clone().unwrap(),
        Fault::LowerOrderNumber => row.lower.clone().unwrap(),
        _ => match &row.wire {
            Wire::Signed(genuine) => genuine.spoilt(fault),
            Wire::Request => spoilt_request(fault),
        },
    }
}

/// One fault: counted once under its name and nowhere else, and a valid message after it is handled.
async fn tried(cluster: &mut Cluster, sender: &Sender, row: &Row, fault: Fault) -> Comes {
    let comes = expected(row, fault);
    if matches!(comes, Comes::Cannot(_)) {
        return comes;
    }
    let queue = row.address.queue.as_str();
    let class = [("queue", topology::class_of(queue))];
    let before = [
        counted(cluster, row, REFUSED_MESSAGES, &[]).await,
        counted(cluster, row, REFUSED_COMMANDS, &[]).await,
        counted(cluster, row, HANDLED, &class).await,
    ];
    let bytes = faulty(row, fault);
    let (name, labels) = match &comes {
        Comes::Dead(reason) => (REFUSED_MESSAGES, vec![class[0], ("reason", *reason)]),
        Comes::Refused(command, reason) => {
            (REFUSED_COMMANDS, vec![("command", *command), ("reason", *reason)])
        }
        _ => (HANDLED, class.to_vec()),
    };
    let one = counted(cluster, row, name, &labels).await + 1;
    sender.send(queue, &bytes).await.unwrap();
    until(cluster, row, name, &labels, one).await;

    let valid = match &row.wire {
        Wire::Signed(genuine) => genuine.sealed(|_, _| {}),
        Wire::Request => request(&format!("after {fault:?}")).to_string().into_bytes(),
    };
    // A page of an earlier rotation is handled by saying no to it.
    let is_page = row.name == "pages";
    let handled = before[2] + 1 + u64::from(!matches!(comes, Comes::Dead(_)));
    sender.send(queue, &valid).await.unwrap();
    until(cluster, row, HANDLED, &class, handled).await;
    let after = [
        counted(cluster, row, REFUSED_MESSAGES, &[]).await,
        counted(cluster, row, REFUSED_COMMANDS, &[]).await,
    ];
    let dead = u64::from(matches!(comes, Comes::Dead(_)));
    let refused = u64::from(matches!(comes, Comes::Refused(..))) + u64::from(is_page);
    assert_eq!(
        after,
        [before[0] + dead, before[1] + refused],
        "{}, {fault:?}: counted more or less than once",
        row.name
    );
    comes
}

fn show(row: &Row, fault: Fault, comes: &Comes) {
    let counter = match comes {
        Comes::Dead(reason) => format!("+1 {REFUSED_MESSAGES} {reason}"),
        Comes::Refused(command, reason) => format!("+1 {REFUSED_COMMANDS} {command} {reason}"),
        Comes::NoEffect => format!("+1 {HANDLED}, nothing changes"),
        Comes::Cannot(because) => format!("- {because}"),
    };
    println!("{:<22} {:<17} {counter}", row.name, format!("{fault:?}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_queue_bears_twelve_faults_and_counts_each() {
    let Some(()) = servers_or_not() else { return };
    let quiet = [("KEYHELM_SURVEY_EVERY_S", "0")];
    let mut cluster = Cluster::start_with(Flavour::Release, &[], &quiet).await.unwrap();
    cluster.initialise().await.unwrap();
    let seen = firehose(&cluster).await;
    cluster.expect(0, &words("keys create --count 40")).await.unwrap();
    for _ in 0..2 {
        cluster.expect(0, &words("auto-mk-rotate --yes")).await.unwrap();
    }
    let earlier = Earlier::of(&seen);
    let sender = Sender::connect(cluster.amqp_url()).await.unwrap();
    let list = format!("/v1/instances/{INSTANCE}/rotations?limit=9");
    let rotations = cluster.get(&list).await.unwrap();

    // Asked once, so that it comes again when it is replayed.
    let asked = request("replayed").to_string();
    sender.send(topology::REQUEST_QUEUE, asked.as_bytes()).await.unwrap();
    let rows = rows(&cluster, &earlier);
    let mut tries = 0;
    for row in &rows {
        for fault in ALL {
            let comes = tried(&mut cluster, &sender, row, fault).await;
            show(row, fault, &comes);
            tries += u32::from(!matches!(comes, Comes::Cannot(_)));
        }
    }
    println!("{:<22} nobody reads it: what cannot be taken lies there", topology::DEAD_QUEUE);
    println!("{tries} faults tried, {} impossible", rows.len() * ALL.len() - tries as usize);

    nobody_else_s_word_counts(&mut cluster, &sender, &rows).await;
    for process in &mut cluster.processes {
        assert!(process.is_running(), "{} has ended", process.name());
    }
    assert_eq!(cluster.get(&list).await.unwrap(), rotations, "a rotation began, or changed");
    let made = Client::of(&cluster).await.unwrap().create("after", 3).await.unwrap();
    assert_eq!(made.len(), 3);
    cluster.expect(0, &words("auto-mk-rotate --yes")).await.unwrap();
    cluster.expect(0, &words("keys check")).await.unwrap();
    cluster.stop().await.unwrap();
}

/// A report about somebody else, and an instance that nobody has signed for.
async fn nobody_else_s_word_counts(cluster: &mut Cluster, sender: &Sender, rows: &[Row]) {
    let row = rows.iter().find(|row| row.name == "announcements").unwrap();
    let labels = |reason| [("queue", "announcements"), ("reason", reason)];
    let instance = InstanceId::named(INSTANCE);
    let any = Recipient::Role(Role::Coordinator);
    let body = |said: &Announcement| codec::encode(said);
    let by_op_1 = |instance, body| {
        Genuine::new(identity_of(cluster, "op-1"), instance, any, Kind::Announcement, body)
    };
    let foreign = by_op_1(instance, body(&announcement(cluster, "rec-1"))).sealed(|_, _| {});
    let said =
        Announcement { instance_name: "elsewhere".to_owned(), ..announcement(cluster, "rec-1") };
    let elsewhere = InstanceId::named("elsewhere");
    let unsigned = wrongly_signed(&by_op_1(elsewhere, body(&said)).sealed(|_, _| {}));
    assert!(
        envelope::open_evidence(&unsigned, &machines::trust::Trust::imprint(elsewhere)).is_err()
    );
    for (bytes, reason) in [(foreign, "speaks-for-another"), (unsigned, "wrong-signature")] {
        let labels = labels(reason);
        let one = counted(cluster, row, REFUSED_MESSAGES, &labels).await + 1;
        sender.send(&row.address.queue, &bytes).await.unwrap();
        until(cluster, row, REFUSED_MESSAGES, &labels, one).await;
    }
    let instances = cluster.get("/v1/instances").await.unwrap();
    assert_eq!(instances.as_array().unwrap().len(), 1, "{instances}");
}
