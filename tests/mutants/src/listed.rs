//! The list of cargo-mutants, as far as it is needed.

use serde::Deserialize;

/// A mutant.
#[derive(Debug, Deserialize)]
pub(crate) struct Listed {
    pub(crate) file: String,
    pub(crate) span: Span,
    pub(crate) replacement: String,
    pub(crate) genre: Genre,
}

/// The kind of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum Genre {
    /// The value of a function.
    FnValue,
    BinaryOperator,
    UnaryOperator,
    /// An arm of a `match` is deleted.
    MatchArm,
    MatchArmGuard,
    /// A field of a struct expression is deleted, so that it is that of the base.
    StructField,
    /// One that this does not know.
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Span {
    pub(crate) start: Position,
}

/// Lines and columns (characters) count from 1.
#[derive(Debug, Deserialize)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}
