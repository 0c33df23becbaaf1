//! Calls that fail as a script says: what the ports' decorators that fail on purpose have in common.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It goes through.
    Pass,
    /// It fails so that it may be made again, and has no effect.
    Before,
    /// It takes effect, and then its answer is lost.
    After,
    /// It fails because nothing can be written, and has no effect. For ports that know such a state.
    ReadOnly,
}

/// What happens to the next calls, by kind. Without a word about them they go through.
pub struct Script<C>(Mutex<Vec<(C, VecDeque<Fault>)>>);

impl<C> Default for Script<C> {
    fn default() -> Self {
        Script(Mutex::default())
    }
}

impl<C: Copy + PartialEq> Script<C> {
    /// What happens to the next calls of a kind, in order, after those scripted already.
    pub fn add(&self, call: C, faults: impl IntoIterator<Item = Fault>) {
        let mut script = self.lock();
        match script.iter_mut().find(|(kind, _)| *kind == call) {
            Some((_, waiting)) => waiting.extend(faults),
            None => script.push((call, faults.into_iter().collect())),
        }
    }

    /// Whether every scripted call was made.
    pub fn is_done(&self) -> bool {
        self.lock().iter().all(|(_, waiting)| waiting.is_empty())
    }

    /// Makes a call, or lets it fail with what the port says of the fault.
    pub async fn run<T, E>(
        &self,
        call: C,
        effect: impl Future<Output = Result<T, E>>,
        error: impl FnOnce(Fault) -> E,
    ) -> Result<T, E> {
        let fault = self.lock().iter_mut().find(|(kind, _)| *kind == call).and_then(|(_, w)| w.pop_front());
        match fault.unwrap_or(Fault::Pass) {
            Fault::Pass => effect.await,
            Fault::After => {
                effect.await?;
                Err(error(Fault::After))
            }
            fault => Err(error(fault)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(C, VecDeque<Fault>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
