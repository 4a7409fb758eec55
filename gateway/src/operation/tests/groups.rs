//! Object groups: fresh members are handed out once each, oldest first; the default member is one, by the server's policy.

use keygate_kmip::{LocateRequest, ObjectGroupMember};

use super::*;

fn member(group: &str) -> RequestPayload {
    create_aes(vec![Attribute::ObjectGroup(group.to_owned())])
}

async fn made(world: &World, caller: &Caller, request: RequestPayload) -> String {
    match world.ask(caller, request).await {
        Ok(ResponsePayload::Create(response)) => text(&response.unique_identifier),
        other => panic!("created: {:?}", other.map(|_| "another answer")),
    }
}

async fn located(
    world: &World,
    caller: &Caller,
    group: Option<&str>,
    kind: ObjectGroupMember,
    maximum: Option<i32>,
) -> Vec<String> {
    let attributes = group.map(|group| Attribute::ObjectGroup(group.to_owned())).into_iter().collect();
    let request = LocateRequest {
        maximum_items: maximum,
        object_group_member: Some(kind),
        attributes,
        ..LocateRequest::default()
    };
    match world.ask(caller, RequestPayload::Locate(request)).await {
        Ok(ResponsePayload::Locate(response)) => response.unique_identifiers.iter().map(text).collect(),
        other => panic!("located: {:?}", other.map(|_| "another answer")),
    }
}

#[tokio::test]
async fn fresh_members_are_handed_out_once_each_oldest_first() {
    let world = World::new().await;
    let first = made(&world, &world.alice, member("tapes")).await;
    let second = made(&world, &world.alice, member("tapes")).await;
    made(&world, &world.alice, create_aes(Vec::new())).await;
    for expected in [vec![first.clone()], vec![second.clone()], Vec::new()] {
        let found = located(&world, &world.alice, Some("tapes"), ObjectGroupMember::GroupMemberFresh, Some(1)).await;
        assert_eq!(found, expected);
        for id in &found {
            world.get(&world.alice, id).await.expect("handed out");
        }
    }
    assert!(located(&world, &world.bob, Some("tapes"), ObjectGroupMember::GroupMemberFresh, None).await.is_empty());
}

#[tokio::test]
async fn the_default_member_is_the_newest_unless_each_has_its_turn() {
    let mut world = World::new().await;
    let mut members = Vec::new();
    for _ in 0..3 {
        members.push(made(&world, &world.alice, member("tapes")).await);
    }
    let other = made(&world, &world.alice, member("disks")).await;
    made(&world, &world.alice, create_aes(Vec::new())).await;
    let default = async |world: &World, group: &str| {
        located(world, &world.alice, Some(group), ObjectGroupMember::GroupMemberDefault, None).await
    };
    for _ in 0..2 {
        assert_eq!(default(&world, "tapes").await, [members[2].clone()], "the newest, asked for or handed out");
        world.get(&world.alice, &members[2]).await.expect("handed out");
    }
    assert_eq!(default(&world, "no group").await, Vec::<String>::new());
    assert_eq!(
        located(&world, &world.alice, None, ObjectGroupMember::GroupMemberDefault, None).await.len(),
        4,
        "members of every group"
    );

    world.gateway.policy.group_default = GroupDefault::RoundRobin;
    for turn in [0, 1, 2, 0, 1] {
        assert_eq!(default(&world, "tapes").await, [members[turn].clone()]);
        assert_eq!(default(&world, "tapes").await, [members[turn].clone()], "to look is not to take");
        world.get(&world.alice, &members[turn]).await.expect("handed out");
    }
    assert_eq!(default(&world, "disks").await, [other], "each group has its own turn");
    // A member that is gone is passed over.
    let destroy = DestroyRequest { unique_identifier: Some(named(&members[2])) };
    let revoke = keygate_kmip::RevokeRequest {
        unique_identifier: Some(named(&members[2])),
        revocation_reason: keygate_kmip::RevocationReason {
            code: keygate_kmip::RevocationReasonCode::CessationOfOperation,
            message: None,
        },
        compromise_occurrence_date: None,
    };
    world.ask(&world.alice, RequestPayload::Revoke(revoke)).await.expect("revoked");
    world.ask(&world.alice, RequestPayload::Destroy(destroy)).await.expect("destroyed");
    assert_eq!(default(&world, "tapes").await, [members[0].clone()]);
}

/// The order of Locate is the setting's, page by page.
#[tokio::test]
async fn locate_goes_in_the_order_of_the_setting() {
    let mut world = World::new().await;
    let mut made_in_order = Vec::new();
    for _ in 0..5 {
        made_in_order.push(made(&world, &world.alice, create_aes(Vec::new())).await);
    }
    let page = async |world: &World, offset: i32| {
        let request = LocateRequest { maximum_items: Some(2), offset_items: Some(offset), ..LocateRequest::default() };
        match world.ask(&world.alice, RequestPayload::Locate(request)).await {
            Ok(ResponsePayload::Locate(response)) => {
                assert_eq!(response.located_items, Some(5));
                response.unique_identifiers.iter().map(text).collect::<Vec<_>>()
            }
            other => panic!("located: {:?}", other.map(|_| "another answer")),
        }
    };
    for oldest_first in [false, true] {
        world.gateway.policy.locate_oldest_first = oldest_first;
        let mut expected = made_in_order.clone();
        if !oldest_first {
            expected.reverse();
        }
        let found = [page(&world, 0).await, page(&world, 2).await, page(&world, 4).await].concat();
        assert_eq!(found, expected);
    }
}
