//! Clients: one for each manager.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use pipeline::Pipeline;
use pulsar_client::Client;
use rustler::{Encoder, Env, LocalPid, Reference, Resource, Term};

use crate::consumer::ConsumerState;
use crate::error::Failure;
use crate::events::{map, EventTarget};
use crate::producer::ProducerState;
use crate::reply::Reply;
use crate::slot::{Handle, Slot};
use crate::terms::options;
use crate::{atoms, runtime};

/// A client and what was opened with it.
pub(crate) struct ClientResource {
    pub(crate) client: Client,
    pub(crate) target: EventTarget,
    opened: Mutex<Opened>,
}

#[derive(Default)]
struct Opened {
    producers: Vec<Weak<ProducerState>>,
    consumers: Vec<Weak<ConsumerState>>,
    pipelines: Vec<Weak<Pipeline>>,
}

impl Resource for Slot<ClientResource> {}

impl ClientResource {
    pub(crate) fn add_producer(&self, producer: &Arc<ProducerState>) {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.producers.retain(|known| known.strong_count() > 0);
        opened.producers.push(Arc::downgrade(producer));
    }

    pub(crate) fn add_consumer(&self, consumer: &Arc<ConsumerState>) {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.consumers.retain(|known| known.strong_count() > 0);
        opened.consumers.push(Arc::downgrade(consumer));
    }

    pub(crate) fn add_pipeline(&self, pipeline: &Arc<Pipeline>) {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.pipelines.retain(|known| known.strong_count() > 0);
        opened.pipelines.push(Arc::downgrade(pipeline));
    }

    /// Ends pipelines, then drains producers and flushes acks, all of a kind side by side.
    async fn close(&self, limit: Duration) {
        let opened = {
            let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *opened)
        };
        let mut tasks = tokio::task::JoinSet::new();
        for pipeline in opened.pipelines.iter().filter_map(Weak::upgrade) {
            tasks.spawn(pipeline.stop());
        }
        // First, so that what was computed is still acknowledged; not so long that nothing else is.
        let all = async { while tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(limit / 2, all).await;
        let mut tasks = tokio::task::JoinSet::new();
        for consumer in opened.consumers.iter().filter_map(Weak::upgrade) {
            tasks.spawn(async move { consumer.close().await });
        }
        for producer in opened.producers.iter().filter_map(Weak::upgrade) {
            tasks.spawn(async move { producer.close().await });
        }
        while tasks.join_next().await.is_some() {}
    }
}

/// Opens a client; nothing is connected yet.
#[rustler::nif]
fn client_open<'a>(env: Env<'a>, config: Term<'a>, tag: u64, events_to: LocalPid) -> Term<'a> {
    let opened = options::client(config).and_then(|config| Ok(Client::new(config)?));
    match opened {
        Err(failure) => failure.to_term(env),
        Ok(client) => {
            let target = EventTarget {
                pid: events_to,
                tag,
            };
            let client = ClientResource {
                client,
                target,
                opened: Mutex::default(),
            };
            (atoms::ok(), Slot::handle(client)).encode(env)
        }
    }
}

/// Closes what was opened with the client, then its connections.
#[rustler::nif]
fn client_close<'a>(
    env: Env<'a>,
    client: Handle<ClientResource>,
    reference: Reference<'a>,
    timeout_ms: u64,
) -> Term<'a> {
    let reply = Reply::new(env, reference);
    runtime::spawn(async move {
        let limit = Duration::from_millis(timeout_ms);
        let closed = tokio::time::timeout(limit, client.close(limit)).await;
        client.client.disconnect();
        reply.send(move |env| match closed {
            Ok(()) => atoms::ok().encode(env),
            Err(_) => (atoms::error(), atoms::timeout()).encode(env),
        });
    });
    atoms::ok().encode(env)
}

/// Asks the cluster for a sign of life.
#[rustler::nif]
fn client_health<'a>(
    env: Env<'a>,
    client: Handle<ClientResource>,
    reference: Reference<'a>,
) -> Term<'a> {
    let reply = Reply::new(env, reference);
    runtime::spawn(async move {
        let limit = client.client.config().operation_timeout;
        let checked = match tokio::time::timeout(limit, client.client.check()).await {
            Ok(checked) => checked,
            Err(_) => Err(pulsar_client::Error::Timeout("the health check")),
        };
        let connections = client.client.open_connections();
        let service_url = client.client.config().service_url.to_string();
        reply.send(move |env| {
            let error = checked.as_ref().err();
            let health = map(
                env,
                &[
                    (atoms::connected(), error.is_none().encode(env)),
                    (atoms::connections(), connections.encode(env)),
                    (atoms::service_url(), service_url.encode(env)),
                    (
                        atoms::error_text(),
                        error.map(ToString::to_string).encode(env),
                    ),
                ],
            );
            (atoms::ok(), health).encode(env)
        });
    });
    atoms::ok().encode(env)
}

/// Options that every handle has: which instance of its id it is.
pub(crate) fn instance(map: Term<'_>) -> Result<u64, Failure> {
    let instance = options::Options::new(map)?.get(atoms::instance(), "instance", "a number")?;
    Ok(instance.unwrap_or_default())
}
