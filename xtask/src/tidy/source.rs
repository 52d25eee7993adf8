//! Rust source with what is no code blanked out: comments, strings, and, where asked, tests.
//! Lines and columns stay where they are.

/// Blanks comments, string and character literals.
pub(super) fn code_of(text: &str) -> String {
    let mut scanner = Scanner {
        bytes: text.as_bytes(),
        at: 0,
        code: Vec::with_capacity(text.len()),
    };
    scanner.scan();
    String::from_utf8_lossy(&scanner.code).into_owned()
}

/// Blanks the items that stand under `#[cfg(test)]` in code that `code_of` gave.
pub(super) fn without_tests(code: &str) -> String {
    let mut kept = code.as_bytes().to_vec();
    for (start, end) in test_items(code) {
        blank(&mut kept[start..end]);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// Blanks everything but the items that stand under `#[cfg(test)]`.
pub(super) fn tests_only(code: &str) -> String {
    let mut kept = code.as_bytes().to_vec();
    let mut from = 0;
    for (start, end) in test_items(code) {
        blank(&mut kept[from..start]);
        from = end;
    }
    blank(&mut kept[from..]);
    String::from_utf8_lossy(&kept).into_owned()
}

fn test_items(code: &str) -> Vec<(usize, usize)> {
    const MARK: &str = "#[cfg(test)]";
    let mut items: Vec<(usize, usize)> = Vec::new();
    for (start, _) in code.match_indices(MARK) {
        if items.last().is_none_or(|(_, end)| start >= *end) {
            items.push((start, end_of_item(code.as_bytes(), start + MARK.len())));
        }
    }
    items
}

/// Behind the `;` or the closing brace of the item that begins at `from`.
fn end_of_item(code: &[u8], from: usize) -> usize {
    let mut depth = 0_usize;
    for (index, byte) in code.iter().enumerate().skip(from) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth <= 1 => return index + 1,
            b'}' => depth -= 1,
            b';' if depth == 0 => return index + 1,
            _ => {}
        }
    }
    code.len()
}

fn blank(bytes: &mut [u8]) {
    for byte in bytes.iter_mut().filter(|byte| **byte != b'\n') {
        *byte = b' ';
    }
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    code: Vec<u8>,
}

impl Scanner<'_> {
    fn scan(&mut self) {
        while self.at < self.bytes.len() {
            let rest = &self.bytes[self.at..];
            let skip = if rest.starts_with(b"//") {
                line_comment(rest)
            } else if rest.starts_with(b"/*") {
                block_comment(rest)
            } else if let Some(raw) = self.raw_string(rest) {
                raw
            } else if rest[0] == b'"' {
                string(rest)
            } else if rest[0] == b'\'' {
                character(rest)
            } else {
                0
            };
            match skip {
                0 => self.keep(),
                length => self.drop(length),
            }
        }
    }

    fn keep(&mut self) {
        self.code.push(self.bytes[self.at]);
        self.at += 1;
    }

    fn drop(&mut self, length: usize) {
        let end = (self.at + length).min(self.bytes.len());
        let from = self.code.len();
        self.code.extend_from_slice(&self.bytes[self.at..end]);
        blank(&mut self.code[from..]);
        self.at = end;
    }

    /// The length of `r"..."`, `r#"..."#` and their byte forms, if one begins here.
    fn raw_string(&self, rest: &[u8]) -> Option<usize> {
        let in_word = self.at > 0 && is_word(self.bytes[self.at - 1]);
        let opened = rest
            .strip_prefix(b"br")
            .or_else(|| rest.strip_prefix(b"r"))?;
        let hashes = opened.iter().take_while(|byte| **byte == b'#').count();
        if in_word || opened.get(hashes) != Some(&b'"') {
            return None;
        }
        let closing: Vec<u8> = std::iter::once(b'"')
            .chain(std::iter::repeat_n(b'#', hashes))
            .collect();
        let body = &opened[hashes + 1..];
        let end = body
            .windows(closing.len())
            .position(|window| window == closing);
        let head = rest.len() - body.len();
        Some(end.map_or(rest.len(), |end| head + end + closing.len()))
    }
}

fn line_comment(rest: &[u8]) -> usize {
    rest.iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(rest.len())
}

fn block_comment(rest: &[u8]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

fn string(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of a character literal; 0 for a lifetime.
fn character(rest: &[u8]) -> usize {
    let text = String::from_utf8_lossy(&rest[..rest.len().min(16)]).into_owned();
    let mut characters = text.char_indices().skip(1);
    match characters.next() {
        Some((_, '\\')) => {
            let closing = text[3..].find('\'');
            closing.map_or(0, |end| end + 4)
        }
        Some(_) => match characters.next() {
            Some((at, '\'')) => at + 1,
            _ => 0,
        },
        None => 0,
    }
}

pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
