use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::{Clock, Rng};

/// The text was not an id in its one accepted spelling (36 characters, lower case, hyphens, UUID version 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id of this registry")]
pub struct ParseIdError;

/// Declares ids that leave the process: UUIDv7, one type a kind, so that they cannot be mixed up.
macro_rules! id {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id: the time from `clock`, 74 random bits from `rng`.
            pub fn generate(clock: &dyn Clock, rng: &dyn Rng) -> Self {
                let mut random = [0; 10];
                rng.fill(&mut random);
                Self(uuid::Builder::from_unix_timestamp_millis(clock.now().as_millis(), &random).into_uuid())
            }
        }

        /// Accepts exactly what `Display` prints.
        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let uuid = Uuid::try_parse(text).map_err(|_| ParseIdError)?;
                let id = Self(uuid);
                let canonical = uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == text;
                if canonical && uuid.get_version_num() == 7 { Ok(id) } else { Err(ParseIdError) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0.hyphenated())
            }
        }
    )+};
}

id! {
    /// An upload session, useless to anybody but the principal that opened it (S-013).
    UploadId;
    /// The identity of a blob store; the metadata database holds the same one (B-138).
    StoreId;
    /// A backup under way, as the server knows it.
    BackupId;
    /// A local account, human or robot.
    AccountId;
    /// An API token or a refresh token, as shown by `wharf token ls`; not a secret.
    TokenId;
    /// A policy rule, as shown by `wharf policy ls`.
    RuleId;
}
