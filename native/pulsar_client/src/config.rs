//! What a client needs to know before it connects.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use pulsar::authentication::Authentication;
use pulsar::error::AuthenticationError;
use tokio::sync::Mutex;

use crate::error::Error;

/// Host and port of a broker.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BrokerAddress {
    /// Name or address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Whether the connection is encrypted.
    pub tls: bool,
}

impl fmt::Display for BrokerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// `pulsar://host[:port][,host[:port]…]` or `pulsar+ssl://…`: the brokers or proxies to ask first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceUrl {
    /// In the order given; a client tries the next when one cannot be reached.
    pub addresses: Vec<BrokerAddress>,
}

impl ServiceUrl {
    /// Parses a service URL. Default ports: 6650, and 6651 with TLS.
    pub fn parse(url: &str) -> Result<Self, Error> {
        let invalid = || Error::InvalidOption {
            key: "broker_service_url",
            value: url.to_owned(),
            allowed: "pulsar://host[:port][,host[:port]] or pulsar+ssl://host[:port]",
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(invalid)?;
        let tls = match scheme {
            "pulsar" => false,
            "pulsar+ssl" => true,
            _ => return Err(invalid()),
        };
        let addresses = rest
            .trim_end_matches('/')
            .split(',')
            .map(|part| address(part, tls).ok_or_else(invalid))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(ServiceUrl { addresses })
    }
}

impl fmt::Display for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tls = self.addresses.first().is_some_and(|address| address.tls);
        f.write_str(if tls { "pulsar+ssl://" } else { "pulsar://" })?;
        for (index, address) in self.addresses.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            write!(f, "{separator}{address}")?;
        }
        Ok(())
    }
}

fn address(part: &str, tls: bool) -> Option<BrokerAddress> {
    let default_port = if tls { 6651 } else { 6650 };
    let (host, port) = match part.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            (host, after.strip_prefix(':'))
        }
        None => match part.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (part, None),
        },
    };
    let port = match port {
        Some(text) => text.parse().ok().filter(|port| *port != 0)?,
        None => default_port,
    };
    let plausible = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c == '/');
    plausible.then(|| BrokerAddress {
        host: host.to_owned(),
        port,
        tls,
    })
}

/// How TLS checks the broker's certificate.
#[derive(Debug, Clone)]
pub struct TlsConfig {
    /// PEM file of the authorities to trust; without it, the public ones.
    pub ca_file: Option<std::path::PathBuf>,
    /// Whether the certificate has to name the host that was dialled. Without that, anyone with a
    /// certificate of a trusted authority passes for the broker.
    pub hostname_verification: bool,
}

impl Default for TlsConfig {
    fn default() -> Self {
        TlsConfig {
            ca_file: None,
            hostname_verification: true,
        }
    }
}

/// Credentials, shared by all connections of a client.
pub type SharedAuthentication = Arc<Mutex<Box<dyn Authentication>>>;

/// Token authentication: the token is sent as it is. Its text never appears in debug output.
pub struct Token(Vec<u8>);

impl Token {
    /// Credentials made of one token.
    pub fn shared(token: impl Into<Vec<u8>>) -> SharedAuthentication {
        Arc::new(Mutex::new(Box::new(Token(token.into()))))
    }
}

#[async_trait::async_trait]
impl Authentication for Token {
    fn auth_method_name(&self) -> String {
        "token".to_owned()
    }

    async fn initialize(&mut self) -> Result<(), AuthenticationError> {
        Ok(())
    }

    async fn auth_data(&mut self) -> Result<Vec<u8>, AuthenticationError> {
        Ok(self.0.clone())
    }
}

/// Everything about the cluster and how long to wait for it.
#[derive(Clone)]
pub struct ClientConfig {
    /// Where to look topics up.
    pub service_url: ServiceUrl,
    /// Credentials, if the cluster wants any.
    pub authentication: Option<SharedAuthentication>,
    /// TLS settings, used with `pulsar+ssl://`.
    pub tls: TlsConfig,
    /// Bound of one connection attempt, handshake included.
    pub connection_timeout: Duration,
    /// Bound of one request, and of a creation with all its retries.
    pub operation_timeout: Duration,
    /// A ping goes out after this time without traffic; twice this time without any, the connection is dead.
    pub keep_alive: Duration,
    /// The advertised listener to ask brokers for.
    pub listener_name: Option<String>,
    /// Tenant and namespace put before short topic names.
    pub default_namespace: (String, String),
    /// First and longest wait between two attempts to reconnect.
    pub reconnect_backoff: (Duration, Duration),
}

impl ClientConfig {
    /// The defaults for a service URL.
    pub fn new(service_url: &str) -> Result<Self, Error> {
        Ok(ClientConfig {
            service_url: ServiceUrl::parse(service_url)?,
            authentication: None,
            tls: TlsConfig::default(),
            connection_timeout: Duration::from_secs(30),
            operation_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(30),
            listener_name: None,
            default_namespace: ("public".to_owned(), "default".to_owned()),
            reconnect_backoff: (Duration::from_millis(100), Duration::from_secs(10)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(host: &str, port: u16, tls: bool) -> BrokerAddress {
        BrokerAddress {
            host: host.into(),
            port,
            tls,
        }
    }

    #[test]
    fn service_urls() {
        let parsed = |url| ServiceUrl::parse(url).unwrap().addresses;
        assert_eq!(
            parsed("pulsar://localhost"),
            [one("localhost", 6650, false)]
        );
        assert_eq!(
            parsed("pulsar+ssl://b.example"),
            [one("b.example", 6651, true)]
        );
        assert_eq!(
            parsed("pulsar://a:1,b:2/"),
            [one("a", 1, false), one("b", 2, false)]
        );
        assert_eq!(parsed("pulsar://[::1]:7"), [one("::1", 7, false)]);
        for url in ["pulsar://a:1,b:2", "pulsar+ssl://[::1]:7"] {
            assert_eq!(ServiceUrl::parse(url).unwrap().to_string(), url);
        }
    }

    #[test]
    fn bad_service_urls_name_key_value_and_what_is_allowed() {
        for url in [
            "localhost:6650",
            "http://a",
            "pulsar://",
            "pulsar://a:0",
            "pulsar://a:x",
            "pulsar://a,,b",
            "pulsar://a b",
        ] {
            match ServiceUrl::parse(url) {
                Err(Error::InvalidOption {
                    key: "broker_service_url",
                    value,
                    ..
                }) => {
                    assert_eq!(value, url)
                }
                other => panic!("{url}: {other:?}"),
            }
        }
    }
}
