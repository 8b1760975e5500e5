use std::fmt;
use std::str::FromStr;

/// How many tags a finding names.
pub(super) const AFFECTED_MAX: u32 = 10;

/// Declares the invariants: one list, shared by findings, repairs and the documents.
macro_rules! classes {
    ($($(#[$doc:meta])* $name:ident = $number:literal $text:literal;)+) => {
        /// An invariant of what is stored, by its number in `reliability` §12.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Class {$(
            $(#[$doc])*
            $name,
        )+}

        impl Class {
            /// All that are checked.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// Its number, as `I-01`.
            pub const fn as_str(self) -> &'static str {
                match self {$(Self::$name => $number,)+}
            }

            /// What holds if all is well.
            pub const fn says(self) -> &'static str {
                match self {$(Self::$name => $text,)+}
            }
        }
    };
}

classes! {
    /// A live blob has its file.
    ContentThere = "I-01" "a blob that may be served has its file, with the recorded size";
    /// Its bytes are right.
    ContentIntact = "I-02" "the bytes of a blob hash to its digest";
    /// A manifest's bytes are right.
    ManifestIntact = "I-03" "the bytes of a manifest hash to its digest and say what its media type says";
    /// Its rows agree with them.
    ManifestReferences = "I-04" "what is recorded of a manifest is what its bytes say";
    /// What it names can be served.
    ReferencedLive = "I-05" "a blob that a manifest names can be served";
    /// Associations are of content that is there.
    LinkedLive = "I-06" "a repository's blob can be served; content that is to go belongs to none";
    /// What nothing needs is looked at by the collector.
    Reviewed = "I-07" "what no manifest names is waiting for the collector";
    /// Tags point at something.
    TagTarget = "I-08" "a tag points at a manifest of its repository";
    /// Children are there.
    Children = "I-09" "what an index lists is there";
    /// Notes of removal name content.
    Removals = "I-10" "what is noted to be removed is content";
    /// Sessions can go on.
    Uploads = "I-11" "an open upload has the bytes that it is recorded with";
    /// Content has a row.
    Orphans = "I-12" "content belongs to a row, and what is staged to an upload";
    /// Nothing else is there.
    Foreign = "I-13" "the data directory holds nothing else and is its owner's alone";
    /// The history of tags fits.
    History = "I-15" "the history of a tag leads to what it points at";
    /// The audit log is whole.
    Audit = "I-16" "the audit log is as it was sealed";
    /// Deleted manifests can be restored.
    Restorable = "I-18" "a deleted manifest can be restored while it says so";
    /// The database is sound.
    Database = "I-19" "the database file is sound";
    /// It belongs to the store.
    Store = "I-20" "database and content belong together";
    /// Rules can be read.
    Rules = "I-21" "every rule can be read";
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// There is no such class.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{:?} is not a class of findings; they are I-01 to I-21", .0)]
pub struct UnknownClass(String);

impl FromStr for Class {
    type Err = UnknownClass;

    fn from_str(text: &str) -> Result<Self, UnknownClass> {
        let found = Self::ALL.iter().copied().find(|class| class.as_str().eq_ignore_ascii_case(text));
        found.ok_or_else(|| UnknownClass(text.to_owned()))
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing, and allowed.
    Note,
    /// Not as it should be, and nothing is lost by it.
    Warning,
    /// Something that was acknowledged cannot be served, or contradicts itself.
    Error,
}

impl Severity {
    /// In one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which invariant does not hold.
    pub class: Class,
    /// How bad that is.
    pub severity: Severity,
    /// What it is about: a digest, `repository:tag`, a path in the data directory.
    pub subject: String,
    /// What is wrong, as a sentence without a full stop.
    pub problem: String,
    /// Tags, or manifests without one, that cannot be pulled because of it; the first few.
    pub affected: Vec<String>,
    /// What to do.
    pub advice: String,
    /// What the repair that was asked for does, in the past tense.
    pub repair: Option<&'static str>,
    /// Whether it has been done.
    pub repaired: bool,
}

impl Finding {
    pub(super) fn new(
        class: Class,
        severity: Severity,
        subject: impl Into<String>,
        problem: impl Into<String>,
    ) -> Self {
        let (subject, problem) = (subject.into(), problem.into());
        Self {
            class,
            severity,
            subject,
            problem,
            affected: Vec::new(),
            advice: String::new(),
            repair: None,
            repaired: false,
        }
    }

    pub(super) fn error(class: Class, subject: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::new(class, Severity::Error, subject, problem)
    }

    pub(super) fn warning(class: Class, subject: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::new(class, Severity::Warning, subject, problem)
    }

    pub(super) fn note(class: Class, subject: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::new(class, Severity::Note, subject, problem)
    }

    pub(super) fn affecting(mut self, affected: Vec<String>) -> Self {
        self.affected = affected;
        self
    }

    pub(super) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = advice.into();
        self
    }
}
