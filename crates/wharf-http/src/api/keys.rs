//! `/api/v1/keys`: the keys that sign bearer tokens.

use http::StatusCode;
use wharf_identity::SigningKey;
use wharf_policy::{AccountManage, Authorized};

use super::types::{Key, Page};
use super::{Answer, Call, json, ok};

impl From<SigningKey> for Key {
    fn from(key: SigningKey) -> Self {
        Self {
            id: key.id,
            algorithm: key.algorithm,
            created_at: key.created_at.to_string(),
            signs_from: key.signs_from.to_string(),
            retired_at: key.retired_at.map(|at| at.to_string()),
        }
    }
}

/// The keys, newest first.
#[utoipa::path(get, path = "/api/v1/keys", operation_id = "listKeys", tag = "keys", responses((status = 200, body = Page<Key>)))]
pub(crate) async fn list(proof: Authorized<AccountManage>, call: Call) -> Answer {
    let keys = call.identity()?.keys(&proof);
    ok(&Page { items: keys.into_iter().map(Key::from).collect(), next: None })
}

/// Make a new key. It signs after a minute; what the old ones have signed stays good.
#[utoipa::path(post, path = "/api/v1/keys/rotate", operation_id = "rotateKeys", tag = "keys", responses((status = 201, body = Key)))]
pub(crate) async fn rotate(proof: Authorized<AccountManage>, call: Call) -> Answer {
    let key = call.identity()?.rotate_keys(&proof).await?;
    json(StatusCode::CREATED, &Key::from(key))
}
