//! Connections that clients turned round, and what is told over them.

use std::time::Duration;

use tokio::io::AsyncReadExt as _;

use super::*;
use crate::notify::{Silence, serve_turned};

/// A client that is silent is asked whether it is there; one that does not answer is let go, and told nothing any more.
#[tokio::test]
async fn a_silent_client_is_asked_whether_it_is_there_and_let_go() {
    let world = World::new().await;
    let (mut ours, mut theirs) = tokio::io::duplex(4096);
    let silence = Silence { idle: Duration::from_millis(20), answer: Duration::from_millis(20) };
    let served = async {
        serve_turned(&world.gateway, &world.alice, ProtocolVersion::V2_1, &mut ours, silence).await;
        drop(ours);
    };
    let client = async {
        let mut asked = vec![0; 4096];
        let read = theirs.read(&mut asked).await.expect("a question");
        let told = world.gateway.notices.are_wanted();
        (asked[..read].to_vec(), told, theirs.read(&mut [0; 16]).await.expect("the end"))
    };
    let ((), (asked, told, end)) = tokio::join!(served, client);
    assert!(asked.starts_with(&[0x42, 0x00, 0x78]), "a Request Message");
    assert!(told && end == 0);
    assert!(!world.gateway.notices.are_wanted(), "nobody is told any more");
}
