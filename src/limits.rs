//! A limit on everything a caller can grow. The numbers are part of the API's contract.

/// Longest id or vocabulary term, in ASCII characters.
pub const ID_BYTES: usize = 64;
/// Longest sealed free text, in characters.
pub const TEXT_CHARS: usize = 2_000;
/// Longest title: a legal name, a citation. In characters.
pub const TITLE_CHARS: usize = 200;
/// Longest web address, in ASCII characters.
pub const URL_BYTES: usize = 512;
/// Numbers stay below 2^53, so that every reader of JSON keeps them exact.
pub const NUMBER: u64 = (1 << 53) - 1;
/// People named by one event.
pub const PEOPLE: usize = 32;
/// Identifiers of one person in one event.
pub const IDENTIFIERS: usize = 16;
/// Longest identifier value, in bytes of UTF-8.
pub const IDENTIFIER_BYTES: usize = 320;
/// Categories of one event.
pub const CATEGORIES: usize = 64;
/// Purposes of one event.
pub const PURPOSES: usize = 16;
/// Recipients of one event.
pub const RECIPIENTS: usize = 32;
/// Regimes of one event.
pub const REGIMES: usize = 8;
/// Any other list in a body.
pub const LIST: usize = 64;
/// Longest written value in the name of a finding, in bytes. A title of blanks that are escaped fits.
pub const FINDING_VALUE_BYTES: usize = 2_048;
/// Events that one retraction may name.
pub const RETRACTED: usize = 1_000;
/// Events that one request may take back.
pub const RETRACTED_AT_ONCE: usize = 10_000;
/// Events that one request may name in their place.
pub const REPLACEMENTS: usize = 500;
/// Events of one batch request.
pub const BATCH_EVENTS: usize = 1_000;
/// Largest gRPC message received, in bytes.
pub const MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// Largest stored header line, in bytes.
pub const HEADER_BYTES: usize = 32 * 1024;
/// Largest stored sidecar (all pieces of one record), in bytes.
pub const SIDECAR_BYTES: usize = 64 * 1024;
/// Parts of one record: the people, a matter.
pub const PARTS: usize = 32;
/// A server's time may lie this far ahead of ours, in milliseconds.
pub const AHEAD_MS: i64 = 5 * 60 * 1000;
/// Older events need the backfill mark, in milliseconds.
pub const BACKFILL_MS: i64 = 31 * 24 * 60 * 60 * 1000;
/// Longest window of an event, in milliseconds, for record kinds with a slot per day.
pub const DAY_WINDOW_MS: i64 = 24 * 60 * 60 * 1000;
/// Largest page of a list.
pub const PAGE: usize = 1_000;
/// Largest spreadsheet file that is read, in bytes.
pub const SHEET_BYTES: usize = 16 * 1024 * 1024;
/// What a workbook may unpack to, and what its cells may come to, in bytes.
pub const SHEET_UNPACKED_BYTES: usize = 64 * 1024 * 1024;
/// Parts of the archive that a workbook is.
pub const SHEET_PARTS: usize = 1_000;
/// Sheets of a workbook that is read.
pub const SHEETS: usize = 32;
/// Rows of a sheet that is read.
pub const SHEET_ROWS: usize = 100_000;
/// Columns of a sheet that is read.
pub const SHEET_COLUMNS: usize = 256;
/// Characters of a cell, which is what a spreadsheet holds.
pub const CELL_CHARS: usize = 32_767;
/// Faults of a spreadsheet that are told at once.
pub const SHEET_FAULTS: usize = 1_000;
