"""Every operation of the KMIP 1.4 client cyphera-kmip. Prints one line each: its name, and `ok` or what was raised.

Usage: cyphera.py HOST PORT FOLDER, where FOLDER has ca.pem, cert.pem and key.pem.
"""

import sys

from cyphera_kmip import KmipClient
from cyphera_kmip.tags import Algorithm, ObjectType

host, port, folder = sys.argv[1:4]
client = KmipClient(
    host, f"{folder}/cert.pem", f"{folder}/key.pem", port=int(port), ca_cert=f"{folder}/ca.pem", timeout=60
)


def run(name, work):
    try:
        value = work()
    except Exception as error:  # whatever the client makes of a refusal is its answer
        print(f"{name}: {type(error).__name__}: {error}")
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
run("decrypt", same(lambda: client.decrypt(key, sealed["data"], sealed["nonce"])["data"], b"0123456789abcdef"))
again = run("re_key", lambda: client.re_key(key)["unique_identifier"])
run("archive", lambda: client.archive(again))
run("recover", lambda: client.recover(again))
run("revoke", lambda: client.revoke(key, 1))
run("destroy", lambda: client.destroy(key))
run("get_destroyed", lambda: client.get(key))
own = run(
    "register",
    lambda: client.register(ObjectType.SymmetricKey, bytes(range(32)), "own", Algorithm.AES, 256)["unique_identifier"],
)
run("get_registered", same(lambda: client.get(own)["key_material"], bytes(range(32))))
run("create_key_pair", lambda: client.create_key_pair("pair", Algorithm.RSA, 2048))
run("derive_key", lambda: client.derive_key(own, b"salt", "derived", 256))
run("sign", lambda: client.sign(own, b"data"))
run("signature_verify", lambda: client.signature_verify(own, b"data", b"signature"))
run("mac", lambda: client.mac(own, b"data"))
run("poll", lambda: client.poll())
# The connection has outlived every refusal.
run("query_again", lambda: expect(client.query()["operations"]))
client.close()
