//! The perisco command.
fn main() {}
