//! What waits to be sent to one client.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::{Notice, What};

/// A bounded queue of one client.
#[derive(Debug)]
pub(crate) struct Queue {
    /// Name of the client.
    pub(super) client: Box<str>,
    put: bool,
    notify: bool,
    max: usize,
    entries: Mutex<VecDeque<Notice>>,
    filled: Notify,
    dropped: AtomicU64,
}

impl Queue {
    /// An empty queue; `put` and `notify` say what is taken at all.
    pub(super) fn new(client: &str, put: bool, notify: bool, max: usize) -> Self {
        Self {
            client: client.into(),
            put,
            notify,
            max,
            entries: Mutex::default(),
            filled: Notify::new(),
            dropped: AtomicU64::new(0),
        }
    }

    /// Takes a notice. Changes of an object that is told of anyway are told with it. In a full queue it is dropped and counted.
    pub(super) fn add(&self, notice: Notice) {
        let wanted = match &notice.what {
            What::New { .. } => self.put,
            What::Changed(_) => self.notify,
        };
        if !wanted {
            return;
        }
        let mut entries = self.lock();
        if let What::Changed(names) = &notice.what {
            let waiting = entries.iter_mut().rev().find_map(|entry| match &mut entry.what {
                What::Changed(waiting) if entry.object == notice.object => Some(waiting),
                _ => None,
            });
            if let Some(waiting) = waiting {
                waiting.extend(names.iter().cloned());
                return;
            }
        }
        if entries.len() >= self.max {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        entries.push_back(notice);
        drop(entries);
        self.filled.notify_one();
    }

    /// The next notice, once there is one. It is off the queue: later changes of its object are told after it.
    pub(super) async fn next(&self) -> Notice {
        loop {
            if let Some(notice) = self.lock().pop_front() {
                return notice;
            }
            self.filled.notified().await;
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// How many found no room.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Notice>> {
        // A panic while it is held leaves the list itself whole.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{ObjectId, OrganisationId};
    use keygate_kmip::{AttributeName, Tag};

    fn changed(object: ObjectId, tag: Tag) -> Notice {
        let names = [AttributeName::Standard(tag)].into_iter().collect();
        Notice { object, organisation: OrganisationId::DEFAULT, what: What::Changed(names) }
    }

    /// A client that is away costs bounded memory: changes of one object wait once, others up to the bound, and what found no room
    /// is counted.
    #[tokio::test]
    async fn a_queue_is_bounded_and_holds_an_object_once() {
        let queue = Queue::new("array", false, true, 2);
        let (one, other) = (ObjectId::generate(), ObjectId::generate());
        queue.add(changed(one, Tag::NAME));
        queue.add(changed(other, Tag::STATE));
        queue.add(changed(one, Tag::STATE));
        queue.add(changed(ObjectId::generate(), Tag::STATE));
        queue.add(Notice { object: one, organisation: OrganisationId::DEFAULT, what: What::New { replaced: None } });
        assert_eq!((queue.len(), queue.dropped()), (2, 1), "Put was not asked for, and so is not counted");
        let first = queue.next().await;
        assert_eq!(first.object, one);
        assert!(matches!(first.what, What::Changed(names) if names.len() == 2));
        queue.add(changed(one, Tag::NAME));
        assert_eq!(
            (queue.next().await.object, queue.next().await.object),
            (other, one),
            "what came meanwhile is told after it"
        );
    }
}
