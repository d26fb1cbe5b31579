//! How bytes reach a broker: TCP, TLS, or whatever a test provides.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use crate::config::{BrokerAddress, TlsConfig};

/// The two halves of a byte stream.
pub struct Stream {
    /// Bytes from the broker.
    pub read: Box<dyn AsyncRead + Send + Unpin>,
    /// Bytes to the broker.
    pub write: Box<dyn AsyncWrite + Send + Unpin>,
}

impl Stream {
    /// Splits any bidirectional stream.
    pub fn split(stream: impl AsyncRead + AsyncWrite + Send + 'static) -> Self {
        let (read, write) = tokio::io::split(stream);
        Stream {
            read: Box::new(read),
            write: Box::new(write),
        }
    }
}

/// A connection attempt under way.
pub type Connecting<'a> = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send + 'a>>;

/// Opens byte streams to brokers. Implementations need no timeout of their own.
pub trait Transport: Send + Sync + 'static {
    /// Opens one stream.
    fn connect<'a>(&'a self, address: &'a BrokerAddress) -> Connecting<'a>;
}

/// TCP, with TLS where the address asks for it.
pub struct Network {
    tls: TlsConnector,
}

impl Network {
    /// Reads the trusted authorities once.
    pub fn new(config: &TlsConfig) -> io::Result<Self> {
        let config = crate::tls::client_config(config)?;
        Ok(Network {
            tls: TlsConnector::from(Arc::new(config)),
        })
    }
}

impl Transport for Network {
    fn connect<'a>(&'a self, address: &'a BrokerAddress) -> Connecting<'a> {
        Box::pin(async move {
            let tcp = TcpStream::connect((address.host.as_str(), address.port)).await?;
            // A lone small frame must not wait for the peer's delayed ack.
            tcp.set_nodelay(true)?;
            if !address.tls {
                let (read, write) = tcp.into_split();
                return Ok(Stream {
                    read: Box::new(read),
                    write: Box::new(write),
                });
            }
            let name = ServerName::try_from(address.host.clone()).map_err(io::Error::other)?;
            Ok(Stream::split(self.tls.connect(name, tcp).await?))
        })
    }
}
