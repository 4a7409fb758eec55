//! What is known of members and keys, and what follows from it. No device is asked here and no clock is read.

use crate::key::{KeyClass, KeyId};
use crate::keystore::KeyInfo;
use std::collections::{HashMap, HashSet, VecDeque};

/// Members that a group may have.
pub const MEMBERS_MAX: usize = 8;

/// A key of a group.
pub(super) type Name = (KeyId, KeyClass);

/// How it is with a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not there, or not looked at yet.
    Away(String),
    /// It answered wrongly, or does not belong here: an operator must act.
    Refused(String),
    /// It passed every test. `suspect`: a call failed or was late since, so others are asked first.
    Serving { suspect: bool },
}

/// How it is with a key on a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nobody has looked since the member came.
    #[default]
    Unknown,
    /// The member does not have it.
    Absent,
    /// The member lists it; it was not compared.
    Present,
    /// Nobody else has it, so it was not compared: it is used, and vouches for nothing.
    Sole,
    /// It was made here, or it is the key that another member has.
    Good,
    /// It is another key.
    Bad,
}

/// What is known.
#[derive(Debug)]
pub(super) struct Book {
    phases: Vec<Phase>,
    keys: HashMap<Name, Entry>,
    /// Keys that are being destroyed, and the members where they are gone.
    dying: HashMap<KeyId, [bool; MEMBERS_MAX]>,
    todo: VecDeque<Name>,
    queued: HashSet<Name>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    standings: [Standing; MEMBERS_MAX],
    /// It cannot leave its member.
    is_alone: bool,
}

/// Counts of a member's keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) good: u64,
    pub(super) lacking: u64,
    pub(super) differing: u64,
}

impl Book {
    /// Of so many members, all away.
    pub(super) fn new(members: usize) -> Self {
        Self {
            phases: vec![Phase::Away("not looked at yet".into()); members.min(MEMBERS_MAX)],
            keys: HashMap::new(),
            dying: HashMap::new(),
            todo: VecDeque::new(),
            queued: HashSet::new(),
        }
    }

    pub(super) fn phase(&self, member: usize) -> &Phase {
        &self.phases[member]
    }

    pub(super) fn serves(&self, member: usize) -> bool {
        matches!(self.phases[member], Phase::Serving { .. })
    }

    /// The members that serve, those that are suspect last; else in the order of configuration.
    pub(super) fn serving(&self) -> Vec<usize> {
        let of = |wanted: bool| {
            let phases = self.phases.iter().enumerate();
            phases.filter(move |(_, phase)| **phase == Phase::Serving { suspect: wanted }).map(|(member, _)| member)
        };
        of(false).chain(of(true)).collect()
    }

    /// The members that serve and are not suspect.
    pub(super) fn trusted(&self) -> Vec<usize> {
        let all = 0..self.phases.len();
        all.filter(|&member| self.phases[member] == Phase::Serving { suspect: false }).collect()
    }

    /// A member passed every test. What was known of its keys is not known any more.
    pub(super) fn joined(&mut self, member: usize) {
        self.forget_keys_of(member);
        self.phases[member] = Phase::Serving { suspect: false };
    }

    /// A member serves no longer.
    pub(super) fn left(&mut self, member: usize, phase: Phase) {
        self.forget_keys_of(member);
        self.phases[member] = phase;
    }

    fn forget_keys_of(&mut self, member: usize) {
        self.keys.values_mut().for_each(|entry| entry.standings[member] = Standing::Unknown);
    }

    pub(super) fn set_suspect(&mut self, member: usize, is: bool) {
        if let Phase::Serving { suspect } = &mut self.phases[member] {
            *suspect = is;
        }
    }

    /// Who may be asked to use a key: good copies, suspects last; `turn` spreads the load.
    pub(super) fn readers(&self, key: Name, turn: usize) -> Vec<usize> {
        let Some(entry) = self.keys.get(&key) else { return Vec::new() };
        let mut readers = self.serving();
        readers.retain(|&member| matches!(entry.standings[member], Standing::Good | Standing::Sole));
        let fresh = readers.iter().filter(|&&member| self.phases[member] == Phase::Serving { suspect: false }).count();
        if fresh > 1 {
            readers[..fresh].rotate_left(turn % fresh);
        }
        readers
    }

    pub(super) fn standing(&self, key: Name, member: usize) -> Standing {
        self.keys.get(&key).map_or(Standing::Unknown, |entry| entry.standings[member])
    }

    /// Notes how it is with a key; only of members that serve, for what was found before a member left is worth nothing.
    pub(super) fn note(&mut self, key: Name, member: usize, standing: Standing) {
        if self.serves(member) && !self.is_dying(key.0) {
            self.keys.entry(key).or_default().standings[member] = standing;
        }
    }

    /// The key cannot leave its member.
    pub(super) fn note_alone(&mut self, key: Name) {
        if let Some(entry) = self.keys.get_mut(&key) {
            entry.is_alone = true;
        }
    }

    pub(super) fn is_alone(&self, key: Name) -> bool {
        self.keys.get(&key).is_some_and(|entry| entry.is_alone)
    }

    /// What a member lists: keys that nobody has looked at there are present or absent now.
    pub(super) fn listed(&mut self, member: usize, list: &[KeyInfo]) {
        if !self.serves(member) {
            return;
        }
        let there: HashSet<Name> = list.iter().map(|info| (info.id, info.class)).collect();
        for &name in there.iter().filter(|name| !self.dying.contains_key(&name.0)) {
            self.keys.entry(name).or_default();
        }
        for (name, entry) in &mut self.keys {
            let standing = &mut entry.standings[member];
            if *standing == Standing::Unknown {
                *standing = if there.contains(name) { Standing::Present } else { Standing::Absent };
            }
        }
    }

    /// Puts every key that is not good on all members that serve on the list of things to do.
    pub(super) fn plan(&mut self) {
        let serving = self.serving();
        let wants = |entry: &Entry| serving.iter().any(|&m| entry.standings[m] != Standing::Good);
        let names: Vec<Name> = self.keys.iter().filter(|(_, entry)| wants(entry)).map(|(name, _)| *name).collect();
        names.into_iter().for_each(|name| self.enqueue(name));
    }

    /// Has a key looked at, unless it goes.
    pub(super) fn enqueue(&mut self, key: Name) {
        if !self.dying.contains_key(&key.0) && self.queued.insert(key) {
            self.todo.push_back(key);
        }
    }

    /// The next key to look at.
    pub(super) fn next(&mut self) -> Option<Name> {
        loop {
            let key = self.todo.pop_front()?;
            self.queued.remove(&key);
            if !self.dying.contains_key(&key.0) && !self.is_done(key) {
                return Some(key);
            }
        }
    }

    fn is_done(&self, key: Name) -> bool {
        let Some(entry) = self.keys.get(&key) else { return true };
        let settled = |standing| matches!(standing, Standing::Good | Standing::Bad);
        let serving = self.serving();
        let is_sole = |member: &usize| entry.standings[*member] == Standing::Sole;
        (serving.len() == 1 && serving.iter().all(is_sole)) || serving.iter().all(|&member| settled(entry.standings[member]))
    }

    pub(super) fn has_work(&self) -> bool {
        !self.todo.is_empty()
    }

    /// Whether so many and more keys wait to be looked at.
    pub(super) fn has_more_than(&self, keys: usize) -> bool {
        self.todo.len() > keys
    }

    /// A key is to be destroyed everywhere: it is used, copied and looked at no more. The members where it is not known
    /// to be gone.
    pub(super) fn begin_end(&mut self, id: KeyId) -> Vec<usize> {
        for class in [KeyClass::Private, KeyClass::Secret] {
            self.keys.remove(&(id, class));
        }
        let gone = *self.dying.entry(id).or_default();
        (0..self.phases.len()).filter(|&member| !gone[member]).collect()
    }

    /// A key is gone from a member.
    pub(super) fn note_gone(&mut self, id: KeyId, member: usize) {
        if let Some(gone) = self.dying.get_mut(&id) {
            gone[member] = true;
        }
    }

    /// A key is gone everywhere.
    pub(super) fn ended(&mut self, id: KeyId) {
        self.dying.remove(&id);
    }

    pub(super) fn is_dying(&self, id: KeyId) -> bool {
        self.dying.contains_key(&id)
    }

    /// A member's keys, counted.
    pub(super) fn tally(&self, member: usize) -> Tally {
        let mut tally = Tally::default();
        for entry in self.keys.values() {
            match entry.standings[member] {
                Standing::Good | Standing::Sole => tally.good += 1,
                Standing::Bad => tally.differing += 1,
                _ => tally.lacking += 1,
            }
        }
        tally
    }

}

/// Which of several values that members hold under one id is the key. Members of one class hold the same value;
/// `vouched` are members whose copy was good all along.
///
/// `None`: nobody can say.
pub(super) fn judge(classes: &[Vec<usize>], vouched: &[usize]) -> Option<usize> {
    let holders: usize = classes.iter().map(Vec::len).sum();
    let vouches = |class: &Vec<usize>| class.iter().any(|member| vouched.contains(member));
    let vouched_for: Vec<usize> = (0..classes.len()).filter(|&at| vouches(&classes[at])).collect();
    match (classes.len(), vouched_for.as_slice()) {
        (1, _) => Some(0),
        (_, [one]) => Some(*one),
        (_, []) => classes.iter().position(|class| 2 * class.len() > holders),
        _ => None,
    }
}
