//! What this CPU can do.
