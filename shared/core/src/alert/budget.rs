//! How many alerts a topic gets one by one, and what is kept of the others for the hourly summary.
//!
//! Nobody reads an inbox with two hundred messages. So each topic has a budget of single alerts for an hour and for a day. The
//! ledger keeps each alert over budget as a [`BriefAlert`](super::brief::BriefAlert), and the next sweep sends one
//! [summary](super::summary) that names all of them.

/// How many single alerts a topic gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// In an hour.
    pub per_hour: u64,
    /// In a day (UTC).
    pub per_day: u64,
}

/// How many single alerts a topic has had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AlertCounts {
    /// In this hour.
    pub hour: u64,
    /// On this day (UTC).
    pub day: u64,
}

impl Budget {
    /// The form of the next alert. Only single alerts count: a thousand alerts in an hour leave room for a block in the next
    /// hour.
    pub fn slot(self, had: AlertCounts) -> Slot {
        if had.hour < self.per_hour && had.day < self.per_day {
            Slot::Single
        } else {
            Slot::Summary
        }
    }
}

/// The form of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// As a message of its own, now.
    Single,
    /// By name in the next summary, within an hour.
    Summary,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_over_the_hour_or_the_day_goes_to_the_summary() {
        let budget = Budget {
            per_hour: 20,
            per_day: 60,
        };
        for (hour, day, slot) in [
            (0, 0, Slot::Single),
            (19, 59, Slot::Single),
            (20, 20, Slot::Summary),
            (0, 60, Slot::Summary),
        ] {
            assert_eq!(budget.slot(AlertCounts { hour, day }), slot, "{hour} {day}");
        }
    }
}
