//! The common part of the answers of all services: pages, and times.

use aws_smithy_types::DateTime;
use jiff::Timestamp;

use crate::error::refusal;
use guard_ports::{PortError, Retry};

/// Where the next page of a list begins; `after` is where this one did. The same place again would lead round in circles.
pub fn next_page(
    operation: &'static str,
    after: Option<&str>,
    next: Option<String>,
) -> Result<Option<String>, PortError> {
    let next = next.filter(|next| !next.is_empty());
    if next.is_some() && next.as_deref() == after {
        let message = "the pages lead round in circles";
        return Err(refusal(operation, Retry::Later, "RepeatedToken", message));
    }
    Ok(next)
}

/// A time of the SDK as ours; `None` outside the years that we can write.
pub(crate) fn timestamp(time: &DateTime) -> Option<Timestamp> {
    let nanoseconds = i32::try_from(time.subsec_nanos()).ok()?;
    Timestamp::new(time.secs(), nanoseconds).ok()
}
