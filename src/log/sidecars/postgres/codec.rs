//! How the pieces of a sidecar stand in one value: a checksum over the leaf and all that follows, the number of
//! pieces, the length of each (all ones if it was purged), the bytes. Little-endian. Pure.

use bytes::Bytes;

use super::{Error, Pieces};
use crate::domain::id::Digest;

const PURGED: u32 = u32::MAX;

pub fn encode(leaf: &Digest, pieces: &[Bytes]) -> Vec<u8> {
    let lengths = pieces.iter().map(|piece| piece.len() as u32);
    let bytes = pieces.iter().map(|piece| &piece[..]);
    write(leaf, pieces.len() as u16, lengths, bytes)
}

pub fn encode_purged(leaf: &Digest, pieces: &Pieces) -> Vec<u8> {
    let lengths = pieces.iter().map(|piece| piece.as_ref().map_or(PURGED, |piece| piece.len() as u32));
    let bytes = pieces.iter().flatten().map(|piece| &piece[..]);
    write(leaf, pieces.len() as u16, lengths, bytes)
}

fn write<'a>(
    leaf: &Digest,
    count: u16,
    lengths: impl Iterator<Item = u32>,
    bytes: impl Iterator<Item = &'a [u8]>,
) -> Vec<u8> {
    let mut out = vec![0; 4];
    out.extend_from_slice(&count.to_le_bytes());
    lengths.for_each(|length| out.extend_from_slice(&length.to_le_bytes()));
    bytes.for_each(|bytes| out.extend_from_slice(bytes));
    let sum = checksum(leaf, &out[4..]);
    out[..4].copy_from_slice(&sum.to_le_bytes());
    out
}

fn checksum(leaf: &Digest, rest: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&leaf.0), rest)
}

pub fn decode(leaf: &Digest, blob: &[u8]) -> Result<Pieces, Error> {
    let wrong = |what| Error::Corrupt { position: u64::MAX, place: format!("sidecar {leaf}"), what };
    read(leaf, blob).ok_or_else(|| wrong("its checksum is another"))
}

fn read(leaf: &Digest, blob: &[u8]) -> Option<Pieces> {
    let (sum, rest) = blob.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*sum) != checksum(leaf, rest) {
        return None;
    }
    let (count, rest) = rest.split_first_chunk::<2>()?;
    let (lengths, bytes) = rest.split_at_checked(usize::from(u16::from_le_bytes(*count)) * 4)?;
    let mut bytes = Bytes::copy_from_slice(bytes);
    let (lengths, _) = lengths.as_chunks::<4>();
    let piece = |length: &[u8; 4]| match u32::from_le_bytes(*length) {
        PURGED => Some(None),
        length if length as usize <= bytes.len() => Some(Some(bytes.split_to(length as usize))),
        _ => None,
    };
    let pieces = lengths.iter().map(piece).collect::<Option<Pieces>>()?;
    bytes.is_empty().then_some(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_and_every_other_leaf_is_found() {
        let leaf = Digest([7; 32]);
        let pieces: Pieces = vec![Some("index".into()), None, Some("sealed".into())];
        let blob = encode_purged(&leaf, &pieces);
        assert_eq!(decode(&leaf, &blob).unwrap(), pieces);
        let whole: Vec<Bytes> = vec!["a".into(), "bc".into()];
        let whole: (Pieces, _) = (whole.iter().cloned().map(Some).collect(), encode(&leaf, &whole));
        assert_eq!(decode(&leaf, &whole.1).unwrap(), whole.0);
        for bit in 0..blob.len() * 8 {
            let mut flipped = blob.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&leaf, &flipped).is_err(), "bit {bit}");
        }
        for length in 0..blob.len() {
            assert!(decode(&leaf, &blob[..length]).is_err());
        }
        assert!(decode(&Digest([8; 32]), &blob).is_err());
    }
}
