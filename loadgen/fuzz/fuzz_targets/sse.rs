//! Streams of answers: no bytes may make the parser panic, keep more than an event, or depend on how they were split.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_loadgen::client::alike::Alike;
use tidegate_loadgen::client::answer::{self, Piece};
use tidegate_loadgen::client::sse::{Event, Parser};

const MOST: usize = 4_096;

fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    let (bytes, cuts) = input;
    let whole = events(std::iter::once(&bytes[..]));
    let mut pieces = Vec::new();
    let mut rest = &bytes[..];
    for cut in cuts {
        let (piece, after) = rest.split_at(usize::from(cut).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    let split = events(pieces.into_iter());
    // A limit on size is met at other places when bytes come otherwise; only then may the two differ.
    if let (Some(whole), Some(split)) = (whole, split) {
        assert_eq!(whole, split);
    }
});

fn events<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut parser = Parser::new(MOST);
    let mut found = Vec::new();
    let (mut alike, mut learned) = (Alike::default(), Piece::default());
    let mut tell = |event: Event<'_>| {
        // Whatever is in an event must not make its reader panic either, and what is recognised must be what it seems.
        let read = answer::read(event.data);
        if alike.is_like(event.data) {
            assert_eq!(read.as_ref(), Ok(&learned));
        }
        if let Ok(piece) = read
            && piece.content
            && piece.error.is_none()
        {
            alike.learn(event.data);
            learned = piece;
        }
        found.push((event.name.to_vec(), event.data.to_vec()));
    };
    for piece in pieces {
        parser.push(piece, &mut tell).ok()?;
    }
    parser.finish(&mut tell);
    Some(found)
}
