use super::fresh;

crate::metadata_contract!(fresh);
