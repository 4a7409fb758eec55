//! The book alone, and with a model of members that come, go and miss things; no device.

use super::book::{Book, Phase, Standing, judge};
use crate::key::{KeyClass, KeyId};
use crate::keystore::KeyInfo;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn name(key: u8) -> (KeyId, KeyClass) {
    (KeyId([key; 16]), KeyClass::Secret)
}

fn info(key: u8) -> KeyInfo {
    KeyInfo { id: KeyId([key; 16]), class: KeyClass::Secret, label: String::new() }
}

fn of(members: usize) -> Book {
    let mut book = Book::new(members);
    (0..members).for_each(|member| book.joined(member));
    book
}

/// One value is right; among several the one that is vouched for, or that most hold; else nobody can say.
#[test]
fn which_value_is_the_key() {
    let classes = |classes: &[&[usize]]| classes.iter().map(|class| class.to_vec()).collect::<Vec<_>>();
    assert_eq!(judge(&classes(&[&[0, 1]]), &[]), Some(0));
    assert_eq!(judge(&classes(&[&[0], &[1]]), &[]), None);
    assert_eq!(judge(&classes(&[&[0], &[1]]), &[1]), Some(1));
    assert_eq!(judge(&classes(&[&[0], &[1, 2]]), &[]), Some(1));
    assert_eq!(judge(&classes(&[&[0], &[1, 2]]), &[0]), Some(0), "who served all along is right against newcomers");
    assert_eq!(judge(&classes(&[&[0], &[1]]), &[0, 1]), None, "two that vouch and differ");
    assert_eq!(judge(&[], &[]), None);
}

/// Readers have good copies, serve, take turns, and suspects come last.
#[test]
fn readers_in_turn() {
    let mut book = of(3);
    assert!(book.readers(name(1), 0).is_empty(), "nobody has looked");
    for (member, standing) in [(0, Standing::Good), (1, Standing::Sole), (2, Standing::Good)] {
        book.note(name(1), member, standing);
    }
    assert_eq!((book.readers(name(1), 0), book.readers(name(1), 1)), (vec![0, 1, 2], vec![1, 2, 0]));
    book.set_suspect(0, true);
    assert_eq!((book.readers(name(1), 0), book.readers(name(1), 1)), (vec![1, 2, 0], vec![2, 1, 0]));
    for bad in [Standing::Unknown, Standing::Absent, Standing::Present, Standing::Bad] {
        book.note(name(1), 2, bad);
        assert_eq!(book.readers(name(1), 0), [1, 0], "{bad:?}");
    }
    book.left(1, Phase::Away("gone".into()));
    assert_eq!(book.readers(name(1), 0), [0]);
    book.joined(1);
    assert_eq!(book.readers(name(1), 0), [0], "what it held before it left is not known any more");
    book.begin_end(name(1).0);
    assert!(book.readers(name(1), 0).is_empty(), "a key that goes is not used");
}

/// A list says what is there and not what it is; what is not the same everywhere is looked at; what goes is not.
#[test]
fn lists_make_plans() {
    let mut book = of(2);
    book.note(name(1), 0, Standing::Good);
    book.note(name(1), 1, Standing::Good);
    book.listed(0, &[info(1), info(2), info(3)]);
    book.listed(1, &[info(2)]);
    assert_eq!(book.standing(name(1), 1), Standing::Good, "a list does not take back what was compared since");
    assert_eq!((book.standing(name(2), 1), book.standing(name(3), 1)), (Standing::Present, Standing::Absent));
    book.begin_end(name(3).0);
    book.plan();
    book.enqueue(name(3));
    assert_eq!((book.next(), book.next()), (Some(name(2)), None));
    assert_eq!(book.tally(0).lacking, 1);
}

/// Members by their keys and values: what a run of the keeper would find and do.
#[derive(Default)]
struct World {
    tokens: [BTreeMap<u8, u8>; 3],
    there: [bool; 3],
    alive: BTreeMap<u8, u8>,
    dead: BTreeSet<u8>,
}

#[derive(Clone, Debug)]
enum Event {
    Comes(usize),
    Goes(usize),
    Made(u8),
    Destroyed(u8),
    Step,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        (0..3usize).prop_map(Event::Comes),
        (0..3usize).prop_map(Event::Goes),
        (0..12u8).prop_map(Event::Made),
        (0..12u8).prop_map(Event::Destroyed),
        Just(Event::Step),
    ];
    prop::collection::vec(event, 0..80)
}

impl World {
    fn comes(&mut self, book: &mut Book, member: usize) {
        if std::mem::replace(&mut self.there[member], true) {
            return;
        }
        book.joined(member);
        for member in book.serving() {
            let list: Vec<KeyInfo> = self.tokens[member].keys().map(|key| info(*key)).collect();
            book.listed(member, &list);
        }
        book.plan();
    }

    fn made(&mut self, book: &mut Book, key: u8) {
        let serving = book.serving();
        if serving.is_empty() || self.alive.contains_key(&key) || self.dead.contains(&key) {
            return;
        }
        self.alive.insert(key, key);
        for &member in &serving {
            self.tokens[member].insert(key, key);
            book.note(name(key), member, Standing::Good);
        }
        book.enqueue(name(key));
    }

    /// As `Inner::destroy` does it; until nothing is left it is asked again.
    fn destroyed(&mut self, book: &mut Book, key: u8) {
        if self.alive.remove(&key).is_none() && !self.dead.contains(&key) {
            return;
        }
        self.dead.insert(key);
        let mut left = false;
        for member in book.begin_end(name(key).0) {
            if self.there[member] {
                self.tokens[member].remove(&key);
                book.note_gone(name(key).0, member);
            } else {
                left = true;
            }
        }
        if !left {
            book.ended(name(key).0);
        }
    }

    fn step(&mut self, book: &mut Book) -> bool {
        let Some((id, class)) = book.next() else { return false };
        let key = id.0[0];
        let serving = book.serving();
        let (have, lack): (Vec<usize>, Vec<usize>) = serving.into_iter().partition(|&m| self.tokens[m].contains_key(&key));
        for &member in &lack {
            book.note((id, class), member, Standing::Absent);
        }
        let Some(&giver) = have.first() else { return true };
        let value = self.tokens[giver][&key];
        for &member in have.iter().chain(&lack) {
            self.tokens[member].insert(key, value);
            book.note((id, class), member, Standing::Good);
        }
        true
    }
}

proptest! {
    /// Whatever comes and goes: when all members are back, each has every key that was made and none that was destroyed,
    /// and knows so. At no time is a key read from a member that does not have it.
    #[test]
    fn members_catch_up(events in events()) {
        let (mut book, mut world) = (Book::new(3), World::default());
        let settle = |book: &mut Book, world: &mut World| {
            while world.step(book) {}
        };
        for event in events {
            match event {
                Event::Comes(member) => world.comes(&mut book, member),
                Event::Goes(member) => {
                    world.there[member] = false;
                    book.left(member, Phase::Away("gone".into()));
                }
                Event::Made(key) => world.made(&mut book, key),
                Event::Destroyed(key) => world.destroyed(&mut book, key),
                Event::Step => drop(world.step(&mut book)),
            }
            for key in 0..12 {
                for member in book.readers(name(key), 0) {
                    prop_assert!(world.tokens[member].get(&key) == world.alive.get(&key), "key {} of member {}", key, member);
                }
            }
        }
        (0..3).for_each(|member| world.comes(&mut book, member));
        for key in world.dead.clone() {
            world.destroyed(&mut book, key);
        }
        settle(&mut book, &mut world);
        for member in 0..3 {
            prop_assert_eq!(&world.tokens[member], &world.alive);
            prop_assert_eq!(book.tally(member).good, world.alive.len() as u64);
            prop_assert_eq!(book.tally(member).lacking, 0);
        }
    }
}
