//! Snapshots as files: written line by line, and read line by line. Neither keeps more than a line in memory.

mod read;
#[cfg(test)]
mod tests;
mod write;

pub use self::{
    read::{Keep, ReadSeek, Snapshot},
    write::Writing,
};
