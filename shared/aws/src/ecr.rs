//! ECR: the registry, its scanner, and what we change in it.
//!
//! Rules are those of the API reference of ECR (version 2015-09-21) where nothing else is said.
//!
//! | module | is |
//! |---|---|
//! | `client` | the client, and calls that several adapters make |
//! | `connections` | opens connections before they are needed |
//! | `registry` | images, to read; with `triggers`, what is remembered of repositories |
//! | `scanner` | scans; `findings` puts the pages of one together |
//! | `writer` | what changes images |
//! | `repositories` | repositories, to read and to change |
//! | `listing` | the lists of a registry |
//! | `settings` | the settings of a registry |
//! | [`replication`] | copies in other regions |

mod client;
mod connections;
mod findings;
mod image;
mod listing;
mod registry;
pub mod replication;
mod repositories;
mod scanner;
mod settings;
mod triggers;
mod writer;

pub(crate) use self::{client::client, connections::connect, triggers::TriggerCache};
pub use self::{registry::EcrRegistry, writer::EcrWriter};
