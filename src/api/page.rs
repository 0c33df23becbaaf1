//! Page tokens: where the next page begins, bound to the question it belongs to. Opaque to
//! callers; a token of another question is refused rather than answered wrongly.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::app::Error;

pub struct Token;

impl Token {
    pub fn write(position: u64, question: &str) -> String {
        let mut bytes = position.to_be_bytes().to_vec();
        bytes.extend_from_slice(&check(position, question));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The same of a place that is no position.
    pub fn write_place(place: &[u8], question: &str) -> String {
        let mut bytes = digest(place, question).to_vec();
        bytes.extend_from_slice(place);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// `None` for the first page.
    pub fn read_place(token: &str, question: &str) -> Result<Option<Vec<u8>>, Error> {
        if token.is_empty() {
            return Ok(None);
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| Error::PageToken)?;
        let (checked, place) = bytes.split_first_chunk::<8>().ok_or(Error::PageToken)?;
        if *checked == digest(place, question) { Ok(Some(place.to_vec())) } else { Err(Error::PageToken) }
    }

    /// `None` for the first page.
    pub fn read(token: &str, question: &str) -> Result<Option<u64>, Error> {
        if token.is_empty() {
            return Ok(None);
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| Error::PageToken)?;
        let (position, rest) = bytes.split_first_chunk::<8>().ok_or(Error::PageToken)?;
        let position = u64::from_be_bytes(*position);
        if rest == check(position, question) { Ok(Some(position)) } else { Err(Error::PageToken) }
    }
}

/// Not a secret: it keeps honest callers from mixing up their questions.
fn check(position: u64, question: &str) -> [u8; 8] {
    digest(&position.to_be_bytes(), question)
}

fn digest(place: &[u8], question: &str) -> [u8; 8] {
    let digest = Sha256::new_with_prefix(place).chain_update(question.as_bytes()).finalize();
    let mut cut = [0u8; 8];
    cut.copy_from_slice(&digest[..8]);
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_belongs_to_its_question() {
        let token = Token::write(77, "types=a");
        assert_eq!(Token::read(&token, "types=a").unwrap(), Some(77));
        assert!(matches!(Token::read(&token, "types=b"), Err(Error::PageToken)));
        assert!(matches!(Token::read("%%%", ""), Err(Error::PageToken)));
        assert_eq!(Token::read("", "").unwrap(), None);
        let token = Token::write_place(b"solar", "of=a");
        assert_eq!(Token::read_place(&token, "of=a").unwrap().as_deref(), Some(&b"solar"[..]));
        assert!(matches!(Token::read_place(&token, "of=b"), Err(Error::PageToken)));
    }
}
