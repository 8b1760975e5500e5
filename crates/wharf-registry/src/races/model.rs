//! The transactions of pushes and of collection as a small machine, in every order in which they can happen
//! (`reliability` §11 A): two repositories, one content, two pushes, a look, everything that is one transaction, the
//! collector, and a crash anywhere. Different contents share nothing but a lock, so one is enough.
//!
//! Beside the machine stand the protections it rests on. Each of them is taken away once, and then the machine must reach
//! a state that may not be.

use std::collections::{HashSet, VecDeque};

/// A protection that is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Without {
    Nothing,
    TheDigestLock,
    TheLockUntilTheRecord,
    TheLookAtReferences,
    TheLookAtOtherAssociations,
    TheStateWhenForgetting,
    TheRowWhenConfirming,
    TheReviewOfADeletion,
    TheReviewOfAPush,
    TheMoveOfTheDueTime,
    TheLookAfterTheReview,
    TheTransactionOfAMount,
    TheTransactionOfAManifest,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Row {
    #[default]
    Absent,
    Live,
    Deleting,
}

/// When the collector looks at an association.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Review {
    #[default]
    None,
    /// Not before a whole grace period has passed.
    Fresh,
    /// Sooner than that.
    Aging,
    Due,
}

/// What a client was told that is still to be kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Told {
    #[default]
    Nothing,
    /// "It is there", and the promise ends before its review is due.
    Covered,
    /// "It is there", and nothing was done about a review that comes too soon.
    Uncovered,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Repository {
    association: bool,
    manifest: bool,
    review: Review,
    told: Told,
    push: Push,
    /// A mount, and the push of a manifest, that have looked and not yet written; only without their transactions.
    mounting: bool,
    naming: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Push {
    #[default]
    Idle,
    Locked,
    Placed,
    Recorded,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Look {
    #[default]
    Idle,
    /// What the first of its two questions was answered: a review that must be moved, or none.
    MustMove(bool),
    /// The same in the wrong order: whether the blob was there.
    Found(bool),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Collector {
    #[default]
    Idle,
    FoundCondemned,
    FoundNote,
    Locked,
    LockedForNote,
    MayRemove,
    Removed,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct State {
    row: Row,
    file: bool,
    note: bool,
    repositories: [Repository; 2],
    look: Look,
    collector: Collector,
}

/// A step that breaks a rule while it is taken.
struct Broken(&'static str);

impl State {
    fn is_locked(&self, without: Without) -> bool {
        if without == Without::TheDigestLock {
            return false;
        }
        let early = without == Without::TheLockUntilTheRecord;
        let holds = |push: Push| push == Push::Locked || (push != Push::Idle && !early);
        self.repositories.iter().any(|r| holds(r.push))
            || !matches!(self.collector, Collector::Idle | Collector::FoundCondemned | Collector::FoundNote)
    }

    fn serves(&self, r: usize) -> bool {
        self.repositories[r].association && self.row == Row::Live
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// A promise that is covered by a new review.
    fn promise(&mut self, r: usize) {
        self.repositories[r].review = Review::Fresh;
        self.repositories[r].told = Told::Covered;
    }

    /// Everything that may happen next.
    fn next(&self, without: Without) -> Result<Vec<Self>, Broken> {
        let mut next = Vec::new();
        for r in 0..2 {
            self.push_steps(r, without, &mut next);
            self.other_steps(r, without, &mut next);
            self.time_passes(r, &mut next);
        }
        // A look at the first repository.
        self.look_steps(without, &mut next);
        self.review_steps(without, &mut next);
        self.removal_steps(without, &mut next)?;
        next.push(self.killed());
        Ok(next)
    }

    /// What was going on is forgotten, with all locks.
    fn killed(&self) -> Self {
        self.with(|s| {
            s.look = Look::Idle;
            s.collector = Collector::Idle;
            for repository in &mut s.repositories {
                (repository.push, repository.mounting, repository.naming) = (Push::Idle, false, false);
            }
        })
    }

    /// Where the collector gets to when the clients are gone and every time has come.
    fn collected(&self) -> Self {
        let mut state = self.killed();
        for here in state.repositories.iter_mut().filter(|here| here.review != Review::None) {
            here.review = Review::Due;
            here.told = Told::Nothing;
        }
        loop {
            let mut next = Vec::new();
            state.review_steps(Without::Nothing, &mut next);
            assert!(state.removal_steps(Without::Nothing, &mut next).is_ok());
            match next.first() {
                Some(first) => state = *first,
                None => return state,
            }
        }
    }

    fn push_steps(&self, r: usize, without: Without, next: &mut Vec<Self>) {
        let to = |push: Push| self.with(|s| s.repositories[r].push = push);
        match self.repositories[r].push {
            Push::Idle if !self.is_locked(without) => next.push(to(Push::Locked)),
            Push::Idle => {}
            // What is there already is kept, anything else is replaced.
            Push::Locked => next.push(to(Push::Placed).with(|s| s.file = true)),
            Push::Placed => {
                let recorded = to(Push::Recorded).with(|s| {
                    s.row = Row::Live;
                    s.repositories[r].association = true;
                    s.promise(r);
                    if without == Without::TheReviewOfAPush {
                        s.repositories[r].review = self.repositories[r].review;
                    }
                });
                next.push(recorded);
            }
            Push::Recorded => next.push(to(Push::Idle)),
        }
    }

    /// Mount, push and deletion of a manifest, deletion of a blob: each of them one transaction.
    fn other_steps(&self, r: usize, without: Without, next: &mut Vec<Self>) {
        let here = self.repositories[r];
        let mounted = |s: &mut Self| {
            s.repositories[r].association = true;
            s.repositories[r].mounting = false;
            s.promise(r);
        };
        match (without == Without::TheTransactionOfAMount, here.mounting) {
            (true, true) => next.push(self.with(mounted)),
            (true, false) if self.serves(1 - r) => next.push(self.with(|s| s.repositories[r].mounting = true)),
            (false, _) if self.serves(1 - r) => next.push(self.with(mounted)),
            _ => {}
        }
        let named = |s: &mut Self| {
            s.repositories[r].manifest = true;
            s.repositories[r].naming = false;
        };
        match (without == Without::TheTransactionOfAManifest, here.naming) {
            (true, true) => next.push(self.with(named)),
            (true, false) if self.serves(r) => next.push(self.with(|s| s.repositories[r].naming = true)),
            (false, _) if self.serves(r) => next.push(self.with(named)),
            _ => {}
        }
        if here.manifest {
            next.push(self.with(|s| {
                s.repositories[r].manifest = false;
                if without != Without::TheReviewOfADeletion {
                    s.repositories[r].review = Review::Fresh;
                }
            }));
        }
        if here.association {
            next.push(self.with(|s| {
                s.repositories[r].association = false;
                s.repositories[r].review = Review::Fresh;
                s.repositories[r].told = Told::Nothing;
            }));
        }
    }

    fn time_passes(&self, r: usize, next: &mut Vec<Self>) {
        let here = self.repositories[r];
        match here.review {
            // A look does not last for hours.
            Review::Fresh if self.look == Look::Idle || r == 1 => {
                next.push(self.with(|s| s.repositories[r].review = Review::Aging));
            }
            Review::Aging => next.push(self.with(|s| {
                s.repositories[r].review = Review::Due;
                if here.told == Told::Covered {
                    s.repositories[r].told = Told::Nothing;
                }
            })),
            _ => {}
        }
    }

    fn look_steps(&self, without: Without, next: &mut Vec<Self>) {
        let is_soon = matches!(self.repositories[0].review, Review::Aging | Review::Due);
        let told = |s: &mut Self| {
            let uncovered = matches!(s.repositories[0].review, Review::Aging | Review::Due);
            let known = s.repositories[0].told;
            s.repositories[0].told =
                if uncovered || known == Told::Uncovered { Told::Uncovered } else { Told::Covered };
        };
        // Whether it is there, decided where the due time is moved.
        let keep = |s: &mut Self| {
            if s.serves(0) {
                if matches!(s.repositories[0].review, Review::Aging | Review::Due) {
                    s.promise(0);
                } else {
                    told(s);
                }
            }
        };
        let moves = without != Without::TheMoveOfTheDueTime;
        match self.look {
            Look::Idle if without == Without::TheLookAfterTheReview => {
                next.push(self.with(|s| s.look = Look::Found(s.serves(0))));
            }
            Look::Idle => next.push(self.with(|s| s.look = Look::MustMove(is_soon && moves))),
            Look::MustMove(must_move) => next.push(self.with(|s| {
                s.look = Look::Idle;
                if must_move {
                    keep(s);
                } else if s.serves(0) {
                    told(s);
                }
            })),
            Look::Found(found) => next.push(self.with(|s| {
                s.look = Look::Idle;
                if found && is_soon {
                    keep(s);
                } else if found {
                    told(s);
                }
            })),
        }
    }

    /// One transaction: an association that no manifest of its repository needs ends, the content with the last of them.
    fn review_steps(&self, without: Without, next: &mut Vec<Self>) {
        for r in 0..2 {
            if self.repositories[r].review != Review::Due {
                continue;
            }
            next.push(self.with(|s| {
                s.repositories[r].review = Review::None;
                let looks = without != Without::TheLookAtReferences;
                if s.row == Row::Absent || (looks && s.repositories[r].manifest) {
                    return;
                }
                s.repositories[r].association = false;
                let others = without != Without::TheLookAtOtherAssociations;
                let is_associated = others && s.repositories.iter().any(|r| r.association);
                let is_held = looks && s.repositories.iter().any(|r| r.manifest);
                if !is_associated && !is_held {
                    s.row = Row::Deleting;
                }
            }));
        }
    }

    fn removal_steps(&self, without: Without, next: &mut Vec<Self>) -> Result<(), Broken> {
        let to = |collector: Collector| self.with(|s| s.collector = collector);
        let free = !self.is_locked(without);
        match self.collector {
            Collector::Idle => {
                if self.row == Row::Deleting {
                    next.push(to(Collector::FoundCondemned));
                }
                if self.note {
                    next.push(to(Collector::FoundNote));
                }
            }
            Collector::FoundCondemned if free => next.push(to(Collector::Locked)),
            Collector::FoundNote if free => next.push(to(Collector::LockedForNote)),
            Collector::FoundCondemned | Collector::FoundNote => {}
            Collector::Locked => {
                let is_condemned = self.row == Row::Deleting || without == Without::TheStateWhenForgetting;
                next.push(if is_condemned {
                    to(Collector::MayRemove).with(|s| (s.row, s.note) = (Row::Absent, true))
                } else {
                    to(Collector::Idle)
                });
            }
            Collector::LockedForNote => {
                let is_named = self.row != Row::Absent && without != Without::TheRowWhenConfirming;
                next.push(if is_named {
                    to(Collector::Idle).with(|s| s.note = false)
                } else {
                    to(Collector::MayRemove)
                });
            }
            Collector::MayRemove => {
                if self.row == Row::Live {
                    return Err(Broken("bytes are removed that a row names"));
                }
                next.push(to(Collector::Removed).with(|s| s.file = false));
            }
            Collector::Removed => next.push(to(Collector::Idle).with(|s| s.note = false)),
        }
        Ok(())
    }

    /// What may never be.
    fn broken(&self) -> Option<&'static str> {
        if self.row == Row::Live && !self.file {
            return Some("a live row without its bytes");
        }
        for here in &self.repositories {
            if here.association && self.row != Row::Live {
                return Some("an association with what is not live");
            }
            if here.manifest && self.row != Row::Live {
                return Some("a manifest that names what is not live");
            }
            if here.told != Told::Nothing && !here.association {
                return Some("somebody was told that it is there");
            }
            if here.association && !here.manifest && here.review == Review::None {
                return Some("nobody will look at it again");
            }
        }
        None
    }
}

/// Every state that can be reached, or what went wrong.
fn explore(without: Without) -> Result<HashSet<State>, &'static str> {
    let first = State::default();
    let mut seen = HashSet::from([first]);
    let mut queue = VecDeque::from([first]);
    while let Some(state) = queue.pop_front() {
        if let Some(broken) = state.broken() {
            return Err(broken);
        }
        for next in state.next(without).map_err(|Broken(rule)| rule)? {
            if seen.insert(next) {
                queue.push_back(next);
            }
        }
    }
    Ok(seen)
}

#[test]
fn in_no_order_is_anything_lost() {
    let states = explore(Without::Nothing).unwrap();
    println!("{} states", states.len());
    assert!(states.len() > 10_000);
    // And from each of them space comes back.
    for state in states {
        let end = state.collected();
        let is_needed = end.repositories.iter().any(|here| here.manifest);
        assert!(!end.note && end.row != Row::Deleting, "{state:?} ends as {end:?}");
        assert_eq!(end.row == Row::Live, is_needed, "{state:?} ends as {end:?}");
        // Without a row there are bytes only where a push had placed them and not recorded them.
        let is_stray = end.file && end.row == Row::Absent;
        assert!(!is_stray || state.file, "{state:?} ends as {end:?}");
    }
}

#[test]
fn every_protection_is_needed() {
    for (without, expected) in [
        (Without::TheDigestLock, "bytes are removed that a row names"),
        (Without::TheLookAtReferences, "a manifest that names what is not live"),
        (Without::TheLookAtOtherAssociations, "an association with what is not live"),
        (Without::TheStateWhenForgetting, "an association with what is not live"),
        (Without::TheRowWhenConfirming, "bytes are removed that a row names"),
        (Without::TheReviewOfADeletion, "nobody will look at it again"),
        (Without::TheReviewOfAPush, "nobody will look at it again"),
        (Without::TheMoveOfTheDueTime, "somebody was told that it is there"),
        (Without::TheLookAfterTheReview, "somebody was told that it is there"),
        (Without::TheTransactionOfAMount, "an association with what is not live"),
        (Without::TheTransactionOfAManifest, "a manifest that names what is not live"),
        (Without::TheLockUntilTheRecord, "bytes are removed that a row names"),
    ] {
        assert_eq!(explore(without).err(), Some(expected), "without {without:?}");
    }
}
