//! One connection a broker, opened when first needed and again when it died.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Mutex as AsyncMutex;
use tokio::time::timeout;

use super::Connection;
use crate::config::{BrokerAddress, ClientConfig};
use crate::error::Error;
use crate::transport::Transport;

/// Where a connection leads: the broker, and the proxy in between if there is one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Destination {
    /// What is dialled.
    pub address: BrokerAddress,
    /// The broker behind the proxy at `address`.
    pub proxied: Option<BrokerAddress>,
}

type Slot = Arc<AsyncMutex<Option<Arc<Connection>>>>;

/// The connections of a client.
pub struct Pool {
    config: Arc<ClientConfig>,
    transport: Arc<dyn Transport>,
    slots: Mutex<HashMap<Destination, Slot>>,
    /// Which address of the service URL to try first.
    first: AtomicUsize,
}

impl Pool {
    /// An empty pool.
    pub fn new(config: Arc<ClientConfig>, transport: Arc<dyn Transport>) -> Self {
        Pool {
            config,
            transport,
            slots: Mutex::default(),
            first: AtomicUsize::new(0),
        }
    }

    /// What the pool connects with.
    pub fn config(&self) -> &ClientConfig {
        &self.config
    }

    /// The live connection to a destination. Callers that come while one is being opened wait for it.
    pub async fn get(&self, destination: &Destination) -> Result<Arc<Connection>, Error> {
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.entry(destination.clone()).or_default().clone()
        };
        let late = |_| Error::Connect {
            address: destination.address.to_string(),
            reason: "timed out".to_owned(),
        };
        // Those who wait fail with the attempt that they wait for, not each after an attempt of its own.
        let mut slot = timeout(self.config.connection_timeout, slot.lock())
            .await
            .map_err(late)?;
        if let Some(connection) = slot.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(connection.clone());
        }
        *slot = None;
        let Destination { address, proxied } = destination;
        let opened =
            Connection::open(&*self.transport, &self.config, address, proxied.as_ref()).await?;
        *slot = Some(opened.clone());
        Ok(opened)
    }

    /// A live connection to any address of the service URL, tried in order from the last that answered.
    pub async fn service(&self) -> Result<Arc<Connection>, Error> {
        let addresses = &self.config.service_url.addresses;
        // An address that never answers must leave time for the others.
        let patience = self.config.operation_timeout / addresses.len().max(1) as u32;
        let first = self.first.load(Ordering::Relaxed);
        let mut failure = Error::Closed;
        for offset in 0..addresses.len() {
            let at = (first + offset) % addresses.len();
            let address = &addresses[at];
            let destination = Destination {
                address: address.clone(),
                proxied: None,
            };
            let late = |_| Error::Connect {
                address: address.to_string(),
                reason: "timed out".to_owned(),
            };
            let got = timeout(patience, self.get(&destination)).await;
            match got.map_err(late).and_then(|got| got) {
                Ok(connection) => {
                    self.first.store(at, Ordering::Relaxed);
                    return Ok(connection);
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// How many connections are alive.
    pub fn open_connections(&self) -> usize {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let open = |slot: &Slot| {
            slot.try_lock()
                .is_ok_and(|slot| slot.as_ref().is_some_and(|c| !c.is_closed()))
        };
        slots.values().filter(|slot| open(slot)).count()
    }

    /// Closes every connection. Idle slots are forgotten.
    pub fn close(&self) {
        let slots = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *slots)
        };
        for slot in slots.into_values() {
            if let Ok(slot) = slot.try_lock() {
                if let Some(connection) = slot.as_ref() {
                    connection.close("the client was closed");
                }
            }
        }
    }
}
