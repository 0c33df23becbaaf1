//! Defaults, then file, then environment, then flags: each layer is a set of `section.key` texts
//! checked against the embedded default file, which is the only list of keys.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use toml::{Table, Value};

use super::cluster::Hidden;
use super::{
    Access, Backup, Cluster, Config, Data, Disk, Exports, Group, Jobs, Keys, Ledger, Limits, Log, Mirror,
    Outside, Problems, Retention, Server, Tls,
};

/// Every key with its default and what it means.
pub const DEFAULT_TOML: &str = include_str!("default.toml");

/// The layers over the defaults, weakest first.
#[derive(Debug, Default)]
pub struct Layers {
    file: Option<(String, String)>,
    /// Variables whose names begin with `CUSTODY_`.
    environment: Vec<(String, String)>,
    /// `section.key` and its value.
    flags: Vec<(String, String)>,
}

impl Layers {
    /// Reads the file, if one is named.
    pub fn file(mut self, path: Option<&Path>) -> Result<Self, Problems> {
        if let Some(path) = path {
            let text = std::fs::read_to_string(path)
                .map_err(|e| Problems(vec![format!("{} cannot be read: {e}", path.display())]))?;
            self.file = Some((path.display().to_string(), text));
        }
        Ok(self)
    }

    /// Only variables of our sections count; others that begin with `CUSTODY_` belong to the
    /// command line or to whoever runs a service of this name.
    pub fn environment(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.environment = variables.into_iter().filter(|(name, _)| name.starts_with("CUSTODY_")).collect();
        self
    }

    pub fn flag(mut self, key: &str, value: impl Into<String>) -> Self {
        self.flags.push((key.to_owned(), value.into()));
        self
    }

    /// The checked configuration, or everything that is wrong with it.
    pub fn load(self) -> Result<Config, Problems> {
        let mut draft = Draft::defaults();
        if let Some((name, text)) = &self.file {
            draft.apply_file(name, text);
        }
        for (name, value) in &self.environment {
            draft.apply_variable(name, value);
        }
        for (key, value) in &self.flags {
            draft.apply_text(key, value, &format!("flag {key}"));
        }
        draft.finish()
    }
}

/// Every value under its whole name, such as `section.key`.
pub(super) fn flat(table: Table) -> BTreeMap<String, Value> {
    let mut values = BTreeMap::new();
    for (key, value) in table {
        match value {
            Value::Table(inner) => {
                values.extend(flat(inner).into_iter().map(|(rest, value)| (format!("{key}.{rest}"), value)));
            }
            value => {
                values.insert(key, value);
            }
        }
    }
    values
}

/// `section.key` to value, always with exactly the keys of the default file.
struct Draft {
    values: BTreeMap<String, Value>,
    problems: Vec<String>,
}

impl Draft {
    fn defaults() -> Self {
        let table: Table =
            DEFAULT_TOML.parse().expect("the embedded default file is TOML, as its test shows");
        Draft { values: flat(table), problems: Vec::new() }
    }

    fn apply_file(&mut self, name: &str, text: &str) {
        let table: Table = match text.parse() {
            Ok(table) => table,
            Err(e) => return self.problems.push(format!("{name} is not TOML: {}", e.message())),
        };
        for (section, keys) in table {
            let Value::Table(keys) = keys else {
                self.problems.push(format!("{name}: {section} is not a section"));
                continue;
            };
            for (key, value) in flat(keys) {
                let key = format!("{section}.{key}");
                match self.values.get_mut(&key) {
                    None => self.problems.push(format!("{name}: unknown key {key}{}", self.hint(&key))),
                    Some(known) if known.same_type(&value) => *known = value,
                    Some(known) => self.problems.push(format!(
                        "{name}: {key} is {}, should be {}",
                        value.type_str(),
                        known.type_str()
                    )),
                }
            }
        }
    }

    fn apply_variable(&mut self, name: &str, value: &str) {
        let known = self.values.keys().find(|key| variable(key) == name).cloned();
        if let Some(key) = known {
            return self.apply_text(&key, value, &format!("environment {name}"));
        }
        let ours = self.values.keys().filter_map(|key| key.split_once('.'));
        let in_section =
            ours.map(|(section, _)| variable(section) + "_").any(|start| name.starts_with(&start));
        if in_section {
            self.problems.push(format!("environment: unknown key {name}"));
        }
    }

    fn apply_text(&mut self, key: &str, text: &str, from: &str) {
        let Some(known) = self.values.get_mut(key) else {
            return self.problems.push(format!("{from}: unknown key {key}{}", self.hint(key)));
        };
        let value = match known {
            Value::Integer(_) => text.parse().ok().map(Value::Integer),
            Value::Boolean(_) => text.parse().ok().map(Value::Boolean),
            _ => Some(Value::String(text.to_owned())),
        };
        match value {
            Some(value) => *known = value,
            None => self.problems.push(format!("{from}: {text:?} is not a {}", known.type_str())),
        }
    }

    /// The keys of the same name in other sections, or those of the same section.
    fn hint(&self, key: &str) -> String {
        let (section, name) = key.split_once('.').unwrap_or((key, key));
        let near = |known: &&String| {
            known.ends_with(&format!(".{name}")) || known.starts_with(&format!("{section}."))
        };
        let names: Vec<&str> = self.values.keys().filter(near).map(String::as_str).collect();
        if names.is_empty() { String::new() } else { format!(" (there are {})", names.join(", ")) }
    }

    fn finish(mut self) -> Result<Config, Problems> {
        let config = self.build();
        match config {
            Some(config) if self.problems.is_empty() => config.check().map(|()| config),
            _ => Err(Problems(self.problems)),
        }
    }

    /// `None` if a value cannot be read; all of them are tried, so that all are named.
    fn build(&mut self) -> Option<Config> {
        let data =
            Data { directory: self.text("data.directory").into(), keyring: self.text("data.keyring").into() };
        let group = (
            self.parsed("group.controller_group"),
            self.parsed("group.region"),
            self.parsed("group.origin"),
            self.parsed("group.home_country"),
        );
        let listen = self.parsed("server.listen");
        let metrics = self.address("server.metrics");
        let tiles_listen = self.address("ledger.tiles_listen");
        let tls = Tls {
            certificate: self.path("tls.certificate"),
            key: self.path("tls.key"),
            client_ca: self.path("tls.client_ca"),
        };
        let drain_ms = self.count("server.drain_ms");
        let limits = Limits {
            log_queue_bytes: self.count("limits.log_queue_bytes"),
            people_cached: self.count("limits.people_cached"),
            views_memory_bytes: self.count("limits.views_memory_bytes"),
            calls_per_connection: self.count("limits.calls_per_connection"),
            stream_messages_in_flight: self.count("limits.stream_messages_in_flight"),
        };
        let disk = Disk {
            reserve_bytes: self.count("disk.reserve_bytes"),
            reserve_percent: self.count("disk.reserve_percent"),
        };
        let keys =
            Keys { kek_days: self.count("keys.kek_days"), kek_keep_days: self.count("keys.kek_keep_days") };
        let on_failure = self.parsed("mirror.on_failure");
        let exports = Exports { keep_hours: self.count("exports.keep_hours") };
        let retention = Retention {
            approve_above_items: self.count("retention.approve_above_items"),
            approve_above_percent: self.count("retention.approve_above_percent"),
        };
        let (checkpoint_interval_ms, witness_timeout_ms) =
            (self.count("ledger.checkpoint_interval_ms"), self.count("ledger.witness_timeout_ms"));
        let cluster = self.cluster();
        let plaintext = self.values["server.plaintext"].as_bool().unwrap_or(false);
        Some(Config {
            data,
            group: Group {
                controller_group: group.0?,
                region: group.1?,
                origin: group.2?,
                home_country: group.3?,
            },
            server: Server { listen: listen?, metrics: metrics?, plaintext, drain_ms },
            tls,
            access: Access { tokens: self.path("access.tokens") },
            ledger: Ledger {
                checkpoint_interval_ms,
                tiles_listen: tiles_listen?,
                witness_policy: self.path("ledger.witness_policy"),
                witness_ca: self.path("ledger.witness_ca"),
                witness_timeout_ms,
            },
            outside: Outside { path: self.path("outside.path"), declared_lost: false },
            keys,
            limits,
            disk,
            exports,
            retention,
            backup: Backup { directory: self.path("backup.directory") },
            mirror: Mirror { directory: self.path("mirror.directory"), on_failure: on_failure?, anew: false },
            cluster,
            jobs: Jobs::read(&self.values),
            log: Log { filter: self.text("log.filter") },
        })
    }

    /// There is one where either of its stores is named; that both are is checked with the rest.
    fn cluster(&mut self) -> Option<Cluster> {
        let (kurrentdb, postgres) = (self.text("cluster.kurrentdb"), self.text("cluster.postgres"));
        let cluster = Cluster {
            kurrentdb: Hidden(kurrentdb),
            postgres: Hidden(postgres),
            postgres_password: self.path("cluster.postgres_password"),
            postgres_ca: self.path("cluster.postgres_ca"),
            connections: self.count("cluster.connections"),
            schema: self.text("cluster.schema"),
            patience_ms: self.count("cluster.patience_ms"),
        };
        (!cluster.kurrentdb.0.is_empty() || !cluster.postgres.0.is_empty()).then_some(cluster)
    }

    fn text(&self, key: &str) -> String {
        self.values[key].as_str().unwrap_or_default().to_owned()
    }

    fn path(&self, key: &str) -> Option<PathBuf> {
        let text = self.text(key);
        (!text.is_empty()).then(|| text.into())
    }

    /// An address, or none where it says off.
    fn address(&mut self, key: &str) -> Option<Option<std::net::SocketAddr>> {
        match self.text(key).as_str() {
            "off" | "" => Some(None),
            _ => self.parsed(key).map(Some),
        }
    }

    fn parsed<T: FromStr<Err: std::fmt::Display>>(&mut self, key: &str) -> Option<T> {
        let text = self.text(key);
        match text.parse() {
            Ok(value) => Some(value),
            Err(e) => {
                self.problems.push(format!("{key} = {text:?}: {e}"));
                None
            }
        }
    }

    fn count(&mut self, key: &str) -> u64 {
        let number = self.values[key].as_integer().unwrap_or_default();
        u64::try_from(number).unwrap_or_else(|_| {
            self.problems.push(format!("{key} is {number}: it cannot be negative"));
            0
        })
    }
}

/// The environment variable of a key.
fn variable(key: &str) -> String {
    format!("CUSTODY_{}", key.replace('.', "_").to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_file(text: &str) -> Layers {
        Layers { file: Some(("custody.toml".to_owned(), text.to_owned())), ..Layers::default() }
    }

    fn set(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn the_default_file_says_the_defaults() {
        assert_eq!(Layers::default().load(), Ok(Config::default()));
        assert_eq!(with_file(DEFAULT_TOML).load(), Ok(Config::default()));
    }

    #[test]
    fn every_shipped_file_can_be_used() {
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
        let is_toml = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "toml");
        let files = std::fs::read_dir(deploy).unwrap().map(|entry| entry.unwrap().path());
        let files: Vec<PathBuf> = files.filter(is_toml).collect();
        assert!(files.iter().any(|path| path.ends_with("cluster.toml")));
        for path in files {
            let config = Layers::default().file(Some(&path)).unwrap().load();
            assert!(config.is_ok(), "{}: {}", path.display(), config.unwrap_err());
        }
    }

    #[test]
    fn a_cluster_is_whole_and_leaves_to_others_what_is_theirs() {
        let half =
            with_file("[cluster]\nkurrentdb = \"esdb://u:s3cret@a\"\n[mirror]\ndirectory = \"/m\"\n").load();
        let all = half.unwrap_err().to_string();
        for part in ["cluster.postgres", "mirror.directory", "keys.kek_days"] {
            assert!(all.contains(part), "{part} is missing in\n{all}");
        }
        assert!(!all.contains("s3cret"));
        let whole = "[cluster]\nkurrentdb = \"esdb://u:s3cret@a\"\npostgres = \"postgres://b\"\n[keys]\nkek_days = 0\n";
        let config = with_file(whole).load().unwrap();
        assert!(config.cluster.is_some() && !format!("{config:?}").contains("s3cret"));
    }

    #[test]
    fn every_key_of_the_default_file_is_explained() {
        let lines: Vec<&str> = DEFAULT_TOML.lines().collect();
        for section in lines.split(|line| line.is_empty()).skip(1) {
            assert!(section[0].starts_with('['), "{section:?}");
            assert!(section[1].starts_with('#'), "{section:?}");
        }
    }

    #[test]
    fn each_layer_wins_over_the_one_before() {
        let file =
            "[server]\nlisten = \"127.0.0.1:1\"\nmetrics = \"off\"\ndrain_ms = 1\n[log]\nfilter = \"warn\"\n";
        let config = with_file(file)
            .environment([set("CUSTODY_SERVER_LISTEN", "127.0.0.1:2"), set("CUSTODY_SERVER_DRAIN_MS", "2")])
            .flag("server.drain_ms", "3")
            .load()
            .unwrap();
        assert_eq!(config.log.filter, "warn");
        assert_eq!(config.server.metrics, None);
        assert_eq!(config.server.listen.port(), 2);
        assert_eq!(config.server.drain_ms, 3);
    }

    #[test]
    fn unknown_keys_and_wrong_values_are_all_named() {
        let file = "colour = 1\n[server]\nlistne = \"x\"\ndrain_ms = \"soon\"\n[group]\nregion = \"XX\"\n";
        let Problems(found) = with_file(file)
            .environment([set("CUSTODY_TLS_CIPHER", "x"), set("CUSTODY_LIMITS_PEOPLE_CACHED", "many")])
            .flag("log.level", "debug")
            .load()
            .unwrap_err();
        let all = found.join("\n");
        for part in [
            "colour",
            "server.listne",
            "server.listen",
            "drain_ms",
            "group.region",
            "CUSTODY_TLS_CIPHER",
            "many",
            "log.level",
        ] {
            assert!(all.contains(part), "{part} is missing in\n{all}");
        }
        assert_eq!(found.len(), 7, "{all}");
    }

    #[test]
    fn variables_of_others_are_left_alone() {
        let others = [
            set("CUSTODY_PORT_7317_TCP_ADDR", "10.0.0.1"),
            set("CUSTODY_SERVICE_HOST", "x"),
            set("CUSTODY_SERVER", "http://x"),
        ];
        assert_eq!(Layers::default().environment(others).load(), Ok(Config::default()));
    }
}
