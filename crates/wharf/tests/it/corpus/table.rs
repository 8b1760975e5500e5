//! The notation of the corpus: text that reads like the exchange it describes.
//!
//! ```text
//! C-030 the first chunk                     a case; `setup …` is one without an id
//! for name in a b                           repeats the case with {name} = a, then b
//! accounts                                  the block's server has accounts: those of `hand::accounts`
//! by hand two_writers                       played by the function of that name in `hand`
//! let S = {L}                               a variable
//! > PATCH {S}                               a request; the lines below belong to it
//! > Content-Range: 0-1023                     a header
//! > body K[0..1024]                           a body with its length (`chunked …`: without; `withheld …`: never sent)
//! < 202                                     the status, or several joined by `|`
//! < Range: 0-1023                             this header once, with this value
//! < has Allow                                 this header, whatever its value
//! < no Location                               not this header
//! < list OCI-Tag: a, b                        this header, repeated or as a comma list
//! < link /v2/x?n=2&last=b                     the next page, parameters in any order
//! < body K                                    these bytes
//! < json {…}                                  this JSON value
//! < errors A B                                these error codes, in this order
//! < details a b                               these error details, in any order
//! < token anonymous repository:a:pull,push    a token of this access; `refresh`: and one to refresh it with
//! < parts K 0-9 100-109                       a multipart body of these ranges of K
//! ```
//!
//! A body is a fixture, a slice of one (`K[0..10]`), `"text"`, several joined by ` + `, `padded N` (a manifest of N
//! bytes), or `raw` and the rest of the line. `{…}` stands for a value of `World`.

/// One block: its server's settings and its cases in order.
#[derive(Debug, Default)]
pub struct Block {
    /// `SECTION.KEY=VALUE` of the configuration.
    pub settings: Vec<String>,
    /// Whether the server has accounts.
    pub accounts: bool,
    pub cases: Vec<Case>,
}

/// One case of the corpus, or the set-up of a block.
#[derive(Debug, Default)]
pub struct Case {
    /// `C-nnn`; with `/part` if it is half of one; `setup`.
    pub id: String,
    pub title: String,
    /// Variable and values that the case is repeated with.
    pub repeat: Option<(String, Vec<String>)>,
    pub steps: Vec<Step>,
}

#[derive(Debug)]
pub enum Step {
    Let { name: String, value: String },
    Hand(String),
    Exchange(Exchange),
}

/// A request and what must be true of its reply.
#[derive(Debug, Default)]
pub struct Exchange {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Option<RequestBody>,
    pub expected: Vec<Expected>,
}

#[derive(Debug)]
pub enum RequestBody {
    Sized(String),
    Chunked(String),
    Withheld(String),
}

#[derive(Debug)]
pub enum Expected {
    Status(Vec<u16>),
    Header { name: String, value: String },
    Has(String),
    No(String),
    List { name: String, values: Vec<String> },
    Link(String),
    Body(String),
    Json(String),
    Errors(Vec<String>),
    Details(Vec<String>),
    Parts { fixture: String, ranges: Vec<String> },
    Token { anonymous: bool, refresh: bool, access: Vec<String> },
}

impl Block {
    /// Reads the notation.
    ///
    /// # Panics
    ///
    /// On a line that is none of it: the corpus is part of the program.
    pub fn parse(text: &str) -> Self {
        let mut block = Self::default();
        for (number, line) in text.lines().enumerate() {
            block.line(line).unwrap_or_else(|| panic!("line {}: `{line}` is not of the corpus's notation", number + 1));
        }
        block
    }

    fn line(&mut self, line: &str) -> Option<()> {
        if line.trim().is_empty() || line.starts_with('#') {
            return Some(());
        }
        if let Some(setting) = line.strip_prefix("server ") {
            self.settings.push(setting.to_owned());
            return Some(());
        }
        if line == "accounts" {
            self.accounts = true;
            return Some(());
        }
        if line.starts_with("C-") || line.starts_with("setup ") {
            let (id, title) = line.split_once(' ')?;
            self.cases.push(Case { id: id.to_owned(), title: title.to_owned(), ..Case::default() });
            return Some(());
        }
        self.cases.last_mut()?.line(line)
    }
}

impl Case {
    fn line(&mut self, line: &str) -> Option<()> {
        if let Some(repeat) = line.strip_prefix("for ") {
            let (name, values) = repeat.split_once(" in ")?;
            self.repeat = Some((name.to_owned(), words(values)));
        } else if let Some(binding) = line.strip_prefix("let ") {
            let (name, value) = binding.split_once(" = ")?;
            self.steps.push(Step::Let { name: name.to_owned(), value: value.to_owned() });
        } else if let Some(function) = line.strip_prefix("by hand ") {
            self.steps.push(Step::Hand(function.to_owned()));
        } else if let Some(request) = line.strip_prefix("> ") {
            return self.request(request);
        } else {
            let expected = Expected::parse(line.strip_prefix("< ")?)?;
            self.exchange()?.expected.push(expected);
        }
        Some(())
    }

    fn request(&mut self, line: &str) -> Option<()> {
        let (first, rest) = line.split_once(' ')?;
        if first.bytes().all(|byte| byte.is_ascii_uppercase()) {
            let exchange = Exchange { method: first.to_owned(), target: rest.to_owned(), ..Exchange::default() };
            self.steps.push(Step::Exchange(exchange));
            return Some(());
        }
        let exchange = self.exchange()?;
        match first {
            "body" => exchange.body = Some(RequestBody::Sized(rest.to_owned())),
            "withheld" => exchange.body = Some(RequestBody::Withheld(rest.to_owned())),
            "chunked" => exchange.body = Some(RequestBody::Chunked(rest.to_owned())),
            name => exchange.headers.push((name.strip_suffix(':')?.to_owned(), rest.to_owned())),
        }
        Some(())
    }

    fn exchange(&mut self) -> Option<&mut Exchange> {
        match self.steps.last_mut()? {
            Step::Exchange(exchange) => Some(exchange),
            _ => None,
        }
    }
}

impl Expected {
    fn parse(line: &str) -> Option<Self> {
        let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
        Some(match first {
            "has" => Self::Has(rest.to_owned()),
            "no" => Self::No(rest.to_owned()),
            "list" => {
                let (name, values) = rest.split_once(": ")?;
                Self::List { name: name.to_owned(), values: values.split(", ").map(str::to_owned).collect() }
            }
            "link" => Self::Link(rest.to_owned()),
            "body" => Self::Body(rest.to_owned()),
            "json" => Self::Json(rest.to_owned()),
            "errors" => Self::Errors(words(rest)),
            "details" => Self::Details(words(rest)),
            "parts" => {
                let (fixture, ranges) = rest.split_once(' ')?;
                Self::Parts { fixture: fixture.to_owned(), ranges: words(ranges) }
            }
            "token" => {
                let (words, access): (Vec<_>, Vec<_>) = words(rest).into_iter().partition(|word| !word.contains(':'));
                let says = |wanted: &str| words.iter().any(|word| word == wanted);
                Self::Token { anonymous: says("anonymous"), refresh: says("refresh"), access }
            }
            status if status.starts_with(|c: char| c.is_ascii_digit()) => {
                Self::Status(status.split('|').map(str::parse).collect::<Result<_, _>>().ok()?)
            }
            name => Self::Header { name: name.strip_suffix(':')?.to_owned(), value: rest.to_owned() },
        })
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}
