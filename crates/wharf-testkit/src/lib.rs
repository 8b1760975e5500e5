//! Stand-ins for the neighbours of a registry.
