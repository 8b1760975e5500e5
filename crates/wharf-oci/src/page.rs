//! How long a page of a list should be.

/// The value of the parameter `n`: how many entries a client wants, 0 included (P-260).
///
/// A number above 2³²−1 counts as 2³²−1, since the server's own maximum is below it and clamps it anyway (P-263).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PageSize(u32);

/// Why `n` is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageSizeError {
    /// Not ASCII decimal without sign, or larger than 64 bits.
    #[error("the parameter n must be a number of entries, written in decimal digits")]
    NotANumber,
}

impl PageSize {
    /// Reads `n`; `None` if the client did not send it.
    ///
    /// # Errors
    ///
    /// [`PageSizeError::NotANumber`] for signs, spaces, an empty value and what does not fit into 64 bits.
    ///
    /// # Source
    ///
    /// P-050, P-264.
    pub fn parse(parameter: Option<&str>) -> Result<Option<Self>, PageSizeError> {
        let Some(text) = parameter else { return Ok(None) };
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(PageSizeError::NotANumber);
        }
        let wanted: u64 = text.parse().map_err(|_| PageSizeError::NotANumber)?;
        Ok(Some(Self(u32::try_from(wanted).unwrap_or(u32::MAX))))
    }

    /// How many entries are wanted.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }
}
