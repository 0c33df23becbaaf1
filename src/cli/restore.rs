//! `custody restore`: a data directory from a backup, while no service runs.
//!
//! Nothing is put in place before all of the backup was read and checked, and then everything at once.
//! A crash leaves `<data>.restoring`, which the next try removes, or the whole directory in its place.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::app::erase::Tombs;
use crate::backup::{Manifest, Unwatched, restore};
use crate::cli::backup::{open, refused};
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::output::Output;
use crate::cli::serve::Settings;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::dirlock::DirLock;
use crate::domain::time::Timestamp;
use crate::ledger::{self, Outside};
use crate::log::segments::copy::mark_tail;
use crate::mirror;
use crate::server::stores::{self, Frames};
use crate::telemetry;

#[derive(Debug, Args)]
pub struct Restore {
    /// The backup: a directory that `custody backup` made; or a mirror (mirror.directory)
    #[arg(long, value_name = "DIRECTORY")]
    from: PathBuf,
    /// The outside copy is lost for good: whoever was erased after the backup may come back
    #[arg(long)]
    declare_outside_lost: bool,
    #[command(flatten)]
    settings: Settings,
}

/// What is done of a restore, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Everything was checked, and lies beside the data directory.
    PutTogether,
    /// It is on the disk.
    Synced,
    InPlace,
}

impl Step {
    pub const ALL: [Step; 3] = [Step::PutTogether, Step::Synced, Step::InPlace];
}

/// What a restore came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    pub origin: String,
    pub head: u64,
    /// What the outside copy says was published beyond it.
    pub missing: Option<Missing>,
    /// The erased whom the next start erases again.
    pub tombs: usize,
}

/// Records that were published and are not in the restored log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// First and last position.
    pub positions: (u64, u64),
    pub origin: String,
    pub size: u64,
    pub root: [u8; 32],
}

pub fn run(command: Restore, output: Output) -> Outcome {
    let mut config = command.settings.load()?;
    telemetry::init(&config.log.filter).map_err(Failure::configuration)?;
    config.outside.declared_lost = command.declare_outside_lost;
    let restored = if mirror::is_one(&command.from) {
        from_mirror(&config, &command.from)?
    } else {
        from_backup(&config, &command.from, SystemClock.now(), |_| Ok(()))?
    };
    describe(&restored, &config, output)
}

/// `watch` is told each step that is done; where it fails everything stays as a crash would leave it.
pub fn from_backup(
    config: &Config,
    from: &Path,
    now: Timestamp,
    mut watch: impl FnMut(Step) -> Result<(), Failure>,
) -> Result<Restored, Failure> {
    let data = &config.data.directory;
    let lock = empty_and_locked(data)?;
    let backup = open(config, from)?;
    if backup.manifest.expires_at <= now {
        let why = format!(
            "the backup ended on {}: whoever was erased before must not come back from it; take a newer one",
            backup.manifest.expires_at
        );
        return Err(Failure::new(Exit::Refused, why));
    }
    let outside = seen_outside(config, &backup.manifest.origin)?;
    let beside = restore::beside(data);
    restore::put_together(&backup, &beside, &mut Frames::default(), &Unwatched).map_err(refused)?;
    if let Err(older) = outside_is_newer(config, &beside, &backup.manifest, outside.as_ref()) {
        crate::backup::remove(&beside).map_err(refused)?;
        return Err(older);
    }
    watch(Step::PutTogether)?;
    let head = backup.manifest.head;
    mark_tail(&beside.join("log"), head)?;
    put_in_place(&beside, data, lock, watch)?;
    told(config, backup.manifest.origin, head, outside)
}

/// The second copy of a data directory becomes the first. It stays as it is.
pub fn from_mirror(config: &Config, from: &Path) -> Result<Restored, Failure> {
    let data = &config.data.directory;
    let lock = empty_and_locked(data)?;
    // Held while it is read: nobody writes to it.
    let theirs = DirLock::take(&from.join("log")).map_err(Failure::configuration)?;
    let beside = restore::beside(data);
    let unusable = |why: String| {
        let why = format!("the mirror {} cannot be used: {why}; nothing was put in place", from.display());
        Failure::new(Exit::Refused, why)
    };
    restore::copy_of(from, &beside).map_err(refused)?;
    let looked = stores::look_into(&beside).map_err(unusable).and_then(|(origin, head)| {
        let outside = seen_outside(config, &origin)?;
        Ok((origin, head, outside))
    });
    let (origin, head, outside) = match looked {
        Ok(looked) => looked,
        Err(failure) => {
            crate::backup::remove(&beside).map_err(refused)?;
            return Err(failure);
        }
    };
    put_in_place(&beside, data, lock, |_| Ok(()))?;
    drop(theirs);
    told(config, origin, head, outside)
}

fn empty_and_locked(data: &Path) -> Result<DirLock, Failure> {
    let lock = DirLock::take(data).map_err(Failure::configuration)?;
    if is_empty(data)? {
        return Ok(lock);
    }
    Err(Failure::new(
        Exit::Refused,
        format_args!(
            "{} is not empty: move it away, or name another data directory; nothing is written over",
            data.display()
        ),
    ))
}

fn put_in_place(
    beside: &Path,
    data: &Path,
    lock: DirLock,
    mut watch: impl FnMut(Step) -> Result<(), Failure>,
) -> Result<(), Failure> {
    // Held from here on: the directory brings its own lock with it.
    let held = DirLock::take(beside).map_err(Failure::configuration)?;
    restore::sync(beside).map_err(refused)?;
    watch(Step::Synced)?;
    restore::put_in_place(beside, data).map_err(refused)?;
    drop(lock);
    watch(Step::InPlace)?;
    drop(held);
    Ok(())
}

fn told(config: &Config, origin: String, head: u64, outside: Option<Outside>) -> Result<Restored, Failure> {
    let tombs = Tombs::of(config.outside_path().join("tombs")).all()?.len();
    Ok(Restored { origin, head, missing: outside.and_then(|o| missing(&o, head)), tombs })
}

fn missing(outside: &Outside, head: u64) -> Option<Missing> {
    let published = &outside.newest.checkpoint;
    let last = published.size.saturating_sub(1);
    (published.size > head || outside.continued).then(|| Missing {
        positions: (head.min(last), last),
        origin: published.origin.clone(),
        size: published.size,
        root: published.root,
    })
}

/// What the outside copy says, which must be there: it alone knows who was erased since.
fn seen_outside(config: &Config, origin: &str) -> Result<Option<Outside>, Failure> {
    let place = config.outside_path();
    let seen = ledger::published_in(&place, origin).map_err(Failure::configuration)?;
    if !place.exists() && !config.outside.declared_lost {
        return Err(Failure::new(
            Exit::Refused,
            format_args!(
                "there is no outside copy at {}: without its tombs, people who were erased after the backup would come \
                 back. Mount it or name it (outside.path); if it is lost for good, add --declare-outside-lost here \
                 and at the next `custody serve`",
                place.display()
            ),
        ));
    }
    Ok(seen)
}

/// An outside copy that knows less than the backup was emptied, is not mounted or is another one.
fn outside_is_newer(
    config: &Config,
    restored: &Path,
    manifest: &Manifest,
    outside: Option<&Outside>,
) -> Result<(), Failure> {
    let inside = ledger::published_in(&restored.join("ledger"), &manifest.origin);
    let size = |seen: &Outside| seen.newest.checkpoint.size;
    let inside = inside.map_err(Failure::configuration)?.as_ref().map_or(0, size);
    if outside.map_or(0, size) >= inside || config.outside.declared_lost {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Refused,
        format_args!(
            "the outside copy {} lacks the checkpoint over {inside} records that the backup has, so its tombs cannot be \
             relied on: mount or restore it; if it is lost for good, add --declare-outside-lost here and at the next \
             `custody serve`",
            config.outside_path().display()
        ),
    ))
}

/// Whether nothing but a lock is there.
fn is_empty(dir: &Path) -> std::io::Result<bool> {
    for entry in std::fs::read_dir(dir)? {
        if entry?.file_name() != "lock" {
            return Ok(false);
        }
    }
    Ok(true)
}

fn describe(restored: &Restored, config: &Config, output: Output) -> Outcome {
    let hex = |root: &[u8; 32]| crate::verify::manifest::hex(root);
    let missing = restored.missing.as_ref();
    if output.json {
        let missing = missing.map(|missing| {
            serde_json::json!({
                "from": missing.positions.0, "to": missing.positions.1, "origin": missing.origin,
                "published_size": missing.size, "published_root": hex(&missing.root),
            })
        });
        let value = serde_json::json!({
            "directory": config.data.directory, "origin": restored.origin, "head": restored.head,
            "missing": missing, "tombs": restored.tombs,
        });
        return Ok(output.line(&value.to_string())?);
    }
    output.facts(&[
        ("restored", config.data.directory.display().to_string()),
        ("origin", restored.origin.clone()),
        ("records", format!("all below position {}", restored.head)),
        ("tombs", format!("{} in the outside copy: the next start erases them again", restored.tombs)),
        (
            "missing",
            missing.map_or("nothing that was published".to_owned(), |missing| {
                let (from, to) = missing.positions;
                format!(
                    "positions {from} to {to}: {} records were published as {}, root {}",
                    missing.size,
                    missing.origin,
                    hex(&missing.root)
                )
            }),
        ),
    ])?;
    match missing {
        Some(_) => output.note(
            "A newer backup or the old disk may have them: look first. If they are lost for good: custody recover says \
             what will be written down, custody recover --yes lets the log go on under the next name.",
        ),
        None => output.note("What was recorded after the newest published checkpoint is known to nobody but its emitters."),
    }
    Ok(())
}
