//! One connection a broker, opened when first needed and again when it died.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Mutex as AsyncMutex;

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
}

impl Pool {
    /// An empty pool.
    pub fn new(config: Arc<ClientConfig>, transport: Arc<dyn Transport>) -> Self {
        Pool {
            config,
            transport,
            slots: Mutex::default(),
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
        let mut slot = slot.lock().await;
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

    /// A live connection to any address of the service URL, tried in order.
    pub async fn service(&self) -> Result<Arc<Connection>, Error> {
        let mut failure = Error::Closed;
        for address in &self.config.service_url.addresses {
            match self
                .get(&Destination {
                    address: address.clone(),
                    proxied: None,
                })
                .await
            {
                Ok(connection) => return Ok(connection),
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
