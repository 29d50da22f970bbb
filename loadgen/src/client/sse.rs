//! Server-sent events, as bytes come in: split anywhere, any line ending, comments, several events in a read.
//!
//! Source: *Server-sent events*, HTML Living Standard, section 9.2.6. Two liberties: an event without a blank line at the
//! end of a stream counts ([`Parser::finish`]), because servers end so, and an event has a largest size.

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The `event` field; empty for none.
    pub name: &'a [u8],
    /// The `data` fields, a line break between them.
    pub data: &'a [u8],
}

/// An event grew larger than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

/// A push parser. Memory is that of one event at most.
#[derive(Debug)]
pub struct Parser {
    most: usize,
    /// What is there of a line whose end has not come.
    line: Vec<u8>,
    name: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    /// The last byte was a carriage return: a line feed after it is part of the same end.
    after_return: bool,
    /// Nothing has come yet: a byte order mark may.
    fresh: bool,
}

impl Parser {
    /// A parser of events of at most `most` bytes.
    pub fn new(most: usize) -> Self {
        Parser {
            most,
            line: Vec::new(),
            name: Vec::new(),
            data: Vec::new(),
            has_data: false,
            after_return: false,
            fresh: true,
        }
    }

    /// Takes `bytes` and calls `tell` for each event that they complete. O(bytes).
    ///
    /// # Errors
    /// When an event, or a line of one, is larger than it may be. The parser is of no use after that.
    pub fn push(&mut self, mut bytes: &[u8], mut tell: impl FnMut(Event<'_>)) -> Result<(), TooLarge> {
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_return) && bytes[0] == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let Some(end) = bytes.iter().position(|&byte| byte == b'\n' || byte == b'\r') else {
                self.line.extend_from_slice(bytes);
                return self.check();
            };
            self.after_return = bytes[end] == b'\r';
            if self.line.is_empty() {
                self.take(&bytes[..end], &mut tell);
            } else {
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(&bytes[..end]);
                self.take(&line, &mut tell);
                line.clear();
                self.line = line;
            }
            self.check()?;
            bytes = &bytes[end + 1..];
        }
        Ok(())
    }

    /// The stream is over: tells the event that nothing has ended yet, when there is one.
    pub fn finish(&mut self, mut tell: impl FnMut(Event<'_>)) {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.take(&line, &mut tell);
        }
        self.take(b"", &mut tell);
    }

    fn check(&self) -> Result<(), TooLarge> {
        if self.line.len() + self.data.len() > self.most { Err(TooLarge) } else { Ok(()) }
    }

    /// A whole line without its end.
    fn take(&mut self, line: &[u8], tell: &mut impl FnMut(Event<'_>)) {
        let line = if std::mem::take(&mut self.fresh) {
            line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line)
        } else {
            line
        };
        if line.is_empty() {
            if std::mem::take(&mut self.has_data) {
                tell(Event { name: &self.name, data: &self.data });
            }
            self.data.clear();
            self.name.clear();
            return;
        }
        let (field, value) = match line.iter().position(|&byte| byte == b':') {
            // A comment.
            Some(0) => return,
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &b""[..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                if self.has_data {
                    self.data.push(b'\n');
                }
                self.has_data = true;
                self.data.extend_from_slice(value);
            }
            b"event" => {
                self.name.clear();
                self.name.extend_from_slice(&value[..value.len().min(256)]);
            }
            // `id`, `retry` and whatever else there is mean nothing here.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Owned = (Vec<u8>, Vec<u8>);

    fn events(pieces: &[&[u8]]) -> Result<Vec<Owned>, TooLarge> {
        let mut parser = Parser::new(1 << 16);
        let mut found = Vec::new();
        for piece in pieces {
            parser.push(piece, |event| found.push((event.name.to_vec(), event.data.to_vec())))?;
        }
        parser.finish(|event| found.push((event.name.to_vec(), event.data.to_vec())));
        Ok(found)
    }

    fn data(text: &str) -> Vec<String> {
        let found = events(&[text.as_bytes()]).unwrap();
        found.into_iter().map(|(_, data)| String::from_utf8(data).unwrap()).collect()
    }

    #[test]
    fn events_end_at_blank_lines_whatever_ends_a_line() {
        assert_eq!(data("data: a\n\ndata: b\n\n"), ["a", "b"]);
        assert_eq!(data("data: a\r\n\r\ndata: b\r\n\r\n"), ["a", "b"]);
        assert_eq!(data("data: a\r\rdata: b\r\r"), ["a", "b"]);
    }

    #[test]
    fn one_space_after_the_colon_is_not_part_of_the_data_and_need_not_be_there() {
        assert_eq!(data("data:a\n\ndata:  b\n\ndata\n\n"), ["a", " b", ""]);
    }

    #[test]
    fn comments_and_unknown_fields_are_no_events() {
        assert_eq!(data(": ping\n\nid: 3\nretry: 5\n\n\n\ndata: x\n\n"), ["x"]);
    }

    #[test]
    fn lines_of_data_are_joined_and_a_name_is_of_one_event() {
        let found = events(&[b"event: error\ndata: a\ndata: b\n\ndata: c\n\n"]).unwrap();
        assert_eq!(found, [(b"error".to_vec(), b"a\nb".to_vec()), (Vec::new(), b"c".to_vec())]);
    }

    #[test]
    fn the_end_of_a_stream_ends_an_event() {
        assert_eq!(data("data: [DONE]"), ["[DONE]"]);
        assert_eq!(data("data: [DONE]\n"), ["[DONE]"]);
        assert_eq!(data("\u{feff}data: a\n\n"), ["a"]);
    }

    #[test]
    fn an_event_that_never_ends_is_given_up() {
        let mut parser = Parser::new(100);
        assert_eq!(parser.push(&[b'x'; 101], |_| ()), Err(TooLarge));
        let mut parser = Parser::new(100);
        let many = "data: 0123456789\n".repeat(20);
        assert_eq!(parser.push(many.as_bytes(), |_| ()), Err(TooLarge));
    }

    proptest! {
        #[test]
        fn any_split_of_the_bytes_gives_the_same_events(
            text in "(data: ?[a-z:{}\"]{0,8}|event: e|: c|)(\n|\r\n|\r|\n\n)|[ -~\r\n]{0,60}",
            repeat in 1_usize..6,
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let whole = text.repeat(repeat).into_bytes();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(whole.len() + 1)).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts {
                pieces.push(&whole[from..cut]);
                from = cut;
            }
            pieces.push(&whole[from..]);
            prop_assert_eq!(events(&pieces), events(&[&whole]));
            let single: Vec<&[u8]> = whole.chunks(1).collect();
            prop_assert_eq!(events(&single), events(&[&whole]));
        }

        #[test]
        fn no_bytes_make_it_panic_or_keep_more_than_an_event(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
            let mut parser = Parser::new(256);
            for piece in bytes.chunks(7) {
                if parser.push(piece, |event| assert!(event.data.len() <= 256 + 7)).is_err() {
                    break;
                }
                assert!(parser.line.len() + parser.data.len() <= 256);
            }
        }
    }
}
