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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_end_with_no_token_or_an_empty_one_and_never_lead_back() {
        let next =
            |after: Option<&str>, next: Option<&str>| next_page("ecr:ListImages", after, next.map(str::to_owned));
        assert_eq!(next(None, None), Ok(None));
        assert_eq!(next(Some("a"), Some("")), Ok(None));
        assert_eq!(next(Some(""), Some("")), Ok(None));
        assert_eq!(next(None, Some("a")), Ok(Some("a".to_owned())));
        assert_eq!(next(Some("a"), Some("b")), Ok(Some("b".to_owned())));
        let error = next(Some("a"), Some("a")).unwrap_err();
        assert_eq!((error.retry, error.code.as_str()), (Retry::Later, "RepeatedToken"));
    }

    #[test]
    fn a_time_is_the_same_in_both_forms() {
        let expected: Timestamp = "2026-11-24T12:00:00.5Z".parse().unwrap();
        assert_eq!(
            timestamp(&DateTime::from_millis(expected.as_millisecond())),
            Some(expected)
        );
        assert_eq!(timestamp(&DateTime::from_secs(i64::MAX)), None);
    }
}
