//! What RabbitMQ is given: TLS and nothing else, a user for each process, and the whole topology, so
//! that no process needs the right to make any of it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bus::{Argument, QueueSpec};
use crypto::random::process_rng;
use protocol::Role;
use protocol::topology::{self, Address};
use rand::Rng;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::certificates::{self, Authority};
use super::files::{Place, Reader, password};
use super::plan::Plan;
use super::processes::Member;
use super::rights::{self, Rights};

const SERVER: Reader<'static> = Reader::Server("rabbitmq");
const VHOST: &str = "keyhelm";
/// Where whoever asks for rotations reads the events.
const EVENT_QUEUE: &str = "keyhelm.requester.events";
/// Most events that wait there; older ones go.
const MAX_EVENTS: u64 = 1_000;

const CONFIGURATION: &str = "\
listeners.tcp = none
listeners.ssl.default = 5671
ssl_options.cacertfile = /run/keyhelm/ca.pem
ssl_options.certfile = /run/keyhelm/server.pem
ssl_options.keyfile = /run/keyhelm/server.key
ssl_options.verify = verify_none
ssl_options.fail_if_no_peer_cert = false
load_definitions = /run/keyhelm/definitions.json
management.tcp.port = 15672
vm_memory_high_watermark.absolute = 400MB
log.console = true
log.console.level = warning
log.file = false
";

/// Writes what lacks. The definitions are written each time: the broker reads them at every start.
pub(super) fn prepare(
    plan: &Plan,
    members: &[Member],
    authority: &Authority,
    place: &mut Place,
) -> anyhow::Result<()> {
    certificates::server(&plan.broker, SERVER, authority, place)?;
    place.keep(SERVER, "rabbitmq.conf", || Ok(CONFIGURATION.to_owned().into()))?;
    place.keep(SERVER, "enabled_plugins", || Ok("[rabbitmq_management].\n".to_owned().into()))?;
    let requester = place.keep(SERVER, "requester-password", || Ok(password()))?;
    let administrator = place.keep(SERVER, "administrator-password", || Ok(password()))?;
    place.keep(SERVER, "rabbitmqadmin.conf", || Ok(admin_file(&requester)))?;
    let users = Users::of(members, &requester, &administrator);
    let before = place.read(SERVER, "definitions.json")?;
    let before = before.and_then(|text| serde_json::from_str(&text).ok());
    let definitions = definitions(plan, members, &users, before.as_ref());
    if before.as_ref() != Some(&definitions) {
        place.put(SERVER, "definitions.json", &format!("{definitions:#}\n"))?;
    }
    Ok(())
}

/// The sections of `rabbitmqadmin --config`.
fn admin_file(requester: &str) -> Zeroizing<String> {
    format!(
        "[default]\nhostname = localhost\nport = 15672\nusername = requester\n\
         password = {requester}\nvhost = {VHOST}\ndeclare_vhost = {VHOST}\n"
    )
    .into()
}

struct User<'a> {
    name: &'a str,
    password: &'a str,
    tags: &'static str,
}

struct Users<'a>(Vec<User<'a>>);

impl<'a> Users<'a> {
    fn of(members: &'a [Member], requester: &'a str, administrator: &'a str) -> Self {
        let own = members.iter().map(|member| User {
            name: &member.name,
            password: &member.broker_password,
            tags: "",
        });
        let people = [
            User { name: "requester", password: requester, tags: "management" },
            User { name: "administrator", password: administrator, tags: "administrator" },
        ];
        Self(own.chain(people).collect())
    }
}

fn definitions(
    plan: &Plan,
    members: &[Member],
    users: &Users<'_>,
    before: Option<&Value>,
) -> Value {
    let known = |name: &str| {
        let users = before?.get("users")?.as_array()?;
        let user = users.iter().find(|user| user["name"] == name)?;
        Some(user["password_hash"].as_str()?.to_owned())
    };
    let users: Vec<_> = users
        .0
        .iter()
        .map(|user| {
            let kept = known(user.name).filter(|hash| is_hash_of(hash, user.password));
            json!({
                "name": user.name, "tags": user.tags,
                "password_hash": kept.unwrap_or_else(|| hashed(user.password)),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
            })
        })
        .collect();
    let queues = queues(plan, members);
    json!({
        "users": users,
        "vhosts": [{ "name": VHOST }],
        "permissions": permissions(plan, members),
        "topic_permissions": [], "parameters": [], "global_parameters": [], "policies": [],
        "exchanges": exchanges(),
        "queues": queues.iter().map(queue).chain([event_queue()]).collect::<Vec<_>>(),
        "bindings": queues
            .iter()
            .map(|spec| binding(&spec.address, &spec.address.queue))
            .chain([event_binding()])
            .collect::<Vec<_>>(),
    })
}

fn permissions(plan: &Plan, members: &[Member]) -> Vec<Value> {
    let permission = |user: &str, rights: Rights| {
        let Rights { configure, write, read } = rights;
        json!({
            "user": user, "vhost": VHOST, "configure": configure, "write": write, "read": read,
        })
    };
    let all = || Rights { configure: ".*".into(), write: ".*".into(), read: ".*".into() };
    let own =
        members.iter().map(|member| permission(&member.name, rights::of(member, plan.instance)));
    let people = [
        permission("requester", rights::of_requester(EVENT_QUEUE)),
        permission("administrator", all()),
    ];
    own.chain(people).collect()
}

fn exchanges() -> Vec<Value> {
    let exchange = |name: &str, kind: &str| {
        json!({
            "name": name, "vhost": VHOST, "type": kind, "durable": true, "auto_delete": false,
            "internal": false, "arguments": {},
        })
    };
    let direct = topology::direct_exchanges().into_iter().map(|name| exchange(name, "direct"));
    let others = [exchange(topology::EVENTS, "topic"), exchange(topology::DEAD, "fanout")];
    direct.chain(others).collect()
}

/// Every queue of the topology.
fn queues(plan: &Plan, members: &[Member]) -> Vec<QueueSpec> {
    let mut queues = vec![
        QueueSpec::durable(topology::request_address()),
        QueueSpec::durable(topology::announcement_address()),
        QueueSpec::durable(topology::dead_address()),
    ];
    if members.iter().any(|member| member.role == Role::OperationalUnit) {
        queues.push(QueueSpec::transient(topology::page_address(plan.instance)));
    }
    queues.extend(members.iter().map(|member| {
        QueueSpec::transient(topology::process_address(member.role, plan.instance, member.id))
    }));
    queues
}

fn queue(spec: &QueueSpec) -> Value {
    let arguments: serde_json::Map<_, _> = spec
        .arguments()
        .iter()
        .map(|(name, value)| {
            let value = match value {
                Argument::Text(text) => json!(text),
                Argument::Number(number) => json!(number),
            };
            ((*name).to_owned(), value)
        })
        .collect();
    json!({
        "name": spec.address.queue, "vhost": VHOST, "durable": true, "auto_delete": false,
        "arguments": arguments,
    })
}

fn event_queue() -> Value {
    json!({
        "name": EVENT_QUEUE, "vhost": VHOST, "durable": true, "auto_delete": false,
        "arguments": { "x-queue-type": "classic", "x-max-length": MAX_EVENTS },
    })
}

fn binding(address: &Address, key: &str) -> Value {
    json!({
        "source": address.exchange, "vhost": VHOST, "destination": address.queue,
        "destination_type": "queue", "routing_key": key, "arguments": {},
    })
}

fn event_binding() -> Value {
    let address = Address { exchange: topology::EVENTS, queue: EVENT_QUEUE.to_owned() };
    binding(&address, "rotation.#")
}

/// As RabbitMQ stores passwords: base64 of a salt of four bytes and of SHA-256 over salt and
/// password.
fn hashed(password: &str) -> String {
    let mut salt = [0u8; 4];
    process_rng().fill_bytes(&mut salt);
    hash_under(salt, password)
}

fn hash_under(salt: [u8; 4], password: &str) -> String {
    let digest = Sha256::new().chain_update(salt).chain_update(password.as_bytes()).finalize();
    STANDARD.encode([salt.as_slice(), digest.as_slice()].concat())
}

fn is_hash_of(hash: &str, password: &str) -> bool {
    let bytes = STANDARD.decode(hash).unwrap_or_default();
    let salt = bytes.first_chunk::<4>();
    salt.is_some_and(|salt| hash_under(*salt, password) == hash)
}
