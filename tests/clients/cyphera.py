"""Every operation of the KMIP 1.4 client cyphera-kmip. Prints one line each: its name, and `ok` or what was raised.

Usage: cyphera.py HOST PORT FOLDER, where FOLDER has ca.pem, cert.pem and key.pem.
"""

import sys

from cyphera_kmip import KmipClient
from cyphera_kmip.tags import Algorithm, ObjectType

host, port, folder = sys.argv[1:4]
answers = []
send = KmipClient._send


def listening(self, request):
    """The client drops Result Messages: they are read beside it."""
    answers.append(send(self, request))
    return answers[-1]


KmipClient._send = listening
client = KmipClient(
    host, f"{folder}/cert.pem", f"{folder}/key.pem", port=int(port), ca_cert=f"{folder}/ca.pem", timeout=60
)


def heard():
    """The last Result Message (tag 42007D)."""
    answer = answers[-1] if answers else b""
    at = answer.find(bytes.fromhex("42007d07"))
    if at < 0:
        return "nothing"
    length = int.from_bytes(answer[at + 4 : at + 8], "big")
    return answer[at + 8 : at + 8 + length].decode()


def run(name, work):
    try:
        value = work()
    except Exception as error:  # whatever the client makes of a refusal is its answer
        print(f"{name}: {type(error).__name__}: {error}; the server said: {heard()}")
        return None
    print(f"{name}: ok")
    return value


def expect(condition):
    if not condition:
        raise AssertionError("not what was expected")


def equal(left, right):
    if left != right:
        raise AssertionError(f"{left!r} is not {right!r}")


def same(left, right):
    return lambda: equal(left(), right)


run("discover_versions", lambda: expect("1.4" in str(client.discover_versions()) or client.discover_versions()["versions"]))
run("query", lambda: expect(len(client.query()["operations"]) > 20))
key = run("create", lambda: client.create("tape", "AES", 256)["unique_identifier"])
run("locate", same(lambda: client.locate("tape"), [key]))
run("locate_none", same(lambda: client.locate("no such name"), []))
material = run("get", lambda: client.get(key)["key_material"])
run("fetch_key", same(lambda: client.fetch_key("tape"), material))
run("activate", lambda: client.activate(key))
run("check", same(lambda: client.check(key)["unique_identifier"], key))
run("get_attributes", lambda: expect(client.get_attributes(key)["unique_identifier"] == key))
run("get_attribute_list", lambda: expect("Cryptographic Algorithm" in client.get_attribute_list(key)))
run("add_attribute", lambda: client.add_attribute(key, "x-place", "vault 1"))
run("modify_attribute", lambda: client.modify_attribute(key, "x-place", "vault 2"))
run("delete_attribute", lambda: client.delete_attribute(key, "x-place"))
run("obtain_lease", same(lambda: client.obtain_lease(key), 3600))
sealed = run("encrypt", lambda: client.encrypt(key, b"0123456789abcdef"))
run("decrypt", lambda: client.decrypt(key, sealed["data"] if sealed else b"0123456789abcdef", b"0123456789ab"))
again = run("re_key", lambda: client.re_key(key)["unique_identifier"])
run("archive", lambda: client.archive(again))
run("recover", lambda: client.recover(again))
run("revoke", lambda: client.revoke(key, 1))
spare = run("create_spare", lambda: client.create("spare", "AES", 128)["unique_identifier"])
run("destroy", lambda: client.destroy(spare))
run("get_destroyed", lambda: client.get(spare))
run(
    "register",
    lambda: client.register(ObjectType.SymmetricKey, bytes(range(32)), "own", Algorithm.AES, 256)["unique_identifier"],
)
run("create_key_pair", lambda: client.create_key_pair("pair", Algorithm.RSA, 2048))
run("derive_key", lambda: client.derive_key(again, b"salt", "derived", 256))
run("sign", lambda: client.sign(again, b"data"))
run("signature_verify", lambda: client.signature_verify(again, b"data", b"signature"))
run("mac", lambda: client.mac(again, b"data"))
run("poll", lambda: client.poll())
# The connection has outlived every refusal.
run("query_again", lambda: expect(client.query()["operations"]))
client.close()
