//! Repository patterns (F-05): Go's `path.Match`, exactly, and a whole segment `**`.
//!
//! A pattern is split at its `**` segments into groups, each of which `path.Match` could read by itself. A group takes
//! whole segments of the name, and as few as it can: what is left over, the next `**` takes. Within a group `*` behaves
//! as in Go: the first place where what follows it fits is the one that counts. Nothing backtracks further than that, so
//! the time is bounded by the lengths of pattern and name multiplied.

use std::fmt;
use std::str::{Chars, FromStr};

/// The longest pattern, in bytes (security requirements, §3.4).
pub const PATTERN_MAX_BYTES: usize = 512;

/// Which repositories a rule is about. Prints as the text it was parsed from.
///
/// `*` stands for any characters but `/`, `?` for one of them, `[a-z]` and `[^a-z]` for one of a class, `\` takes the
/// meaning from the character behind it. A segment that is `**` stands for any number of segments, also none; at the end
/// of a pattern for at least one: `team/**` is everything below `team`, and not `team` itself.
///
/// # Source
///
/// F-05, S-005; Go, `path.Match`.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern {
    text: Box<str>,
    groups: Box<[Group]>,
}

/// What stands between two `**`; empty at an end of the pattern where a `**` stands.
type Group = Box<[Token]>;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Star,
    Question,
    Char(char),
    Class { negated: bool, ranges: Box<[(char, char)]> },
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pattern:?} is not a pattern: {problem}")]
pub struct PatternError {
    /// The text, or its beginning.
    pub pattern: String,
    /// What is wrong.
    pub problem: &'static str,
}

impl Pattern {
    /// The text it was parsed from.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it matches the whole of `name`.
    pub fn matches(&self, name: &str) -> bool {
        match &*self.groups {
            [only] => group_matches(only, name),
            groups => groups_match(groups, name),
        }
    }

    /// The first segment, if only names that begin with it can match.
    pub(crate) fn first_segment(&self) -> Option<String> {
        let mut segment = String::new();
        for token in self.groups.first()?.iter() {
            match token {
                Token::Char('/') => return Some(segment),
                Token::Char(c) => segment.push(*c),
                // A class may match the slash that ends the segment.
                _ => return None,
            }
        }
        // At the end of a group the segment ends too: what follows is a `**`, or nothing.
        (!segment.is_empty()).then_some(segment)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?})", self.text)
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let failed = |problem| PatternError { pattern: text.chars().take(100).collect(), problem };
        if text.is_empty() {
            return Err(failed("it is empty"));
        }
        if text.len() > PATTERN_MAX_BYTES {
            return Err(failed("it has more than 512 bytes"));
        }
        let groups = split(&tokens(text).map_err(failed)?);
        Ok(Self { text: text.into(), groups })
    }
}

/// The characters of a pattern, or what stands for several of them.
fn tokens(text: &str) -> Result<Vec<Token>, &'static str> {
    let mut tokens = Vec::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        tokens.push(match c {
            '*' => Token::Star,
            '?' => Token::Question,
            '[' => class(&mut rest)?,
            '\\' => Token::Char(rest.next().ok_or("it ends with a backslash that takes the meaning from nothing")?),
            c => Token::Char(c),
        });
    }
    Ok(tokens)
}

/// The class behind a `[`. As in Go, `]` and `-` stand for themselves only behind a backslash.
fn class(rest: &mut Chars<'_>) -> Result<Token, &'static str> {
    let negated = rest.as_str().starts_with('^');
    if negated {
        rest.next();
    }
    let mut ranges = Vec::new();
    loop {
        if rest.as_str().starts_with(']') && !ranges.is_empty() {
            rest.next();
            return Ok(Token::Class { negated, ranges: ranges.into() });
        }
        let low = class_char(rest)?;
        let mut high = low;
        if rest.as_str().starts_with('-') {
            rest.next();
            high = class_char(rest)?;
        }
        ranges.push((low, high));
    }
}

fn class_char(rest: &mut Chars<'_>) -> Result<char, &'static str> {
    let c = match rest.next() {
        None => return Err("a class has no end"),
        Some('-') => return Err("a '-' in a class stands between two characters, or behind a backslash"),
        Some(']') => return Err("a class is empty, or a ']' in it is not behind a backslash"),
        Some('\\') => rest.next().ok_or("a class has no end")?,
        Some(c) => c,
    };
    if rest.as_str().is_empty() { Err("a class has no end") } else { Ok(c) }
}

/// Splits at the segments that are `**`. Separators beside one belong to it.
fn split(tokens: &[Token]) -> Box<[Group]> {
    let segments: Vec<&[Token]> = tokens.split(|token| *token == Token::Char('/')).collect();
    let mut groups: Vec<Vec<&[Token]>> = vec![Vec::new()];
    for segment in segments {
        match segment {
            [Token::Star, Token::Star] => groups.push(Vec::new()),
            _ => groups.last_mut().expect("there is always a last group").push(segment),
        }
    }
    // `**/**` is one `**`: the group between them holds nothing, and would ask for an empty segment.
    let last = groups.len() - 1;
    let kept = groups.into_iter().enumerate().filter(|(at, group)| *at == 0 || *at == last || !group.is_empty());
    kept.map(|(_, group)| group.join(&Token::Char('/')).into()).collect()
}

/// The groups around at least one `**`.
fn groups_match(groups: &[Group], name: &str) -> bool {
    let (Some((first, rest)), Some(last)) = (groups.split_first(), groups.last()) else { return false };
    let middle = &rest[..rest.len().saturating_sub(1)];
    let Some(mut rest) = (if first.is_empty() { Some(name) } else { prefix(first, name) }) else { return false };
    for group in middle {
        let found = starts(rest).find_map(|start| prefix(group, start));
        let Some(after) = found else { return false };
        rest = after;
    }
    if last.is_empty() {
        // The `**` at the end takes at least one segment.
        return !rest.is_empty();
    }
    starts(rest).any(|start| group_matches(last, start))
}

/// What is left of `name` behind the fewest whole segments that `group` matches; empty if it matches all of them.
fn prefix<'n>(group: &[Token], name: &'n str) -> Option<&'n str> {
    let ends = name.match_indices('/').map(|(at, _)| at).chain([name.len()]);
    ends.into_iter().find(|end| group_matches(group, &name[..*end])).map(|end| name.get(end + 1..).unwrap_or(""))
}

/// `name` from each of its segments on. Nothing, if nothing is left.
fn starts(name: &str) -> impl Iterator<Item = &str> {
    let slashes = name.match_indices('/').map(|(at, _)| at + 1);
    std::iter::once(0).chain(slashes).filter(move |_| !name.is_empty()).map(move |at| &name[at..])
}

/// `path.Match` of Go on tokens: between stars stand chunks, and each takes the first place where it fits.
fn group_matches(group: &[Token], mut name: &str) -> bool {
    let mut rest = group;
    while !rest.is_empty() {
        let stars = rest.iter().take_while(|token| **token == Token::Star).count();
        rest = &rest[stars..];
        let length = rest.iter().position(|token| *token == Token::Star).unwrap_or(rest.len());
        let (chunk, behind) = rest.split_at(length);
        if stars > 0 && chunk.is_empty() {
            return !name.contains('/');
        }
        let fits = |after: &&str| !behind.is_empty() || after.is_empty();
        let after = match stars {
            0 => chunk_matches(chunk, name).filter(fits),
            _ => places(name).find_map(|place| chunk_matches(chunk, place).filter(fits)),
        };
        let Some(after) = after else { return false };
        (name, rest) = (after, behind);
    }
    name.is_empty()
}

/// Where a chunk behind a star may begin: here, and behind every character up to the next slash.
fn places(name: &str) -> impl Iterator<Item = &str> {
    let within = name.find('/').unwrap_or(name.len());
    name.char_indices().map(|(at, _)| at).chain([name.len()]).take_while(move |at| *at <= within).map(|at| &name[at..])
}

/// What is left of `name` behind the chunk, if it begins with it. There is no star in a chunk.
fn chunk_matches<'n>(chunk: &[Token], name: &'n str) -> Option<&'n str> {
    let mut rest = name.chars();
    for token in chunk {
        let found = rest.next()?;
        let fits = match token {
            Token::Char(c) => *c == found,
            Token::Question => found != '/',
            Token::Class { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&found)) != *negated
            }
            Token::Star => false,
        };
        if !fits {
            return None;
        }
    }
    Some(rest.as_str())
}
