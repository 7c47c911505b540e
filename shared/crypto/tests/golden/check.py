"""Opens keyhelm's golden files with nothing but Python's standard library.

Written from the descriptions of the formats, not from the Rust code: RFC 8439 (ChaCha20-Poly1305),
draft-irtf-cfrg-xchacha (HChaCha20), RFC 5869 (HKDF-SHA256), RFC 6962 (Merkle trees).
"""

import hashlib
import hmac
import pathlib
import struct
import sys

HERE = pathlib.Path(__file__).parent


def rounds(words):
    def rotate(value, count):
        return ((value << count) | (value >> (32 - count))) & 0xFFFFFFFF

    def quarter(a, b, c, d):
        for x, y, z, count in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            words[x] = (words[x] + words[y]) & 0xFFFFFFFF
            words[z] = rotate(words[z] ^ words[x], count)

    for _ in range(10):
        quarter(0, 4, 8, 12), quarter(1, 5, 9, 13), quarter(2, 6, 10, 14), quarter(3, 7, 11, 15)
        quarter(0, 5, 10, 15), quarter(1, 6, 11, 12), quarter(2, 7, 8, 13), quarter(3, 4, 9, 14)
    return words


CONSTANTS = struct.unpack("<4I", b"expand 32-byte k")


def hchacha(key, nonce):
    words = rounds(list(CONSTANTS + struct.unpack("<8I", key) + struct.unpack("<4I", nonce)))
    return struct.pack("<8I", *words[:4], *words[12:])


def chacha(key, counter, nonce, text):
    out = b""
    for at in range(0, len(text), 64):
        start = CONSTANTS + struct.unpack("<8I", key) + (counter,) + struct.unpack("<3I", nonce)
        stream = [(a + b) & 0xFFFFFFFF for a, b in zip(rounds(list(start)), start)]
        out += bytes(x ^ y for x, y in zip(text[at : at + 64], struct.pack("<16I", *stream)))
        counter += 1
    return out


def poly1305(key, message):
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    for at in range(0, len(message), 16):
        block = message[at : at + 16] + b"\x01"
        total = (total + int.from_bytes(block, "little")) * r % ((1 << 130) - 5)
    return ((total + int.from_bytes(key[16:], "little")) % (1 << 128)).to_bytes(16, "little")


def xchacha_open(key, nonce, aad, sealed):
    subkey, inner = hchacha(key, nonce[:16]), b"\0" * 4 + nonce[16:]
    text, tag = sealed[:-16], sealed[-16:]
    pad = lambda part: part + b"\0" * (-len(part) % 16)
    lengths = struct.pack("<QQ", len(aad), len(text))
    once = chacha(subkey, 0, inner, b"\0" * 32)
    assert poly1305(once, pad(aad) + pad(text) + lengths) == tag, "the tag does not match"
    return chacha(subkey, 1, inner, text)


def hkdf(ikm, info):
    secret = hmac.new(b"\0" * 32, ikm, hashlib.sha256).digest()
    return hmac.new(secret, info + b"\x01", hashlib.sha256).digest()


def merkle_root(leaves):
    """RFC 6962, section 2.1."""
    if len(leaves) < 2:
        return hashlib.sha256(b"".join(b"\0" + leaf for leaf in leaves)).digest()
    half = 1 << (len(leaves) - 1).bit_length() - 1
    left, right = merkle_root(leaves[:half]), merkle_root(leaves[half:])
    return hashlib.sha256(b"\1" + left + right).digest()


def golden(name):
    return bytes.fromhex((HERE / name).read_text().strip())


def main():
    master = bytes(range(32))
    pattern = hkdf(master, b"keyhelm pattern v1")
    assert pattern == golden("pattern.hex"), "pattern"

    blob = golden("blob.hex")
    header, nonce, sealed = blob[:34], blob[34:58], blob[58:]
    assert header == b"\x01\x01" + pattern, "blob header"
    key, version = b"\x22" * 16, b"\x33" * 16
    aad = b"keyhelm blob v1" + header + b"\x11" * 16 + key + version + b"\x11"
    opened = xchacha_open(hkdf(master, b"keyhelm wrap suite 1 v1"), nonce, aad, sealed)
    assert opened == b"thirty-two bytes of a golden key", "blob"

    data = golden("data.hex")
    assert data[:17] == b"\x01" + version, "data header"
    aad = b"keyhelm data v1" + key + version + struct.pack("<I", 2)
    for part in (b"one", b"two"):
        aad += struct.pack("<I", len(part)) + part
    opened = xchacha_open(hkdf(b"\x44" * 32, b"keyhelm data key v1"), data[17:41], aad, data[41:])
    assert opened == b"golden data", "data"

    state = golden("state.hex")
    assert state[:1] == b"\x01", "state header"
    aad = b"keyhelm state v1" + b"golden unit"
    assert xchacha_open(golden("storage-key.hex"), state[1:25], aad, state[25:]) == b"golden state"
    keys = [bytes([n]) * 16 + bytes([n + 0x80]) * 16 for n in range(1, 8)]
    assert merkle_root(keys) == golden("key-root.hex"), "root over keys"
    print("golden files open")


if __name__ == "__main__":
    sys.exit(main())
