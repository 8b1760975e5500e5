//! What the registry does when the machine under it does not do its part: disks that fail, fill up, become read-only or
//! vanish, clocks that jump, a database that is damaged. Each day ends with everything there that was acknowledged.

mod sync;
