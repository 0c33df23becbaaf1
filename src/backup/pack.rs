//! Many small files as one stream: length of the path (u16) ‖ path ‖ length (u64) ‖ bytes, each,
//! little-endian; the end is a path of no length.

use std::path::{Component, Path};

/// No checkpoint and no work file of an erasure is longer.
const LONGEST: u64 = 1 << 30;

pub fn head(path: &str, bytes: u64) -> Vec<u8> {
    let length = u16::try_from(path.len()).unwrap_or(u16::MAX);
    [&length.to_le_bytes(), path.as_bytes(), &bytes.to_le_bytes()].concat()
}

pub const END: [u8; 2] = [0; 2];

/// Puts files together from pieces of the stream.
#[derive(Default)]
pub struct Unpack {
    waiting: Vec<u8>,
    ended: bool,
}

impl Unpack {
    /// Takes the next piece and hands on each file that is whole: path below the data directory, bytes.
    pub fn add<E>(
        &mut self,
        piece: &[u8],
        mut each: impl FnMut(&str, &[u8]) -> Result<(), E>,
    ) -> Result<Result<(), &'static str>, E> {
        self.waiting.extend_from_slice(piece);
        let mut at = 0;
        while !self.ended {
            match entry(&self.waiting[at..]) {
                Err(what) => return Ok(Err(what)),
                Ok(None) => break,
                Ok(Some((_, _, 2))) => {
                    self.ended = true;
                    at += 2;
                }
                Ok(Some((path, bytes, length))) => {
                    each(path, bytes)?;
                    at += length;
                }
            }
        }
        self.waiting.drain(..at);
        Ok(if self.ended && !self.waiting.is_empty() { Err("goes on behind its end") } else { Ok(()) })
    }

    pub fn is_whole(&self) -> bool {
        self.ended
    }
}

type Entry<'a> = (&'a str, &'a [u8], usize);

/// Path, bytes and length of the first entry; `None` while it is not all there.
fn entry(bytes: &[u8]) -> Result<Option<Entry<'_>>, &'static str> {
    let Some((length, rest)) = bytes.split_first_chunk::<2>() else { return Ok(None) };
    let length = usize::from(u16::from_le_bytes(*length));
    if length == 0 {
        return Ok(Some(("", &[], 2)));
    }
    let Some((path, rest)) = rest.split_at_checked(length) else { return Ok(None) };
    let path = std::str::from_utf8(path).ok().filter(|path| is_ours(path));
    let path = path.ok_or("names a file that is none of a backup")?;
    let Some((size, rest)) = rest.split_first_chunk::<8>() else { return Ok(None) };
    let size = u64::from_le_bytes(*size);
    if size > LONGEST {
        return Err("holds a file that is too long");
    }
    let size = size as usize;
    Ok(rest.get(..size).map(|bytes| (path, bytes, 2 + length + 8 + size)))
}

/// Only plain names below these two folders.
fn is_ours(path: &str) -> bool {
    let plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    plain && (path.starts_with("ledger/checkpoints/") || path.starts_with("erasures/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed() -> Vec<u8> {
        let one = [head("ledger/checkpoints/a/1", 3), b"abc".to_vec()].concat();
        [one, head("erasures/x.json", 0), END.to_vec()].concat()
    }

    fn unpacked(pack: &[u8], step: usize) -> Result<Vec<(String, Vec<u8>)>, &'static str> {
        let (mut unpack, mut files) = (Unpack::default(), Vec::new());
        for piece in pack.chunks(step) {
            let added = unpack.add(piece, |path, bytes| {
                files.push((path.to_owned(), bytes.to_vec()));
                Ok::<(), ()>(())
            });
            added.unwrap()?;
        }
        if unpack.is_whole() { Ok(files) } else { Err("is cut short") }
    }

    #[test]
    fn files_come_out_as_they_went_in_whatever_the_pieces() {
        let pack = packed();
        for step in 1..=pack.len() {
            let files = unpacked(&pack, step).unwrap();
            assert_eq!(files[0], ("ledger/checkpoints/a/1".to_owned(), b"abc".to_vec()));
            assert_eq!(files[1], ("erasures/x.json".to_owned(), Vec::new()));
            assert_eq!(files.len(), 2);
        }
        for length in 0..pack.len() {
            assert_eq!(unpacked(&pack[..length], 7), Err("is cut short"), "{length}");
        }
        assert!(unpacked(&[pack, vec![1]].concat(), 1_000).is_err());
    }

    #[test]
    fn a_path_that_leads_elsewhere_is_refused() {
        for path in ["erasures/../../x", "/etc/x", "log/x", "erasures", "ledger/checkpoints/../../../x"] {
            assert!(unpacked(&[head(path, 0), END.to_vec()].concat(), 64).is_err(), "{path}");
        }
    }
}
