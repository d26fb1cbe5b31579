//! Lists that wait for room in a producer: how their callers hear that it is their turn, and what happens
//! when a caller gives up or dies first.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use pulsar_client::producer::Ticket;
use rustler::{Encoder, Env, Monitor, Reference, Term};

use crate::producer::ProducerResource;
use crate::reply::Reply;
use crate::slot::Handle;
use crate::{atoms, runtime};

/// A call, by the bytes of its reference.
type Key = Vec<u8>;

/// The lists that wait, by their calls: each with its ticket and the monitor of its caller.
#[derive(Default)]
pub(crate) struct Parked(HashMap<Key, (Ticket, Monitor)>);

impl Parked {
    /// What a call is known by.
    pub(crate) fn key(reference: Reference<'_>) -> Key {
        let term: Term<'_> = *reference;
        term.to_binary().as_slice().to_vec()
    }

    pub(crate) fn remove(&mut self, key: &Key) -> Option<(Ticket, Monitor)> {
        self.0.remove(key)
    }

    /// The ticket of the list whose caller died.
    pub(crate) fn remove_caller(&mut self, monitor: Monitor) -> Option<Ticket> {
        let known = self.0.iter().find(|(_, (_, caller))| *caller == monitor);
        let key = known.map(|(key, _)| key.clone())?;
        self.0.remove(&key).map(|(ticket, _)| ticket)
    }
}

/// The turn of one list. Never holds a lock while it calls the producer, which calls back under locks of
/// its own.
pub(crate) struct Turn {
    producer: Handle<ProducerResource>,
    /// Made when the list has to wait, which most never do.
    key: OnceLock<Key>,
    /// Taken by whoever speaks first: after the result nobody hears of the admission.
    notice: Mutex<Option<Reply>>,
    parked: AtomicBool,
    over: AtomicBool,
}

impl Turn {
    pub(crate) fn new(
        env: Env<'_>,
        producer: Handle<ProducerResource>,
        reference: Reference<'_>,
    ) -> Arc<Self> {
        Arc::new(Turn {
            producer,
            key: OnceLock::new(),
            notice: Mutex::new(Some(Reply::new(env, reference))),
            parked: AtomicBool::new(false),
            over: AtomicBool::new(false),
        })
    }

    fn notice(&self) -> MutexGuard<'_, Option<Reply>> {
        self.notice.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The list waits. Called in the NIF that brought it.
    pub(crate) fn park(&self, env: Env<'_>, reference: Reference<'_>, ticket: Ticket) {
        let Some(caller) = self.producer.monitor(Some(env), &env.pid()) else {
            // The caller is being killed.
            self.producer.state.producer.withdraw(ticket);
            return;
        };
        let key = self.key.get_or_init(|| Parked::key(reference));
        // Before the list is known, so that its turn, if it comes now, looks for it.
        self.parked.store(true, Ordering::SeqCst);
        self.producer
            .parked()
            .0
            .insert(key.clone(), (ticket, caller));
        if self.over.load(Ordering::SeqCst) {
            let known = self.producer.parked().remove(key);
            if let Some((_, caller)) = known {
                self.producer.demonitor(Some(env), &caller);
            }
        }
    }

    /// There is room: the list is on its way.
    pub(crate) fn admit(self: Arc<Self>) {
        runtime::off_scheduler(move || {
            self.forget();
            // Sent under the lock, so that the result cannot overtake it.
            if let Some(notice) = self.notice().take() {
                notice.send(|env| atoms::admitted().encode(env));
            }
        });
    }

    /// The result is there.
    pub(crate) fn end(self: Arc<Self>) {
        drop(self.notice().take());
        runtime::off_scheduler(move || self.forget());
    }

    fn forget(&self) {
        self.over.store(true, Ordering::SeqCst);
        if let Some(key) = self
            .key
            .get()
            .filter(|_| self.parked.load(Ordering::SeqCst))
        {
            let known = self.producer.parked().remove(key);
            if let Some((_, caller)) = known {
                self.producer.demonitor(None, &caller);
            }
        }
    }
}
