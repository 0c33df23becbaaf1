"""Decodes stored records (FILE.json: header, pieces and keys in hex) as src/record/RECORD.md says."""
import base64, hashlib, hmac, json, sys
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

b64 = lambda text: base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
sha = lambda data: hashlib.sha256(data).digest()
mac = lambda key, data: hmac.new(key, data, hashlib.sha256).digest()
hkdf = lambda key, info: HKDF(hashes.SHA256(), 32, None, info).derive(key)

for path in sys.argv[1:]:
    record = json.load(open(path))
    keys = record["keys"]
    line = record["header"].encode("ascii")
    header = json.loads(line)
    assert header["v"] == 1 and json.dumps(header, separators=(",", ":")).encode() == line
    assert sha(b"\0" + line).hex() == record["leaf_hash"]
    bound, salt = line[: line.rindex(b',"p":[{"role":')], b64(header["salt"])
    pieces = iter(bytes.fromhex(piece) for piece in record["pieces"])
    print(path, header["type"], header["occurred_at"], json.dumps(header["b"]))
    for i, part in enumerate(header["p"]):
        bind = bound + bytes([i]) + part["role"].encode()
        block = next(pieces)
        assert sha(block) == b64(part["sh"])
        index_key = bytes.fromhex(keys["index"][str(int.from_bytes(block[:4], "big"))])
        block_key = mac(index_key, b"custody/v1/index" + salt + bytes([i]))
        index = json.loads(AESGCM(block_key).decrypt(bytes(12), block[4:], bind))
        tag_key = hkdf(bytes.fromhex(keys["link"]), b"custody/v1/tag/" + header["recorded_at"][:4].encode())
        assert (mac(tag_key, salt + bytes([i]))[:16] == b64(part["tag"])) == ("subject" in index)
        print("  part", i, part["role"], json.dumps(index))
        for box in part.get("x", []):
            sealed = next(pieces)
            seal = b"custody/v1/seal/" + box["key"].encode() + salt + bytes([i])
            box_key = hkdf(bytes.fromhex(keys[box["key"]]), seal)
            assert sha(b"custody/v1/commit" + box_key) == b64(box["kc"])
            assert sha(sealed) == b64(box["ch"]) and len(sealed) == box["n"] + 16
            print("    sealed", box["key"], json.loads(AESGCM(box_key).decrypt(bytes(12), sealed, bind)))
    assert next(pieces, None) is None
