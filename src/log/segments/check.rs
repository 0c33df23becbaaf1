//! Reads the whole log and reports all damage. What `fsck` runs.

use std::io;

use super::Shared;
use super::chain::SEGMENT_HEAD;
use super::frame;
use super::recover::Damage;
use super::scan::Scan;

/// Frames between two calls of `progress`.
const STEP: u64 = 65_536;

/// What a check of the whole log found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// Records that check.
    pub records: u64,
    /// Pieces that were purged.
    pub purged: u64,
    /// In order of position. Empty if all is well.
    pub damage: Vec<Damage>,
}

pub fn check(shared: &Shared, progress: &mut dyn FnMut(u64)) -> io::Result<Checked> {
    let mut checked = Checked::default();
    let (head, firsts) = (shared.head(), shared.chain.firsts());
    let missing = |position, place, what| Damage { position, place, what };
    if head > 0 && firsts.first() != Some(&0) {
        checked.damage.push(missing(0, "no segment".into(), "the first segment is missing"));
    }
    for (index, first) in firsts.iter().enumerate() {
        let end = firsts.get(index + 1).copied().unwrap_or(head).min(head);
        let segment = shared.chain.segment(*first)?;
        if let Err(what) = segment.check_head()? {
            checked.damage.push(missing(*first, segment.place(0), what));
        }
        let mut scan = Scan::new(&segment.data)?;
        let (mut at, mut position) = (SEGMENT_HEAD, *first);
        while position < end {
            let Some((start, found)) = scan.next_head(at, position, end)? else { break };
            if found.position > position {
                let place = segment.place(at);
                checked.damage.push(missing(position, place, "the head of a frame does not check"));
            }
            let bytes = scan.bytes(start, found.total as usize)?;
            let whole = bytes.len() == found.total as usize;
            let result = if whole { frame::check(&found, bytes) } else { Err(frame::Damage::Body) };
            match result {
                Ok(purged) => {
                    checked.records += 1;
                    checked.purged += purged as u64;
                }
                // A purge at work may look like damage; reading again waits for its end.
                Err(damage) => match shared.read_one(found.position) {
                    Ok(_) => checked.records += 1,
                    Err(_) => {
                        checked.damage.push(missing(found.position, segment.place(start), damage.what()))
                    }
                },
            }
            at = start + u64::from(found.total);
            position = found.position + 1;
            if position.is_multiple_of(STEP) {
                progress(position);
            }
        }
        if position < end {
            let what = "records are missing at the end of a segment";
            checked.damage.push(missing(position, segment.place(at), what));
        }
    }
    progress(head);
    Ok(checked)
}
