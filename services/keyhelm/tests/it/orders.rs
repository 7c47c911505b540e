//! A draft is signed only if it says what was asked for.

use crypto::identity::{Identity, process_id};
use crypto::random::{process_rng, uuid_v7};
use keyhelm::verbs::orders::{read, request};
use machines::leave::order_digest;
use protocol::api::{ManifestView, OrderDraft};
use protocol::codec;
use protocol::keystore::GateMode;
use protocol::manifest::{Manifest, Member};
use protocol::order::{Order, Purpose};
use protocol::{Digest, InstanceId, ProcessId, Role, RotationId, UnixMillis};

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

fn view() -> ManifestView {
    let member = |name: &str, role| {
        let identity = Identity::generate(&mut process_rng()).public_key();
        let (id, location) = (process_id(&identity), String::new());
        Member { id, name: name.to_owned(), role, identity, location }
    };
    let manifest = Manifest {
        instance: InstanceId::named("prod"),
        name: "prod".to_owned(),
        serial: 4,
        previous: None,
        members: vec![member("rec-1", Role::RecoveryUnit), member("op-1", Role::OperationalUnit)],
        keystores: Vec::new(),
        administrators: Vec::new(),
        signature_threshold: 1,
        revocation_threshold: 1,
        created_at: NOW,
        amendment: None,
    };
    ManifestView { manifest, digest: Digest([0; 32]), chain: Vec::new(), standing_order: None }
}

fn order(view: &ManifestView) -> Order {
    Order {
        instance: view.manifest.instance,
        rotation: RotationId::from_uuid(uuid_v7(NOW, &mut process_rng())),
        number: protocol::OrderNumber { manifest_serial: 4, number: 1 },
        purpose: Purpose::Rotate,
        from: None,
        generator: view.manifest.members[0].id,
        joining: Vec::new(),
        quarantined: Vec::new(),
        mode: GateMode::Strict,
        hold_after_commit_s: 0,
        hold_before_clear_s: 0,
        issued_at: NOW,
        expires_at: NOW.plus_ms(15 * 60 * 1000),
    }
}

fn drafted(order: Order) -> OrderDraft {
    let bytes = codec::encode(&order);
    OrderDraft { digest: order_digest(&bytes), bytes_hex: hex::encode(bytes), order }
}

#[test]
fn an_honest_draft_is_read() {
    let view = view();
    let asked = request(Purpose::Rotate, GateMode::Strict);
    let draft = drafted(order(&view));
    assert_eq!(read(&view, &asked, &draft, NOW), Ok(hex::decode(&draft.bytes_hex).unwrap()));
}

#[test]
fn a_draft_that_says_something_else_is_not() {
    let view = view();
    let asked = request(Purpose::Rotate, GateMode::Strict);
    let good = || order(&view);
    let other: ProcessId = view.manifest.members[1].id;
    let dishonest = [
        Order { instance: InstanceId::named("other"), ..good() },
        Order { number: protocol::OrderNumber { manifest_serial: 3, number: 1 }, ..good() },
        Order { purpose: Purpose::Initialise, ..good() },
        Order { mode: GateMode::Online, ..good() },
        Order { hold_after_commit_s: 60, ..good() },
        Order { hold_before_clear_s: 60, ..good() },
        Order { expires_at: NOW.plus_ms(24 * 3_600_000), ..good() },
        Order { generator: other, ..good() },
        Order { joining: vec![other], ..good() },
    ];
    for order in dishonest {
        assert!(read(&view, &asked, &drafted(order.clone()), NOW).is_err(), "{order:?}");
    }
    // Shown is one order, to be signed another.
    let shown = OrderDraft { order: good(), ..drafted(good()) };
    assert!(read(&view, &asked, &shown, NOW).is_err());
    let wrong_digest = OrderDraft { digest: Digest([1; 32]), ..drafted(good()) };
    assert!(read(&view, &asked, &wrong_digest, NOW).is_err());
}

#[test]
fn a_draft_that_is_dated_otherwise_than_now_is_not_read() {
    let view = view();
    let asked = request(Purpose::Rotate, GateMode::Strict);
    let at = |ms: i64| {
        let issued_at = UnixMillis(NOW.0.checked_add_signed(ms).unwrap());
        let expires_at = issued_at.plus_ms(15 * 60 * 1000);
        read(&view, &asked, &drafted(Order { issued_at, expires_at, ..order(&view) }), NOW)
    };
    for ms in [-30_000, 0, 30_000] {
        assert!(at(ms).is_ok(), "{ms}");
    }
    for ms in [-30_001, 30_001, 30 * 24 * 3_600_000] {
        let refused = at(ms).unwrap_err();
        assert!(refused.contains("compare the clocks"), "{ms}: {refused}");
    }
}
