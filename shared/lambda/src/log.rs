//! How a function writes its log: the form and the level that Lambda's logging controls ask for.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-advanced.html>

use std::io;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt;

/// Writes the log of this process to its standard output. `environment`: the variables of the process.
///
/// `AWS_LAMBDA_LOG_FORMAT=JSON` makes an object of each line. The level is that of `AWS_LAMBDA_LOG_LEVEL`, else of `RUST_LOG`, else `INFO`.
/// An optimized build has no lines of `TRACE` (`release_max_level_debug` of tracing): there that level is `DEBUG`.
///
/// # Panics
///
/// If the process has a log already.
pub fn start(environment: impl Fn(&str) -> Option<String>) {
    let asked = environment("AWS_LAMBDA_LOG_LEVEL").or_else(|| environment("RUST_LOG"));
    let is_json = environment("AWS_LAMBDA_LOG_FORMAT").is_some_and(|form| form.eq_ignore_ascii_case("json"));
    let lines = fmt()
        .with_target(false)
        .without_time()
        .with_max_level(level(asked.as_deref()))
        .with_writer(io::stdout);
    if is_json {
        lines.json().init();
    } else {
        lines.init();
    }
}

/// The level that somebody asked for; `INFO` for a word that is none. `FATAL` is Lambda's only: nothing is worse than an error here.
fn level(asked: Option<&str>) -> LevelFilter {
    match asked {
        Some(word) if word.eq_ignore_ascii_case("fatal") => LevelFilter::ERROR,
        Some(word) => word.parse().unwrap_or(LevelFilter::INFO),
        None => LevelFilter::INFO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_is_the_one_that_lambda_asks_for() {
        for (asked, expected) in [
            (Some("TRACE"), LevelFilter::TRACE),
            (Some("debug"), LevelFilter::DEBUG),
            (Some("WARN"), LevelFilter::WARN),
            (Some("FATAL"), LevelFilter::ERROR),
            (Some("LOUD"), LevelFilter::INFO),
            (None, LevelFilter::INFO),
        ] {
            assert_eq!(level(asked), expected, "{asked:?}");
        }
    }
}
