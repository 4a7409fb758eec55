"""What a MongoDB driver does with KMIP, by libmongocrypt itself: makes a data key under a key of the server, encrypts a value, and
decrypts it as another process would, from the stored document alone.

Usage: mongocrypt.py HOST PORT FOLDER normal|delegated, where FOLDER has ca.pem, cert.pem and key.pem.
"""

import socket
import ssl
import sys

import bson
from pymongocrypt.mongocrypt import MongoCryptOptions
from pymongocrypt.synchronous.explicit_encrypter import ExplicitEncrypter
from pymongocrypt.synchronous.state_machine import MongoCryptCallback

host, port, folder, mode = sys.argv[1:5]
tls = ssl.create_default_context(cafile=f"{folder}/ca.pem")
tls.load_cert_chain(f"{folder}/cert.pem", f"{folder}/key.pem")
vault = {}


class Driver(MongoCryptCallback):
    def kms_request(self, kms_context):
        with tls.wrap_socket(socket.create_connection((host, int(port)), 60), server_hostname=host) as connection:
            connection.sendall(kms_context.message)
            while kms_context.bytes_needed > 0:
                kms_context.feed(connection.recv(kms_context.bytes_needed))

    def fetch_keys(self, filter):
        yield from vault.values()

    def insert_data_key(self, data_key):
        document = bson.decode(data_key)
        vault[bytes(document["_id"])] = data_key
        return bytes(document["_id"])

    def bson_encode(self, doc):
        return bson.encode(doc)

    def collection_info(self, database, filter):
        raise NotImplementedError

    def mark_command(self, database, cmd):
        raise NotImplementedError

    def close(self):
        pass


def encrypter():
    providers = {"kmip": {"endpoint": f"{host}:{port}"}}
    return ExplicitEncrypter(Driver(), MongoCryptOptions(providers))


master_key = {"delegated": True} if mode == "delegated" else {}
first = encrypter()
identifier = first.create_data_key("kmip", master_key=master_key, key_alt_names=["card"])
stored = bson.decode(vault[identifier])["masterKey"]
assert stored["provider"] == "kmip" and stored.get("delegated", False) == (mode == "delegated"), stored
value = bson.encode({"v": "4111 1111 1111 1111"})
sealed = first.encrypt(value, "AEAD_AES_256_CBC_HMAC_SHA_512-Deterministic", key_id=identifier)
assert b"4111" not in sealed
first.close()
# Another process has no key in memory: it asks the server.
second = encrypter()
assert bson.decode(second.decrypt(sealed)) == bson.decode(value)
second.close()
print(stored["keyId"])
