//! Who waits for which event to be numbered.
//!
//! An event that is under way is never sent a second time by this node: whoever brings it again meanwhile
//! waits for the same answer. An answer is given when the follower has numbered the event, whatever became of
//! the call that sent it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::domain::id::{EventId, Id};
use crate::log::{Error, NewRecord, Outcome};

type Key = (Id, EventId);
/// A batch, and a place in it.
type Seat = (u64, usize);
pub type Answer = Result<Vec<Outcome>, Error>;

#[derive(Default)]
pub struct Waiting {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    next: u64,
    batches: HashMap<u64, Batch>,
    under_way: HashMap<Key, Sending>,
}

struct Batch {
    outcomes: Vec<Option<Outcome>>,
    left: usize,
    /// `None` once nobody waits: it may be stored still.
    waits: Option<(oneshot::Sender<Answer>, OwnedSemaphorePermit)>,
    /// Handed to the cluster: from then on it may be stored.
    sent: bool,
    /// What it sends: only these go with it when it is called off.
    keys: Vec<Key>,
}

impl Batch {
    fn answer(self, answer: Answer) {
        if let Some((reply, _room)) = self.waits {
            // Whoever has just stopped waiting needs no answer.
            let _gone = reply.send(answer);
        }
    }
}

struct Sending {
    by: Seat,
    others: Vec<Seat>,
}

/// A batch as it goes on its way.
pub struct Admitted {
    pub number: u64,
    /// Those that nobody sends yet, in order.
    pub to_send: Vec<NewRecord>,
    pub answer: oneshot::Receiver<Answer>,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn admit(&self, records: Vec<NewRecord>, permit: OwnedSemaphorePermit) -> Admitted {
        let (reply, answer) = oneshot::channel();
        let mut inner = self.lock();
        let number = inner.next;
        inner.next += 1;
        let mut batch = Batch {
            outcomes: vec![None; records.len()],
            left: records.len(),
            waits: Some((reply, permit)),
            sent: false,
            keys: Vec::new(),
        };
        let mut to_send = Vec::new();
        for (seat, record) in records.into_iter().enumerate() {
            let key = (record.emitter.clone(), record.event_id);
            match inner.under_way.get_mut(&key) {
                Some(sending) => sending.others.push((number, seat)),
                None => {
                    batch.keys.push(key.clone());
                    inner.under_way.insert(key, Sending { by: (number, seat), others: Vec::new() });
                    to_send.push(record);
                }
            }
        }
        inner.batches.insert(number, batch);
        Admitted { number, to_send, answer }
    }

    /// The batches of these that somebody still waits for are on their way to the cluster; says which.
    pub fn send(&self, batches: &[u64]) -> Vec<u64> {
        let mut inner = self.lock();
        let mut going = Vec::with_capacity(batches.len());
        for number in batches {
            if let Some(batch) = inner.batches.get_mut(number) {
                batch.sent = true;
                going.push(*number);
            }
        }
        going
    }

    /// Whether any of these batches still waits for something.
    pub fn any(&self, batches: &[u64]) -> bool {
        let inner = self.lock();
        batches.iter().any(|number| inner.batches.contains_key(number))
    }

    /// The event stands at a position; `ours` if this node sent what stands there.
    pub fn numbered(&self, emitter: &Id, event_id: EventId, position: u64, ours: bool) {
        let mut inner = self.lock();
        let Some(sending) = inner.under_way.remove(&(emitter.clone(), event_id)) else { return };
        let first = if ours { Outcome::Appended(position) } else { Outcome::Exists(position) };
        inner.settle(sending.by, first);
        for seat in sending.others {
            inner.settle(seat, Outcome::Exists(position));
        }
    }

    /// Nobody waits any more. A batch that was not sent is called off; says whether something of it may be stored:
    /// it was sent, or somebody else sends the same event.
    pub fn give_up(&self, number: u64) -> bool {
        let mut inner = self.lock();
        match inner.batches.get_mut(&number) {
            Some(batch) if !batch.sent => {}
            Some(batch) => {
                batch.waits = None;
                return true;
            }
            // It was answered in this moment.
            None => return true,
        }
        let Some(batch) = inner.batches.remove(&number) else { return true };
        let others_send = batch.keys.len() < batch.outcomes.len();
        inner.forget(batch.keys, "somebody else was sending it and gave up");
        others_send
    }

    /// The cluster will never take these batches.
    pub fn refuse(&self, batches: &[u64], why: &'static str) {
        let mut inner = self.lock();
        for number in batches {
            if let Some(mut batch) = inner.batches.remove(number) {
                inner.forget(std::mem::take(&mut batch.keys), why);
                batch.answer(Err(Error::Refused(why)));
            }
        }
    }
}

impl Inner {
    fn settle(&mut self, (number, seat): Seat, outcome: Outcome) {
        if let Some(batch) = self.batches.get_mut(&number)
            && batch.outcomes[seat].replace(outcome).is_none()
        {
            batch.left -= 1;
        }
        self.answer_if_whole(number);
    }

    fn answer_if_whole(&mut self, number: u64) {
        if self.batches.get(&number).is_some_and(|batch| batch.left == 0)
            && let Some(mut batch) = self.batches.remove(&number)
        {
            let outcomes = std::mem::take(&mut batch.outcomes);
            batch.answer(Ok(outcomes.into_iter().flatten().collect()));
        }
    }

    /// These events are not on their way any more; who waited for them may bring them again.
    fn forget(&mut self, keys: Vec<Key>, reason: &'static str) {
        for key in keys {
            for (number, _) in self.under_way.remove(&key).into_iter().flat_map(|sending| sending.others) {
                if let Some(mut batch) = self.batches.remove(&number) {
                    let error = match batch.sent {
                        true => Error::Unknown { reason, source: None },
                        false => Error::Unavailable { reason, source: None },
                    };
                    let keys = std::mem::take(&mut batch.keys);
                    let unsent = if batch.sent { Vec::new() } else { keys };
                    batch.answer(Err(error));
                    self.forget(unsent, reason);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;
    use crate::log::contract::{emitter, event_id, record};

    fn admit(waiting: &Waiting, numbers: &[u64]) -> Admitted {
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        waiting.admit(numbers.iter().map(|n| record("app", *n)).collect(), permit)
    }

    #[test]
    fn an_event_under_way_is_sent_once_and_answered_to_all() {
        let waiting = Waiting::default();
        let mut first = admit(&waiting, &[1, 2, 1]);
        let mut second = admit(&waiting, &[2, 3]);
        assert_eq!((first.to_send.len(), second.to_send.len()), (2, 1));
        waiting.numbered(&emitter("app"), event_id(3), 9, false);
        waiting.numbered(&emitter("app"), event_id(1), 5, true);
        assert!(first.answer.try_recv().is_err());
        waiting.numbered(&emitter("app"), event_id(2), 6, false);
        use Outcome::{Appended, Exists};
        assert_eq!(first.answer.try_recv().unwrap().unwrap(), [Appended(5), Exists(6), Exists(5)]);
        assert_eq!(second.answer.try_recv().unwrap().unwrap(), [Exists(6), Exists(9)]);
    }

    #[test]
    fn what_was_called_off_unsent_can_be_brought_again() {
        let waiting = Waiting::default();
        let first = admit(&waiting, &[1]);
        let mut second = admit(&waiting, &[1]);
        assert!(!waiting.give_up(first.number));
        assert!(matches!(second.answer.try_recv(), Ok(Err(Error::Unavailable { .. }))));
        let third = admit(&waiting, &[1]);
        assert_eq!(third.to_send.len(), 1);
        assert_eq!(waiting.send(&[first.number, third.number]), [third.number]);
        assert!(waiting.give_up(third.number), "it may be stored");
        let mut fourth = admit(&waiting, &[1]);
        assert!(fourth.to_send.is_empty(), "it is still under way");
        waiting.refuse(&[third.number], "too long");
        assert!(
            matches!(fourth.answer.try_recv(), Ok(Err(Error::Unavailable { .. }))),
            "it may be tried again"
        );
        let mut fourth = admit(&waiting, &[1]);
        assert_eq!(fourth.to_send.len(), 1);
        let mut fifth = admit(&waiting, &[1]);
        waiting.numbered(&emitter("app"), event_id(1), 7, true);
        assert_eq!(fifth.answer.try_recv().unwrap().unwrap(), [Outcome::Exists(7)]);
        assert_eq!(fourth.answer.try_recv().unwrap().unwrap(), [Outcome::Appended(7)]);
    }
}
