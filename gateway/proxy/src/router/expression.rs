//! [`Program`]: an expression of a route, compiled to be evaluated without allocating where nothing
//! has to be put into lower case.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use gateway_model::expression::{Expression, Operand, Operator, Test};
use http::HeaderMap;
use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use regex::Regex;

/// What an expression speaks of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    /// `http`, `https`, `tcp`, `tls` or `udp`.
    pub(crate) protocol: &'static str,
    pub(crate) sni: Option<&'a str>,
    pub(crate) source: SocketAddr,
    pub(crate) destination_ip: IpAddr,
    pub(crate) destination_port: u16,
    /// Absent for streams.
    pub(crate) request: Option<RequestParts<'a>>,
}

/// What only requests have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestParts<'a> {
    pub(crate) method: &'a str,
    /// Without its port.
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
    pub(crate) headers: &'a HeaderMap,
}

/// What of the path an expression matched; the last test that did counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Matched {
    /// How many bytes.
    pub(crate) length: usize,
    /// Which of [`Program::regexes`], if one did.
    pub(crate) regex: Option<usize>,
}

/// A compiled expression.
#[derive(Debug)]
pub(crate) struct Program {
    root: Node,
    /// The regular expressions compared with the path.
    regexes: Vec<Regex>,
}

#[derive(Debug)]
enum Node {
    All(Box<[Node]>),
    Any(Box<[Node]>),
    Not(Box<Node>),
    Text {
        field: TextField,
        test: TextTest,
        lower: bool,
        any: bool,
    },
    Number {
        field: NumberField,
        operator: Operator,
        operand: i64,
    },
    Address {
        source: bool,
        operator: Operator,
        range: IpNet,
    },
    /// A field no stream has.
    Never,
}

#[derive(Debug)]
enum TextField {
    Protocol,
    Sni,
    Method,
    Host,
    Path,
    /// Positions of the first and last segment.
    Segments(usize, usize),
    /// Lower case, with underscores.
    Header(Box<str>),
    Query(Box<str>),
}

#[derive(Clone, Copy, Debug)]
enum NumberField {
    SourcePort,
    DestinationPort,
    Segments,
}

#[derive(Debug)]
enum TextTest {
    Plain(Operator, Box<str>),
    /// Of the path, position in [`Program::regexes`].
    PathRegex(usize),
    Regex(Regex),
}

impl Program {
    pub(crate) fn new(expression: &Expression) -> Self {
        let mut regexes = Vec::new();
        let root = compile(expression, &mut regexes);
        Self { root, regexes }
    }

    /// What of the path matched, `None` when the expression does not hold.
    pub(crate) fn matches(&self, subject: &Subject<'_>) -> Option<Matched> {
        let mut matched = Matched::default();
        self.root.holds(self, subject, &mut matched).then_some(matched)
    }

    /// One of the regular expressions compared with the path.
    pub(crate) fn regex(&self, at: usize) -> Option<&Regex> {
        self.regexes.get(at)
    }

    /// What every path that matches begins with, as far as the members of the outermost `&&` tell.
    pub(crate) fn beginning(&self) -> &str {
        let members = match &self.root {
            Node::All(members) => &**members,
            one => std::slice::from_ref(one),
        };
        let known = members.iter().filter_map(|member| match member {
            Node::Text {
                field: TextField::Path,
                test: TextTest::Plain(Operator::Equals | Operator::BeginsWith, text),
                lower: false,
                ..
            } => Some(&**text),
            _ => None,
        });
        known.max_by_key(|text| text.len()).unwrap_or_default()
    }
}

fn compile(expression: &Expression, regexes: &mut Vec<Regex>) -> Node {
    match expression {
        Expression::All(all) => Node::All(all.iter().map(|one| compile(one, regexes)).collect()),
        Expression::Any(any) => Node::Any(any.iter().map(|one| compile(one, regexes)).collect()),
        Expression::Not(one) => Node::Not(Box::new(compile(one, regexes))),
        Expression::Test(test) => compile_test(test, regexes),
    }
}

fn compile_test(test: &Test, regexes: &mut Vec<Regex>) -> Node {
    let Test { field, lower, any, operator, operand } = test;
    match (&**field, operand) {
        ("net.src.ip" | "net.dst.ip", Operand::Address(address)) => Node::Address {
            source: field == "net.src.ip",
            operator: *operator,
            range: IpNet::from(*address),
        },
        ("net.src.ip" | "net.dst.ip", Operand::Range(range)) => {
            Node::Address { source: field == "net.src.ip", operator: *operator, range: *range }
        }
        (name, Operand::Number(operand)) => {
            let field = match name {
                "net.src.port" => NumberField::SourcePort,
                "net.dst.port" => NumberField::DestinationPort,
                _ => NumberField::Segments,
            };
            Node::Number { field, operator: *operator, operand: *operand }
        }
        (name, Operand::Text(text)) => match TextField::named(name) {
            None => Node::Never,
            Some(field) => {
                let test = TextTest::Plain(*operator, text.as_str().into());
                Node::Text { field, test, lower: *lower, any: *any }
            }
        },
        (name, Operand::Regex(regex)) => match TextField::named(name) {
            None => Node::Never,
            Some(field) => {
                let test = match &field {
                    TextField::Path => {
                        regexes.push(regex.clone());
                        TextTest::PathRegex(regexes.len() - 1)
                    }
                    _ => TextTest::Regex(regex.clone()),
                };
                Node::Text { field, test, lower: *lower, any: *any }
            }
        },
        (_, Operand::Address(_) | Operand::Range(_)) => Node::Never,
    }
}

impl TextField {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "net.protocol" => Self::Protocol,
            "tls.sni" => Self::Sni,
            "http.method" => Self::Method,
            "http.host" => Self::Host,
            "http.path" => Self::Path,
            _ => {
                if let Some(header) = name.strip_prefix("http.headers.") {
                    Self::Header(header.to_ascii_lowercase().into())
                } else if let Some(query) = name.strip_prefix("http.queries.") {
                    Self::Query(query.into())
                } else {
                    let range = name.strip_prefix("http.path.segments.")?;
                    let (first, last) = range.split_once('_').unwrap_or((range, range));
                    Self::Segments(first.parse().ok()?, last.parse().ok()?)
                }
            }
        })
    }

    /// Gives `visit` each value the subject has, until it says stop.
    fn values(&self, subject: &Subject<'_>, visit: &mut dyn FnMut(Cow<'_, str>) -> bool) {
        let mut one = |value: Option<&str>| {
            if let Some(value) = value {
                visit(value.into());
            }
        };
        match (self, &subject.request) {
            (Self::Protocol, _) => one(Some(subject.protocol)),
            (Self::Sni, _) => one(subject.sni),
            (_, None) => {}
            (Self::Method, Some(request)) => one(Some(request.method)),
            (Self::Host, Some(request)) => one(Some(request.host)),
            (Self::Path, Some(request)) => one(Some(request.path)),
            (Self::Segments(first, last), Some(request)) => {
                one(segments_between(request.path, *first, *last));
            }
            (Self::Header(name), Some(request)) => {
                let named = request.headers.iter().filter(|(one, _)| is_named(one.as_str(), name));
                // Text that is none fits nothing.
                for value in
                    named.filter_map(|(_, value)| std::str::from_utf8(value.as_bytes()).ok())
                {
                    if !visit(value.into()) {
                        return;
                    }
                }
            }
            (Self::Query(name), Some(request)) => {
                for (_, value) in arguments(request.query).filter(|(one, _)| one == &**name) {
                    if !visit(value) {
                        return;
                    }
                }
            }
        }
    }
}

/// `sent` is in lower case, as a [`http::HeaderName`] is.
fn is_named(sent: &str, name: &str) -> bool {
    let fold = |byte| if byte == b'-' { b'_' } else { byte };
    sent.len() == name.len() && sent.bytes().map(fold).eq(name.bytes().map(fold))
}

fn arguments(query: Option<&str>) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    let parts = query.unwrap_or_default().split('&').filter(|part| !part.is_empty());
    parts.map(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (decoded(name), decoded(value))
    })
}

/// As nginx decodes arguments: `+` is a blank.
fn decoded(text: &str) -> Cow<'_, str> {
    if text.contains('+') {
        let blanks = text.replace('+', " ");
        percent_decode_str(&blanks).decode_utf8_lossy().into_owned().into()
    } else {
        percent_decode_str(text).decode_utf8_lossy()
    }
}

/// The path's segments; empty ones at the end do not count.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    let path = path.strip_prefix('/').unwrap_or(path).trim_end_matches('/');
    path.split('/').filter(|_| !path.is_empty())
}

/// The text from one segment to a later one; `None` when there are fewer.
fn segments_between(path: &str, first: usize, last: usize) -> Option<&str> {
    let mut between = segments(path).skip(first);
    let begin = between.next()?;
    let end = if last > first { between.nth(last - first - 1)? } else { begin };
    let at = |part: &str| part.as_ptr() as usize - path.as_ptr() as usize;
    path.get(at(begin)..at(end) + end.len())
}

impl Node {
    fn holds(&self, program: &Program, subject: &Subject<'_>, matched: &mut Matched) -> bool {
        match self {
            Self::All(all) => all.iter().all(|one| one.holds(program, subject, matched)),
            Self::Any(any) => any.iter().any(|one| one.holds(program, subject, matched)),
            Self::Not(one) => !one.holds(program, subject, matched),
            Self::Never => false,
            Self::Number { field, operator, operand } => {
                let value = match field {
                    NumberField::SourcePort => Some(subject.source.port().into()),
                    NumberField::DestinationPort => Some(subject.destination_port.into()),
                    NumberField::Segments => subject.request.map(|request| {
                        i64::try_from(segments(request.path).count()).unwrap_or(i64::MAX)
                    }),
                };
                value.is_some_and(|value| compare(value, *operator, *operand))
            }
            Self::Address { source, operator, range } => {
                let ip = if *source { subject.source.ip() } else { subject.destination_ip };
                let inside = range.contains(&ip.to_canonical());
                match operator {
                    Operator::NotEquals | Operator::NotIn => !inside,
                    _ => inside,
                }
            }
            Self::Text { field, test, lower, any } => {
                let of_path = matches!(field, TextField::Path);
                let (mut seen, mut outcome) = (false, !any);
                field.values(subject, &mut |value| {
                    seen = true;
                    let value = if *lower { value.to_lowercase().into() } else { value };
                    let held = test.holds(program, &value, of_path.then_some(&mut *matched));
                    let decided = held == *any;
                    if decided {
                        outcome = *any;
                    }
                    !decided
                });
                seen && outcome
            }
        }
    }
}

impl TextTest {
    fn holds(&self, program: &Program, value: &str, matched: Option<&mut Matched>) -> bool {
        let (length, regex) = match self {
            Self::PathRegex(at) => {
                let found = program.regexes.get(*at).and_then(|regex| regex.find(value));
                let Some(found) = found else { return false };
                (Some(found.len()), Some(*at))
            }
            Self::Regex(regex) => return regex.is_match(value),
            Self::Plain(operator, text) => {
                let held = match operator {
                    Operator::Equals => *value == **text,
                    Operator::NotEquals => *value != **text,
                    Operator::BeginsWith => value.starts_with(&**text),
                    Operator::EndsWith => value.ends_with(&**text),
                    Operator::Contains => value.contains(&**text),
                    _ => false,
                };
                if !held {
                    return false;
                }
                let tells = !matches!(operator, Operator::NotEquals | Operator::Contains);
                (tells.then_some(text.len()), None)
            }
        };
        if let (Some(matched), Some(length)) = (matched, length) {
            *matched = Matched { length, regex };
        }
        true
    }
}

fn compare(value: i64, operator: Operator, operand: i64) -> bool {
    match operator {
        Operator::Equals => value == operand,
        Operator::NotEquals => value != operand,
        Operator::Greater => value > operand,
        Operator::GreaterOrEqual => value >= operand,
        Operator::Less => value < operand,
        Operator::LessOrEqual => value <= operand,
        _ => false,
    }
}
