//! PyKMIP's server behind us.

use keygate_kmip::{Operation, Tag};
use keygate_tests::gateway::Setup;
use keygate_tests::pykmip_server::PykmipServer;
use keygate_tests::request;
use keygate_tests::tools;
use keygate_tests::ttlv::Item;

use super::chain::{ask, before, cipher, create, revoke_and_destroy};

const V1_4: (i32, i32) = (1, 4);

#[test]
fn keys_in_pykmip_are_made_used_fetched_and_destroyed() {
    if tools::skipped("pykmip") {
        return;
    }
    let scratch = Setup::new().prepare().expect("a folder");
    let server = PykmipServer::start(scratch.scratch()).expect("PyKMIP serves");
    let gateway = before(&server.address(), server.client_folder(), "fetch = true\n");
    let mut client = gateway.connect("a");
    let id = create(&mut client);
    let sealed = cipher(&mut client, Operation::Encrypt, &id, b"kept by PyKMIP").expect("Encrypt");
    assert_eq!(cipher(&mut client, Operation::Decrypt, &id, &sealed).expect("Decrypt"), b"kept by PyKMIP");
    let got = ask(&mut client, &request::on(V1_4, Operation::Get, &id)).expect("Get");
    assert_eq!(got.find(Tag::KEY_MATERIAL.0).and_then(Item::bytes).map(<[u8]>::len), Some(32));
    revoke_and_destroy(&mut client, &id);
    assert!(server.log().contains("Processing operation: Destroy"), "{}", server.log());
}
