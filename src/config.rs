//! Configuration: four layers of text become one checked value before any port is opened.
//!
//! Promises: the embedded `default.toml` is the list of keys, so that documentation, schema and
//! defaults cannot drift apart; unknown keys are refused by name; every problem is named at once.
//! No secret stands in it: keys and tokens live in files of their own, named here by path.

pub mod cluster;
pub mod jobs;
pub mod layers;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};

use crate::domain::id::{Country, Id, Regime};
use crate::mirror::OnFailure;

pub use cluster::Cluster;
pub use jobs::Jobs;
pub use layers::{DEFAULT_TOML, Layers};

/// What the service runs with. Made by [`Layers::load`] or by hand in tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub data: Data,
    pub group: Group,
    pub server: Server,
    pub tls: Tls,
    pub access: Access,
    pub ledger: Ledger,
    pub outside: Outside,
    pub keys: Keys,
    pub limits: Limits,
    pub disk: Disk,
    pub exports: Exports,
    pub retention: Retention,
    pub backup: Backup,
    pub mirror: Mirror,
    pub cluster: Option<Cluster>,
    pub jobs: Jobs,
    pub log: Log,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Data {
    pub directory: PathBuf,
    pub keyring: PathBuf,
}

/// Whose log this is and where it stands; fixed by the log's first event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub controller_group: Id,
    pub region: Regime,
    pub origin: Id,
    pub home_country: Country,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    pub listen: SocketAddr,
    /// `None`: off.
    pub metrics: Option<SocketAddr>,
    /// Somebody in front ends TLS.
    pub plaintext: bool,
    pub drain_ms: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub client_ca: Option<PathBuf>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// `None`: every caller is `local` and has every role; only on loopback.
    pub tokens: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// 0: only on demand.
    pub checkpoint_interval_ms: u64,
    /// `None`: off.
    pub tiles_listen: Option<SocketAddr>,
    pub witness_policy: Option<PathBuf>,
    pub witness_ca: Option<PathBuf>,
    pub witness_timeout_ms: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outside {
    /// `None`: beside the data directory.
    pub path: Option<PathBuf>,
    /// Said for one start only, by a flag of `custody serve`: it is no key of the configuration.
    pub declared_lost: bool,
}

/// The life of key-encryption keys, and of what is encrypted under them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keys {
    /// 0: replaced by hand only.
    pub kek_days: u64,
    pub kek_keep_days: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    pub log_queue_bytes: u64,
    pub people_cached: u64,
    pub views_memory_bytes: u64,
    pub calls_per_connection: u64,
    pub stream_messages_in_flight: u64,
}

/// What is kept free on the disk of the data directory: the larger of the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    pub reserve_bytes: u64,
    pub reserve_percent: u64,
}

/// When somebody has to approve a plan of erasure because of its size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// More items than these.
    pub approve_above_items: u64,
    /// More than so many of a hundred of what the service holds.
    pub approve_above_percent: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exports {
    pub keep_hours: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backup {
    /// `None`: beside the data directory.
    pub directory: Option<PathBuf>,
}

/// The second copy of log and vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// `None`: there is none.
    pub directory: Option<PathBuf>,
    pub on_failure: OnFailure,
    /// Said for one start only, by a flag of `custody serve`: it is no key of the configuration.
    pub anew: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    pub filter: String,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            data: Data { directory: "custody-data".into(), keyring: "custody.keyring".into() },
            group: Group {
                controller_group: constant("default"),
                region: Regime::CN,
                origin: constant("custody.local/default/events-1"),
                home_country: constant("CN"),
            },
            server: Server {
                listen: SocketAddr::from(([127, 0, 0, 1], 7317)),
                metrics: Some(SocketAddr::from(([127, 0, 0, 1], 7318))),
                plaintext: false,
                drain_ms: 10_000,
            },
            tls: Tls::default(),
            access: Access::default(),
            ledger: Ledger {
                checkpoint_interval_ms: 60_000,
                tiles_listen: None,
                witness_policy: None,
                witness_ca: None,
                witness_timeout_ms: 10_000,
            },
            outside: Outside::default(),
            keys: Keys { kek_days: 7, kek_keep_days: 28 },
            limits: Limits {
                log_queue_bytes: 64 << 20,
                people_cached: 200_000,
                views_memory_bytes: 256 << 20,
                calls_per_connection: 256,
                stream_messages_in_flight: 16,
            },
            disk: Disk { reserve_bytes: 2 << 30, reserve_percent: 5 },
            exports: Exports { keep_hours: 72 },
            retention: Retention { approve_above_items: 1_000, approve_above_percent: 5 },
            backup: Backup::default(),
            mirror: Mirror { directory: None, on_failure: OnFailure::Stop, anew: false },
            cluster: None,
            jobs: Jobs::default(),
            log: Log { filter: "info,fjall=warn,lsm_tree=warn,eventstore=off".to_owned() },
        }
    }
}

/// A value of this file that is well-formed, as the test of the defaults shows.
fn constant<T: std::str::FromStr<Err: fmt::Debug>>(text: &str) -> T {
    text.parse().expect("constants of this file are well-formed")
}

/// Everything that is wrong with a configuration, one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration cannot be used:")?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  - {problem}"))
    }
}

impl std::error::Error for Problems {}

impl Config {
    /// Where the outside copy lies.
    pub fn outside_path(&self) -> PathBuf {
        self.outside.path.clone().unwrap_or_else(|| self.beside_data(".outside"))
    }

    /// Where backups are made.
    pub fn backup_path(&self) -> PathBuf {
        self.backup.directory.clone().unwrap_or_else(|| self.beside_data(".backups"))
    }

    fn beside_data(&self, ending: &str) -> PathBuf {
        let mut name = plain(&self.data.directory).into_os_string();
        name.push(ending);
        name.into()
    }

    /// Whether the values fit together. Reads no file.
    pub fn check(&self) -> Result<(), Problems> {
        let mut problems = Vec::new();
        self.check_paths(&mut problems);
        self.check_exposure(&mut problems);
        self.check_ledger(&mut problems);
        self.check_limits(&mut problems);
        self.check_cluster(&mut problems);
        self.jobs.check(&mut problems);
        if problems.is_empty() { Ok(()) } else { Err(Problems(problems)) }
    }

    fn check_paths(&self, problems: &mut Vec<String>) {
        if self.data.directory.as_os_str().is_empty() {
            problems.push("data.directory is empty: name the directory that holds the data".to_owned());
        }
        if self.data.keyring.as_os_str().is_empty() {
            problems.push("data.keyring is empty: name the file that holds the keys".to_owned());
        } else if plain(&self.data.keyring).starts_with(plain(&self.data.directory)) {
            problems.push(format!(
                "data.keyring {} lies inside data.directory {}: a copy of the directory would hold the keys to \
                 itself; name a place outside it",
                self.data.keyring.display(),
                self.data.directory.display()
            ));
        }
        if plain(&self.outside_path()).starts_with(plain(&self.data.directory)) {
            problems.push(format!(
                "outside.path {} lies inside data.directory {}: an older copy of the directory would bring an older \
                 outside copy with it; name a place outside it",
                self.outside_path().display(),
                self.data.directory.display()
            ));
        }
        if plain(&self.backup_path()).starts_with(plain(&self.data.directory)) {
            problems.push(format!(
                "backup.directory {} lies inside data.directory {}: what takes the one would take the other; name a \
                 place outside it",
                self.backup_path().display(),
                self.data.directory.display()
            ));
        }
        if plain(&self.data.keyring).starts_with(plain(&self.backup_path())) {
            problems.push(format!(
                "data.keyring {} lies inside backup.directory {}: a copy of the backups would hold the keys to them; \
                 name a place outside it",
                self.data.keyring.display(),
                self.backup_path().display()
            ));
        }
        if let Some(mirror) = self.mirror.directory.as_deref() {
            let (mine, data) = (plain(mirror), plain(&self.data.directory));
            if mine.starts_with(&data) || data.starts_with(&mine) {
                problems.push(format!(
                    "mirror.directory {} and data.directory {} lie inside each other: what takes the one would take the \
                     other; name a place on another disk",
                    mirror.display(),
                    self.data.directory.display()
                ));
            }
            if plain(&self.data.keyring).starts_with(plain(mirror)) {
                problems.push(format!(
                    "data.keyring {} lies inside mirror.directory {}: whoever has the mirror would have the keys to it; \
                     name a place outside it",
                    self.data.keyring.display(),
                    mirror.display()
                ));
            }
        }
        if self.group.origin.as_str().contains('+') {
            problems.push("group.origin has a plus, which no name of a signing key may have".to_owned());
        }
        if self.tls.certificate.is_some() != self.tls.key.is_some() {
            problems.push("tls.certificate and tls.key belong together: set both or neither".to_owned());
        }
        if self.tls.client_ca.is_some() && self.tls.certificate.is_none() {
            problems.push("tls.client_ca needs tls.certificate and tls.key".to_owned());
        }
    }

    /// Whoever can reach a port without proof of who they are must already be on this machine.
    fn check_exposure(&self, problems: &mut Vec<String>) {
        if self.server.listen.ip().is_loopback() {
            return;
        }
        let listen = self.server.listen;
        if self.access.tokens.is_none() {
            problems.push(format!(
                "server.listen {listen} can be reached from other machines, but no token is configured, so \
                 everybody would have every role: make one with `custody token new --tokens-file FILE` and set \
                 access.tokens to that file, or listen on 127.0.0.1"
            ));
        }
        if self.tls.certificate.is_none() && !self.server.plaintext {
            problems.push(format!(
                "server.listen {listen} can be reached from other machines, but no TLS is configured, so tokens \
                 would travel in clear: set tls.certificate and tls.key, or server.plaintext = true if something \
                 in front of custody ends TLS, or listen on 127.0.0.1"
            ));
        }
    }

    fn check_ledger(&self, problems: &mut Vec<String>) {
        let ledger = &self.ledger;
        if (1..100).contains(&ledger.checkpoint_interval_ms) {
            problems
                .push("ledger.checkpoint_interval_ms is less than 100: every checkpoint is kept".to_owned());
        }
        if ledger.witness_timeout_ms == 0 {
            problems.push("ledger.witness_timeout_ms is 0: no witness answers that fast".to_owned());
        }
        if ledger.witness_ca.is_some() && ledger.witness_policy.is_none() {
            problems.push("ledger.witness_ca needs ledger.witness_policy".to_owned());
        }
    }

    fn check_limits(&self, problems: &mut Vec<String>) {
        let smallest = [
            ("limits.log_queue_bytes", self.limits.log_queue_bytes, 8 << 20),
            ("limits.people_cached", self.limits.people_cached, 1_000),
            ("limits.views_memory_bytes", self.limits.views_memory_bytes, 16 << 20),
            ("limits.calls_per_connection", self.limits.calls_per_connection, 1),
            ("limits.stream_messages_in_flight", self.limits.stream_messages_in_flight, 1),
        ];
        for (key, value, least) in smallest {
            if value < least {
                problems.push(format!("{key} is {value}: the least that works is {least}"));
            }
        }
        for (key, days, least) in
            [("keys.kek_days", self.keys.kek_days, 0), ("keys.kek_keep_days", self.keys.kek_keep_days, 1)]
        {
            if !(least..=3_650).contains(&days) {
                problems.push(format!("{key} is {days}: from {least} to 3650"));
            }
        }
        if self.retention.approve_above_percent > 100 {
            let percent = self.retention.approve_above_percent;
            problems.push(format!("retention.approve_above_percent is {percent}: at most 100"));
        }
        if self.disk.reserve_percent > 90 {
            problems.push(format!("disk.reserve_percent is {}: at most 90", self.disk.reserve_percent));
        }
        if !(1..=8_760).contains(&self.exports.keep_hours) {
            problems
                .push(format!("exports.keep_hours is {}: from 1 to 8760, a year", self.exports.keep_hours));
        }
        if self.limits.stream_messages_in_flight > 1_024 {
            problems.push("limits.stream_messages_in_flight is more than 1024".to_owned());
        }
    }
}

/// The path with `.` dropped and `..` applied, without asking the file system: the check has to
/// hold before either place exists.
fn plain(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut plain = PathBuf::new();
    for part in absolute.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(change: impl FnOnce(&mut Config)) -> Vec<String> {
        let mut config = Config::default();
        change(&mut config);
        config.check().err().map(|Problems(list)| list).unwrap_or_default()
    }

    #[test]
    fn the_default_runs() {
        assert_eq!(problems(|_| {}), Vec::<String>::new());
    }

    #[test]
    fn the_keyring_stays_outside_the_data() {
        for inside in ["custody-data/k", "./custody-data/../custody-data/k", "custody-data"] {
            let found = problems(|c| c.data.keyring = inside.into());
            assert!(found.len() == 1 && found[0].contains("lies inside"), "{inside}: {found:?}");
        }
        assert!(problems(|c| c.data.keyring = "custody-data/../k".into()).is_empty());
        assert!(problems(|c| c.data.keyring = "custody-data.keyring".into()).is_empty());
    }

    #[test]
    fn the_mirror_lies_beside_the_data_and_not_around_the_keyring() {
        for place in ["custody-data/m", ".", "custody-data"] {
            let found = problems(|c| c.mirror.directory = Some(place.into()));
            assert!(
                found.iter().any(|problem| problem.contains("lie inside each other")),
                "{place}: {found:?}"
            );
        }
        let around = problems(|c| {
            c.mirror.directory = Some("m".into());
            c.data.keyring = "m/k".into();
        });
        assert!(around.len() == 1 && around[0].contains("keys to it"), "{around:?}");
    }

    #[test]
    fn backups_lie_neither_in_the_data_nor_around_the_keyring() {
        let inside = problems(|c| c.backup.directory = Some("custody-data/../custody-data/b".into()));
        assert!(inside.len() == 1 && inside[0].contains("backup.directory"), "{inside:?}");
        let around = problems(|c| {
            c.backup.directory = Some("b".into());
            c.data.keyring = "b/k".into();
        });
        assert!(around.len() == 1 && around[0].contains("keys to them"), "{around:?}");
        assert!(Config::default().backup_path().ends_with("custody-data.backups"));
    }

    #[test]
    fn an_open_address_needs_tokens_and_tls_and_says_the_way_out() {
        let open = SocketAddr::from(([0, 0, 0, 0], 7317));
        let found = problems(|c| c.server.listen = open);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("custody token new") && found[1].contains("tls.certificate"));
        let with_tokens = |c: &mut Config| {
            c.server.listen = open;
            c.access.tokens = Some("tokens.toml".into());
        };
        assert_eq!(problems(with_tokens).len(), 1);
        let tls = Tls { certificate: Some("c".into()), key: Some("k".into()), client_ca: Some("ca".into()) };
        assert_eq!(problems(|c| (c.server.listen, c.tls) = (open, tls.clone())).len(), 1, "no token");
        assert!(
            problems(|c| {
                with_tokens(c);
                c.tls = tls.clone();
            })
            .is_empty()
        );
        assert!(
            problems(|c| {
                with_tokens(c);
                c.server.plaintext = true;
            })
            .is_empty()
        );
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let found = problems(|c| {
            c.data.keyring = "custody-data/k".into();
            c.tls.client_ca = Some("ca".into());
            c.tls.key = Some("k".into());
            c.limits.log_queue_bytes = 1;
            c.limits.stream_messages_in_flight = 0;
        });
        assert_eq!(found.len(), 5, "{found:?}");
    }
}
