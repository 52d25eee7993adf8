//! The bodies of long-poll requests and answers.
//!
//! Pure: no clock, no I/O, no tasks.

use std::ops::Range;

use base64::{Engine, prelude::BASE64_STANDARD as BASE64};
use bytes::Bytes;
use bytestring::ByteString;
use http::{HeaderMap, header::CONTENT_TYPE};

use crate::frame::Frame;

/// The content type of a body with one message a line.
const NDJSON: &str = "application/x-ndjson";

/// How the body of a post is cut into messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// It is one text message.
    One,
    /// Each line is a text message if it starts with `[`, else a binary one in base64.
    Lines,
}

/// A line that is neither. Those before it are fine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadLine {
    /// Counted from 1.
    pub(super) number: usize,
}

/// One message of a post.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Frame(Frame),
    /// A text that is not UTF-8.
    NotUtf8,
}

/// The messages of a body, cut from it one by one. A bad line is the last.
#[derive(Clone, Debug)]
pub(super) struct Messages {
    layout: Layout,
    body: Bytes,
    /// Where the rest begins.
    at: usize,
    lines: usize,
}

impl Layout {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let content_type = headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
        let essence = content_type
            .and_then(|value| value.split(|&byte| byte == b';').next())
            .map(<[u8]>::trim_ascii);
        match essence.is_some_and(|essence| essence.eq_ignore_ascii_case(NDJSON.as_bytes())) {
            true => Self::Lines,
            false => Self::One,
        }
    }

    pub(super) fn messages(self, body: Bytes) -> Messages {
        Messages {
            layout: self,
            body,
            at: 0,
            lines: 0,
        }
    }
}

impl Messages {
    /// Where the next line stands, without its end.
    fn line(&mut self) -> Range<usize> {
        let rest = &self.body[self.at..];
        let newline = rest.iter().position(|&byte| byte == b'\n');
        let (start, end) = (self.at, self.at + newline.unwrap_or(rest.len()));
        self.at = newline.map_or(end, |_| end + 1);
        self.lines += 1;
        let line = &self.body[start..end];
        let without_return = line.strip_suffix(b"\r").unwrap_or(line).len();
        start..start + without_return
    }

    /// As a text of its own, unless it is most of the body: a small one that waits somewhere would hold on to all of that.
    fn text(&self, at: Range<usize>) -> Part {
        let bytes = match at.len() < self.body.len() / 2 {
            true => Bytes::copy_from_slice(&self.body[at]),
            false => self.body.slice(at),
        };
        match ByteString::try_from(bytes) {
            Ok(text) => Part::Frame(Frame::Text(text)),
            Err(_) => Part::NotUtf8,
        }
    }
}

impl Iterator for Messages {
    type Item = Result<Part, BadLine>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.at < self.body.len() {
            if self.layout == Layout::One {
                let all = 0..self.body.len();
                self.at = all.end;
                return Some(Ok(self.text(all)));
            }
            let at = self.line();
            let line = &self.body[at.clone()];
            match line.first() {
                None => {}
                Some(b'[') => return Some(Ok(self.text(at))),
                Some(_) => match BASE64.decode(line) {
                    Ok(bytes) => return Some(Ok(Part::Frame(Frame::binary(bytes)))),
                    Err(_) => {
                        self.at = self.body.len();
                        return Some(Err(BadLine { number: self.lines }));
                    }
                },
            }
        }
        None
    }
}

/// The answer to a poll; its token is plain ASCII without quotes.
pub(super) fn polled(status: u16, token: &str, messages: &[ByteString]) -> Vec<u8> {
    let texts: usize = messages.iter().map(|message| message.len() + 16).sum();
    let mut body = Vec::with_capacity(64 + token.len() + texts);
    body.extend_from_slice(format!("{{\"status\":{status},\"token\":\"{token}\",").as_bytes());
    body.extend_from_slice(b"\"messages\":[");
    for (index, message) in messages.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        serde_json::to_writer(&mut body, &**message)
            .expect("a text has a JSON form, and memory takes it");
    }
    body.extend_from_slice(b"]}");
    body
}

/// The answer to anything else.
pub(super) fn status(status: u16) -> Vec<u8> {
    format!("{{\"status\":{status}}}").into_bytes()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn layout(content_type: Option<&'static str>) -> Layout {
        let mut headers = HeaderMap::new();
        if let Some(content_type) = content_type {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        Layout::of(&headers)
    }

    fn parts(layout: Layout, body: Bytes) -> (Vec<Part>, Option<BadLine>) {
        let (mut parts, mut bad) = (Vec::new(), None);
        for message in layout.messages(body) {
            assert_eq!(bad, None, "nothing comes after a bad line");
            match message {
                Ok(part) => parts.push(part),
                Err(line) => bad = Some(line),
            }
        }
        (parts, bad)
    }

    fn read(body: &'static str) -> (Vec<Part>, Option<BadLine>) {
        parts(Layout::Lines, Bytes::from_static(body.as_bytes()))
    }

    #[test]
    fn only_ndjson_has_lines_whatever_its_parameters() {
        for lines in [
            "application/x-ndjson",
            "application/x-ndjson; charset=utf-8",
            "Application/X-NDJSON ;x",
        ] {
            assert_eq!(layout(Some(lines)), Layout::Lines, "{lines}");
        }
        for one in [None, Some(""), Some("application/json"), Some("x-ndjson")] {
            assert_eq!(layout(one), Layout::One, "{one:?}");
        }
    }

    #[test]
    fn a_line_is_text_or_base64_and_empty_ones_are_nothing() {
        let text = |text: &str| Part::Frame(Frame::text(text.to_owned()));
        let bytes = Part::Frame(Frame::binary(vec![0, 1, 255]));
        assert_eq!(
            read("[1]\r\n\n[2,\"é\"]\nAAH/\n\r\n"),
            (vec![text("[1]"), text("[2,\"é\"]"), bytes], None)
        );
        assert_eq!(read(""), (vec![], None));
        assert_eq!(
            read("[1]\n{\"v\":1}\n[2]"),
            (vec![text("[1]")], Some(BadLine { number: 2 }))
        );
        assert_eq!(read("AAH/AA").1, Some(BadLine { number: 1 }), "unpadded");
    }

    #[test]
    fn any_other_body_is_one_text() {
        let one = |body: &'static [u8]| parts(Layout::One, Bytes::from_static(body)).0;
        assert_eq!(one(b"[1]\n[2]"), [Part::Frame(Frame::text("[1]\n[2]"))]);
        assert_eq!(one(b"\xff"), [Part::NotUtf8]);
        assert_eq!(one(b""), []);
        assert_eq!(
            parts(Layout::Lines, Bytes::from_static(b"[\xff")).0,
            [Part::NotUtf8]
        );
    }

    #[test]
    fn a_small_message_does_not_hold_on_to_its_body() {
        let holds_on = |body: String| {
            let body = Bytes::from(body);
            let within = body.as_ptr_range();
            let first = Layout::Lines.messages(body.clone()).next();
            let Some(Ok(Part::Frame(Frame::Text(text)))) = first else {
                panic!("no text: {first:?}");
            };
            assert_eq!(text, "[1]");
            within.contains(&text.as_bytes().as_ptr())
        };
        assert!(!holds_on(format!("[1]\n{}", "\n".repeat(1_000))));
        assert!(holds_on("[1]\n".to_owned()), "a copy for nothing");
    }

    #[test]
    fn answers_are_json() {
        let messages = ["[\"1\",\"é\\n\"]".into(), "\u{1}".into()];
        let body = polled(200, "abc", &messages);
        let read: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        let wanted = serde_json::json!({"status": 200, "token": "abc", "messages": messages.map(String::from)});
        assert_eq!(read, wanted);
        assert_eq!(
            polled(204, "abc", &[]),
            b"{\"status\":204,\"token\":\"abc\",\"messages\":[]}"
        );
        assert_eq!(status(408), b"{\"status\":408}");
    }
}
