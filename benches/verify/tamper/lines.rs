//! Events and sealed parts: altered, dropped, moved, doubled, made up, cut.

use std::ops::Range;

use custody::ledger::tlog::base64;
use custody::verify::pieces::FRAME;

use super::{Codes, REFUSED, Trial};
use crate::house::{ORIGIN, record};

const EVENTS: &str = "events.ndjson";
const PIECES: &str = "pieces.bin";

/// A listed file whose bytes have not even the form of one: nothing to be judged.
const NO_FORM: Codes = [30, 40, 40];

pub fn events(trial: &mut Trial) {
    let bundle = trial.headers.clone();
    let text = std::fs::read(bundle.join(EVENTS)).expect("events");
    let mut starts = vec![0];
    starts.extend(text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1));
    let line = |n: usize| starts[n]..starts[n + 1];
    let (middle, last) = (starts.len() / 2, starts.len() - 2);
    let mut splice = |what: &str, expected: Codes, place: Range<usize>, others: &[u8]| {
        trial.thrice(what, &bundle, expected, |copy| copy.splice(EVENTS, &text, place, others));
    };

    for (name, n) in [("second", 1), ("middle", middle), ("last", last)] {
        // The header is as well formed as before: nothing but a hash can tell.
        let name_of_the_app = text[line(n)].windows(9).position(|word| word == b"solar-app");
        let at = starts[n] + name_of_the_app.expect("the emitter's name");
        splice(&format!("a bit flipped in the {name} event"), REFUSED, at..at + 1, &[text[at] ^ 1]);
    }
    let next = line(middle).end..line(middle + 1).end;
    let pair = line(middle).start..next.end;
    let swapped = [&text[next.clone()], &text[line(middle)]].concat();
    splice("an event dropped", REFUSED, line(middle), b"");
    splice("the first event dropped", REFUSED, line(0), b"");
    splice("two neighbours swapped", REFUSED, pair, &swapped);
    splice("an event doubled", REFUSED, next.start..next.start, &text[line(middle)]);
    splice("an event doubled over its neighbour", REFUSED, next, &text[line(middle)]);
    let mut made_up = record(ORIGIN, last as u64 + 1).header.to_vec();
    made_up.push(b'\n');
    splice("an event made up in another's place", REFUSED, line(middle), &made_up);
    splice("an event made up behind the last", REFUSED, text.len()..text.len(), &made_up);
    splice("the last event cut off", REFUSED, line(last), b"");
    splice("half of the events cut off", REFUSED, line(middle).start..text.len(), b"");
    splice("the last event cut in half", NO_FORM, line(last).start + 100..text.len(), b"");
    splice("nothing left of the events", REFUSED, 0..text.len(), b"");

    // The operator may lie about the range, too.
    let copy = trial.copy(&bundle);
    copy.splice(EVENTS, &text, line(last), b"");
    trial.signed("the last event cut off, and said to be outside", &copy, 30, |manifest| {
        manifest.to -= 1;
        manifest.counts.events -= 1;
        manifest.counts.withheld -= 1;
    });
    copy.splice(EVENTS, &text, line(0), b"");
    // The one hash that is the edge of one leaf: some, because the first event's would be right.
    copy.put("edge", format!("{}\n", base64(&[7; 32])).as_bytes());
    trial.signed("the first event dropped, and said to be outside", &copy, 30, |manifest| {
        (manifest.from, manifest.counts.events) = (1, last as u64);
    });
}

pub fn pieces(trial: &mut Trial) {
    let bundle = trial.sealed.clone();
    let bytes = std::fs::read(bundle.join(PIECES)).expect("pieces");
    let mut frames = vec![0];
    while let Some(at) = frames.last().copied().filter(|at| *at < bytes.len()) {
        let length = bytes[at + 10..at + FRAME].try_into().expect("4 bytes");
        frames.push(at + FRAME + u32::from_be_bytes(length) as usize);
    }
    let frame = |n: usize| frames[n]..frames[n + 1];
    let content = |n: usize| frames[n] + FRAME..frames[n + 1];
    let middle = frames.len() / 2;
    let mut splice = |what: &str, expected: Codes, place: Range<usize>, others: &[u8]| {
        trial.thrice(what, &bundle, expected, |copy| copy.splice(PIECES, &bytes, place, others));
    };
    let at = content(middle).start;
    splice("a bit flipped in a sealed part", REFUSED, at..at + 1, &[bytes[at] ^ 1]);
    splice("a sealed part dropped", REFUSED, frame(middle), b"");
    splice("a sealed part in another's place", REFUSED, content(middle), &bytes[content(middle + 1)]);
    splice("a sealed part twice", NO_FORM, frame(middle).end..frame(middle).end, &bytes[frame(middle)]);
    splice("sealed parts cut in half", NO_FORM, at + 1..bytes.len(), b"");
    let longest = u32::MAX.to_be_bytes();
    splice("a sealed part of 4 GiB, as it says", [40, 40, 40], at - 4..at, &longest);
}
