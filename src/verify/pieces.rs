//! Sealed parts and the keys that open some of them, read beside the events in one pass.

use std::io::{BufReader, Read};

use zeroize::Zeroizing;

use super::files::{Checked, Files, Lines, finish};
use super::manifest::{OPEN, PIECES};
use super::report::Claim;
use super::{Stop, malformed, unreadable};
use crate::domain::id::Digest;
use crate::ledger::tlog::decimal;
use crate::limits;
use crate::record::key::SecretKey;

/// Bytes before a piece: its record's position, its number in the record, its length.
pub const FRAME: usize = 14;

/// The frame before a piece. A length of zero says that the piece does not exist any more.
pub fn frame(position: u64, piece: u16, length: u32) -> [u8; FRAME] {
    let mut frame = [0u8; FRAME];
    frame[..8].copy_from_slice(&position.to_be_bytes());
    frame[8..10].copy_from_slice(&piece.to_be_bytes());
    frame[10..].copy_from_slice(&length.to_be_bytes());
    frame
}

/// `pieces.bin`, ascending by position and number.
pub struct Pieces<'a> {
    file: BufReader<Checked<'a>>,
    next: Option<(u64, u16)>,
    piece: Vec<u8>,
}

impl<'a> Pieces<'a> {
    pub fn open(files: &mut Files<'a>) -> Result<Option<Pieces<'a>>, Stop> {
        let Some(file) = files.open(PIECES)? else { return Ok(None) };
        let mut pieces = Pieces { file, next: None, piece: Vec::new() };
        pieces.advance()?;
        Ok(Some(pieces))
    }

    /// The piece if it is the next one, empty if it was destroyed; `None` if it is not here.
    pub fn take(&mut self, position: u64, piece: u16) -> Result<Option<Vec<u8>>, Stop> {
        if self.next != Some((position, piece)) {
            return Ok(None);
        }
        let taken = std::mem::take(&mut self.piece);
        self.advance()?;
        Ok(Some(taken))
    }

    /// Passes over the pieces of a record that cannot be read.
    pub fn skip(&mut self, position: u64) -> Result<(), Stop> {
        while self.next.is_some_and(|(at, _)| at == position) {
            self.advance()?;
        }
        Ok(())
    }

    fn advance(&mut self) -> Result<(), Stop> {
        let mut frame = Vec::with_capacity(FRAME);
        (&mut self.file).take(FRAME as u64).read_to_end(&mut frame).map_err(unreadable(PIECES))?;
        let previous = self.next.take();
        self.piece.clear();
        if frame.is_empty() {
            return Ok(());
        }
        let cut = || malformed(PIECES, "is cut off, or holds a piece longer than any can be");
        let (position, rest) = frame.split_first_chunk::<8>().ok_or_else(cut)?;
        let (piece, rest) = rest.split_first_chunk::<2>().ok_or_else(cut)?;
        let length = u32::from_be_bytes(rest.try_into().map_err(|_| cut())?);
        let next = (u64::from_be_bytes(*position), u16::from_be_bytes(*piece));
        if length as usize > limits::SIDECAR_BYTES {
            return Err(cut().into());
        }
        if previous.is_some_and(|previous| previous >= next) {
            return Err(malformed(PIECES, "holds a piece twice or out of order").into());
        }
        (&mut self.file).take(length.into()).read_to_end(&mut self.piece).map_err(unreadable(PIECES))?;
        if self.piece.len() != length as usize {
            return Err(cut().into());
        }
        self.next = Some(next);
        Ok(())
    }

    pub fn finish(self) -> Result<(), Stop> {
        match self.next {
            None => finish(self.file),
            Some((position, piece)) => {
                let why = format!("{PIECES} holds piece {piece} of {position}, which no event here has");
                Err(Stop::Failed(Claim::Contents, why))
            }
        }
    }
}

/// One line of `open.ndjson`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    pub position: u64,
    pub part: u8,
    pub sealed: u8,
    pub key: SecretKey,
}

impl Opening {
    pub fn line(&self) -> String {
        let Opening { position, part, sealed, key } = self;
        let key = Digest(**key);
        format!(r#"{{"position":{position},"part":{part},"box":{sealed},"key":"{key}"}}"#)
    }

    /// One spelling: writing what was read gives the same line.
    pub fn parse(line: &[u8]) -> Option<Opening> {
        let text = std::str::from_utf8(line).ok()?;
        let rest = text.strip_prefix(r#"{"position":"#)?;
        let (position, rest) = rest.split_once(r#","part":"#)?;
        let (part, rest) = rest.split_once(r#","box":"#)?;
        let (sealed, rest) = rest.split_once(r#","key":""#)?;
        let key: Digest = rest.strip_suffix(r#""}"#)?.parse().ok()?;
        let opening = Opening {
            position: decimal(position)?,
            part: u8::try_from(decimal(part)?).ok()?,
            sealed: u8::try_from(decimal(sealed)?).ok()?,
            key: Zeroizing::new(key.0),
        };
        (opening.line() == text).then_some(opening)
    }
}

/// `open.ndjson`, ascending by position, part and box.
pub struct Openings<'a> {
    lines: Lines<'a>,
    next: Option<Opening>,
}

impl<'a> Openings<'a> {
    pub fn open(files: &mut Files<'a>) -> Result<Option<Openings<'a>>, Stop> {
        let Some(lines) = Lines::open(files, OPEN, 160)? else { return Ok(None) };
        let mut openings = Openings { lines, next: None };
        openings.advance()?;
        Ok(Some(openings))
    }

    /// The key of this box if it comes next.
    pub fn take(&mut self, position: u64, part: u8, sealed: u8) -> Result<Option<SecretKey>, Stop> {
        let wanted = |next: &Opening| (next.position, next.part, next.sealed) == (position, part, sealed);
        if !self.next.as_ref().is_some_and(wanted) {
            return Ok(None);
        }
        let key = self.next.as_ref().map(|next| next.key.clone());
        self.advance()?;
        Ok(key)
    }

    /// Passes over the keys of a record that cannot be read.
    pub fn skip(&mut self, position: u64) -> Result<(), Stop> {
        while self.next.as_ref().is_some_and(|next| next.position == position) {
            self.advance()?;
        }
        Ok(())
    }

    fn advance(&mut self) -> Result<(), Stop> {
        let previous = self.next.take().map(|last| (last.position, last.part, last.sealed));
        let Some(line) = self.lines.line()? else { return Ok(()) };
        let next =
            Opening::parse(line).ok_or_else(|| malformed(OPEN, "has a line that is none of its own"))?;
        if previous.is_some_and(|previous| previous >= (next.position, next.part, next.sealed)) {
            return Err(malformed(OPEN, "opens a box twice or out of order").into());
        }
        self.next = Some(next);
        Ok(())
    }

    pub fn finish(self) -> Result<(), Stop> {
        match self.next {
            None => self.lines.finish(),
            Some(next) => {
                let why = format!("{OPEN} opens a box of {} that is not here", next.position);
                Err(Stop::Failed(Claim::Contents, why))
            }
        }
    }
}
