use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use wharf_oci::{Digest, RepositoryName};

use super::{Result, Tx};

/// What a transaction keeps others from changing, or from looking at, until its end.
///
/// SQLite has one writer, and nobody can come between two statements of a change. On PostgreSQL changes run beside each
/// other, so each says *before it looks* what its decisions rest on. Whoever could change that says so too, and waits. So any
/// two changes that matter to each other run one after the other, and each statement after the locks sees all that was
/// committed before (`read committed`: every statement has a snapshot of its own, R-016). The locks stand for:
///
/// | lock | held shared by | held alone by |
/// |---|---|---|
/// | a repository | | whoever changes its manifests or tags |
/// | content | whoever adds or takes away a reference or an association, and needs it to stay what it is | whoever changes its state, or judges whether anything needs it |
/// | holds | whoever forgets content | whoever sets a hold |
/// | identities, rules, keys, uploads, settings, seals of the audit log | | whoever changes them and must count or compare first |
///
/// They are taken in one statement and in one order (class, then key), so they cannot deadlock among themselves; rows come
/// after them, and the place in the audit log (`next_audit_sequence`) last.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    wanted: BTreeMap<(Class, i64), Mode>,
    contents: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Settings,
    Keys,
    Rules,
    Identities,
    UploadsInto,
    UploadsOf,
    Uploads,
    Repository,
    Holds,
    AllContent,
    Content,
    Seals,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mode {
    Shared,
    Alone,
}

/// More content than this is locked as a whole: the server keeps all locks of everybody in a table of fixed size.
const CONTENTS_MAX: usize = 64;

impl Locks {
    /// For whoever changes manifests or tags of a repository.
    pub(crate) fn repository(&mut self, name: &RepositoryName) {
        self.want(Class::Repository, name.as_str(), Mode::Alone);
    }

    /// For whoever needs content to stay what it is, and adds or takes away what it is needed by.
    pub(crate) fn use_contents<'d>(&mut self, digests: impl IntoIterator<Item = &'d Digest>) {
        self.contents(digests, Mode::Shared);
    }

    /// For whoever changes the state of content, or judges whether anything needs it.
    pub(crate) fn change_contents<'d>(&mut self, digests: impl IntoIterator<Item = &'d Digest>) {
        self.contents(digests, Mode::Alone);
    }

    /// For whoever forgets content unless a hold stands.
    pub(crate) fn respect_holds(&mut self) {
        self.want(Class::Holds, "", Mode::Shared);
    }

    /// For whoever sets a hold.
    pub(crate) fn change_holds(&mut self) {
        self.want(Class::Holds, "", Mode::Alone);
    }

    /// For whoever changes accounts and their tokens.
    pub(crate) fn identities(&mut self) {
        self.want(Class::Identities, "", Mode::Alone);
    }

    /// For whoever changes rules.
    pub(crate) fn rules(&mut self) {
        self.want(Class::Rules, "", Mode::Alone);
    }

    /// For whoever changes signing keys.
    pub(crate) fn keys(&mut self) {
        self.want(Class::Keys, "", Mode::Alone);
    }

    /// For whoever counts the open sessions of a repository before one is added.
    pub(crate) fn uploads_into(&mut self, name: &RepositoryName) {
        self.want(Class::UploadsInto, name.as_str(), Mode::Alone);
    }

    /// For whoever counts the open sessions of an owner before one is added.
    pub(crate) fn uploads_of(&mut self, owner: &str) {
        self.want(Class::UploadsOf, owner, Mode::Alone);
    }

    /// For whoever counts all open sessions before one is added.
    pub(crate) fn all_uploads(&mut self) {
        self.want(Class::Uploads, "", Mode::Alone);
    }

    /// For whoever seals the audit log or cuts it.
    pub(crate) fn seals(&mut self) {
        self.want(Class::Seals, "", Mode::Alone);
    }

    /// For whoever changes what the database says about itself.
    pub(crate) fn settings(&mut self) {
        self.want(Class::Settings, "", Mode::Alone);
    }

    fn contents<'d>(&mut self, digests: impl IntoIterator<Item = &'d Digest>, mode: Mode) {
        for digest in digests {
            self.want(Class::Content, &digest.to_string(), mode);
            self.contents += 1;
        }
    }

    fn want(&mut self, class: Class, what: &str, mode: Mode) {
        let known = self.wanted.entry((class, key(class, what))).or_insert(mode);
        *known = mode.max(*known);
    }

    /// The keys in the order in which they are to be taken, and whether each is shared.
    pub(crate) fn in_order(mut self) -> (Vec<i64>, Vec<bool>) {
        let is_content = |class: Class| class == Class::Content;
        if self.wanted.keys().any(|(class, _)| is_content(*class)) {
            let all = if self.contents > CONTENTS_MAX { Mode::Alone } else { Mode::Shared };
            if all == Mode::Alone {
                self.wanted.retain(|(class, _), _| !is_content(*class));
            }
            self.want(Class::AllContent, "", all);
        }
        self.wanted.into_iter().map(|((_, key), mode)| (key, mode == Mode::Shared)).unzip()
    }
}

/// Two things of one key only wait for each other.
fn key(class: Class, what: &str) -> i64 {
    let hash = Sha256::new().chain_update(format!("{class:?}\n")).chain_update(what).finalize();
    i64::from_be_bytes(hash[..8].try_into().expect("a hash has more than 8 bytes"))
}

impl Tx<'_> {
    /// Waits until nobody else can change what `name_them` names; see [`Locks`]. Whether others may have changed something
    /// since this transaction began: what has been read before is to be read again.
    pub(crate) fn lock(&self, name_them: impl FnOnce(&mut Locks)) -> Result<bool> {
        match *self {
            Self::Sqlite(_) => Ok(false),
            Self::Postgres(session) => {
                let mut locks = Locks::default();
                name_them(&mut locks);
                session.lock(locks)?;
                Ok(true)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use wharf_oci::Algorithm;

    use super::*;

    fn digests(count: usize) -> Vec<Digest> {
        (0..count).map(|number| Digest::of(Algorithm::Sha256, &number.to_be_bytes())).collect()
    }

    #[test]
    fn one_thing_is_locked_once_and_alone_wins() {
        let content = digests(1);
        let mut locks = Locks::default();
        locks.use_contents(&content);
        locks.change_contents(&content);
        locks.use_contents(&content);
        let (keys, shared) = locks.in_order();
        assert_eq!(keys.len(), 2);
        assert_eq!(shared, [true, false], "all content is shared, this one is not");
    }

    #[test]
    fn the_order_does_not_depend_on_who_asks() {
        let content = digests(10);
        let keys = |order: &mut dyn Iterator<Item = &Digest>| {
            let mut locks = Locks::default();
            locks.use_contents(order);
            locks.repository(&"a/b".parse().expect("a name"));
            locks.in_order().0
        };
        let forwards = keys(&mut content.iter());
        assert_eq!(forwards, keys(&mut content.iter().rev()));
        assert_eq!(forwards.len(), 12);
    }

    #[test]
    fn very_many_are_locked_as_a_whole() {
        let content = digests(CONTENTS_MAX + 1);
        let mut locks = Locks::default();
        locks.use_contents(&content);
        let (keys, shared) = locks.in_order();
        assert_eq!((keys.len(), shared), (1, vec![false]));
    }
}
