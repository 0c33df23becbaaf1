//! The use cases: what the gRPC edge, the console, the command line and the jobs can ask for.
//!
//! The app keeps nothing of its own: a crash in it loses what was not acknowledged, and nothing
//! else. Everything it answers comes from the ports it was given.

pub mod access;
pub mod alarms;
pub mod backup;
pub mod cases;
pub mod erase;
pub mod error;
pub mod events;
pub mod exports;
pub mod findings;
pub mod fleet;
pub mod fsck;
mod gate;
pub mod house;
pub mod instructions;
pub mod jobs;
pub mod keys;
pub mod law;
pub mod ledger;
pub mod locators;
pub mod matter;
pub mod mirror;
pub mod own;
pub mod plans;
pub mod processing;
pub mod questions;
pub mod record;
pub mod registers;
pub mod rehash;
pub mod retention;
pub mod retract;
pub mod rules;
pub mod scrub;
pub mod status;
pub mod subjects;
pub mod sweep;
pub mod terms;
pub mod vault_mark;
pub mod watch;

pub use access::{Caller, Role};
pub use error::Error;
pub use house::House;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};

use crate::clock::Clock;
use crate::disk::Reserve;
use crate::domain::event::Event;
use crate::domain::id::{Country, Id};
use crate::domain::time::Timestamp;
use crate::ledger::Ledger;
use crate::log::Log;
use crate::record::Fingerprinter;
use crate::vault::keyring::Keyring;
use crate::vault::{Holder, Vault};
use crate::views::Views;

/// The use cases and the ports they work on. Shared by all drivers.
pub struct App {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) vault: Arc<dyn Vault>,
    pub(crate) views: Arc<Views>,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) reserve: Arc<Reserve>,
    pub(crate) alarms: alarms::Standing,
    pub(crate) vault_mark: vault_mark::Newest,
    /// Long tasks end early: the service stops.
    pub(crate) called_off: Arc<AtomicBool>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) exports: exports::Exports,
    pub(crate) erasures: Arc<erase::Erasures>,
    pub(crate) backups: backup::Backups,
    /// Held to read by whoever records, from asking for keys until the log has the records, so that
    /// an erasure can wait for them.
    pub(crate) recording: tokio::sync::RwLock<()>,
    pub(crate) gate: gate::Gate,
    pub(crate) fleet: Arc<dyn fleet::Fleet>,
    /// Held by the one sweep that is under way.
    pub(crate) sweeping: Arc<tokio::sync::Mutex<()>>,
    pub(crate) leases: instructions::Leases,
    pub(crate) thresholds: crate::domain::plan::Thresholds,
    /// Held by whoever checks and records register events, so that no two of them contradict each other.
    pub(crate) registering: tokio::sync::Mutex<()>,
    pub(crate) keys: keys::Rotation,
    mirror: Option<Arc<dyn mirror::Mirror>>,
    pub(crate) scrubbing: scrub::Scrubbing,
    pub(crate) detecting: findings::Detecting,
    pub(crate) failing_jobs: jobs::Failing,
    pub(crate) house: House,
    pub(crate) started_at: Timestamp,
    /// Set while the one event is recorded that a log may take which is not what was published.
    pub(crate) recovering: AtomicBool,
    fingerprinter: Fingerprinter,
    /// The keys of the few controllers whose data lie here.
    organisations: RwLock<HashMap<Id, Arc<Holder>>>,
}

/// What the app works on.
pub struct Ports {
    pub clock: Arc<dyn Clock>,
    pub log: Arc<dyn Log>,
    pub vault: Arc<dyn Vault>,
    pub views: Arc<Views>,
    pub keyring: Arc<Keyring>,
    pub reserve: Arc<Reserve>,
    pub ledger: Arc<Ledger>,
    pub exports: exports::Exports,
    pub erasures: erase::Erasures,
    pub backups: backup::Backups,
    pub keys: keys::Rotation,
    pub thresholds: crate::domain::plan::Thresholds,
    pub fleet: Arc<dyn fleet::Fleet>,
    /// `None` where the stores have no second copy.
    pub mirror: Option<Arc<dyn mirror::Mirror>>,
}

impl App {
    /// Fails where the keyring has no fingerprint secret.
    pub fn new(ports: Ports, house: House) -> Result<App, Error> {
        let secret = ports.keyring.fingerprint().map_err(|e| Error::fault("keyring", e))?;
        Ok(App {
            started_at: ports.clock.now(),
            gate: gate::Gate::new(ports.log.head()),
            fleet: ports.fleet,
            clock: ports.clock,
            log: ports.log,
            vault: ports.vault,
            views: ports.views,
            keyring: ports.keyring,
            reserve: ports.reserve,
            alarms: alarms::Standing::default(),
            vault_mark: vault_mark::Newest::default(),
            called_off: Arc::default(),
            ledger: ports.ledger,
            exports: ports.exports,
            erasures: Arc::new(ports.erasures),
            backups: ports.backups,
            recording: tokio::sync::RwLock::default(),
            sweeping: Arc::default(),
            leases: instructions::Leases::default(),
            thresholds: ports.thresholds,
            registering: tokio::sync::Mutex::default(),
            recovering: AtomicBool::new(false),
            keys: ports.keys,
            mirror: ports.mirror,
            scrubbing: scrub::Scrubbing::default(),
            detecting: findings::Detecting::default(),
            failing_jobs: jobs::Failing::default(),
            house,
            fingerprinter: Fingerprinter::new(&secret),
            organisations: RwLock::default(),
        })
    }

    /// The service stops: rebuilds and checks end before they are done, and their callers are told.
    pub fn call_off(&self) {
        self.called_off.store(true, Ordering::Relaxed);
    }

    /// Returns when everybody who was recording is done: what they had in hand is in the log, or refused.
    pub async fn nobody_records(&self) {
        drop(self.recording.write().await);
    }

    /// The time of the service's clock.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The country whose national form a caller's telephone numbers have.
    pub fn home_country(&self, caller: &Caller) -> Option<Country> {
        caller.home_country.or(self.house.home_country)
    }

    /// Keeps how far the clock of the device that sent an event is off.
    pub fn note_device_clock(&self, event: &mut Event, sent_at: Option<Timestamp>) {
        rules::note_device_clock(event, sent_at, self.clock.now());
    }

    /// The keys of a controller, made at first use.
    pub(crate) async fn organisation(&self, controller: &Id) -> Result<Arc<Holder>, Error> {
        let known = self.organisations.read().unwrap_or_else(|e| e.into_inner()).get(controller).cloned();
        if let Some(holder) = known {
            return Ok(holder);
        }
        let holder =
            self.vault.holder_of(crate::vault::HolderKind::Organisation, controller.as_str()).await?;
        let mut organisations = self.organisations.write().unwrap_or_else(|e| e.into_inner());
        Ok(Arc::clone(organisations.entry(controller.clone()).or_insert(holder)))
    }
}
