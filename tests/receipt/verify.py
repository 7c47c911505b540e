"""Verifies the receipt of a rotation: verify.py RECEIPT MANIFESTS [FORMER RECEIPT].

Written from docs/PROTOCOL.md alone, with nothing but Python's standard library. Ends with 0 if the
receipt holds; else with 1, and says what is wrong.
"""

import functools
import hashlib
import json
import sys
import unicodedata
import uuid

PHASES = "inspect generate install commit hold-after-commit reencrypt promote flip"
PHASES = f"{PHASES} hold-before-clear clear drop done".split()
RECEIPT, MANIFEST = "keyhelm rotation receipt v1", "keyhelm manifest v1"
ORDER, STANDING = "keyhelm order v1", "keyhelm standing order v1"
NOTE = (
    "Database backups from before the flip hold keys under the pattern {}: they need that master "
    "key, which every crypto unit has cleared."
)
FIRST = "This was the first master key: no backup from before it holds a key."


class Refused(Exception):
    """What is wrong, and with whom."""


def want(is_so, what):
    if not is_so:
        raise Refused(what)


# --- Ed25519 (RFC 8032), strict: canonical, and no point of small order.

P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P


def add(one, other):
    (x1, y1, z1, t1), (x2, y2, z2, t2) = one, other
    a, b = (y1 - x1) * (y2 - x2) % P, (y1 + x1) * (y2 + x2) % P
    c, d = 2 * t1 * t2 * D % P, 2 * z1 * z2 % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(number, point):
    found = (0, 1, 1, 0)
    while number:
        if number & 1:
            found = add(found, point)
        point, number = add(point, point), number >> 1
    return found


def is_same(one, other):
    return all((one[axis] * other[2] - other[axis] * one[2]) % P == 0 for axis in (0, 1))


def point_of(data):
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    if y >= P or x * x % P != square or (x == 0 and sign):
        return None
    x = x if x & 1 == sign else P - x
    return x, y, 1, x * y % P


BASE = point_of((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


@functools.cache
def is_signed(key, domain, message, signature):
    key_point, r = point_of(key), point_of(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if key_point is None or r is None or s >= L or len(signature) != 64:
        return False
    if any(is_same(times(8, point), (0, 1, 1, 0)) for point in (key_point, r)):
        return False
    text = signature[:32] + key + domain.encode() + b"\0" + message
    challenge = int.from_bytes(hashlib.sha512(text).digest(), "little") % L
    return is_same(times(s, BASE), add(r, times(challenge, key_point)))


# --- Hashes and the encoding.


def h(domain, *parts):
    found = hashlib.sha256()
    for part in (domain.encode(), *parts):
        found.update(len(part).to_bytes(8, "little") + part)
    return found.digest()


class Reader:
    def __init__(self, data):
        want(data[:1] == b"\x01", "bytes of an unknown format")
        self.data, self.at = data, 1

    def raw(self, count):
        want(count <= len(self.data) - self.at, "bytes that are cut short")
        self.at += count
        return self.data[self.at - count : self.at]

    def u8(self):
        return self.raw(1)[0]

    def flag(self):
        found = self.u8()
        want(found < 2, "a flag that is none")
        return found

    def u32(self):
        return int.from_bytes(self.raw(4), "little")

    def u64(self):
        return int.from_bytes(self.raw(8), "little")

    def number(self):
        return self.u64(), self.u64()

    def text(self):
        return self.raw(self.u64()).decode()

    def option(self, read):
        return read() if self.flag() else None

    def list(self, read):
        return [read() for _ in range(self.u64())]

    def id(self):
        return self.raw(16)

    def b32(self):
        return self.raw(32)

    def end(self):
        want(self.at == len(self.data), "bytes behind the end")


def read_manifest(data):
    it, found = Reader(data), {}

    def member():
        found = {"id": it.id(), "name": it.text(), "role": it.u32(), "key": it.b32()}
        return found | {"location": it.text()}

    found |= {"instance": it.id(), "name": it.text(), "serial": it.u64()}
    found |= {"previous": it.option(it.b32), "members": it.list(member)}
    found |= {"keystores": it.list(it.id), "admins": it.list(lambda: (it.text(), it.b32()))}
    found |= {"signs": it.u32(), "revokes": it.u32()}
    it.u64()
    found["amends"] = it.option(lambda: (it.id(), it.list(it.u8))[0])
    it.end()
    return found


def read_order(data):
    it = Reader(data)
    found = {"instance": it.id(), "rotation": it.id(), "number": it.number(), "purpose": it.u32()}
    want(found["purpose"] < 2, "the order: another purpose")
    found |= {"from": it.option(it.b32), "generator": it.id(), "joining": it.list(it.id)}
    found |= {"quarantined": it.list(it.id)}
    found |= {"mode": it.u32(), "holds": (it.u32(), it.u32())}
    it.u64(), it.u64(), it.end()
    return found


def read_standing(data):
    it = Reader(data)
    found = {"instance": it.id(), "serial": it.u64(), "interval": it.u32(), "pause": it.u32()}
    found["holds"] = it.u32(), it.u32()
    it.u64(), it.end()
    return found


def read_envelope(data, manifest):
    """The header and body of an envelope that a member of the manifest has signed."""
    want(data[:1] == b"\x01", "an envelope of an unknown format")
    end = 5 + int.from_bytes(data[1:5], "little")
    want(len(data) >= end + 64, "an envelope that is cut short")
    head, signature, body = data[5:end], data[end : end + 64], data[end + 64 :]
    it = Reader(head)
    it.id(), it.option(it.id)
    header = {"instance": it.id(), "sender": it.id()}
    it.b32(), (it.u32 if it.u32() else it.id)(), it.u64(), it.option(it.id), it.number()
    header["kind"] = it.u32()
    it.end()
    senders = [member for member in manifest["members"] if member["id"] == header["sender"]]
    want(len(senders) == 1, "an envelope whose sender is not in the manifest")
    want(header["instance"] == manifest["instance"], "an envelope of another instance")
    message = head + h("keyhelm envelope body v1", body)
    is_own = is_signed(senders[0]["key"], "keyhelm envelope v1", message, signature)
    want(is_own, f"the envelope of {senders[0]['name']} is not signed by it")
    return header | {"role": senders[0]["role"]}, body


def read_unit_report(data):
    it = Reader(data)
    found = {"instance": it.id(), "unit": it.id(), "role": it.u32()}
    found |= {"serial": it.u64(), "counter": it.u64()}
    found |= {"current": it.option(it.b32), "new": it.option(lambda: (it.b32(), it.flag()))}
    found |= {"retiring": it.option(it.b32)}
    found["rotation"] = it.option(lambda: (it.id(), it.number(), it.b32(), it.u32()))
    return found


def read_keystore_report(data):
    it = Reader(data)
    generation = lambda: (it.u32(), it.id(), it.b32(), it.u32(), it.u64(), it.u64(), it.u64())
    found = {"reencryptor": it.id(), "serial": it.u64()}
    want(it.flag(), "a keystore's report without its row")
    found |= {"instance": it.id(), "keystore": it.id(), "mode": it.u32()}
    found |= {"active": it.option(generation), "open": it.option(generation)}
    it.list(generation), it.u32()
    taken = lambda: (it.id(), it.number(), it.b32(), it.u32())
    patterns = lambda: (it.option(it.b32), it.b32(), it.option(it.b32))
    found["rotation"] = it.option(lambda: taken() + patterns())
    return found


# --- The documents.


def once(pairs):
    want(len({name for name, _ in pairs}) == len(pairs), "a field that is there twice")
    return dict(pairs)


def load(path):
    def no_float(text):
        raise Refused(f"{text}: no whole number")

    with open(path, "rb") as file:
        text = file.read()
    return json.loads(text, object_pairs_hook=once, parse_float=no_float, parse_constant=no_float)


def has(value, names, what):
    is_whole = isinstance(value, dict) and set(value) == set(names.split())
    want(is_whole, f"{what}: other fields than it has")
    return [value[name] for name in names.split()]


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def unhex(text, count=None):
    data = bytes.fromhex(text)
    want(data.hex() == text and count in (None, len(data)), "hex of another form")
    return data


def unid(text):
    want(str(uuid.UUID(text)) == text, "an id of another form")
    return uuid.UUID(text).bytes


def quorum(what, domain, message, signatures, manifest, needed):
    keys = {hashlib.sha256(key).hexdigest(): key for _, key in manifest["admins"]}
    given = set()
    for signed in signatures:
        ski, signature = has(signed, "ski signature", what)
        is_valid = ski in keys and is_signed(keys[ski], domain, message, unhex(signature, 64))
        want(is_valid, f"{what}: a signature that is no administrator's")
        given.add(ski)
    want(len(given) >= needed, f"{what}: {len(given)} of {needed} signatures")


def process_id(key):
    data = bytearray(h("keyhelm process id v1", key)[:16])
    data[6], data[8] = data[6] & 0x0F | 0x80, data[8] & 0x3F | 0x80
    return bytes(data)


def check_sound(manifest, what):
    admins, members = manifest["admins"], manifest["members"]
    is_whole = 1 <= len(admins) <= 8 and len({key for _, key in admins}) == len(admins)
    want(is_whole, f"{what}: administrators")
    thresholds = manifest["signs"], manifest["revokes"]
    want(all(1 <= threshold <= len(admins) for threshold in thresholds), f"{what}: thresholds")
    ids = {member["id"] for member in members}
    want(len(ids) == len(members) <= 64, f"{what}: members")
    is_own = all(process_id(member["key"]) == member["id"] for member in members)
    want(is_own, f"{what}: an id that does not follow from its key")
    want(any(member["role"] == 0 for member in members), f"{what}: no recovery unit")
    want(manifest["keystores"], f"{what}: no keystore")
    texts = [member[field] for member in members for field in ("name", "location")]
    is_plain = all(len(text) <= 100 and not has_control(text) for text in texts)
    want(is_plain, f"{what}: a name or location that is none")


def has_control(text):
    return any(unicodedata.category(character) == "Cc" for character in text)


def everybody(manifest):
    members = {(it["id"], it["role"]) for it in manifest["members"]}
    return members | {key for _, key in manifest["admins"]}


def check_manifests(file, instance):
    kind, version, chain = has(file, "type version chain", "manifests")
    want((kind, version) == ("keyhelm.manifests", 1), "manifests: another type or version")
    found = []
    for serial, signed in enumerate(chain, 1):
        text, signatures = has(signed, "bytes signatures", "manifests")
        data, what, former = unhex(text), f"manifest {serial}", found[-1] if found else None
        manifest = read_manifest(data) | {"digest": h(MANIFEST, data)}
        is_next = (manifest["instance"], manifest["serial"]) == (instance, serial)
        want(is_next, f"{what}: not in its place")
        want(manifest["previous"] == (former and former["digest"]), f"{what}: does not follow")
        check_sound(manifest, what)
        ruler, needed = former or manifest, (former or manifest)["signs"]
        if former:
            before, after = everybody(former), everybody(manifest)
            if before - after:
                needed = max(needed, former["revokes"])
        quorum(what, MANIFEST, data, signatures, ruler, needed)
        found.append(manifest)
    return found


def key_of(manifest, member, role, what):
    keys = [it["key"] for it in manifest["members"] if it["id"] == member and it["role"] == role]
    want(len(keys) == 1, f"{what} is not in the manifest")
    return keys[0]


def check_order(receipt, manifests):
    """By the manifest that it names; all others must be amendments, the last one of its rotation."""
    text, authority = has(receipt["order"], "bytes authority", "order")
    data = unhex(text)
    order = read_order(data)
    serial = order["number"][0]
    want(1 <= serial <= len(manifests), "the order is of another manifest")
    manifest = manifests[serial - 1]
    want(order["instance"] == manifest["instance"], "the order is of another instance")
    amends = [later["amends"] for later in manifests[serial:]]
    is_amended = all(amends) and amends[-1:] in ([], [order["rotation"]])
    want(is_amended, "the order is of another manifest")
    want(h(ORDER, data).hex() == receipt["order_digest"], "the order has another digest")
    want(order["rotation"] == unid(receipt["rotation"]), "the order is of another rotation")
    purpose = ["initialise", "rotate"][order["purpose"]]
    want(purpose == receipt["purpose"], "the order has another purpose")
    before = order["from"] and order["from"].hex()
    want(before == receipt["from"], "the order is from another pattern")
    (kind,) = authority
    if kind == "quorum":
        return order, quorum("order", ORDER, data, authority[kind], manifest, manifest["signs"])
    want(kind == "standing", "order: given by nobody")
    given, coordinator, signature = has(authority[kind], "standing coordinator signature", "order")
    text, signatures = has(given, "bytes signatures", "standing order")
    leave = read_standing(unhex(text))
    quorum("standing order", STANDING, unhex(text), signatures, manifest, manifest["signs"])
    is_of_this = (leave["instance"], leave["serial"]) == (manifest["instance"], manifest["serial"])
    is_held = leave["holds"][1] == 0 or leave["interval"] > leave["holds"][1]
    is_covered = is_of_this and is_held and leave["holds"] == order["holds"]
    want(is_covered, "the standing order does not cover the order")
    is_plain = order["purpose"] == 1 and not order["joining"] and not order["quarantined"]
    want(is_plain, "the standing order leaves rotations only")
    key = key_of(manifest, unid(coordinator), 3, "the coordinator of the order")
    is_own = is_signed(key, ORDER, data, unhex(signature, 64))
    want(is_own, "the order is not signed by its coordinator")
    return order, None


def check_units(receipt, manifest, order):
    units = [member for member in manifest["members"] if member["role"] in (0, 1)]
    proofs = [has(proof, "unit name report", "units") for proof in receipt["units"]]
    named = [(unid(unit), name) for unit, name, _ in proofs]
    is_all = named == [(unit["id"], unit["name"]) for unit in units]
    want(is_all, "units: not those of the manifest")
    for (unit, name), (_, _, text) in zip(named, proofs):
        header, body = read_envelope(unhex(text), manifest)
        want(header["kind"] == 2, f"{name}: no report of a unit")
        report = read_unit_report(body)
        is_own = header["sender"] == report["unit"] == unit
        is_own = is_own and report["instance"] == manifest["instance"]
        want(is_own, f"{name}: a report of somebody else")
        want(report["serial"] >= order["number"][0], f"{name}: a report of an earlier manifest")
        registers = report["current"], report["new"], report["retiring"]
        want(registers == (unhex(receipt["to"], 32), None, None), f"{name}: other master keys")
        wanted = order["rotation"], order["number"], unhex(receipt["order_digest"], 32), 3
        want(report["rotation"] == wanted, f"{name}: not cleared in this order")


def check_keystores(receipt, manifest, order):
    names = "keystore key_versions quarantined_count key_root report"
    proofs = [has(proof, names, "keystores") for proof in receipt["keystores"]]
    is_all = [unid(keystore) for keystore, *_ in proofs] == manifest["keystores"]
    want(is_all, "keystores: not those of the manifest")
    for keystore, count, kept, root, text in proofs:
        name = f"keystore {keystore}"
        header, body = read_envelope(unhex(text), manifest)
        want((header["kind"], header["role"]) == (5, 2), f"{name}: no report of a reencryptor")
        report = read_keystore_report(body)
        is_own = header["sender"] == report["reencryptor"]
        about = report["instance"], report["keystore"]
        is_own = is_own and about == (manifest["instance"], unid(keystore))
        want(is_own, f"{name}: a report of another")
        want(report["rotation"] and report["active"], f"{name}: not in this rotation")
        *taken, standing, before, after, signed_root = report["rotation"]
        wanted = [order["rotation"], order["number"], unhex(receipt["order_digest"], 32)]
        want(taken == wanted and standing in (3, 4), f"{name}: not flipped in this order")
        patterns = order["from"], unhex(receipt["to"], 32)
        want((before, after) == patterns, f"{name}: other patterns")
        want(signed_root == unhex(root, 32), f"{name}: another root of its keys")
        _, _, pattern, _, *counts = report["active"]
        is_of_these = (pattern, counts) == (after, [count, count, kept])
        want(is_of_these, f"{name}: other keys are active")
    total = sum(count for _, count, *_ in proofs)
    want(total == receipt["key_versions"], "key_versions: another sum")


def hash_of(receipt):
    return h(RECEIPT, canonical(receipt)).hex()


FIELDS = """type version instance instance_name rotation purpose order order_digest manifest from to
    phases finished_at gate_closed_ms key_versions units keystores audit previous note coordinator
    signature"""


def check_kinds(receipt):
    """What only the coordinator says has at least the form that it should have."""
    seq, hash_ = has(receipt["audit"], "seq hash", "audit")
    numbers = [seq, receipt["version"], receipt["finished_at"], receipt["key_versions"]]
    numbers += [at for _, at in receipt["phases"]]
    numbers += [] if receipt["gate_closed_ms"] is None else [receipt["gate_closed_ms"]]
    want(all(type(number) is int and 0 <= number < 2**64 for number in numbers), "no whole number")
    for digest in [hash_] + ([] if receipt["previous"] is None else [receipt["previous"]]):
        unhex(digest, 32)


def check(receipt, file, former=None):
    has(receipt, FIELDS, "receipt")
    kind = receipt["type"], receipt["version"]
    want(kind == ("keyhelm.rotation-receipt", 1), "another type or version")
    manifests = check_manifests(file, unid(receipt["instance"]))
    serial, digest = has(receipt["manifest"], "serial digest", "manifest")
    want(1 <= serial <= len(manifests), "the manifest is not in the file")
    manifest = manifests[serial - 1]
    names = manifest["digest"].hex(), manifest["name"]
    want(names == (digest, receipt["instance_name"]), "the manifest is another one")
    order, _ = check_order(receipt, manifests[:serial])
    check_units(receipt, manifest, order)
    check_keystores(receipt, manifest, order)
    phases = [PHASES.index(phase) if phase in PHASES else -1 for phase, _ in receipt["phases"]]
    is_in_order = -1 not in phases and phases == sorted(set(phases))
    is_ended = receipt["phases"][-1:] == [["done", receipt["finished_at"]]]
    want(is_in_order and is_ended, "phases: not those of a rotation that has ended well")
    check_kinds(receipt)
    note = NOTE.format(receipt["from"]) if receipt["from"] else FIRST
    want(receipt["note"] == note, "note: another sentence")
    key = key_of(manifest, unid(receipt["coordinator"]), 3, "the coordinator")
    message = canonical({name: value for name, value in receipt.items() if name != "signature"})
    is_own = is_signed(key, RECEIPT, message, unhex(receipt["signature"], 64))
    want(is_own, "the signature is not the coordinator's")
    if former is not None:
        has(former, FIELDS, "former receipt")
        want(receipt["previous"] == hash_of(former), "previous: not the former receipt")
        want(former["instance"] == receipt["instance"], "the former receipt is of another instance")
        want(former["to"] == receipt["from"], "the former receipt ends with another pattern")


def main(arguments):
    if len(arguments) not in (2, 3):
        return __doc__
    try:
        documents = [load(path) for path in arguments]
        check(*documents)
    except Refused as refused:
        return f"the receipt does not hold: {refused}"
    except OSError as error:
        return str(error)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        return f"the receipt does not hold: it cannot be read: {error!r}"
    receipt = documents[0]
    print(f"receipt {hash_of(receipt)} of rotation {receipt['rotation']} holds")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
