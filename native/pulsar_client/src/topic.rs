//! Topic names.

use std::fmt;

const PARTITION: &str = "-partition-";

/// The longest topic name accepted, in bytes; the broker's metadata store takes no more.
pub const MAX_TOPIC_NAME_BYTES: usize = 1024;

/// Whether a topic's messages are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TopicDomain {
    /// Messages are stored until every subscription has acknowledged them.
    Persistent,
    /// Messages go to the consumers connected now and are never stored.
    NonPersistent,
}

impl TopicDomain {
    /// The name of the domain in a topic name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Persistent => "persistent",
            Self::NonPersistent => "non-persistent",
        }
    }
}

/// A complete topic name, `persistent://tenant/namespace/topic`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TopicName {
    full: String,
    domain: TopicDomain,
    tenant_end: usize,
    namespace_end: usize,
    base_end: usize,
    partition: Option<u32>,
}

/// Why a topic name is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicNameError {
    /// The name, or one of its parts, is empty.
    #[error("topic name {name:?} has an empty {part}")]
    Empty {
        /// The name as given.
        name: String,
        /// Which part is empty.
        part: &'static str,
    },
    /// The name has neither one nor three parts.
    #[error("topic name {0:?} is neither \"topic\" nor \"[domain://]tenant/namespace/topic\"")]
    Parts(String),
    /// Only persistent and non-persistent topics exist.
    #[error("topic name {0:?} has a domain other than persistent:// and non-persistent://")]
    Domain(String),
    /// A part holds a character that it may not hold.
    #[error("topic name {name:?} has the character {character:?} in its {part}")]
    Character {
        /// The name as given.
        name: String,
        /// The first character refused.
        character: char,
        /// Which part holds it.
        part: &'static str,
    },
    /// The name is longer than [`MAX_TOPIC_NAME_BYTES`].
    #[error("a topic name of {0} bytes is over the limit of {MAX_TOPIC_NAME_BYTES}")]
    TooLong(usize),
}

impl TopicName {
    /// Reads `topic`, `tenant/namespace/topic` or `domain://tenant/namespace/topic`; a short name
    /// goes to the tenant and namespace of `default_namespace`.
    ///
    /// # Errors
    /// When a part is missing, empty or holds characters that the broker refuses.
    pub fn parse(name: &str, default_namespace: (&str, &str)) -> Result<Self, TopicNameError> {
        if name.len() > MAX_TOPIC_NAME_BYTES {
            return Err(TopicNameError::TooLong(name.len()));
        }
        let (domain, rest) = match name.split_once("://") {
            None => (TopicDomain::Persistent, name),
            Some(("persistent", rest)) => (TopicDomain::Persistent, rest),
            Some(("non-persistent", rest)) => (TopicDomain::NonPersistent, rest),
            Some(_) => return Err(TopicNameError::Domain(name.to_owned())),
        };
        let mut parts = rest.split('/');
        let (tenant, namespace, local) =
            match (parts.next(), parts.next(), parts.next(), parts.next()) {
                (Some(local), None, None, None) if rest.len() == name.len() => {
                    (default_namespace.0, default_namespace.1, local)
                }
                (Some(tenant), Some(namespace), Some(local), None) => (tenant, namespace, local),
                _ => return Err(TopicNameError::Parts(name.to_owned())),
            };
        check(name, "tenant", tenant, is_entity_character)?;
        check(name, "namespace", namespace, is_entity_character)?;
        check(name, "topic", local, |character| !character.is_control())?;
        Self::assemble(domain, tenant, namespace, local)
    }

    fn assemble(
        domain: TopicDomain,
        tenant: &str,
        namespace: &str,
        local: &str,
    ) -> Result<Self, TopicNameError> {
        let full = format!("{}://{tenant}/{namespace}/{local}", domain.as_str());
        if full.len() > MAX_TOPIC_NAME_BYTES {
            return Err(TopicNameError::TooLong(full.len()));
        }
        let tenant_end = domain.as_str().len() + "://".len() + tenant.len();
        let namespace_end = tenant_end + 1 + namespace.len();
        let (base, partition) = split_partition(local);
        let base_end = namespace_end + 1 + base.len();
        Ok(Self {
            full,
            domain,
            tenant_end,
            namespace_end,
            base_end,
            partition,
        })
    }

    /// The complete name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.full
    }

    /// Whether the topic is persistent.
    #[must_use]
    pub fn domain(&self) -> TopicDomain {
        self.domain
    }

    /// The tenant.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.full[self.domain.as_str().len() + "://".len()..self.tenant_end]
    }

    /// The namespace, without its tenant.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.full[self.tenant_end + 1..self.namespace_end]
    }

    /// The last part of the name, with the partition if it names one.
    #[must_use]
    pub fn local_name(&self) -> &str {
        &self.full[self.namespace_end + 1..]
    }

    /// The partition that the name ends with. As for the broker, `-partition-01` and
    /// `-partition-x` are ordinary names.
    #[must_use]
    pub fn partition_index(&self) -> Option<u32> {
        self.partition
    }

    /// The complete name without its partition.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.full[..self.base_end]
    }

    /// The complete name of partition `index` of this topic.
    #[must_use]
    pub fn partition(&self, index: u32) -> String {
        format!("{}{PARTITION}{index}", self.base())
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.full)
    }
}

fn check(
    name: &str,
    part: &'static str,
    text: &str,
    allowed: impl Fn(char) -> bool,
) -> Result<(), TopicNameError> {
    if text.trim().is_empty() {
        return Err(TopicNameError::Empty {
            name: name.to_owned(),
            part,
        });
    }
    match text.chars().find(|character| !allowed(*character)) {
        None => Ok(()),
        Some(character) => Err(TopicNameError::Character {
            name: name.to_owned(),
            character,
            part,
        }),
    }
}

// The broker's rule for tenants and namespaces.
fn is_entity_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-=:._".contains(character)
}

fn split_partition(local: &str) -> (&str, Option<u32>) {
    let Some((base, digits)) = local.rsplit_once(PARTITION) else {
        return (local, None);
    };
    // Java parses a signed number, and takes only its canonical form.
    match digits.parse::<i32>() {
        Ok(index) if index >= 0 && index.to_string() == digits && !base.is_empty() => {
            (base, Some(index.unsigned_abs()))
        }
        _ => (local, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DEFAULT: (&str, &str) = ("public", "default");

    fn parse(name: &str) -> TopicName {
        TopicName::parse(name, DEFAULT).unwrap()
    }

    fn refused(name: &str) -> TopicNameError {
        TopicName::parse(name, DEFAULT).unwrap_err()
    }

    #[test]
    fn forms() {
        assert_eq!(parse("t").as_str(), "persistent://public/default/t");
        assert_eq!(parse("a/b/t").as_str(), "persistent://a/b/t");
        assert_eq!(parse("persistent://a/b/t").as_str(), "persistent://a/b/t");
        assert_eq!(
            parse("non-persistent://a/b/t").to_string(),
            "non-persistent://a/b/t"
        );
        assert_eq!(
            TopicName::parse("t", ("x", "y")).unwrap().as_str(),
            "persistent://x/y/t"
        );
        // Local names are free text: the broker encodes them where it must.
        assert_eq!(parse("größe 1:2").local_name(), "größe 1:2");
    }

    #[test]
    fn parts() {
        let topic = parse("non-persistent://acme/eu.west/orders-partition-12");
        assert_eq!(topic.domain(), TopicDomain::NonPersistent);
        assert_eq!(topic.tenant(), "acme");
        assert_eq!(topic.namespace(), "eu.west");
        assert_eq!(topic.local_name(), "orders-partition-12");
        assert_eq!(topic.partition_index(), Some(12));
        assert_eq!(topic.base(), "non-persistent://acme/eu.west/orders");
        assert_eq!(
            topic.partition(3),
            "non-persistent://acme/eu.west/orders-partition-3"
        );
    }

    #[test]
    fn partitions_are_canonical_numbers() {
        for name in [
            "t",
            "t-partition-",
            "t-partition-01",
            "t-partition--1",
            "t-partition-x",
            "t-partition-+1",
            "t-partition-2147483648",
            "-partition-1",
        ] {
            let topic = parse(name);
            assert_eq!(topic.partition_index(), None, "{name}");
            assert_eq!(topic.base(), topic.as_str());
        }
        assert_eq!(parse("t-partition-0").partition_index(), Some(0));
        assert_eq!(
            parse("t-partition-1-partition-2").partition_index(),
            Some(2)
        );
    }

    #[test]
    fn refusals() {
        assert!(matches!(
            refused(""),
            TopicNameError::Empty { part: "topic", .. }
        ));
        assert!(matches!(
            refused("  "),
            TopicNameError::Empty { part: "topic", .. }
        ));
        assert!(matches!(
            refused("/b/t"),
            TopicNameError::Empty { part: "tenant", .. }
        ));
        assert!(matches!(
            refused("a//t"),
            TopicNameError::Empty {
                part: "namespace",
                ..
            }
        ));
        assert!(matches!(
            refused("a/b/"),
            TopicNameError::Empty { part: "topic", .. }
        ));
        for parts in [
            "a/t",
            "a/b/c/d",
            "persistent://t",
            "persistent://a/t",
            "persistent://",
        ] {
            assert!(
                matches!(refused(parts), TopicNameError::Parts(_)),
                "{parts}"
            );
        }
        for domain in ["http://a/b/t", "://a/b/t", "Persistent://a/b/t"] {
            assert!(
                matches!(refused(domain), TopicNameError::Domain(_)),
                "{domain}"
            );
        }
        for (name, part) in [
            ("t\n", "topic"),
            ("a b/c/t", "tenant"),
            ("a/ö/t", "namespace"),
        ] {
            match refused(name) {
                TopicNameError::Character { part: found, .. } => assert_eq!(found, part),
                other => panic!("{name:?}: {other}"),
            }
        }
        assert!(TopicName::parse("t", ("", "default")).is_err());
        assert!(TopicName::parse("t", ("public", "a/b")).is_err());
        assert!(TopicName::parse(&"t".repeat(1000), DEFAULT).is_err());
        assert!(matches!(
            refused(&"t".repeat(1025)),
            TopicNameError::TooLong(1025)
        ));
    }

    proptest! {
        #[test]
        fn complete_names_are_fixed_points(name in ".{0,40}") {
            if let Ok(topic) = TopicName::parse(&name, DEFAULT) {
                prop_assert_eq!(&TopicName::parse(topic.as_str(), ("x", "y")).unwrap(), &topic);
                let joined = format!("{}://{}/{}/{}", topic.domain().as_str(), topic.tenant(),
                    topic.namespace(), topic.local_name());
                prop_assert_eq!(joined.as_str(), topic.as_str());
            }
        }

        #[test]
        fn a_partition_knows_its_topic(local in "[a-z-]{1,20}", index in 0u32..i32::MAX as u32) {
            let topic = parse(&local);
            let partition = parse(&topic.partition(index));
            prop_assert_eq!(partition.partition_index(), Some(index));
            prop_assert_eq!(partition.base(), topic.base());
        }
    }
}
