//! Bodies as a user sees them.
