//! How JSON is written in a record: no blanks, ASCII only, everything else as lower-case `\uXXXX`,
//! no floats. It is what Python's `json.dumps(x, separators=(",", ":"))` writes.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use crate::domain::time::Timestamp;

struct Ascii;

impl serde_json::ser::Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if fragment.is_ascii() {
            return out.write_all(fragment.as_bytes());
        }
        for unit in fragment.encode_utf16() {
            match u8::try_from(unit) {
                Ok(byte) if byte.is_ascii() => out.write_all(&[byte])?,
                _ => write!(out, "\\u{unit:04x}")?,
            }
        }
        Ok(())
    }
}

/// Appends any value in its stored form.
pub fn value<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> Result<(), serde_json::Error> {
    value.serialize(&mut serde_json::Serializer::with_formatter(out, Ascii))
}

/// Appends `,"name":` or, right after an opening brace, `"name":`. Names need no escaping.
pub fn key(out: &mut Vec<u8>, name: &str) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Appends a string that is known to need no escaping: an id, a country, a name of ours.
pub fn plain(out: &mut Vec<u8>, text: &str) {
    debug_assert!(text.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'"' && b != b'\\'));
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

pub fn number(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

pub fn time(out: &mut Vec<u8>, at: Timestamp) {
    out.push(b'"');
    at.write(out);
    out.push(b'"');
}

/// Appends bytes as unpadded base64url. At most 48 bytes, which all of ours are.
pub fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut text = [0u8; 64];
    // A slice of 48 bytes makes 64 characters, so encoding cannot run out of room.
    let written = URL_SAFE_NO_PAD.encode_slice(bytes, &mut text).unwrap_or(0);
    out.push(b'"');
    out.extend_from_slice(&text[..written]);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn non_ascii_is_escaped_in_lower_case() {
        let mut out = Vec::new();
        value(&mut out, "科士达 é 😀 \"\n").unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), r#""\u79d1\u58eb\u8fbe \u00e9 \ud83d\ude00 \"\n""#);
    }

    #[test]
    fn numbers_are_decimal() {
        for n in [0, 7, 10, 9_007_199_254_740_991] {
            let mut out = Vec::new();
            number(&mut out, n);
            assert_eq!(String::from_utf8(out).unwrap(), n.to_string());
        }
    }
}
