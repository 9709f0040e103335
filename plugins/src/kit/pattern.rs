//! Lua's patterns (Lua 5.1 reference manual, 5.4.1), bounded: a match that backtracks without end
//! stops when its caller has had enough.
//!
//! A crate for them exists; it reads through raw pointers and panics where a pattern proves bad, so
//! neither it nor the bytes of a request could be let near each other. Lua's own matcher is one
//! instruction to the machine, so nothing would interrupt it.

/// Captures a pattern may have, `LUA_MAXCAPTURES`.
const MOST_CAPTURES: usize = 32;
/// Calls within calls, `MAXCCALLS`.
const DEEPEST: usize = 200;
/// Steps between two questions whether to go on.
pub(crate) const STEPS: u32 = 16_384;
const ESCAPE: u8 = b'%';

/// Why a pattern does not work.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Lua's text for a malformed pattern.
    Malformed(String),
    /// The caller has had enough.
    Stopped,
}

type Matched<T> = Result<T, Fault>;

/// One capture: where it is, or only where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Capture {
    /// From, to.
    Span(usize, usize),
    /// `()`: a place.
    Place(usize),
    Open(usize),
}

/// A match: from, to, captures.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) captures: Vec<Capture>,
}

/// The first match at or after `from`. `goes_on` is asked every [`STEPS`] steps.
///
/// # Errors
///
/// A malformed pattern, or that it did not go on.
pub(crate) fn find(
    subject: &[u8],
    pattern: &[u8],
    from: usize,
    goes_on: &mut dyn FnMut() -> bool,
) -> Matched<Option<Found>> {
    let anchored = pattern.first() == Some(&b'^');
    let pattern = if anchored { &pattern[1..] } else { pattern };
    let captures = Vec::new();
    let mut matcher = Matcher { subject, pattern, captures, depth: 0, steps: 0, goes_on };
    for start in from..=subject.len() {
        matcher.captures.clear();
        matcher.step()?;
        if let Some(end) = matcher.at(start, 0)? {
            return Ok(Some(Found { start, end, captures: matcher.captures }));
        }
        if anchored {
            break;
        }
    }
    Ok(None)
}

/// Checks a pattern before there is anything to match: a match finds only the faults it comes by.
///
/// # Errors
///
/// Lua's text for a malformed one.
pub(crate) fn check(pattern: &[u8]) -> Result<(), String> {
    let pattern = pattern.strip_prefix(b"^").unwrap_or(pattern);
    let matcher = Matcher {
        subject: b"",
        pattern,
        captures: Vec::new(),
        depth: 0,
        steps: 0,
        goes_on: &mut || true,
    };
    let told = |fault| match fault {
        Fault::Malformed(text) => text,
        Fault::Stopped => "pattern takes too long".to_owned(),
    };
    let (mut at, mut open, mut closed) = (0, Vec::new(), Vec::new());
    while at < pattern.len() {
        match (pattern[at], pattern.get(at + 1)) {
            (b'(', _) => {
                open.push(closed.len() + open.len());
                at += 1;
            }
            (b')', _) => {
                closed.push(open.pop().ok_or("invalid pattern capture")?);
                at += 1;
            }
            (ESCAPE, Some(b'b')) if at + 3 < pattern.len() => at += 4,
            (ESCAPE, Some(b'b')) => return Err("unbalanced pattern".into()),
            (ESCAPE, Some(b'f')) if pattern.get(at + 2) == Some(&b'[') => at += 2,
            (ESCAPE, Some(b'f')) => return Err("missing '[' after '%f' in pattern".into()),
            (ESCAPE, Some(digit)) if digit.is_ascii_digit() => {
                let wanted = usize::from(digit - b'0');
                if wanted == 0 || !closed.contains(&(wanted - 1)) {
                    return Err("invalid capture index".into());
                }
                at += 2;
            }
            _ => at = matcher.item_end(at).map_err(told)?,
        }
    }
    match (open.is_empty(), closed.len() > MOST_CAPTURES) {
        (false, _) => Err("unfinished capture".into()),
        (true, true) => Err("too many captures".into()),
        (true, false) => Ok(()),
    }
}

/// Whether a text has no special characters: then it is looked for as it is.
pub(crate) fn is_plain(pattern: &[u8]) -> bool {
    !pattern.iter().any(|byte| b"^$*+?.([%-".contains(byte))
}

struct Matcher<'t> {
    subject: &'t [u8],
    pattern: &'t [u8],
    captures: Vec<Capture>,
    depth: usize,
    steps: u32,
    goes_on: &'t mut dyn FnMut() -> bool,
}

fn malformed<T>(text: &str) -> Matched<T> {
    Err(Fault::Malformed(text.to_owned()))
}

impl Matcher<'_> {
    fn step(&mut self) -> Matched<()> {
        self.steps += 1;
        if self.steps >= STEPS {
            self.steps = 0;
            if !(self.goes_on)() {
                return Err(Fault::Stopped);
            }
        }
        Ok(())
    }

    /// Matches the pattern from `p` at `s`; gives where the match ends.
    fn at(&mut self, s: usize, p: usize) -> Matched<Option<usize>> {
        if self.depth >= DEEPEST {
            return malformed("pattern too complex");
        }
        self.depth += 1;
        let end = self.run(s, p);
        self.depth -= 1;
        end
    }

    fn run(&mut self, mut s: usize, mut p: usize) -> Matched<Option<usize>> {
        loop {
            self.step()?;
            let Some(&first) = self.pattern.get(p) else { return Ok(Some(s)) };
            match (first, self.pattern.get(p + 1)) {
                (b'(', Some(b')')) => return self.open(s, p + 2, Capture::Place(s)),
                (b'(', _) => return self.open(s, p + 1, Capture::Open(s)),
                (b')', _) => return self.close(s, p + 1),
                (b'$', None) => return Ok((s == self.subject.len()).then_some(s)),
                (ESCAPE, Some(b'b')) => match self.balanced(s, p + 2)? {
                    Some(end) => (s, p) = (end, p + 4),
                    None => return Ok(None),
                },
                (ESCAPE, Some(b'f')) => {
                    p += 2;
                    if self.pattern.get(p) != Some(&b'[') {
                        return malformed("missing '[' after '%f' in pattern");
                    }
                    let end = self.item_end(p)?;
                    let before = if s == 0 { 0 } else { self.subject[s - 1] };
                    let here = self.subject.get(s).copied().unwrap_or(0);
                    if self.in_set(before, p, end - 1) || !self.in_set(here, p, end - 1) {
                        return Ok(None);
                    }
                    p = end;
                }
                (ESCAPE, Some(digit)) if digit.is_ascii_digit() => {
                    match self.repeated(s, *digit)? {
                        Some(end) => (s, p) = (end, p + 2),
                        None => return Ok(None),
                    }
                }
                _ => {
                    let end = self.item_end(p)?;
                    match self.pattern.get(end) {
                        Some(b'?') => {
                            if self.one(s, p, end)
                                && let Some(done) = self.at(s + 1, end + 1)?
                            {
                                return Ok(Some(done));
                            }
                            p = end + 1;
                        }
                        Some(b'+') => {
                            let starts = self.one(s, p, end);
                            return if starts { self.most(s + 1, p, end) } else { Ok(None) };
                        }
                        Some(b'*') => return self.most(s, p, end),
                        Some(b'-') => return self.least(s, p, end),
                        _ => {
                            if !self.one(s, p, end) {
                                return Ok(None);
                            }
                            (s, p) = (s + 1, end);
                        }
                    }
                }
            }
        }
    }

    /// As many as there are, then fewer.
    fn most(&mut self, s: usize, p: usize, end: usize) -> Matched<Option<usize>> {
        let mut count = 0;
        while self.one(s + count, p, end) {
            self.step()?;
            count += 1;
        }
        loop {
            if let Some(done) = self.at(s + count, end + 1)? {
                return Ok(Some(done));
            }
            if count == 0 {
                return Ok(None);
            }
            count -= 1;
        }
    }

    /// As few as do.
    fn least(&mut self, mut s: usize, p: usize, end: usize) -> Matched<Option<usize>> {
        loop {
            if let Some(done) = self.at(s, end + 1)? {
                return Ok(Some(done));
            }
            if !self.one(s, p, end) {
                return Ok(None);
            }
            s += 1;
        }
    }

    fn open(&mut self, s: usize, p: usize, capture: Capture) -> Matched<Option<usize>> {
        if self.captures.len() >= MOST_CAPTURES {
            return malformed("too many captures");
        }
        self.captures.push(capture);
        let level = self.captures.len();
        let end = self.at(s, p)?;
        if end.is_none() {
            self.captures.truncate(level - 1);
        }
        Ok(end)
    }

    fn close(&mut self, s: usize, p: usize) -> Matched<Option<usize>> {
        let open = self.captures.iter().rposition(|one| matches!(one, Capture::Open(_)));
        let Some(index) = open else { return malformed("invalid pattern capture") };
        let Capture::Open(from) = self.captures[index] else { return Ok(None) };
        self.captures[index] = Capture::Span(from, s);
        let end = self.at(s, p)?;
        if end.is_none() {
            self.captures[index] = Capture::Open(from);
        }
        Ok(end)
    }

    fn repeated(&self, s: usize, digit: u8) -> Matched<Option<usize>> {
        let known = usize::from(digit).checked_sub(usize::from(b'1'));
        let Some(Capture::Span(from, to)) = known.and_then(|index| self.captures.get(index)) else {
            return malformed("invalid capture index");
        };
        let wanted = &self.subject[*from..*to];
        Ok(self.subject[s..].starts_with(wanted).then(|| s + wanted.len()))
    }

    fn balanced(&mut self, s: usize, p: usize) -> Matched<Option<usize>> {
        let (Some(&opens), Some(&closes)) = (self.pattern.get(p), self.pattern.get(p + 1)) else {
            return malformed("unbalanced pattern");
        };
        if self.subject.get(s) != Some(&opens) {
            return Ok(None);
        }
        let mut depth = 1_usize;
        for (index, &byte) in self.subject.iter().enumerate().skip(s + 1) {
            self.step()?;
            if byte == closes {
                depth -= 1;
                if depth == 0 {
                    return Ok(Some(index + 1));
                }
            } else if byte == opens {
                depth += 1;
            }
        }
        Ok(None)
    }

    /// Where the single-character item at `p` ends.
    fn item_end(&self, p: usize) -> Matched<usize> {
        match self.pattern.get(p) {
            Some(&ESCAPE) if p + 1 >= self.pattern.len() => {
                malformed("malformed pattern (ends with '%')")
            }
            Some(&ESCAPE) => Ok(p + 2),
            Some(b'[') => {
                let mut at = p + 1;
                if self.pattern.get(at) == Some(&b'^') {
                    at += 1;
                }
                // The first character after `[` or `[^` is in the set, whatever it is.
                loop {
                    match self.pattern.get(at) {
                        None => return malformed("malformed pattern (missing ']')"),
                        Some(&ESCAPE) => at += 2,
                        Some(_) => at += 1,
                    }
                    if self.pattern.get(at) == Some(&b']') {
                        return Ok(at + 1);
                    }
                }
            }
            _ => Ok(p + 1),
        }
    }

    /// Whether the item from `p` to `end` takes the character at `s`.
    fn one(&self, s: usize, p: usize, end: usize) -> bool {
        let Some(&byte) = self.subject.get(s) else { return false };
        match self.pattern[p] {
            b'.' => true,
            ESCAPE => is_class(byte, self.pattern[p + 1]),
            b'[' => self.in_set(byte, p, end - 1),
            literal => literal == byte,
        }
    }

    /// Whether a character is in the set whose brackets are at `p` and `end`.
    fn in_set(&self, byte: u8, p: usize, end: usize) -> bool {
        let mut at = p + 1;
        let negated = self.pattern.get(at) == Some(&b'^');
        if negated {
            at += 1;
        }
        while at < end {
            let first = self.pattern[at];
            if first == ESCAPE {
                at += 1;
                if self.pattern.get(at).is_some_and(|class| is_class(byte, *class)) {
                    return !negated;
                }
                at += 1;
            } else if self.pattern.get(at + 1) == Some(&b'-') && at + 2 < end {
                if (first..=self.pattern[at + 2]).contains(&byte) {
                    return !negated;
                }
                at += 3;
            } else {
                if first == byte {
                    return !negated;
                }
                at += 1;
            }
        }
        negated
    }
}

/// `%a` and its like; an upper-case letter is the opposite, what is no class is itself.
fn is_class(byte: u8, class: u8) -> bool {
    let within = match class.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'g' => byte.is_ascii_graphic(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        b's' => byte.is_ascii_whitespace() || byte == 0x0b,
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        b'z' => byte == 0,
        _ => return class == byte,
    };
    within != class.is_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::{Capture, Fault, Found, check as checked};

    fn find(subject: &[u8], pattern: &[u8], from: usize) -> Result<Option<Found>, Fault> {
        super::find(subject, pattern, from, &mut || true)
    }

    fn check(subject: &str, pattern: &str, wanted: Option<(usize, usize)>) {
        let found = find(subject.as_bytes(), pattern.as_bytes(), 0).expect(pattern);
        assert_eq!(found.map(|found| (found.start, found.end)), wanted, "{subject} {pattern}");
    }

    #[test]
    fn what_matches() {
        check("hello world", "o w", Some((4, 7)));
        check("hello", "l+", Some((2, 4)));
        check("hello", "^ello", None);
        check("hello", "l*$", Some((5, 5)));
        check("hello", "o$", Some((4, 5)));
        check("key = value", "(%w+)%s*=%s*(%w+)", Some((0, 11)));
        check("<<a>b>", "<.->", Some((0, 4)));
        check("f(a(b)c)d", "%b()", Some((1, 8)));
        check("THE (quick) fox", "%f[%a]%a+%f[%A]", Some((0, 3)));
        check("x]y", "[]]", Some((1, 2)));
        check("x-y", "[a%-z]", Some((1, 2)));
        check("5", "[^0-4]", Some((0, 1)));
        check("aXa", "(a)X%1", Some((0, 3)));
        check("", "", Some((0, 0)));
        check("a.b", "%.", Some((1, 2)));
        check("ab12", "%a?%d%d", Some((1, 4)));
    }

    #[test]
    fn captures_are_spans_and_places() {
        let found = find(b"a=1", b"()(%a)=(%d)()", 0).expect("well formed").expect("a match");
        assert_eq!(
            found.captures,
            [Capture::Place(0), Capture::Span(0, 1), Capture::Span(2, 3), Capture::Place(3)]
        );
    }

    #[test]
    fn malformed_patterns_are_told() {
        for (pattern, text) in [
            ("%", "malformed pattern (ends with '%')"),
            ("[a", "malformed pattern (missing ']')"),
            ("a)", "invalid pattern capture"),
            ("%1", "invalid capture index"),
            ("%b(", "unbalanced pattern"),
            ("%fa", "missing '[' after '%f' in pattern"),
        ] {
            let wanted = Fault::Malformed(text.to_owned());
            assert_eq!(find(b"a(a", pattern.as_bytes(), 0), Err(wanted), "{pattern}");
            assert_eq!(checked(pattern.as_bytes()), Err(text.to_owned()), "{pattern}");
        }
        assert_eq!(checked(b"("), Err("unfinished capture".to_owned()));
        for good in ["", "^a$", "[]]", "%f[%a]%a+", "(()%b())", "(a)%1"] {
            assert_eq!(checked(good.as_bytes()), Ok(()), "{good}");
        }
    }

    #[test]
    fn a_match_ends_when_its_caller_has_had_enough() {
        let text = vec![b'a'; 5000];
        let mut turns = 0;
        let mut goes_on = || {
            turns += 1;
            turns < 3
        };
        let found = super::find(&text, b"a-a-a-a-a-b", 0, &mut goes_on);
        assert_eq!((found, turns), (Err(Fault::Stopped), 3));
    }
}
