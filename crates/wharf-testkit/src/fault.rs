/// How a stand-in misbehaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Not at all.
    #[default]
    None,
    /// It closes connections without a word.
    HangUp,
    /// It takes the request and never answers.
    Silence,
    /// It answers with this status and nothing else.
    Status(u16),
    /// It sends the client elsewhere.
    Redirect(String),
    /// It answers with this many bytes of nothing.
    Huge(usize),
    /// It answers 200 with this body.
    Body(String),
}
