//! Every queue of the topology: a genuine message of it, and what each fault there must come to.

use end_to_end::Cluster;
use end_to_end::cluster::INSTANCE;
use protocol::codec;
use protocol::command::{Command, KeystoreCommand};
use protocol::envelope::{Kind, Recipient};
use protocol::session::SessionAsk;
use protocol::topology::{self, Address};
use protocol::{Epoch, InstanceId, Role};
use serde_json::json;

use super::earlier::{Captured, Earlier, id_of, identity_of};
use super::faults::{Fault, Genuine};

/// What must come of a faulty message, and be counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comes {
    /// To the dead queue, for this reason.
    Dead(&'static str),
    /// It is answered with a refusal: command, reason.
    Refused(&'static str, &'static str),
    /// It is handled, and changes nothing.
    NoEffect,
    /// Its messages cannot have this fault, because.
    Cannot(&'static str),
}

use Comes::{Cannot, Dead, NoEffect, Refused};

/// A message on the wire.
pub enum Wire {
    /// Signed.
    Signed(Box<Genuine>),
    /// The one door that is not signed.
    Request,
}

/// A queue, or one of two kinds of message in it.
pub struct Row {
    pub name: String,
    pub address: Address,
    /// Names of those who read it.
    pub readers: Vec<&'static str>,
    pub wire: Wire,
    /// Exactly as it was sent before.
    pub replay: Vec<u8>,
    /// Signed by its sender under an epoch that is over.
    pub stale: Option<Vec<u8>>,
    /// Signed by its sender today, about an order that is over.
    pub lower: Option<Vec<u8>>,
    /// What replay, stale epoch and lower number come to.
    pub earlier: [Comes; 3],
}

/// What a fault comes to in a row.
pub fn expected(row: &Row, fault: Fault) -> Comes {
    let is_request = matches!(row.wire, Wire::Request);
    let reads_all_instances = row.address.queue.starts_with("keyhelm.coordinator.");
    match fault {
        Fault::Replay => row.earlier[0].clone(),
        Fault::StaleEpoch => row.earlier[1].clone(),
        Fault::LowerOrderNumber => row.earlier[2].clone(),
        Fault::Garbage | Fault::Truncated => Dead("malformed"),
        Fault::Oversized => Dead("oversized"),
        Fault::WrongVersion => Dead("wrong-version"),
        Fault::OtherInstance if reads_all_instances => Dead("unknown-instance"),
        Fault::TrailingBytes if is_request => Dead("malformed"),
        Fault::WrongSignature if is_request => Cannot("requests are not signed"),
        Fault::UnknownSender if is_request => Cannot("requests name no sender"),
        Fault::OtherRecipient if is_request => Cannot("requests name no recipient"),
        Fault::WrongSignature => Dead("wrong-signature"),
        Fault::UnknownSender => Dead("unknown-sender"),
        Fault::OtherRecipient => Dead("other-recipient"),
        Fault::OtherInstance => Dead("other-instance"),
        Fault::TrailingBytes => Dead("trailing-bytes"),
    }
}

/// The request of a person or timer, under an id of its own.
pub fn request(id: &str) -> serde_json::Value {
    json!({
        "type": "keyhelm.rotation-request", "version": 1, "instance": INSTANCE, "dry_run": true,
        "request_id": id,
    })
}

/// The request with this fault.
pub fn spoilt_request(fault: Fault) -> Vec<u8> {
    let mut value = request(&format!("{fault:?}"));
    match fault {
        Fault::Garbage => vec![0xa5; 400],
        Fault::Truncated => value.to_string().as_bytes()[..60].to_vec(),
        Fault::Oversized => {
            value["description"] = "x".repeat(300 * 1024).into();
            value.to_string().into_bytes()
        }
        Fault::WrongVersion => {
            value["version"] = 2.into();
            value.to_string().into_bytes()
        }
        Fault::OtherInstance => {
            value["instance"] = "elsewhere".into();
            value.to_string().into_bytes()
        }
        Fault::TrailingBytes => format!("{value} and more").into_bytes(),
        _ => panic!("a request cannot have {fault:?}"),
    }
}

const SESSION: &str = "a session carries neither epoch nor order; its counter is what counts";
const REPORT: &str = "a report commands nothing; only what is newer in it counts";
const ANNOUNCED: &str = "an announcement carries neither epoch nor order";
const ANSWER: &str = "an answer is taken for the page that it answers, whatever its epoch";
const PAGE: &str = "a page carries no epoch: a unit takes those of the order it is bound to";
const REQUEST: &str = "a request carries neither; an order in it is judged by the units";
const HANDED: &str = "what units answer a gateway carries neither epoch nor order";

/// All of them.
pub fn rows(cluster: &Cluster, earlier: &Earlier) -> Vec<Row> {
    let instance = InstanceId::named(INSTANCE);
    let id = |name: &str| id_of(cluster, name);
    let own = |role, name: &str| topology::process_address(role, instance, id(name));
    let genuine = |by: &str, to: Recipient, kind, body: Vec<u8>| {
        let signer = identity_of(cluster, by);
        Wire::Signed(Box::new(Genuine::new(signer, instance, to, kind, body)))
    };
    let to = |name: &str| Recipient::Process(id(name));
    let mut rows = Vec::new();

    // Commands: two rotations have been ordered, the first of them is over and done with.
    for (name, role) in [
        ("op-1", Role::OperationalUnit),
        ("rec-1", Role::RecoveryUnit),
        ("reencryptor", Role::Reencryptor),
    ] {
        let orders = earlier.orders_to(id(name));
        let [.., (_, first), (_, second)] = &orders[..] else { panic!("two orders to {name}") };
        let by_epoch = |of: &Captured, epoch: Epoch| {
            let kind = of.header.kind;
            let coordinator = identity_of(cluster, "coordinator");
            let genuine = Genuine::new(coordinator, instance, to(name), kind, of.body.clone());
            genuine.sealed(|outgoing, _| outgoing.epoch = epoch)
        };
        let (kind, survey, command, spent) = match role {
            Role::Reencryptor => {
                let survey = codec::encode(&KeystoreCommand::Survey);
                (Kind::KeystoreCommand, survey, "reencrypt", "keystore-refused")
            }
            _ => {
                let survey = codec::encode(&Command::Survey { order: None });
                (Kind::Command, survey, "inspect", "order-spent")
            }
        };
        rows.push(Row {
            name: format!("{name}: commands"),
            address: own(role, name),
            readers: vec![name],
            wire: genuine("coordinator", to(name), kind, survey),
            replay: first.bytes.clone(),
            stale: Some(by_epoch(second, Epoch::default())),
            lower: Some(by_epoch(first, second.header.epoch)),
            earlier: [
                Refused(command, "stale-epoch"),
                Refused(command, "stale-epoch"),
                Refused(command, spent),
            ],
        });
    }

    // Sessions: with whichever unit the gateway has asked.
    let sealed = earlier.first(Kind::SealedRequest, None);
    let served =
        ["op-1", "op-2", "op-3"].into_iter().find(|name| to(name) == sealed.header.recipient);
    let served = served.unwrap();
    rows.push(Row {
        name: format!("{served}: sessions"),
        address: own(Role::OperationalUnit, served),
        readers: vec![served],
        wire: genuine("gateway", to(served), Kind::SessionAsk, codec::encode(&SessionAsk {})),
        replay: sealed.bytes.clone(),
        stale: None,
        lower: None,
        earlier: [Refused("sealed-request", "replayed"), Cannot(SESSION), Cannot(SESSION)],
    });

    let page = earlier.first(Kind::RewrapPage, None);
    let any = Recipient::Role(Role::OperationalUnit);
    let pages = genuine("reencryptor", any, Kind::RewrapPage, page.body.clone());
    let Wire::Signed(again) = &pages else { panic!("pages are signed") };
    rows.push(Row {
        name: "pages".to_owned(),
        address: topology::page_address(instance),
        readers: vec!["op-1", "op-2", "op-3"],
        replay: page.bytes.clone(),
        stale: None,
        lower: Some(again.sealed(|_, _| {})),
        wire: pages,
        earlier: [Refused("rewrap", "not-bound"), Cannot(PAGE), Refused("rewrap", "not-bound")],
    });

    let answer = earlier.first(Kind::PageAnswer, None);
    let by = ["op-1", "op-2", "op-3"].into_iter().find(|name| id(name) == answer.header.sender);
    rows.push(Row {
        name: "reencryptor: answers".to_owned(),
        address: own(Role::Reencryptor, "reencryptor"),
        readers: vec!["reencryptor"],
        wire: genuine(by.unwrap(), to("reencryptor"), Kind::PageAnswer, answer.body.clone()),
        replay: answer.bytes.clone(),
        stale: None,
        lower: None,
        earlier: [NoEffect, Cannot(ANSWER), Cannot(ANSWER)],
    });

    let first = earlier.first(Kind::UnitReport, Some(id("coordinator")));
    let report = earlier.last_by(Kind::UnitReport, id("rec-1"));
    let body = report.body.clone();
    rows.push(Row {
        name: "coordinator: reports".to_owned(),
        address: own(Role::Coordinator, "coordinator"),
        readers: vec!["coordinator"],
        wire: genuine("rec-1", to("coordinator"), Kind::UnitReport, body),
        replay: first.bytes.clone(),
        stale: None,
        lower: None,
        earlier: [NoEffect, Cannot(REPORT), Cannot(REPORT)],
    });

    let answer = earlier.first(Kind::SealedAnswer, None);
    let offer = earlier.first(Kind::SessionOffer, None);
    let by = ["op-1", "op-2", "op-3"].into_iter().find(|name| id(name) == offer.header.sender);
    rows.push(Row {
        name: "gateway".to_owned(),
        address: own(Role::Gateway, "gateway"),
        readers: vec!["gateway"],
        wire: genuine(by.unwrap(), to("gateway"), Kind::SessionOffer, offer.body.clone()),
        replay: answer.bytes.clone(),
        stale: None,
        lower: None,
        earlier: [NoEffect, Cannot(HANDED), Cannot(HANDED)],
    });

    let announced = super::announcement(cluster, "rec-1");
    let any = Recipient::Role(Role::Coordinator);
    let wire = genuine("rec-1", any, Kind::Announcement, codec::encode(&announced));
    let Wire::Signed(again) = &wire else { panic!("announcements are signed") };
    rows.push(Row {
        name: "announcements".to_owned(),
        address: topology::announcement_address(),
        readers: vec!["coordinator"],
        replay: again.sealed(|_, _| {}),
        stale: None,
        lower: None,
        wire,
        earlier: [NoEffect, Cannot(ANNOUNCED), Cannot(ANNOUNCED)],
    });

    rows.push(Row {
        name: "requests".to_owned(),
        address: topology::request_address(),
        readers: vec!["coordinator"],
        wire: Wire::Request,
        replay: request("replayed").to_string().into_bytes(),
        stale: None,
        lower: None,
        earlier: [NoEffect, Cannot(REQUEST), Cannot(REQUEST)],
    });
    rows
}
