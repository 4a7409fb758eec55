//! Shares: any k of n open, k - 1 do not, and whatever is altered is told.

use proptest::prelude::*;
use uuid::Uuid;

use super::{
    shares::{join, split},
    *,
};

const STORE: Uuid = Uuid::from_u128(0x0198_0000_0000_7000_8000_1234_5678_9abc);
const SLOT: Uuid = Uuid::from_u128(0x0198_0000_0000_7000_8000_cba9_8765_4321);

fn dealt(secret: &[u8; 32], threshold: u8, count: u8) -> Vec<String> {
    let sharing = Sharing::new(threshold, count).expect("legal");
    split(STORE, SLOT, secret, sharing).iter().map(|text| text.to_string()).collect()
}

fn read(texts: &[String]) -> Vec<Share> {
    texts.iter().map(|text| Share::read(text).expect("a share")).collect()
}

fn joined(shares: &[Share], threshold: u8, secret: &[u8; 32]) -> bool {
    join(&shares.iter().collect::<Vec<_>>(), threshold, |found| found == secret).is_some()
}

/// k, n, the secret, and an order of the shares.
fn sharings() -> impl Strategy<Value = (u8, u8, [u8; 32], Vec<usize>)> {
    (2..=SHARES_MAX).prop_flat_map(|count| (2..=count, Just(count))).prop_flat_map(|(threshold, count)| {
        let order = Just((0..usize::from(count)).collect::<Vec<_>>()).prop_shuffle();
        (Just(threshold), Just(count), any::<[u8; 32]>(), order)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_k_of_n_open_and_fewer_do_not((threshold, count, secret, order) in sharings()) {
        let texts = dealt(&secret, threshold, count);
        let chosen: Vec<String> = order.iter().take(threshold.into()).map(|place| texts[*place].clone()).collect();
        let shares = read(&chosen);
        prop_assert!(joined(&shares, threshold, &secret));
        prop_assert!(!joined(&shares[1..], threshold, &secret), "one share too few");
        // Nor do fewer give the secret to whoever takes a lower threshold.
        prop_assert!(threshold == 2 || !joined(&shares[1..], threshold - 1, &secret));
    }

    /// One other character anywhere is told as a mistyped share.
    #[test]
    fn any_altered_character_is_told(secret in any::<[u8; 32]>(), place in 0usize..200, by in 1usize..32) {
        const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let text = dealt(&secret, 2, 3).remove(1);
        let places: Vec<usize> = text.bytes().enumerate().filter(|(at, octet)| *at > 4 && *octet != b'-').map(|(at, _)| at).collect();
        let at = places[place % places.len()];
        let mut typed = text.clone().into_bytes();
        let value = ALPHABET.iter().position(|letter| *letter == typed[at]).expect("base32");
        typed[at] = ALPHABET[(value + by) % 32];
        let typed = String::from_utf8(typed).expect("text");
        prop_assert!(matches!(ShareText::parse(&typed), Err(ShareTextError::Checksum)), "place {at}");
    }

    /// Nothing that is typed does harm, and what is read is written the same.
    #[test]
    fn anything_is_read_or_refused(text in "(KGS1-)?[A-Z2-7a-z0-9# \n-]{0,120}") {
        if let Ok(share) = ShareText::parse(&text) {
            prop_assert!(ShareText::parse(&share.write()) == Ok(share));
        }
    }
}

#[test]
fn a_share_is_read_as_people_type_it() {
    let text = dealt(&[5; 32], 2, 3).remove(2);
    assert_eq!(text.len(), 4 + 16 + 76, "{text}");
    let share = ShareText::parse(&text).expect("a share");
    assert_eq!((share.number, share.threshold), (3, 2));
    let sloppy = format!("# share 3 of the vault\n{}\n", text.to_lowercase().replace('-', " "));
    assert!(ShareText::parse(&sloppy) == Ok(share));
    let said = |text: &str| ShareText::parse(text).err().expect("refused");
    assert_eq!(said(""), ShareTextError::Prefix);
    assert_eq!(said("KGS2-AAAAA"), ShareTextError::Prefix);
    assert_eq!(said(&text[..90]), ShareTextError::Length { found: 71 });
    assert_eq!(said(&format!("{text}A")), ShareTextError::Length { found: 77 });
    assert_eq!(said(&text.replacen(&text[6..7], "0", 1)), ShareTextError::Character { place: 2 });
    assert_eq!(said(&"A".repeat(5000)), ShareTextError::TooLong);
}

/// Made by an attacker, with a right checksum: the commitment tells, and one good share more is enough to go on.
#[test]
fn altered_shares_are_told_and_a_further_one_helps() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut texts = Vec::new();
    let sharing = Sharing::new(3, 5).expect("legal");
    let (seal, root) = Seal::create(dir.path(), NewSlot::Shamir { sharing, dealt: &mut texts }).expect("made");
    let mut forged = ShareText::parse(&texts[1]).expect("a share");
    forged.part[7] ^= 1;
    let forged = forged.write();
    let share = |text: &str| Share::read(text).expect("a share");
    let mut unlocking = Unlocking::new(seal.clone());
    for text in [&texts[0], &forged] {
        unlocking.add_share(share(text)).expect("taken");
    }
    assert!(matches!(unlocking.add_share(share(&texts[1])), Err(ShareError::Conflicting { number: 2 })));
    assert!(matches!(unlocking.add_share(share(&texts[0])), Err(ShareError::Repeated { number: 1 })));
    assert!(matches!(unlocking.add_share(share(&texts[2])), Err(ShareError::NotTogether)));
    assert!(!unlocking.is_open());
    unlocking.add_share(share(&texts[3])).expect("shares 1, 3 and 4 belong together");
    let unlocked = unlocking.into_unlocked().expect("open");
    assert!(unlocked.root.check(seal.store_id()) == root.check(seal.store_id()));
}

#[test]
fn shares_of_elsewhere_are_told() {
    let dirs = [tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory")];
    let sharing = Sharing::new(2, 2).expect("legal");
    let (mut own, mut other) = (Vec::new(), Vec::new());
    let (mut seal, root) = Seal::create(dirs[0].path(), NewSlot::Shamir { sharing, dealt: &mut own }).expect("made");
    Seal::create(dirs[1].path(), NewSlot::Shamir { sharing, dealt: &mut other }).expect("made");
    let mut removed = Vec::new();
    let change = seal.with_slot(&root, NewSlot::Shamir { sharing, dealt: &mut removed }).expect("made");
    let id = change.slots()[0];
    seal.apply(change).expect("added");
    let change = seal.without_slot(&root, id, &Default::default()).expect("left out");
    seal.apply(change).expect("removed");

    let mut unlocking = Unlocking::new(seal);
    let mut said = |text: &str| unlocking.add_share(Share::read(text).expect("a share")).expect_err("refused");
    assert!(matches!(said(&other[0]), ShareError::OtherStore { number: 1 }));
    assert!(matches!(said(&removed[1]), ShareError::OtherSlot { number: 2 }));
    let mut wrong = ShareText::parse(&own[0]).expect("a share");
    wrong.number = 9;
    assert!(matches!(said(&wrong.write()), ShareError::Altered { number: 9 }));
    let few = unlocking.into_unlocked().err().expect("closed");
    assert!(matches!(few, SealError::NoSlotOpens(_)));
}

#[test]
fn sharings_that_cannot_be_are_refused() {
    for (threshold, count) in [(0, 3), (1, 3), (4, 3), (2, 17), (17, 17), (2, 1)] {
        assert!(Sharing::new(threshold, count).is_none(), "{threshold} of {count}");
    }
}

/// Nothing of a share or secret is in what is printed of an error, and the file has none of the shares.
#[test]
fn nothing_leaks() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut texts = Vec::new();
    let sharing = Sharing::new(2, 3).expect("legal");
    Seal::create(dir.path(), NewSlot::Shamir { sharing, dealt: &mut texts }).expect("made");
    let file = std::fs::read_to_string(dir.path().join("seal.json")).expect("readable");
    let share = ShareText::parse(&texts[0]).expect("a share");
    assert!(!file.contains(texts[0].as_str()) && !file.contains(&hex::encode(&share.part[..])));
    let mistyped = texts[0].replacen(&texts[0][30..31], "9", 1);
    let said = Share::read(&mistyped).err().expect("refused");
    let said = format!("{said} {said:?}");
    assert!(!texts[0].split('-').skip(1).any(|group| group.len() == 5 && said.contains(group)), "{said}");
}
