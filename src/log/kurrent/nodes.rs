//! Which node of the cluster to talk to: the connection string, gossip, and a connection to one node.
//!
//! Nothing is remembered of a node that failed but that it is to be tried last.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use eventstore::{ClientSettings, NodePreference};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use super::wire::{self, MemberInfo, Wire};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(3);
/// How often a silent connection is tried, and how long that may take; the crate's own default.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// A node's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub host: String,
    pub port: u32,
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Where the cluster is, as the connection string says it.
#[derive(Clone)]
pub struct Nodes {
    settings: ClientSettings,
    /// The same for whoever appends, which only the leader does.
    leader: ClientSettings,
    tls: Option<ClientTlsConfig>,
    authorization: Option<MetadataValue<Ascii>>,
}

/// Why a connection string cannot be used. Shows nothing of it, because a password may stand in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the connection string {0}")]
pub struct Unusable(pub String);

impl Nodes {
    /// Reads `esdb://…`. Blocks where it names files.
    pub fn parse(connection: &str) -> Result<Nodes, Unusable> {
        let settings = read(connection)?;
        let leader = read(&of_leader(connection))?;
        if settings.hosts().is_empty() {
            return Err(Unusable("names no host".to_owned()));
        }
        let tls = if settings.is_secure_mode_enabled() { Some(tls(&settings)?) } else { None };
        let authorization = settings.default_authenticated_user().as_ref().map(basic).transpose()?;
        Ok(Nodes { settings, leader, tls, authorization })
    }

    /// What the client of the `eventstore` crate is made from, which appends.
    pub fn for_appending(&self) -> &ClientSettings {
        &self.leader
    }

    fn seeds(&self) -> Vec<Address> {
        let address = |host: &eventstore::Endpoint| Address { host: host.host.clone(), port: host.port };
        self.settings.hosts().iter().map(address).collect()
    }

    fn is_cluster(&self) -> bool {
        self.settings.is_dns_discovery_enabled() || self.settings.hosts().len() > 1
    }

    /// A connection to the node that suits best; `avoid` is tried only where there is no other.
    pub async fn connect(&self, avoid: Option<&Address>) -> Result<(Address, Wire), String> {
        let mut seeds = self.seeds();
        seeds.sort_by_key(|seed| Some(seed) == avoid);
        let mut why = "no node".to_owned();
        for seed in seeds {
            match self.through(&seed, avoid).await {
                Ok(found) => return Ok(found),
                Err(failed) => why = format!("{seed}: {failed}"),
            }
        }
        Err(why)
    }

    /// A connection to the leader, which refuses once it is none any more.
    pub async fn leader(&self) -> Result<Wire, String> {
        let mut why = "no node".to_owned();
        for seed in self.seeds() {
            match self.led_by(&seed).await {
                Ok(wire) => return Ok(Wire { leader_only: true, ..wire }),
                Err(failed) => why = format!("{seed}: {failed}"),
            }
        }
        Err(why)
    }

    async fn led_by(&self, seed: &Address) -> Result<Wire, String> {
        let wire = self.dial(seed).await?;
        if !self.is_cluster() {
            return Ok(wire);
        }
        let members = self.members(&wire).await?;
        let leader =
            members.into_iter().find(|(_, state)| *state == wire::LEADER).ok_or("knows no leader")?;
        if leader.0 == *seed { Ok(wire) } else { self.dial(&leader.0).await }
    }

    /// The living nodes that can be read from.
    async fn members(&self, wire: &Wire) -> Result<Vec<(Address, i32)>, String> {
        let gossip = tokio::time::timeout(self.settings.gossip_timeout(), wire.gossip()).await;
        let known =
            gossip.map_err(|_| "gossip was not answered".to_owned())?.map_err(|s| s.code().to_string())?;
        Ok(known.members.into_iter().filter_map(usable).collect())
    }

    /// The best node that a seed knows of; the seed itself where there is no cluster.
    async fn through(&self, seed: &Address, avoid: Option<&Address>) -> Result<(Address, Wire), String> {
        let wire = self.dial(seed).await?;
        if !self.is_cluster() {
            return Ok((seed.clone(), wire));
        }
        let mut members = self.members(&wire).await?;
        members.sort_by_key(|(address, state)| (Some(address) == avoid, !self.prefers(*state)));
        let mut why = "knows no living node".to_owned();
        for (address, _) in members {
            if address == *seed {
                return Ok((address, wire));
            }
            match self.dial(&address).await {
                Ok(wire) => return Ok((address, wire)),
                Err(failed) => why = failed,
            }
        }
        Err(why)
    }

    fn prefers(&self, state: i32) -> bool {
        match self.settings.node_preference() {
            NodePreference::Leader => state == wire::LEADER,
            NodePreference::Follower => state == wire::FOLLOWER,
            NodePreference::ReadOnlyReplica => state == wire::READ_ONLY_REPLICA,
            NodePreference::Random => true,
        }
    }

    async fn dial(&self, address: &Address) -> Result<Wire, String> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let endpoint =
            Endpoint::from_shared(format!("{scheme}://{address}")).map_err(|why| why.to_string())?;
        let mut endpoint = endpoint
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true)
            .tcp_nodelay(true);
        if let Some(tls) = &self.tls {
            endpoint = endpoint.tls_config(tls.clone()).map_err(|why| why.to_string())?;
        }
        let channel = endpoint.connect().await.map_err(|why| chain(&why))?;
        Ok(Wire { channel, authorization: self.authorization.clone(), leader_only: false })
    }
}

impl Nodes {
    /// How long a node may leave a small question unanswered.
    pub fn patience(&self) -> Duration {
        self.settings.gossip_timeout().max(CONNECT)
    }
}

fn read(connection: &str) -> Result<ClientSettings, Unusable> {
    connection.parse().map_err(|why: eventstore::ClientSettingsParseError| {
        // The message of an unknown scheme is safe; others may quote a value.
        let scheme = why.message().starts_with("Unknown URL scheme");
        let known =
            if scheme { "begins neither with esdb:// nor with esdb+discover://" } else { "is malformed" };
        Unusable(known.to_owned())
    })
}

/// A connection string that prefers the leader, whatever it preferred: the crate's sessions of appends do not
/// leave a node that is not.
fn of_leader(connection: &str) -> String {
    let (hosts, query) = connection.split_once('?').unwrap_or((connection, ""));
    let is_preference = |pair: &&str| pair.to_ascii_lowercase().starts_with("nodepreference=");
    let others = query.split('&').filter(|pair| !pair.is_empty() && !is_preference(pair));
    let all: Vec<&str> = others.chain(["nodePreference=leader"]).collect();
    format!("{hosts}?{}", all.join("&"))
}

fn usable(member: MemberInfo) -> Option<(Address, i32)> {
    let reads = [wire::LEADER, wire::FOLLOWER, wire::READ_ONLY_REPLICA].contains(&member.state);
    let at = member.http.filter(|_| member.is_alive && reads)?;
    Some((Address { host: at.address, port: at.port }, member.state))
}

fn basic(user: &eventstore::Credentials) -> Result<MetadataValue<Ascii>, Unusable> {
    // The crate shows neither name nor password but in its own serialised form.
    let shown =
        serde_json::to_value(user).map_err(|_| Unusable("has credentials that cannot be read".into()))?;
    let text = |field: &str| match &shown[field] {
        serde_json::Value::String(text) => text.clone().into_bytes(),
        serde_json::Value::Array(bytes) => bytes.iter().filter_map(|b| b.as_u64()).map(|b| b as u8).collect(),
        _ => Vec::new(),
    };
    let both = [&text("login")[..], b":", &text("password")[..]].concat();
    let mut value: MetadataValue<Ascii> = format!("Basic {}", STANDARD.encode(both))
        .parse()
        .map_err(|_| Unusable("has credentials that cannot be sent".into()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn tls(settings: &ClientSettings) -> Result<ClientTlsConfig, Unusable> {
    if !settings.is_tls_certificate_verification_enabled() {
        let why = "says tlsVerifyCert=false: name the authority of the nodes' certificates with tlsCaFile";
        return Err(Unusable(why.to_owned()));
    }
    let read = |path: &String| {
        std::fs::read(path).map_err(|why| Unusable(format!("names {path}, which cannot be read: {why}")))
    };
    let mut tls = ClientTlsConfig::new();
    tls = match settings.tls_ca_file() {
        Some(path) => tls.ca_certificate(Certificate::from_pem(read(path)?)),
        None => tls.with_native_roots(),
    };
    if let Some((certificate, key)) = settings.user_certificate() {
        tls = tls.identity(Identity::from_pem(read(certificate)?, read(key)?));
    }
    Ok(tls)
}

/// An error with what is behind it, in one line.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_string_is_read_whole_and_its_password_never_shown() {
        let nodes = Nodes::parse(
            "esdb://admin:s3cret@a:2113,b:2114?tls=false&nodePreference=follower&gossipTimeout=700",
        )
        .unwrap();
        assert_eq!(nodes.seeds().iter().map(ToString::to_string).collect::<Vec<_>>(), ["a:2113", "b:2114"]);
        assert!(nodes.is_cluster() && nodes.prefers(wire::FOLLOWER) && !nodes.prefers(wire::LEADER));
        assert_eq!(nodes.for_appending().node_preference(), NodePreference::Leader);
        assert_eq!(
            of_leader("esdb://a?tls=false&NodePreference=random"),
            "esdb://a?tls=false&nodePreference=leader"
        );
        assert_eq!(of_leader("esdb://a"), "esdb://a?nodePreference=leader");
        let sent = nodes.authorization.clone().unwrap();
        assert_eq!(sent.to_str().unwrap(), format!("Basic {}", STANDARD.encode("admin:s3cret")));
        assert!(!format!("{sent:?}").contains(&STANDARD.encode("admin:s3cret")));
        for wrong in
            ["http://a", "esdb://user:s3cret@a?tls=maybe", "esdb://user:s3cret@a?tlsVerifyCert=false"]
        {
            let refused = Nodes::parse(wrong).err().unwrap().to_string();
            assert!(!refused.contains("s3cret"), "{refused}");
        }
    }
}
