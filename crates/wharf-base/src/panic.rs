//! What a panic has to say.

use std::any::Any;

/// The text of a caught panic; `None`: it was raised with something that is no text.
pub fn panic_text(panic: &(dyn Any + Send)) -> Option<&str> {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str))
}
