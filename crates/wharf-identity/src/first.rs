//! The first account, and the way back in when its password is lost.

use wharf_base::{AccountId, Clock, Rng, Secret};
use wharf_meta::{Account, AccountChange, ChangeAccount, CreateAccount, Metadata};
use wharf_policy::{AccountType, Action, Attribution, Principal, Provider};

use crate::admin::ADMIN;
use crate::{StartError, password};

/// The name of the first account.
pub const FIRST_ACCOUNT: &str = "admin";

/// Makes `admin` if there is no account at all, with `password` or a random one. Answers with the random one, to be shown
/// once (S-080).
///
/// # Errors
///
/// [`StartError::Password`]: `password` is too short; [`StartError::Meta`].
pub async fn ensure_admin(
    meta: &dyn Metadata,
    password: Option<Secret<String>>,
    clock: &dyn Clock,
    rng: &dyn Rng,
) -> Result<Option<Secret<String>>, StartError> {
    if let Some(password) = &password {
        password::check(password)?;
    }
    if !meta.accounts(None, 1).await?.is_empty() {
        return Ok(None);
    }
    let (text, shown) = match password {
        Some(text) => (text, None),
        None => {
            let text = random_password(rng);
            (text.clone(), Some(text))
        }
    };
    let created = meta.create_account(&first(&text, clock, rng)?, &itself("first start")).await?;
    // Another replica was faster; its password is the one.
    Ok(shown.filter(|_| created == CreateAccount::Created))
}

/// Gives `admin` a new random password, and the role and the permission to log in should it have lost them; makes it if
/// it is not there. For `wharf account reset-admin`, on the data directory itself.
///
/// # Errors
///
/// [`StartError::Meta`].
pub async fn reset_admin(meta: &dyn Metadata, clock: &dyn Clock, rng: &dyn Rng) -> Result<Secret<String>, StartError> {
    let text = random_password(rng);
    let by = itself("reset-admin");
    let roles = match meta.account(FIRST_ACCOUNT).await? {
        Some(account) => account.roles.into_iter().filter(|role| role != ADMIN).chain([ADMIN.to_owned()]).collect(),
        None => vec![ADMIN.to_owned()],
    };
    let change = AccountChange {
        roles: Some(roles),
        enabled: Some(true),
        password_hash: Some(password::hash(&text, rng)?),
        version: None,
    };
    match meta.change_account(FIRST_ACCOUNT, &change, &by, clock.now()).await? {
        ChangeAccount::Changed(_) | ChangeAccount::LastAdmin | ChangeAccount::Conflict => {}
        ChangeAccount::Unknown => _ = meta.create_account(&first(&text, clock, rng)?, &by).await?,
    }
    Ok(text)
}

fn first(text: &Secret<String>, clock: &dyn Clock, rng: &dyn Rng) -> Result<Account, StartError> {
    let now = clock.now();
    Ok(Account {
        id: AccountId::generate(clock, rng),
        name: FIRST_ACCOUNT.to_owned(),
        account_type: AccountType::Human,
        roles: vec![ADMIN.to_owned()],
        password_hash: Some(password::hash(text, rng)?),
        enabled: true,
        created_at: now,
        created_by: "wharf".to_owned(),
        updated_at: now,
    })
}

/// Whom records name for what the registry does by itself, or a person at the machine it runs on.
pub(crate) fn itself(doing: &str) -> Attribution {
    Attribution {
        principal: Principal::new(Provider::Nobody, "wharf", AccountType::System, Vec::new()),
        source: None,
        request_id: "".into(),
        action: Action::AccountManage,
        rule: doing.into(),
    }
}

/// 130 bits in six groups that can be read to somebody: no letter looks like a digit.
fn random_password(rng: &dyn Rng) -> Secret<String> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = [0; 26];
    rng.fill(&mut random);
    let mut text = String::with_capacity(32);
    for (index, byte) in random.iter().enumerate() {
        if index > 0 && index % 5 == 0 {
            text.push('-');
        }
        text.push(char::from(LETTERS[usize::from(byte % 32)]));
    }
    text.into()
}
