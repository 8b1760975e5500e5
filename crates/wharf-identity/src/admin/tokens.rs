use std::time::Duration;

use ipnet::IpNet;
use wharf_base::{Secret, TokenId};
use wharf_meta::{ApiToken, CreateToken, NewApiToken, SigningKey, TokenKind};
use wharf_policy::{AccountManage, AccountSelf, Attribution, Authorized};

use super::AdminError;
use crate::scopes::{self, TOKEN_SCOPES_MAX};
use crate::{Identity, secret_text};

/// The longest description, in bytes, and the most networks of a token.
const DESCRIPTION_MAX_BYTES: usize = 512;
const NETWORKS_MAX: usize = 64;

/// An API token to be made.
#[derive(Clone, Debug, Default)]
pub struct NewToken {
    /// What it is for.
    pub description: String,
    /// What it is limited to, such as `repository:team/**:pull,push`.
    pub scopes: Vec<String>,
    /// Networks it may be used from.
    pub networks: Vec<String>,
    /// How long it lives; `None`: as configuration says.
    pub life: Option<Duration>,
}

impl Identity {
    /// API tokens of all accounts in the order they were made, at most `limit`, strictly after `after`.
    ///
    /// # Errors
    ///
    /// [`AdminError::Meta`].
    pub async fn tokens(
        &self,
        _ok: &Authorized<AccountManage>,
        after: Option<TokenId>,
        limit: u32,
    ) -> Result<Vec<ApiToken>, AdminError> {
        Ok(self.meta.tokens(after, limit).await?)
    }

    /// The API tokens of one account.
    ///
    /// # Errors
    ///
    /// [`AdminError::AccountUnknown`].
    pub async fn tokens_of(
        &self,
        _ok: &Authorized<AccountManage>,
        account: &str,
        after: Option<TokenId>,
        limit: u32,
    ) -> Result<Vec<ApiToken>, AdminError> {
        self.existing(account).await?;
        Ok(self.meta.tokens_of(account, TokenKind::Api, after, limit).await?)
    }

    /// One's own API tokens.
    ///
    /// # Errors
    ///
    /// [`AdminError::NotLocal`].
    pub async fn own_tokens(
        &self,
        ok: &Authorized<AccountSelf>,
        after: Option<TokenId>,
        limit: u32,
    ) -> Result<Vec<ApiToken>, AdminError> {
        let account = self.own(ok).await?;
        Ok(self.meta.tokens_of(&account.name, TokenKind::Api, after, limit).await?)
    }

    /// Makes a token for an account, and its secret, which nobody can ask for again.
    ///
    /// # Errors
    ///
    /// [`AdminError::AccountUnknown`]; [`AdminError::BeyondGranter`]; [`AdminError::TooManyTokens`];
    /// [`AdminError::Invalid`].
    pub async fn create_token(
        &self,
        ok: &Authorized<AccountManage>,
        account: &str,
        new: NewToken,
    ) -> Result<(ApiToken, Secret<String>), AdminError> {
        let account = self.within_reach(ok, account).await?;
        self.make(&account.name, new, &ok.attribution()).await
    }

    /// Makes a token for oneself.
    ///
    /// # Errors
    ///
    /// [`AdminError::NotLocal`]; [`AdminError::TooManyTokens`]; [`AdminError::Invalid`].
    pub async fn create_own_token(
        &self,
        ok: &Authorized<AccountSelf>,
        new: NewToken,
    ) -> Result<(ApiToken, Secret<String>), AdminError> {
        let account = self.own(ok).await?;
        self.make(&account.name, new, &ok.attribution()).await
    }

    /// Deletes anybody's token.
    ///
    /// # Errors
    ///
    /// [`AdminError::TokenUnknown`]; [`AdminError::BeyondGranter`].
    pub async fn delete_token(&self, ok: &Authorized<AccountManage>, id: TokenId) -> Result<(), AdminError> {
        let (_, account) = self.meta.token_by_id(id).await?.ok_or(AdminError::TokenUnknown)?;
        super::check_reach(ok.principal(), account.roles.iter())?;
        self.remove(None, id, &ok.attribution()).await
    }

    /// Deletes one's own token.
    ///
    /// # Errors
    ///
    /// [`AdminError::TokenUnknown`], also if it is somebody else's (S-010); [`AdminError::NotLocal`].
    pub async fn delete_own_token(&self, ok: &Authorized<AccountSelf>, id: TokenId) -> Result<(), AdminError> {
        let account = self.own(ok).await?;
        self.remove(Some(&account.name), id, &ok.attribution()).await
    }

    /// The signing keys, newest first.
    pub fn keys(&self, _ok: &Authorized<AccountManage>) -> Vec<SigningKey> {
        self.ring.load().stored().cloned().collect()
    }

    /// Makes a new signing key; it signs as soon as every replica knows it, and the old ones verify for as long as a token
    /// lives.
    ///
    /// # Errors
    ///
    /// [`AdminError::Meta`].
    pub async fn rotate_keys(&self, ok: &Authorized<AccountManage>) -> Result<SigningKey, AdminError> {
        let made = self.rotate(None, &ok.attribution()).await?;
        made.ok_or_else(|| AdminError::invalid("key", "could not be made; try again"))
    }

    async fn remove(&self, account: Option<&str>, id: TokenId, by: &Attribution) -> Result<(), AdminError> {
        let deleted = self.meta.delete_token(account, id, by, self.clock.now()).await?;
        self.directory.changed();
        if deleted { Ok(()) } else { Err(AdminError::TokenUnknown) }
    }

    async fn make(
        &self,
        account: &str,
        new: NewToken,
        by: &Attribution,
    ) -> Result<(ApiToken, Secret<String>), AdminError> {
        self.check_token(&new)?;
        let life = new.life.unwrap_or_else(|| self.config.api_token_life.get());
        let secret = secret_text::generate(TokenKind::Api, &*self.rng);
        let now = self.clock.now();
        let token = ApiToken {
            id: TokenId::generate(&*self.clock, &*self.rng),
            account: account.to_owned(),
            kind: TokenKind::Api,
            description: new.description,
            scopes: new.scopes,
            networks: new.networks,
            created_at: now,
            created_by: by.principal.name().to_owned(),
            expires_at: now.plus(life),
            last_used_at: None,
        };
        let tokens_max = self.config.api_tokens_per_account;
        let row = NewApiToken { token: token.clone(), secret_sha256: secret_text::sha256(secret.expose()), tokens_max };
        match self.meta.create_token(&row, by).await? {
            CreateToken::Created => {
                self.directory.changed();
                Ok((token, secret))
            }
            CreateToken::AccountUnknown => Err(AdminError::AccountUnknown(account.to_owned())),
            CreateToken::TooMany => Err(AdminError::TooManyTokens { account: account.to_owned(), max: tokens_max }),
        }
    }

    fn check_token(&self, new: &NewToken) -> Result<(), AdminError> {
        if new.description.len() > DESCRIPTION_MAX_BYTES || new.description.chars().any(char::is_control) {
            let problem = format!("must be one line of at most {DESCRIPTION_MAX_BYTES} bytes");
            return Err(AdminError::invalid("description", problem));
        }
        if new.scopes.len() > TOKEN_SCOPES_MAX || new.networks.len() > NETWORKS_MAX {
            return Err(AdminError::invalid(
                "scopes",
                format!("and networks may hold at most {TOKEN_SCOPES_MAX} each"),
            ));
        }
        for scope in &new.scopes {
            scopes::parse(scope).map_err(|error| AdminError::invalid("scopes", error.to_string()))?;
        }
        if let Some(bad) = new.networks.iter().find(|text| text.parse::<IpNet>().is_err()) {
            let problem = format!("holds {bad:?}, which is no network; write for example 192.0.2.0/24");
            return Err(AdminError::invalid("networks", problem));
        }
        let life_max = self.config.api_token_life_max.get();
        if new.life.is_some_and(|life| life.is_zero() || life > life_max) {
            let days = life_max.as_secs() / 86_400;
            return Err(AdminError::invalid("life_days", format!("must be from 1 to {days}")));
        }
        Ok(())
    }
}
