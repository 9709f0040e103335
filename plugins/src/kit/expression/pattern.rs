//! [`Pattern`]: Lua's patterns (Lua 5.1 manual, 5.4.1), matched within bounds.
//!
//! A crate for them exists; it reads through raw pointers and panics where a pattern proves bad, so
//! neither it nor the bytes of a request could be let near each other.

/// A checked pattern.
#[derive(Debug)]
pub(super) struct Pattern<'p> {
    source: &'p [u8],
    anchored: bool,
}

/// Where a pattern matched.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) start: usize,
    pub(super) end: usize,
    captures: Vec<(usize, usize)>,
}

const MOST_CAPTURES: usize = 32;
/// How deep a match may nest, and how many steps it may take: beyond, it fails with an error.
const DEEPEST: usize = 200;
const MOST_STEPS: usize = 200_000;

impl<'p> Pattern<'p> {
    /// # Errors
    ///
    /// Lua's text for a malformed pattern.
    pub(super) fn new(source: &'p [u8]) -> Result<Self, String> {
        let anchored = source.first() == Some(&b'^');
        let pattern = Self { source: &source[usize::from(anchored)..], anchored };
        pattern.check()?;
        Ok(pattern)
    }

    fn check(&self) -> Result<(), String> {
        let (mut at, mut open, mut closed) = (0, Vec::new(), Vec::new());
        while at < self.source.len() {
            match (self.source[at], self.source.get(at + 1)) {
                (b'(', _) => {
                    open.push(closed.len() + open.len());
                    at += 1;
                }
                (b')', _) => {
                    closed.push(open.pop().ok_or("invalid pattern capture")?);
                    at += 1;
                }
                (b'%', Some(b'b')) if at + 3 < self.source.len() => at += 4,
                (b'%', Some(b'b')) => return Err("unbalanced pattern".into()),
                (b'%', Some(b'f')) => return Err("%f is not available in templates".into()),
                (b'%', Some(digit)) if digit.is_ascii_digit() => {
                    let wanted = usize::from(digit - b'0');
                    if wanted == 0 || !closed.contains(&(wanted - 1)) {
                        return Err("invalid capture index".into());
                    }
                    at += 2;
                }
                _ => at = self.class_end(at)?,
            }
        }
        if !open.is_empty() {
            return Err("unfinished capture".into());
        }
        if closed.len() > MOST_CAPTURES {
            return Err("too many captures".into());
        }
        Ok(())
    }

    /// Where the single-character class at `at` ends.
    fn class_end(&self, at: usize) -> Result<usize, String> {
        match self.source[at] {
            b'%' if at + 1 == self.source.len() => Err("malformed pattern (ends with '%')".into()),
            b'%' => Ok(at + 2),
            b'[' => {
                let mut end = at + 1;
                if self.source.get(end) == Some(&b'^') {
                    end += 1;
                }
                // A bracket right at the beginning stands for itself.
                let first = end;
                loop {
                    match self.source.get(end) {
                        None => return Err("malformed pattern (missing ']')".into()),
                        Some(b']') if end > first => return Ok(end + 1),
                        Some(b'%') => end += 2,
                        Some(_) => end += 1,
                    }
                }
            }
            _ => Ok(at + 1),
        }
    }

    /// The first match at or after `start`.
    ///
    /// # Errors
    ///
    /// When it takes too much.
    pub(super) fn find(&self, text: &[u8], start: usize) -> Result<Option<Found>, String> {
        let mut steps = 0;
        for from in start..=text.len() {
            let mut state = State { pattern: self, text, captures: Vec::new(), steps, depth: 0 };
            if let Some(end) = state.matches(from, 0)? {
                let captures = state.captures.iter().map(|one| (one.start, one.end)).collect();
                return Ok(Some(Found { start: from, end, captures }));
            }
            steps = state.steps;
            if self.anchored {
                break;
            }
        }
        Ok(None)
    }

    /// `gsub`: `%0` to `%9` of the replacement stand for captures.
    ///
    /// # Errors
    ///
    /// As [`Pattern::find`], and captures that are not there.
    pub(super) fn replace(&self, text: &[u8], by: &[u8], most: usize) -> Result<Vec<u8>, String> {
        let mut made = Vec::with_capacity(text.len());
        let (mut at, mut times) = (0, 0);
        while times < most {
            let Some(found) = self.find(text, at)? else { break };
            times += 1;
            made.extend_from_slice(&text[at..found.start]);
            found.expand(text, by, &mut made)?;
            at = found.end;
            if found.end == found.start {
                // Nothing was matched: the next byte stays, or it would be matched forever.
                let Some(byte) = text.get(at) else {
                    at = text.len() + 1;
                    break;
                };
                made.push(*byte);
                at += 1;
            }
            if self.anchored {
                break;
            }
        }
        made.extend_from_slice(text.get(at..).unwrap_or_default());
        Ok(made)
    }
}

impl Found {
    /// The first capture, or all of it when there is none.
    pub(super) fn first<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        let (start, end) = self.captures.first().copied().unwrap_or((self.start, self.end));
        &text[start..end]
    }

    fn expand(&self, text: &[u8], by: &[u8], made: &mut Vec<u8>) -> Result<(), String> {
        let mut bytes = by.iter();
        while let Some(byte) = bytes.next() {
            if *byte != b'%' {
                made.push(*byte);
                continue;
            }
            match bytes.next() {
                Some(b'0') => made.extend_from_slice(&text[self.start..self.end]),
                Some(digit) if digit.is_ascii_digit() => {
                    let at = usize::from(digit - b'1');
                    let whole =
                        (at == 0 && self.captures.is_empty()).then_some((self.start, self.end));
                    let (start, end) = self
                        .captures
                        .get(at)
                        .copied()
                        .or(whole)
                        .ok_or("invalid capture index in replacement string")?;
                    made.extend_from_slice(&text[start..end]);
                }
                Some(other) => made.push(*other),
                None => return Err("invalid use of '%' in replacement string".into()),
            }
        }
        Ok(())
    }
}

struct State<'s> {
    pattern: &'s Pattern<'s>,
    text: &'s [u8],
    captures: Vec<Capture>,
    steps: usize,
    depth: usize,
}

#[derive(Clone)]
struct Capture {
    start: usize,
    end: usize,
    open: bool,
}

impl State<'_> {
    /// Where the rest of the pattern, from `p`, ends when it matches at `s`.
    fn matches(&mut self, s: usize, p: usize) -> Result<Option<usize>, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err("pattern too complex".into());
        }
        let found = self.step(s, p);
        self.depth -= 1;
        found
    }

    fn step(&mut self, mut s: usize, mut p: usize) -> Result<Option<usize>, String> {
        loop {
            self.steps += 1;
            if self.steps > MOST_STEPS {
                return Err("pattern takes too long".into());
            }
            let source = self.pattern.source;
            let Some(first) = source.get(p) else { return Ok(Some(s)) };
            match (first, source.get(p + 1)) {
                (b'(', _) => {
                    self.captures.push(Capture { start: s, end: s, open: true });
                    let found = self.matches(s, p + 1)?;
                    if found.is_none() {
                        self.captures.pop();
                    }
                    return Ok(found);
                }
                (b')', _) => {
                    let Some(at) = self.captures.iter().rposition(|one| one.open) else {
                        return Err("invalid pattern capture".into());
                    };
                    self.captures[at].open = false;
                    self.captures[at].end = s;
                    let found = self.matches(s, p + 1)?;
                    if found.is_none() {
                        self.captures[at].open = true;
                    }
                    return Ok(found);
                }
                (b'$', None) => return Ok((s == self.text.len()).then_some(s)),
                (b'%', Some(b'b')) => match self.balanced(s, p) {
                    Some(end) => (s, p) = (end, p + 4),
                    None => return Ok(None),
                },
                (b'%', Some(digit)) if digit.is_ascii_digit() => {
                    let capture = self.captures.get(usize::from(digit - b'1'));
                    let Some(capture) = capture.filter(|one| !one.open) else {
                        return Err("invalid capture index".into());
                    };
                    let wanted = &self.text[capture.start..capture.end];
                    if !self.text[s..].starts_with(wanted) {
                        return Ok(None);
                    }
                    (s, p) = (s + wanted.len(), p + 2);
                }
                _ => {
                    let end = self.pattern.class_end(p)?;
                    match source.get(end) {
                        Some(b'?') => {
                            if self.is_in(s, p, end)
                                && let Some(found) = self.matches(s + 1, end + 1)?
                            {
                                return Ok(Some(found));
                            }
                            p = end + 1;
                        }
                        Some(b'+') if !self.is_in(s, p, end) => return Ok(None),
                        Some(b'+') => return self.most(s, p, end, 1),
                        Some(b'*') => return self.most(s, p, end, 0),
                        Some(b'-') => return self.least(s, p, end),
                        _ if self.is_in(s, p, end) => (s, p) = (s + 1, end),
                        _ => return Ok(None),
                    }
                }
            }
        }
    }

    fn most(
        &mut self,
        s: usize,
        p: usize,
        end: usize,
        least: usize,
    ) -> Result<Option<usize>, String> {
        let mut count = 0;
        while self.is_in(s + count, p, end) {
            count += 1;
        }
        self.steps += count;
        loop {
            if let Some(found) = self.matches(s + count, end + 1)? {
                return Ok(Some(found));
            }
            if count <= least {
                return Ok(None);
            }
            count -= 1;
        }
    }

    fn least(&mut self, mut s: usize, p: usize, end: usize) -> Result<Option<usize>, String> {
        loop {
            if let Some(found) = self.matches(s, end + 1)? {
                return Ok(Some(found));
            }
            if !self.is_in(s, p, end) {
                return Ok(None);
            }
            s += 1;
        }
    }

    fn balanced(&mut self, s: usize, p: usize) -> Option<usize> {
        let (open, close) = (self.pattern.source[p + 2], self.pattern.source[p + 3]);
        if self.text.get(s) != Some(&open) {
            return None;
        }
        let mut depth = 1;
        for (at, byte) in self.text.iter().enumerate().skip(s + 1) {
            if *byte == close {
                depth -= 1;
                if depth == 0 {
                    self.steps += at - s;
                    return Some(at + 1);
                }
            } else if *byte == open {
                depth += 1;
            }
        }
        self.steps += self.text.len() - s;
        None
    }

    /// Whether the byte at `s` is of the class at `p..end`.
    fn is_in(&self, s: usize, p: usize, end: usize) -> bool {
        let Some(byte) = self.text.get(s).copied() else { return false };
        let class = &self.pattern.source[p..end];
        match class {
            [b'.'] => true,
            [b'%', letter] => is_of(byte, *letter),
            [b'[', members @ .., b']'] => is_member(byte, members),
            [single, ..] => *single == byte,
            [] => false,
        }
    }
}

fn is_member(byte: u8, members: &[u8]) -> bool {
    let (negated, mut members) = match members {
        [b'^', rest @ ..] => (true, rest),
        all => (false, all),
    };
    let mut found = false;
    while !found {
        (found, members) = match members {
            [] => break,
            [b'%', letter, rest @ ..] => (is_of(byte, *letter), rest),
            [low, b'-', high, rest @ ..] => ((*low..=*high).contains(&byte), rest),
            [single, rest @ ..] => (*single == byte, rest),
        };
    }
    found != negated
}

fn is_of(byte: u8, letter: u8) -> bool {
    let found = match letter.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        b's' => byte.is_ascii_whitespace() || byte == 11,
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        b'z' => byte == 0,
        _ => return letter == byte,
    };
    found != letter.is_ascii_uppercase()
}
