//! What the fuzz targets share.
//!
//! A target turns bytes into the input of one stage and checks what comes out
//! against what perisco promises: no byte made up, unknown never reported as
//! OK, every hole an exact gap, bounded memory.

pub mod bytes;
pub mod check;
pub mod flow;
pub mod run;
pub mod seeds;
pub mod steps;
